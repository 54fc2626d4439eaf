"""Limits on the cost of one request: while it does its worst, other requests are answered."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.core.regex import RegexError, compile_regex, compile_wildcards
from local.services.sagemaker.hosting import archives

from .conftest import CloudDaemon
from .jobs import ROLE, training
from .test_gateway import send_signed

#: Seconds that any other request may take meanwhile, on a busy machine.
PROMPT = 3.0


@contextmanager
def assert_others_are_answered(daemon: CloudDaemon) -> Iterator[None]:
    """Send other requests while the block runs; fail if an answer takes too long."""
    sagemaker, over, took = daemon.client("sagemaker"), threading.Event(), [0.0]

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            sagemaker.list_models(MaxResults=1)
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert len(took) > 1
    assert max(took) < PROMPT


def json_request(daemon: CloudDaemon, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = send_signed(
        daemon, "sagemaker", body=body, Content_Type="application/x-amz-json-1.1", X_Amz_Target="SageMaker.ListModels",
        **headers,
    )  # fmt: skip
    return answer.status, json.loads(answer.data)


def test_a_body_that_decompresses_above_the_size_limit_is_refused(cloud_daemon: CloudDaemon) -> None:
    bomb = gzip.compress(b" " * (80 * 2**20))
    assert len(bomb) < 2**17
    with assert_others_are_answered(cloud_daemon):
        for _ in range(5):
            status, answer = json_request(cloud_daemon, bomb, Content_Encoding="gzip")
            assert (status, answer["__type"]) == (413, "RequestEntityTooLargeException")
    status, answer = json_request(cloud_daemon, b"not gzip", Content_Encoding="gzip")
    assert (status, answer["__type"]) == (400, "SerializationException")
    assert json_request(cloud_daemon, gzip.compress(b"{}"), Content_Encoding="gzip")[0] == 200


def test_a_body_above_the_size_limit_is_refused(cloud_daemon: CloudDaemon) -> None:
    status, answer = json_request(cloud_daemon, b" " * (64 * 2**20 + 1))
    assert (status, answer["__type"]) == (413, "RequestEntityTooLargeException")


@pytest.mark.parametrize("service", ["sagemaker", "ssm", "events", "logs"])
def test_a_document_nested_a_million_levels_deep_is_refused(cloud_daemon: CloudDaemon, service: str) -> None:
    targets = {
        "sagemaker": "SageMaker.ListModels", "ssm": "AmazonSSM.PutParameter", "events": "AWSEvents.PutRule",
        "logs": "Logs_20140328.PutLogEvents",
    }  # fmt: skip
    body = b'{"Filters":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    with assert_others_are_answered(cloud_daemon):
        answer = send_signed(
            cloud_daemon, service, body=body, Content_Type="application/x-amz-json-1.1", X_Amz_Target=targets[service]
        )
    assert answer.status == 400, answer.data[:500]
    assert json.loads(answer.data)["__type"] == "SerializationException"


DEEP = "[" * 100_000 + "]" * 100_000
WITHIN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a definition": (
        "sagemaker",
        "create_pipeline",
        {"PipelineName": "deep", "PipelineDefinition": DEEP, "ClientRequestToken": "d" * 32, "RoleArn": ROLE},
    ),
    "a pattern": ("events", "put_rule", {"Name": "deep", "EventPattern": DEEP[:2000] + DEEP[-2000:]}),
    "a policy": ("iam", "create_policy", {"PolicyName": "deep", "PolicyDocument": DEEP}),
    "a bucket's policy": ("s3", "put_bucket_policy", {"Bucket": "deep-policy", "Policy": DEEP}),
}


@pytest.mark.parametrize("what", WITHIN)
def test_the_nesting_of_embedded_documents_is_limited(cloud_daemon: CloudDaemon, what: str) -> None:
    service, operation, params = WITHIN[what]
    if service == "s3":
        cloud_daemon.client("s3", "us-east-1").create_bucket(Bucket="deep-policy")
    with assert_others_are_answered(cloud_daemon), pytest.raises(ClientError) as refused:
        getattr(cloud_daemon.client(service), operation)(**params)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400, refused.value


# -- regular expressions -----------------------------------------------------------------------------------------------

#: Python's own regex engine would need years for these.
EVIL, TEXT = "(a+)+$", "a" * 60 + "!"


def test_regular_expressions_run_in_linear_time() -> None:
    began = time.monotonic()
    assert compile_regex(EVIL).search(TEXT) is None
    assert compile_wildcards("*a" * 30 + "*b").fullmatch("a" * 10_000) is None
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(", "a{5000}"])
def test_expressions_outside_re2_syntax_are_refused(pattern: str) -> None:
    with pytest.raises(RegexError, match="RE2 syntax"):
        compile_regex(pattern)


def test_a_jobs_evil_regex_does_not_block_other_requests(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3", "us-east-1")
    s3.create_bucket(Bucket="evil-regex")
    metric = {"MetricDefinitions": [{"Name": "evil", "Regex": EVIL}, {"Name": "evil_loss", "Regex": "loss=([0-9.]+)"}]}
    request = training(f"print({TEXT!r}, flush=True); print('loss=0.5')", "s3://evil-regex/out", algorithm=metric)
    sagemaker = cloud_daemon.client("sagemaker")
    with assert_others_are_answered(cloud_daemon):
        sagemaker.create_training_job(TrainingJobName="evil-regex", **request)
        deadline = time.monotonic() + 60
        while (job := sagemaker.describe_training_job(TrainingJobName="evil-regex"))[
            "TrainingJobStatus"
        ] == "InProgress":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [(each["MetricName"], each["Value"]) for each in job["FinalMetricDataList"]] == [("evil_loss", 0.5)]
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "x", "Regex": "(?=a)(b)"}]
    with pytest.raises(ClientError, match=r"is not a regular expression: .*RE2 syntax"):
        sagemaker.create_training_job(TrainingJobName="evil-regex-2", **request)


def test_evil_wildcards_of_a_bucket_policy_do_not_block_other_requests(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3", "us-east-1")
    s3.create_bucket(Bucket="evil-policy")
    statement = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::evil-policy/" + "*a" * 25 + "*b",
    }  # fmt: skip
    s3.put_bucket_policy(Bucket="evil-policy", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    s3.put_object(Bucket="evil-policy", Key="a" * 900, Body=b"x")
    with assert_others_are_answered(cloud_daemon):
        assert s3.get_object(Bucket="evil-policy", Key="a" * 900)["Body"].read() == b"x"


# -- archives ----------------------------------------------------------------------------------------------------------


def make_archive(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for member, body in members:
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return file


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    archives.unpack(make_archive((tarfile.TarInfo("a/b.txt"), b"text"), (tarfile.TarInfo("c"), b"")), tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {"a/b.txt", "c"}
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"text"


@pytest.mark.parametrize("name", ["../out", "a/../../out"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(archives.ArchiveError):
        archives.unpack(make_archive((tarfile.TarInfo(name), b"x")), tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_an_archive_that_unpacks_to_too_many_bytes_is_refused(tmp_path: Path) -> None:
    class Zeros(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        member = tarfile.TarInfo("zeros")
        member.size = 400 * 2**20
        tar.addfile(member, Zeros())  # type: ignore[arg-type]
    assert file.tell() < 2**20
    with pytest.raises(archives.ArchiveError, match="unpacks to more than 268,435,456 bytes"):
        archives.unpack(file, tmp_path)


def test_an_archive_with_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 10)
    archives.unpack(make_archive(*((tarfile.TarInfo(str(i)), b"") for i in range(10))), tmp_path)
    with pytest.raises(archives.ArchiveError, match="more than 10 files"):
        archives.unpack(make_archive(*((tarfile.TarInfo(str(i)), b"") for i in range(11))), tmp_path)


def test_an_archive_with_a_huge_header_is_refused(tmp_path: Path) -> None:
    head = tarfile.TarInfo("long")
    head.type, head.size = tarfile.XHDTYPE, 2**34
    with pytest.raises(archives.ArchiveError, match="a header of it has"):
        archives.unpack(io.BytesIO(gzip.compress(head.tobuf(tarfile.GNU_FORMAT))), tmp_path)


@pytest.mark.parametrize(
    "body", [b"", b"no archive", gzip.compress(b"no archive", mtime=0), gzip.compress(bytes(10), mtime=0)[:-4]]
)
def test_a_body_that_is_not_an_archive_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(archives.ArchiveError):
        archives.unpack(io.BytesIO(body), tmp_path)
