"""Fixtures that run the command line as a user does: in a separate process, against a separate local cloud."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local import client
from tests import forked
from tests.local.conftest import CloudDaemon, make_roles
from tests.local.hosted import IMAGE, eventually
from tests.local.jobs import ROLE, make_bucket
from tests.local.pipelines import create, get, process

REPOSITORY = Path(__file__).resolve().parents[2]
STACK = "flights-local"
MODEL = "s3://cli/model.tar.gz"


@pytest.fixture(autouse=True)
def _use_test_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use prices of the stacks' region, which the built-in table does not have."""
    monkeypatch.setenv("MILLRACE_PRICES", str(REPOSITORY / "tests" / "cli" / "previews" / "prices.toml"))


@dataclass
class Millrace:
    """The `millrace` command with its own state folder and without the user's AWS settings."""

    state: Path

    @property
    def environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
        return {**mine, "MILLRACE_STATE": str(self.state), "TERM": "dumb"}

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *arguments]

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = forked.run(self.command(*arguments), cwd=REPOSITORY, env={**self.environment, **variables}, input=stdin)
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        if code:
            assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        """Return the parsed output of a command with ``--json``."""
        return json.loads(self(*arguments, "--json").stdout)

    def error(self, *arguments: str, code: int = 1, **variables: str) -> str:
        """Return the error output of a command that fails."""
        return self(*arguments, code=code, **variables).stderr


@pytest.fixture
def millrace(tmp_path: Path) -> Iterator[Millrace]:
    """Yield the command with an empty state folder; stop the local cloud if the test started one."""
    millrace = Millrace(tmp_path / "state")
    yield millrace
    client.stop(millrace.state)


class Loop:
    """A local cloud with resources of `flights-local` that tests create without Pulumi, and the command for it."""

    def __init__(self, daemon: CloudDaemon) -> None:
        self.daemon = daemon
        self.millrace = Millrace(daemon.state)
        self.sagemaker = daemon.client("sagemaker")

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return self.millrace(*arguments, code=code, stdin=stdin, **variables)

    def printed(self, name: str) -> str:
        """Return the output of `millrace logs`; it is empty if nothing was printed yet."""
        return forked.run(self.millrace.command("logs", name), cwd=REPOSITORY, env=self.millrace.environment).stdout

    def register(self, approval: str, **figures: str) -> tuple[int, str]:
        """Register a package; return its version and ARN."""
        arn = self.sagemaker.create_model_package(
            ModelPackageGroupName=STACK,
            ModelApprovalStatus=approval,
            ModelPackageDescription="better by 0.01 than its champion",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": MODEL}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            CustomerMetadataProperties={"roc_auc": "0.73", "brier_skill": "0.15", "ece": "0.01", **figures},
        )["ModelPackageArn"]
        return int(arn.rpartition("/")[2]), arn

    def decided(self, arn: str) -> tuple[str, str]:
        """Return a package's approval status and reason from the registry."""
        found = self.sagemaker.describe_model_package(ModelPackageName=arn)
        return found["ModelApprovalStatus"], found.get("ApprovalDescription", "")

    def forget_models(self) -> None:
        """Delete all packages, so that each test counts only its own."""
        for each in self.sagemaker.list_model_packages(ModelPackageGroupName=STACK)["ModelPackageSummaryList"]:
            self.sagemaker.delete_model_package(ModelPackageName=each["ModelPackageArn"])

    def pipeline(self, kind: str, source: str) -> None:
        """Create a pipeline with one step, `Work`, and the parameters of the real pipelines."""
        parameters = [{"Name": "AsOf", "Type": "String", "DefaultValue": "now"}]
        step = process("Work", source, Environment={"AS_OF": get("Parameters.AsOf")})
        create(self.sagemaker, f"{STACK}-{kind}", step, parameters=parameters)

    def serve(self, arn: str) -> None:
        """Create the endpoint with a package's model and wait until it is in service."""
        self.sagemaker.create_model(ModelName=STACK, Containers=[{"ModelPackageName": arn}], ExecutionRoleArn=ROLE)
        variant = {
            "VariantName": "main", "ModelName": STACK, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large",
        }  # fmt: skip
        self.sagemaker.create_endpoint_config(EndpointConfigName=STACK, ProductionVariants=[variant])
        self.sagemaker.create_endpoint(EndpointName=STACK, EndpointConfigName=STACK)
        eventually(
            lambda: self.sagemaker.describe_endpoint(EndpointName=STACK)["EndpointStatus"] == "InService", seconds=30
        )


def _make_model_archive(answer: bytes) -> bytes:
    """Return a model archive for the test image that contains its answer."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("answer.txt")
        member.size = len(answer)
        tar.addfile(member, io.BytesIO(answer))
    return archive.getvalue()


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Yield one cloud for all tests of a module."""
    daemon = CloudDaemon(tmp_path_factory.mktemp("cli") / "state")
    daemon.start()
    make_roles(daemon.client("iam"))
    try:
        loop = Loop(daemon)
        make_bucket(daemon, "cli").put_object(
            Bucket="cli", Key="model.tar.gz", Body=_make_model_archive(b'{"score": 0.5}')
        )
        loop.sagemaker.create_model_package_group(ModelPackageGroupName=STACK)
        yield loop
    finally:
        daemon.stop()
