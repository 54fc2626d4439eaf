"""The deployment of what is approved: what starts a build, what it may do, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.mlops_stack import MlopsStack, MlopsStackArgs
from local.services.codebuild.buildspec import parse_buildspec
from local.services.eventbridge.patterns import matches
from millrace import Environment, UseCase
from tests.components import mocked
from tests.components.flights_stack import BUNDLE_FILE

SOURCE = Path("sources") / "0123456789abcdef.zip"


def register(**changes: Any) -> dict[str, mocked.Registered]:
    use_case = UseCase(name="small", target="y", key="k", event_time="t")
    environment = Environment(name="local", promotion={"by": "build"})
    given: dict[str, Any] = {"source": SOURCE, "backend": "s3://states/team?region=eu-west-1", **changes}
    args = MlopsStackArgs(use_case, environment, mocked.ACCOUNT, "aws", BUNDLE_FILE, **given)
    return mocked.run(lambda: MlopsStack("small", args))


def test_a_decision_starts_a_build_of_the_deployed_revision() -> None:
    found = register()
    project = found["small-local-promotion-project"].inputs
    assert project["source"]["location"].endswith("/source/0123456789abcdef.zip")
    spec = parse_buildspec(project["source"]["buildspec"])
    assert spec.phases["build"].commands[-1].endswith("deploy small --env local --only-model --yes")
    assert {each["name"]: each["value"] for each in project["environment"]["environmentVariables"]} == {
        "PULUMI_BACKEND_URL": "s3://states/team?region=eu-west-1"
    }
    pattern = json.loads(found["small-local-promotion-decisions"].inputs["eventPattern"])
    event = {"source": "aws.sagemaker", "detail-type": "SageMaker Model Package State Change"}

    def is_started_by(group: str, status: str) -> bool:
        return matches(pattern, {**event, "detail": {"ModelPackageGroupName": group, "ModelApprovalStatus": status}})

    assert is_started_by("small-local", "Approved")
    assert is_started_by("small-local", "Rejected")
    assert not is_started_by("small-local", "PendingManualApproval")
    assert not is_started_by("other-local", "Approved")
    target = found["small-local-promotion-decisions-target"].inputs
    assert target["deadLetterConfig"]["arn"]
    assert found["small-local-source"].options["retainOnDelete"] is True


def test_builds_that_can_tell_nobody_are_told_of() -> None:
    pattern = json.loads(register()["small-local-promotion-failures"].inputs["eventPattern"])

    def is_told(kind: str, **detail: str) -> bool:
        event = {"source": "aws.codebuild", "detail-type": f"CodeBuild Build {kind} Change"}
        named = {name.replace("_", "-"): value for name, value in detail.items()}
        return matches(pattern, {**event, "detail": {"project-name": "small-local-promotion", **named}})

    for status in ("FAULT", "STOPPED", "TIMED_OUT"):
        assert is_told("State", build_status=status)
    # The command tells the topic itself why it failed.
    assert not is_told("State", build_status="FAILED")
    assert not is_told("State", build_status="SUCCEEDED")
    assert is_told("Phase", completed_phase="INSTALL", completed_phase_status="FAILED")
    assert not is_told("Phase", completed_phase="INSTALL", completed_phase_status="SUCCEEDED")
    assert not is_told("Phase", completed_phase="BUILD", completed_phase_status="FAILED")


def get_statements(found: dict[str, mocked.Registered], role: str) -> list[dict[str, Any]]:
    policy = json.loads(found[f"small-local-{role}-policy"].inputs["policy"])
    return list(policy["Statement"])


def test_builds_have_a_role_of_their_own_for_this_stack_alone() -> None:
    found = register()
    statements = get_statements(found, "deploy")
    trust = json.loads(found["small-local-deploy-role"].inputs["assumeRolePolicy"])["Statement"][0]
    assert trust["Principal"] == {"Service": "codebuild.amazonaws.com"}
    assert trust["Condition"]["ArnLike"]["aws:SourceArn"].endswith(":project/small-local-promotion")
    everywhere = {action for each in statements if "*" in each["Resource"] for action in each["Action"]}
    assert everywhere == {"kms:ListAliases", "cloudwatch:ListMetrics"}
    allowed = {action: each["Resource"] for each in statements for action in each["Action"]}
    assert allowed["s3:DeleteObject"] == ["arn:aws:s3:::states/team/.pulumi/*"]
    assert "sagemaker:DeleteEndpoint" not in allowed
    assert "sagemaker:CreateModelPackage" not in allowed
    [passed] = [each for each in statements if each["Action"] == ["iam:PassRole"]]
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    start = [each for each in get_statements(found, "trigger") if "codebuild:StartBuild" in each["Action"]]
    assert [each["Resource"] for each in start] == [
        [f"arn:aws:codebuild:eu-west-1:{mocked.ACCOUNT}:project/small-local-promotion"]
    ]


def test_where_a_person_deploys_there_is_no_build() -> None:
    found = register(source=None)
    assert {"small-local-promotion-project", "small-local-deploy-role", "small-local-source"}.isdisjoint(found)
    assert not [each for each in get_statements(found, "trigger") if "codebuild:StartBuild" in each["Action"]]
