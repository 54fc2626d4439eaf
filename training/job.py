"""What every step knows: its folder, its use case, the names around it, the time of the data."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.errors import DataError, DeclarationError
from millrace.inventory import JobVariable, is_lake_shared
from millrace.names import Names
from queries.client import make_client
from training.bundle import CONTRACT, read_contract
from training.functions import Functions

#: The container's own folder.
BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


@dataclass(frozen=True)
class Job:
    """One run of one step under SageMaker's container contract."""

    base: Path
    """`/opt/ml`, or what stands for it."""
    bundle: Path
    """The bundle that runs."""
    environment: Mapping[str, str]

    @classmethod
    def here(cls) -> Job:
        """The job of this process; the bundle is what Python was started with."""
        bundle = Path(sys.path[0])
        if not zipfile.is_zipfile(bundle):
            raise DeclarationError("training", [f"{bundle} is no bundle; run `python3 <bundle>.pyz <step>`"])
        return cls(BASE, bundle, os.environ)

    @cached_property
    def use_case(self) -> UseCase:
        with zipfile.ZipFile(self.bundle) as archive:
            return read_contract(archive.read(CONTRACT))

    @cached_property
    def functions(self) -> Functions:
        return Functions.load(self.use_case)

    @cached_property
    def code_sha256(self) -> str:
        return hashlib.sha256(self.bundle.read_bytes()).hexdigest()

    @cached_property
    def names(self) -> Names:
        return Names(
            use_case=self.use_case.name,
            environment=self._variable(JobVariable.ENVIRONMENT, "the environment's name, e.g. 'local'"),
            account=self._variable(JobVariable.ACCOUNT, "the AWS account's twelve digits"),
            region=self._variable("AWS_REGION", "the AWS region"),
            shared_lake=is_lake_shared(self.environment),
        )

    @cached_property
    def name(self) -> str:
        """The processing job's name, as its configuration file says; the process's own outside SageMaker."""
        path = self.base / "config" / "processingjobconfig.json"
        return str(read_json(path)["ProcessingJobName"]) if path.is_file() else f"process-{os.getpid()}"

    def client(self, service: str, **settings: Any) -> Any:
        """A boto3 client for the job's region; settings as :func:`queries.client.make_client` takes them."""
        settings.setdefault("max_pool_connections", 32)
        return make_client(service, self._variable("AWS_REGION", "the AWS region"), **settings)

    def input(self, name: str) -> Path:
        """A processing job's input folder."""
        return self.base / "processing" / "input" / name

    def output(self, name: str) -> Path:
        """A processing job's output folder."""
        folder = self.base / "processing" / "output" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def time(self, as_of: str) -> np.datetime64:
        """The time of the data: ``now`` means the replay's clock where there is one, else the wall clock."""
        if as_of != "now":
            return parse_time(as_of, "--as-of")
        clock = self.environment.get(JobVariable.CLOCK, "")
        if not clock:
            return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
        bucket, key = split_uri(clock)
        body = json.loads(self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        if "now" not in body:
            raise DataError(f'{clock} holds {body!r}; expected {{"now": "<ISO time>"}}')
        return parse_time(body["now"], clock)

    def _variable(self, name: str, purpose: str) -> str:
        value = self.environment.get(name, "")
        if not value:
            raise DeclarationError(
                "environment variables", [f"{name} is not set; expected {purpose}: set it for the job"]
            )
        return value


def parse_time(text: str, where: str) -> np.datetime64:
    """A time in UTC.

    Raises:
        DataError: When it is not ISO 8601.
    """
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is {text!r}; expected an ISO time such as 2013-04-01T00:00:00Z") from error
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, "us")


def format_time(time: np.datetime64) -> str:
    """ISO 8601 in UTC with a Z; milliseconds or microseconds only where there are any."""
    text = str(time.astype("datetime64[us]"))
    return re.sub(r"(\.\d{3})000$", r"\1", text.removesuffix(".000000")) + "Z"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise DataError(f"{uri!r} is no S3 URI; expected s3://<bucket>/<key>")
    return bucket, key


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        DataError: When it is not there or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there; expected what the step before writes") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error


def write_json(path: Path, document: Any) -> None:
    """Canonical JSON, one byte sequence for one content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n")


def sha256_of(document: Any) -> str:
    """The hash of a document's canonical JSON."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def say(text: str) -> None:
    """A line of progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
