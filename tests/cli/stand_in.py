"""A local cloud that emulates an account in which flights is deployed in dev, with models that only answer."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from local import client
from tests import forked
from tests.e2e.stand import Stand
from tests.local.hosted import IMAGE

from .conftest import REPOSITORY

ECHO = REPOSITORY / "tests" / "local" / "images" / "echo"
STACK = "flights-dev"
LAKE = f"{STACK}-lake-123456789012"
DEV = ("--env", "dev")


class Account(Stand):
    """A stand whose local cloud emulates every account."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MILLRACE_STAND_IN": "1"}

    def answered(self, *arguments: str) -> str:
        """Return all output of a command whose question is answered with no."""
        done = forked.run(
            [sys.executable, "-m", "cli.main", *arguments], cwd=self.folder, env=self.environment, input="n\n"
        )
        assert done.returncode == 1
        assert "nothing was changed" in done.stderr
        return done.stdout + done.stderr

    def said(self, *arguments: str) -> Any:
        """Return the parsed output of a command with ``--json``."""
        return json.loads(self.millrace(*arguments, "--yes", "--json").stdout)

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))

    def register(self) -> None:
        """Register another model that waits for approval."""
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{LAKE}/models/echo.tar.gz"}
        self.client("s3").put_object(Bucket=LAKE, Key="models/echo.tar.gz", Body=_make_model_archive())
        self.client("sagemaker").create_model_package(
            ModelPackageGroupName=STACK,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            CustomerMetadataProperties={"roc_auc": "0.73", "brier_skill": "0.15", "ece": "0.01"},
        )

    def approvals(self) -> list[str]:
        """Return the approval status of each version, oldest first."""
        listed = self.client("sagemaker").list_model_packages(
            ModelPackageGroupName=STACK, SortBy="CreationTime", SortOrder="Ascending", MaxResults=100
        )
        return [each["ModelApprovalStatus"] for each in listed["ModelPackageSummaryList"]]


def _make_model_archive() -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member, answer = tarfile.TarInfo("answer.txt"), b'{"score": 0.5}'
        member.size = len(answer)
        tar.addfile(member, io.BytesIO(answer))
    return archive.getvalue()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Yield an account with the flights stack deployed in dev, without a model."""
    folder = tmp_path_factory.mktemp("account") / "millrace"
    folder.mkdir()
    account = Account(folder, 300.0)
    images = {"millrace": folder / "training" / "image", "echo": ECHO}
    client.start(account.state, scale=account.scale, images=images)
    try:
        account.millrace("deploy", "flights", *DEV, "--create", "--yes")
        yield account
    finally:
        client.stop(account.state)
