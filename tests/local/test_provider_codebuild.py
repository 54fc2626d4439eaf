"""CodeBuild's resource type against the running cloud, through the provider that it serves."""

from __future__ import annotations

import json

import grpc
import pytest

from tests.local.conftest import CloudDaemon
from tests.local.provider_engine import Engine, Values
from tests.local.test_provider_sagemaker import create_and_verify, delete_and_verify, engine, get_diff_kinds
from tests.local.watched import make_role

__all__ = ["engine"]

PROJECT = "aws:codebuild/project:Project"


@pytest.fixture(scope="module")
def role(cloud_daemon: CloudDaemon) -> str:
    return make_role(cloud_daemon, "codebuild.amazonaws.com", {})


def declare(role: str, **more: object) -> Values:
    spec = {"version": 0.2, "phases": {"build": {"commands": ["true"]}}}
    return {
        "serviceRole": role,
        "source": {"type": "S3", "location": "code/main.zip", "buildspec": json.dumps(spec)},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/amazonlinux2-x86_64-standard:5.0",
            "computeType": "BUILD_GENERAL1_MEDIUM",
            "environmentVariables": [{"name": "A", "value": "one"}],
        },
        **more,
    }


def test_the_life_cycle_of_a_project(engine: Engine, cloud_daemon: CloudDaemon, role: str) -> None:
    first = declare(role, buildTimeout=10, concurrentBuildLimit=2, tags={"stage": "one"})
    made = create_and_verify(engine, PROJECT, "builds", first)
    assert made.id == made.outputs["arn"]
    assert made.outputs["tagsAll"] == {"owner": "tests", "stage": "one"}
    second = declare(role, description="second", tags={"stage": "two"})
    second["environment"] = {**second["environment"], "environmentVariables": [{"name": "B", "value": "two"}]}
    found = engine.diff(made, second)
    assert not found.replaces
    made = engine.update(made, second)
    assert get_diff_kinds(engine, made, second) == {}
    refreshed = engine.refresh(made)
    assert refreshed is not None
    assert get_diff_kinds(engine, refreshed, second) == {}
    (live,) = cloud_daemon.client("codebuild").batch_get_projects(names=[made.outputs["name"]])["projects"]
    assert (live["description"], live["timeoutInMinutes"], "concurrentBuildLimit" in live) == ("second", 60, False)
    assert {tag["key"]: tag["value"] for tag in live["tags"]} == {"owner": "tests", "stage": "two"}
    assert "name" in engine.diff(made, declare(role, name="another")).replaces
    delete_and_verify(engine, made)


def test_what_the_local_cloud_does_not_build_is_refused(engine: Engine, role: str) -> None:
    news = declare(role)
    news["source"] = {"type": "GITHUB", "location": "https://github.com/a/b"}
    with pytest.raises(grpc.RpcError, match="GITHUB is not available"):
        engine.create(PROJECT, "other", news)
