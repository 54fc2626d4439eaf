"""Data capture: records, encodings and locations."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from tests.local.hosted import HostedCloud, eventually, hosted, moto_url

__all__ = ["hosted", "moto_url"]


def capture(**more: Any) -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://models/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
        **more,
    }


def objects(hosted: HostedCloud, endpoint: str) -> dict[str, str]:
    s3 = hosted.aws("s3")
    found = s3.list_objects_v2(Bucket="models", Prefix=f"captured/{endpoint}/").get("Contents", [])
    return {o["Key"]: s3.get_object(Bucket="models", Key=o["Key"])["Body"].read().decode() for o in found}


def records(hosted: HostedCloud, endpoint: str) -> list[dict[str, Any]]:
    return [json.loads(line) for text in objects(hosted, endpoint).values() for line in text.splitlines()]


def test_a_captured_request_is_written_to_s3(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1", DataCaptureConfig=capture()))
    hosted.ask("shop", b"type application/json", ContentType="text/csv; charset=utf-8", InferenceId="42",
               CustomAttributes="k=v")  # fmt: skip
    (key, text), *more = eventually(lambda: objects(hosted, "shop")).items()
    assert not more
    assert re.fullmatch(r"captured/shop/main/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl", key)
    assert ": " not in text
    record = json.loads(text)
    assert record["captureData"] == {
        "endpointInput": {
            "observedContentType": "text/csv; charset=utf-8", "mode": "INPUT", "data": "type application/json",
            "encoding": "CSV",
        },
        "endpointOutput": {
            "observedContentType": "application/json", "mode": "OUTPUT", "data": "1,2\n", "encoding": "JSON",
        },
    }  # fmt: skip
    metadata = record["eventMetadata"]
    assert metadata["inferenceId"] == "42"
    assert metadata["customAttributes"] == ["k=v"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["inferenceTime"])
    assert record["eventVersion"] == "0"
    summary = hosted.describe_endpoint(EndpointName="shop")["DataCaptureConfig"]
    assert summary["CaptureStatus"] == "Started"
    assert summary["CurrentSamplingPercentage"] == 100


def test_other_content_types_are_base64_and_uncaptured_parts_are_omitted(hosted: HostedCloud) -> None:
    options = capture(CaptureOptions=[{"CaptureMode": "Output"}])
    hosted.endpoint("one", hosted.config("one-1", DataCaptureConfig=options))
    hosted.ask("one", b"type application/octet-stream", ContentType="text/csv")
    (record,) = eventually(lambda: records(hosted, "one"))
    assert list(record["captureData"]) == ["endpointOutput"]
    output = record["captureData"]["endpointOutput"]
    assert output["encoding"] == "BASE64"
    assert base64.b64decode(output["data"]) == b"1,2\n"
    assert set(record["eventMetadata"]) == {"eventId", "inferenceTime"}


def test_pending_records_are_written_when_the_endpoint_is_deleted(hosted: HostedCloud) -> None:
    hosted.endpoint("two", hosted.config("two-1", DataCaptureConfig=capture()))
    for number in range(7):
        hosted.ask("two", f"echo {number}".encode(), ContentType="application/json")
    hosted.delete_endpoint(EndpointName="two")
    eventually(lambda: hosted.gone("two"))
    asked = {record["captureData"]["endpointInput"]["data"] for record in records(hosted, "two")}
    assert asked == {f"echo {number}" for number in range(7)}


def test_pending_records_are_written_when_the_cloud_stops(hosted: HostedCloud) -> None:
    hosted.endpoint("three", hosted.config("three-1", DataCaptureConfig=capture()))
    hosted.ask("three", b"echo last", ContentType="application/json")
    hosted.go_down()
    assert len(records(hosted, "three")) == 1


def test_zero_sampling_and_disabled_capture_write_nothing(hosted: HostedCloud) -> None:
    hosted.endpoint("none", hosted.config("none-1", DataCaptureConfig=capture(InitialSamplingPercentage=0)))
    hosted.endpoint("off", hosted.config("off-1", DataCaptureConfig=capture(EnableCapture=False)))
    for _ in range(20):
        hosted.ask("none")
        hosted.ask("off")
    assert hosted.describe_endpoint(EndpointName="off")["DataCaptureConfig"]["CaptureStatus"] == "Stopped"
    hosted.go_down()
    assert records(hosted, "none") == []
    assert records(hosted, "off") == []
