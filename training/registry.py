"""The champion, which is the newest approved package of the use case's group, and the model that serves."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from millrace.errors import DataError
from queries.endpoints import find_served_model
from queries.packages import APPROVED, describe_package, find_newest_package
from training.io import parse_time, read_json, split_uri
from training.job import Job

#: Files of a model's archive: the description of its inputs and origin, and the code that scores it.
DOCUMENT, BUNDLE = "model.json", "code/bundle.pyz"
#: Values of `--champion`: no champion, whatever the registry holds; look it up, as with an empty value.
NONE, LOOK_UP = "none", "approved"


@dataclass(frozen=True)
class Package:
    """A registered model."""

    arn: str
    version: int
    model_data: str
    """The S3 URI of its model.tar.gz."""
    folder: Path
    """Where the archive is unpacked."""

    @property
    def document(self) -> dict[str, Any]:
        """Its `model.json`."""
        return dict(read_json(self.folder / DOCUMENT))

    @property
    def trained_until(self) -> np.datetime64:
        """The event time of the newest row it was fitted on."""
        return parse_time(self.document["trained_until"], f"trained_until of {self.arn}")


def fetch_champion(job: Job, wanted: str, folder: Path) -> Package | None:
    """Return the champion, unpacked into a folder; None without one.

    Args:
        job: This job.
        folder: Where its archive is unpacked.
        wanted: Its ARN; ``approved`` or empty to look it up; ``none`` for no champion.
    """
    if wanted == NONE:
        return None
    arn: str | None = wanted
    if wanted in ("", LOOK_UP):
        arn = find_newest_package(job.make_client("sagemaker"), job.names.model_package_group, APPROVED)
    return None if arn is None else fetch_package(job, arn, folder)


def fetch_serving_model(job: Job, config: str, folder: Path) -> Package:
    """Return the model of an endpoint configuration, unpacked into ``folder``; version 0 if it has no package.

    Args:
        job: This job.
        config: The configuration's name.
        folder: Where its archive is unpacked.

    Raises:
        DataError: When the configuration or the model has been deleted, or the model has no archive.
    """
    served = find_served_model(job.make_client("sagemaker"), config)
    if served.config is None:
        raise DataError(f"endpoint configuration {config}", "has been deleted", fix=f"recreate it: {_redeploy(job)}")
    if served.model is None:
        raise DataError(
            f"model {served.name} of endpoint configuration {config}", "has been deleted", fix=f"{_redeploy(job)}"
        )
    if served.package:
        return fetch_package(job, served.package, folder)
    if url := served.container.get("ModelDataUrl"):
        return Package(served.model["ModelArn"], 0, url, _unpacked(job, url, folder))
    raise DataError(f"model {served.name} of endpoint configuration {config}", "has neither a package nor model data")


def _redeploy(job: Job) -> str:
    return f"`millrace deploy {job.use_case.name} --env {job.names.environment} --refresh`"


def fetch_package(job: Job, arn: str, folder: Path) -> Package:
    """Return a package with its archive unpacked.

    Raises:
        DataError: When the package or its archive has been deleted, or the archive's code is not the registered one.
    """
    described = describe_package(job.make_client("sagemaker"), arn)
    if described is None:
        raise DataError(
            f"model package {arn}",
            "is no longer in the registry, so its origin is unknown",
            fix=(f"train a new model: `millrace retrain {job.use_case.name} --champion none`, then deploy it"),
        )
    url = described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    unpacked = _unpacked(job, url, folder)
    _check_code(arn, url, unpacked, described.get("CustomerMetadataProperties", {}).get("code"))
    return Package(arn, int(described.get("ModelPackageVersion", 0)), url, unpacked)


def _check_code(arn: str, url: str, folder: Path, registered: str | None) -> None:
    """Refuse a model whose code is not the registered one: scoring with it runs that code.

    Raises:
        DataError: When the SHA-256 of its bundle is another one.
    """
    if registered is None:
        return
    bundle = folder / BUNDLE
    found = hashlib.sha256(bundle.read_bytes()).hexdigest() if bundle.is_file() else "no file"
    if found != registered:
        raise DataError(
            f"{BUNDLE} in {url}",
            f"is not the code of {arn}: its SHA-256 is {found}, the registry has {registered}",
            fix="restore that object's version, or reject the model",
        )


def _unpacked(job: Job, url: str, folder: Path) -> Path:
    from botocore.exceptions import ClientError

    bucket, key = split_uri(url)
    archive = folder / "model.tar.gz"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        job.make_client("s3").download_file(bucket, key, str(archive))
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NoSuchBucket"):
            raise
        raise DataError(
            f"the model's archive {url}",
            "was not found",
            fix=(
                "restore that object's last version, or reject the model and train again: `millrace "
                f"retrain {job.use_case.name} --champion none`"
            ),
        ) from error
    return unpack_archive(archive, folder / "model")


def unpack_archive(archive: Path, folder: Path) -> Path:
    """Unpack a model archive.

    Args:
        archive: The `model.tar.gz`.
        folder: Where it is unpacked.

    Returns:
        The folder.

    Raises:
        DataError: When it does not exist, or is not a complete and undamaged archive.
    """
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (FileNotFoundError, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{archive}", f"cannot be unpacked ({error})", expected="a training job's model.tar.gz"
        ) from error
    return folder
