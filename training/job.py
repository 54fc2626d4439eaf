"""The job that runs a step: its folders, its use case, its stack's names and the time of its data."""

from __future__ import annotations

import hashlib
import json
import os
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
from millrace.errors import DataError, DeclarationError, Diagnosis
from millrace.inventory import JobVariable, is_lake_shared
from millrace.names import Names
from queries.client import make_client
from training.bundle import CONTRACT, read_contract
from training.functions import Functions
from training.io import parse_time, read_json, split_uri

#: SageMaker's base folder in the container.
BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


@dataclass(frozen=True)
class Job:
    """One run of one step under SageMaker's container contract."""

    base: Path
    """`/opt/ml`, or the folder used instead of it."""
    bundle: Path
    """The bundle that runs."""
    environment: Mapping[str, str]

    @classmethod
    def from_process(cls) -> Job:
        """Return the job of this process; its bundle is the file that Python was started with.

        Raises:
            DeclarationError: When Python was not started with a bundle.
        """
        bundle = Path(sys.path[0])
        if not zipfile.is_zipfile(bundle):
            raise DeclarationError(
                "training", [Diagnosis(f"{bundle}", "is not a bundle", fix="run `python3 <bundle>.pyz <step>`")]
            )
        return cls(BASE, bundle, os.environ)

    @cached_property
    def use_case(self) -> UseCase:
        """The declaration that the bundle carries."""
        with zipfile.ZipFile(self.bundle) as archive:
            return read_contract(archive.read(CONTRACT))

    @cached_property
    def functions(self) -> Functions:
        """The use case's own functions."""
        return Functions.load(self.use_case)

    @cached_property
    def code_sha256(self) -> str:
        """The SHA-256 of the bundle, in hexadecimal."""
        return hashlib.sha256(self.bundle.read_bytes()).hexdigest()

    @cached_property
    def names(self) -> Names:
        """The names of the stack's resources, from the job's variables."""
        return Names(
            use_case=self.use_case.name,
            environment=self._variable(JobVariable.ENVIRONMENT, "the environment's name, e.g. 'local'"),
            account=self._variable(JobVariable.ACCOUNT, "the AWS account's twelve digits"),
            region=self._variable("AWS_REGION", "the AWS region"),
            shared_lake=is_lake_shared(self.environment),
        )

    @cached_property
    def name(self) -> str:
        """The processing job's name from its configuration file; outside SageMaker, one made of the process id."""
        path = self.base / "config" / "processingjobconfig.json"
        return str(read_json(path)["ProcessingJobName"]) if path.is_file() else f"process-{os.getpid()}"

    def make_client(self, service: str, **settings: Any) -> Any:
        """Return a boto3 client for the job's region.

        Args:
            service: boto3's name of the service.
            settings: Further arguments of :func:`queries.client.make_client`.

        Raises:
            DeclarationError: When `AWS_REGION` is not set.
        """
        settings.setdefault("max_pool_connections", 32)
        return make_client(service, self._variable("AWS_REGION", "the AWS region"), **settings)

    def get_input_folder(self, name: str) -> Path:
        """Return the folder of a processing job's input.

        Args:
            name: The input's name in the pipeline's step, e.g. `snapshot`.
        """
        return self.base / "processing" / "input" / name

    def make_output_folder(self, name: str) -> Path:
        """Return the folder of a processing job's output; create it if it does not exist.

        Args:
            name: The output's name in the pipeline's step, e.g. `report`.
        """
        folder = self.base / "processing" / "output" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def find_data_time(self, as_of: str) -> np.datetime64:
        """Return the time of the data.

        Args:
            as_of: ISO 8601, or ``now``: the replay's clock if there is one, else the wall clock.

        Returns:
            The time in UTC.

        Raises:
            DataError: When the text is not ISO 8601, or the replay's clock does not hold a time.
        """
        if as_of != "now":
            return parse_time(as_of, "--as-of")
        clock = self.environment.get(JobVariable.CLOCK, "")
        if not clock:
            return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
        bucket, key = split_uri(clock)
        body = json.loads(self.make_client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        if "now" not in body:
            raise DataError(clock, f"holds {body!r}", expected='{"now": "<ISO time>"}')
        return parse_time(body["now"], clock)

    def _variable(self, name: str, purpose: str) -> str:
        value = self.environment.get(name, "")
        if not value:
            raise DeclarationError(
                "environment variables",
                [Diagnosis(name, "is not set", expected=purpose, fix="set it for the job")],
            )
        return value
