"""Data capture: an endpoint's requests and replies, as JSON Lines in S3."""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from local.core.context import Cloud
    from local.services.sagemaker.hosting.invocation import Reply, Request

log = logging.getLogger(__name__)

#: The delay until a record is written, in seconds of the local cloud's time, and its minimum in real seconds.
INTERVAL = 60.0
SHORTEST = 0.5
#: The number of a variant's records in a full file.
FULL = 500
#: The maximum records of a variant kept while S3 refuses them; older ones are dropped and counted in the log.
KEPT = 20_000


class Capture:
    """The data capture of one endpoint under one configuration; :meth:`close` writes the remaining records."""

    def __init__(self, cloud: Cloud, region: str, endpoint: str, config: Mapping[str, Any]) -> None:
        self._cloud = cloud
        self._region = region
        self._endpoint = endpoint
        self._config = config
        self._modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        header = config.get("CaptureContentTypeHeader", {})
        self._csv = {value.lower() for value in header.get("CsvContentTypes", ())}
        self._json = {value.lower() for value in header.get("JsonContentTypes", ())}
        self._changed = threading.Condition()
        self._waiting: dict[str, list[str]] = {}
        self._closed = False
        self._thread = cloud.spawn(f"capture-{endpoint}", self._run)

    def record(self, variant: str, request: Request, reply: Reply) -> None:
        """Add one answered request, if it is in the sample.

        Args:
            variant: The name of the production variant that answered.
            request: The request.
            reply: Its successful reply.
        """
        if random.random() * 100 >= self._config["InitialSamplingPercentage"]:
            return
        line = json.dumps(self._document(request, reply), separators=(",", ":"))
        with self._changed:
            lines = self._waiting.setdefault(variant, [])
            lines.append(line)
            if len(lines) >= FULL or len(lines) == 1:
                self._changed.notify_all()

    def close(self) -> None:
        """Write the remaining records and stop capturing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(10.0)

    def _document(self, request: Request, reply: Reply) -> dict[str, Any]:
        captured: dict[str, Any] = {}
        if self._modes & {"Input", "InputAndOutput"}:
            captured["endpointInput"] = self._payload("INPUT", request.headers.get("Content-Type"), request.body)
        if self._modes & {"Output", "InputAndOutput"}:
            captured["endpointOutput"] = self._payload("OUTPUT", reply.headers.get("Content-Type"), reply.body)
        metadata: dict[str, Any] = {"eventId": str(uuid.uuid4())}
        if request.custom_attributes is not None:
            metadata["customAttributes"] = [request.custom_attributes]
        if request.inference_id is not None:
            metadata["inferenceId"] = request.inference_id
        metadata["inferenceTime"] = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}

    def _payload(self, mode: str, content_type: str | None, body: bytes) -> dict[str, str]:
        kind = (content_type or "").split(";")[0].strip().lower()
        encoding = "CSV" if kind in self._csv else "JSON" if kind in self._json else "BASE64"
        try:
            data = body.decode() if encoding != "BASE64" else base64.b64encode(body).decode()
        except UnicodeDecodeError:
            encoding, data = "BASE64", base64.b64encode(body).decode()
        return {"observedContentType": content_type or "", "mode": mode, "data": data, "encoding": encoding}

    def _run(self) -> None:
        """Write a file when one is full, when its first record is old enough, and at the end."""
        delay = max(SHORTEST, self._cloud.clock.to_real_seconds(INTERVAL))
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                deadline = time.monotonic() + delay
                self._changed.wait_for(
                    lambda: self._closed or any(len(lines) >= FULL for lines in self._waiting.values()),
                    max(0.0, deadline - time.monotonic()),
                )
                waiting, self._waiting = self._waiting, {}
                closed = self._closed
            for variant, lines in waiting.items():
                self._write(variant, lines, last=closed)
            if closed:
                return

    def _write(self, variant: str, lines: list[str], *, last: bool) -> None:
        now = dt.datetime.now(dt.UTC)
        bucket, _, prefix = self._config["DestinationS3Uri"].removeprefix("s3://").partition("/")
        stamp = f"{now:%M-%S}-{now.microsecond // 1000:03d}"
        folder = "/".join(part for part in (prefix.strip("/"), self._endpoint, variant) if part)
        key = f"{folder}/{now:%Y/%m/%d/%H}/{stamp}-{uuid.uuid4()}.jsonl"
        key_id = self._config.get("KmsKeyId")
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id} if key_id else {}
        try:
            self._cloud.client("s3", self._region).put_object(
                Bucket=bucket,
                Key=key,
                Body=("\n".join(lines) + "\n").encode(),
                ContentType="application/jsonlines",
                **encryption,
            )
        except (ClientError, BotoCoreError) as error:
            if last:
                log.warning("data capture of %s: %d records lost: %s", self._endpoint, len(lines), error)
                return
            log.warning("data capture of %s: %d records wait: %s", self._endpoint, len(lines), error)
            with self._changed:
                kept = [*lines, *self._waiting.get(variant, [])]
                if len(kept) > KEPT:
                    log.warning("data capture of %s: %d records lost", self._endpoint, len(kept) - KEPT)
                self._waiting[variant] = kept[-KEPT:]
            self._cloud.stopping.wait(SHORTEST)
