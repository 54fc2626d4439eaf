"""The deployment of what is approved: what starts a build, what it may do, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.mlops_stack import MlopsStack
from components.stack_args import MlopsStackArgs
from local.services.codebuild.buildspec import parse_buildspec
from local.services.eventbridge.patterns import matches
from millrace import Environment, UseCase
from tests.components import mocked
from tests.components.flights_stack import BUNDLE_FILE

SOURCE = Path("sources") / "0123456789abcdef.zip"


def register(promotion: dict[str, Any] | None = None, **changes: Any) -> dict[str, mocked.Registered]:
    use_case = UseCase(name="small", target="y", key="k", event_time="t")
    environment = Environment(name="local", promotion=promotion or {"by": "build"})
    given: dict[str, Any] = {"source": SOURCE, "backend": "s3://states/team?region=eu-west-1", **changes}
    args = MlopsStackArgs(use_case, environment, mocked.ACCOUNT, "aws", BUNDLE_FILE, **given)
    return mocked.run(lambda: MlopsStack("small", args))


def test_a_decision_starts_a_build_of_the_deployed_revision() -> None:
    found = register()
    project = found["small-local-promotion-project"].inputs
    assert project["source"]["location"].endswith("/source/0123456789abcdef.zip")
    spec = parse_buildspec(project["source"]["buildspec"])
    assert " deploy small --env local --only-model --yes --patience 45m" in spec.phases["build"].commands[-1]
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


def test_builds_that_fail_are_told_of() -> None:
    pattern = json.loads(register()["small-local-promotion-failures"].inputs["eventPattern"])

    def is_told(project: str, status: str) -> bool:
        event = {"source": "aws.codebuild", "detail-type": "CodeBuild Build State Change"}
        return matches(pattern, {**event, "detail": {"project-name": project, "build-status": status}})

    assert all(is_told("small-local-promotion", status) for status in ("FAILED", "FAULT", "STOPPED", "TIMED_OUT"))
    assert not is_told("small-local-promotion", "SUCCEEDED")
    assert not is_told("small-local-promotion", "IN_PROGRESS")
    assert not is_told("other-local-promotion", "FAILED")


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
    assert everywhere == {"kms:ListAliases", "cloudwatch:ListMetrics", "ecr:GetAuthorizationToken"}
    allowed = {action: each["Resource"] for each in statements for action in each["Action"]}
    # The state of this stack, and of no other.
    assert "arn:aws:s3:::states/team/.pulumi/stacks/*/small-local.*" in allowed["s3:DeleteObject"]
    assert all("small-local" in resource for resource in allowed["s3:DeleteObject"])
    assert any(":endpoint-config/" in resource for resource in allowed["sagemaker:UpdateEndpoint"])
    assert "sagemaker:DeleteEndpoint" not in allowed
    assert "sagemaker:CreateModelPackage" not in allowed
    [passed] = [each for each in statements if each["Action"] == ["iam:PassRole"]]
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    start = [each for each in get_statements(found, "trigger") if "codebuild:StartBuild" in each["Action"]]
    assert [each["Resource"] for each in start] == [
        [f"arn:aws:codebuild:eu-west-1:{mocked.ACCOUNT}:project/small-local-promotion"]
    ]


def test_jobs_and_endpoints_cannot_replace_the_code_of_builds() -> None:
    found = register()
    for role in ("job", "endpoint"):
        [denied] = [each for each in get_statements(found, role) if each["Effect"] == "Deny"]
        assert denied["Action"] == ["s3:PutObject"]
        assert [resource.rpartition("/")[0].rpartition("/")[2] for resource in denied["Resource"]] == ["code", "source"]


def test_secrets_of_builds_are_parameters_that_their_role_may_read() -> None:
    key = f"arn:aws:kms:eu-west-1:{mocked.ACCOUNT}:key/1"
    declared = {"by": "build", "build_secrets": {"PULUMI_CONFIG_PASSPHRASE": "/team/pulumi"}, "build_keys": [key]}
    found = register(promotion=declared)
    variables = found["small-local-promotion-project"].inputs["environment"]["environmentVariables"]
    assert {"name": "PULUMI_CONFIG_PASSPHRASE", "value": "/team/pulumi", "type": "PARAMETER_STORE"} in variables
    allowed = {action: each["Resource"] for each in get_statements(found, "deploy") for action in each["Action"]}
    assert allowed["ssm:GetParameters"] == [f"arn:aws:ssm:eu-west-1:{mocked.ACCOUNT}:parameter/team/pulumi"]
    assert key in [each for found_in in get_statements(found, "deploy") for each in found_in["Resource"]]


def test_only_images_of_codebuild_have_versions_of_python() -> None:
    own = {"by": "build", "build_image": f"{mocked.ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/deployer:1"}
    project = register(promotion=own)["small-local-promotion-project"].inputs
    assert "runtime-versions" not in project["source"]["buildspec"]
    assert project["environment"]["imagePullCredentialsType"] == "SERVICE_ROLE"
    assert "runtime-versions" in register()["small-local-promotion-project"].inputs["source"]["buildspec"]


def test_where_a_person_deploys_there_is_no_build() -> None:
    found = register(source=None)
    assert {"small-local-promotion-project", "small-local-deploy-role", "small-local-source"}.isdisjoint(found)
    assert not [each for each in get_statements(found, "trigger") if "codebuild:StartBuild" in each["Action"]]
