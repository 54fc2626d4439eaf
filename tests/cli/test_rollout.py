"""Tests of waiting until an endpoint has settled."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.console.progress import Progress
from cli.deployment import rollout
from cli.stack.target import Target
from millrace import Environment, UseCase

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/toy-local/3"


class Account:
    """The clients of an account whose endpoint has the next of some statuses at each request."""

    def __init__(self, *statuses: str) -> None:
        self.left = list(statuses)

    def __call__(self, service: str) -> Account:
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "123456789012"}

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        now = datetime.now(UTC)
        status = self.left.pop(0)
        return {
            "EndpointName": EndpointName, "EndpointStatus": status, "EndpointConfigName": "c", "CreationTime": now,
        }  # fmt: skip

    def describe_endpoint_config(self, **_: str) -> dict[str, Any]:
        return {"ProductionVariants": [{"ModelName": "m"}], "CreationTime": datetime.now(UTC)}

    def describe_model(self, **_: str) -> dict[str, Any]:
        return {"PrimaryContainer": {"ModelPackageName": ARN}}


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
@pytest.mark.parametrize("end", ["InService", "Failed"])
def test_every_transitional_status_of_an_endpoint_is_waited_for(tmp_path: Path, status: str, end: str) -> None:
    account = Account(status, status, end)
    case = UseCase(name="toy", target="y", key="id", event_time="at")
    target = Target(case, Environment(name="local"), tmp_path, account)
    with Progress().stage("deploy") as stage:
        found = rollout.wait_until_settled(target, stage)
    assert found is not None
    assert (found.status, found.version) == (end, 3)
    assert account.left == []
