"""Deleted models: the errors of jobs that need them."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest

from local.credentials import ensure_credentials
from millrace import UseCase
from millrace.errors import DataError
from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE
from tests.local.jobs import make_bucket
from training import bundle, registry
from training.job import Job

GROUP = "deleted-models"
PACKAGE = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{GROUP}/1"


@pytest.fixture
def job(cloud_daemon: CloudDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Return a job of a use case in the cloud."""
    for name, value in (
        ("AWS_ENDPOINT_URL", cloud_daemon.endpoint_url),
        *ensure_credentials(cloud_daemon.state).to_environment().items(),
    ):
        monkeypatch.setenv(name, value)
    case = UseCase(name="flights", target="y", key="id", event_time="at")
    built = bundle.build_bundle(case, Path(__file__).resolve().parents[2], tmp_path)
    return Job(tmp_path, built, {"AWS_REGION": "eu-west-1"})


def test_a_deleted_package_is_reported_with_the_fix(job: Job, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        registry.fetch_package(job, PACKAGE, tmp_path / "champion")
    assert PACKAGE in str(refused.value)
    assert "millrace retrain flights --champion none" in str(refused.value)


def test_a_deleted_archive_is_reported(job: Job, cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    sagemaker = cloud_daemon.client("sagemaker")
    make_bucket(cloud_daemon, GROUP).put_object(Bucket=GROUP, Key="model.tar.gz", Body=b"")
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{GROUP}/model.tar.gz"}
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    cloud_daemon.client("s3").delete_object(Bucket=GROUP, Key="model.tar.gz")
    with pytest.raises(DataError) as refused:
        registry.fetch_package(job, arn, tmp_path / "champion")
    assert f"s3://{GROUP}/model.tar.gz was not found" in str(refused.value)


def make_archive(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.joblib")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "no archive"])
def test_a_damaged_archive_is_reported(tmp_path: Path, damage: str) -> None:
    content = b" ".join(str(number).encode() for number in range(100_000))
    whole = make_archive(content)
    middle = len(whole) // 2
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(
        {
            "truncated": whole[:middle],
            "changed": whole[:middle] + b"\xff" * 1000 + whole[middle + 1000 :],
            "empty": b"",
            "no archive": b"no archive",
        }[damage]
    )
    said = r"model\.tar\.gz cannot be unpacked \(.+\); expected a training job's model\.tar\.gz"
    with pytest.raises(DataError, match=re.compile(said, re.DOTALL)):
        registry.unpack_archive(archive, tmp_path / "model")
    archive.write_bytes(whole)
    assert (registry.unpack_archive(archive, tmp_path / "model") / "model.joblib").read_bytes() == content
