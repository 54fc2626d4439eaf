"""Tests of what a deployment shows, asks and refuses, with a local cloud that emulates the account."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.deployment import expected_changes
from cli.stack.stack_files import StackFile
from tests import forked
from tests.local.hosted import IMAGE, eventually

from . import previewed
from .stand_in import DEV, LAKE, STACK, Account, account

__all__ = ["account"]

pytestmark = pytest.mark.timeout(300)


def deploy_refused_plan(account: Account) -> str:
    return account.millrace("deploy", "flights", *DEV, "--plan", "plan.json", "--yes", code=1).stderr


# -- the question ------------------------------------------------------------------------------------------------------


def test_the_question_shows_every_risk_of_the_diff_for_plans_too(account: Account) -> None:
    account.edit("stacks/flights/__init__.py", 'Gate("roc_auc", at_least=', 'Gate("roc_auc", at_least=0.5 * ')
    account.edit("components/access.py", '["iam:PassRole"], [role_arn]', '["iam:PassRole"], ["*"]')
    # A workflow's job has not built the deployed bundle either; the lake has it.
    shutil.rmtree(account.folder / ".millrace" / "bundles")
    diff = ("diff", "flights", *DEV, "--json")
    document = json.loads(account.millrace(*diff, "--save-plan", "plan.json", code=3).stdout)
    assert {"gate-loosened", "opened"} <= {each["kind"] for each in document["risks"]}
    for arguments in ((), ("--plan", "plan.json")):
        shown = account.answered("deploy", "flights", *DEV, *arguments)
        for line in expected_changes.format_risks(document["risks"]):
            assert line in shown
    # The steps of a plan are listed below the risks.
    assert f"update {STACK}-training-pipeline" in shown
    account.git("checkout", "--quiet", "stacks", "components")


# -- saved plans -------------------------------------------------------------------------------------------------------


def test_a_plan_is_outdated_when_a_shared_module_changes(account: Account) -> None:
    account.millrace("diff", "flights", *DEV, "--save-plan", "plan.json")
    common = account.folder / "stacks" / "common.py"
    common.write_text("THRESHOLD = 0.5\n")
    said = deploy_refused_plan(account)
    common.unlink()
    assert "1 file: stacks/common.py is new" in said


def test_a_stack_includes_its_own_and_the_shared_files() -> None:
    flights, platform = (StackFile(name, "dev", f"{name}-dev", "eu-west-1") for name in ("flights", "platform"))
    for path in ("stacks/common.py", "stacks/flights/data.py", "stacks/Pulumi.flights-dev.yaml", "queries/client.py"):
        assert flights.includes(path)
    for path in ("stacks/churn/data.py", "stacks/Pulumi.flights-prod.yaml", "docs/operating.md"):
        assert not flights.includes(path)
    assert platform.includes("stacks/churn/data.py")


def test_a_plan_that_would_delete_the_endpoint_is_refused(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    sagemaker.create_model(ModelName=STACK, PrimaryContainer={"Image": IMAGE})
    variant = {"VariantName": "main", "ModelName": STACK, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=STACK, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=STACK, EndpointConfigName=STACK)
    account.millrace("diff", "flights", *DEV, "--save-plan", "plan.json")
    said = deploy_refused_plan(account)
    assert f"endpoint {STACK} would be deleted, because no model of {STACK} is approved" in said
    assert "`millrace deploy flights --env dev --remove-endpoint`" in said
    assert eventually(
        lambda: sagemaker.describe_endpoint(EndpointName=STACK)["EndpointStatus"] != "Creating", seconds=60
    )
    sagemaker.delete_endpoint(EndpointName=STACK)
    assert eventually(lambda: not sagemaker.list_endpoints()["Endpoints"])


# -- other changes deployed with a model -------------------------------------------------------------------------------


def test_resources_unknown_to_the_backend_are_not_created_again(account: Account, tmp_path: Path) -> None:
    other = {"PULUMI_BACKEND_URL": f"file://{tmp_path}"}
    for command in (["diff", "flights", *DEV], ["deploy", "flights", *DEV, "--create", "--yes"]):
        done = forked.run(
            [sys.executable, "-m", "cli.main", *command], cwd=account.folder, env={**account.environment, **other}
        )
        assert done.returncode == 1
        assert f"of this backend (file://{tmp_path}), but AWS has: pipeline {STACK}-training" in done.stderr
    assert not list(tmp_path.rglob(f"{STACK}.json"))


def test_changes_caused_by_the_model_are_not_listed_as_other_changes() -> None:
    assert list(expected_changes.find_changes_besides_model(previewed.diff_recorded("model"))) == []
    pipelines = [f"flights-local-{kind}-pipeline" for kind in ("features", "monitor", "training")]
    assert sorted(expected_changes.find_changes_besides_model(previewed.diff_recorded("instance"))) == [
        "flights-local-config",
        *pipelines,
    ]
    assert list(expected_changes.find_changes_besides_model(previewed.diff_recorded("rollout"))) == [
        "flights-local-endpoint"
    ]


@pytest.mark.parametrize("operation", ["create", "delete"])
def test_endpoint_and_alarms_belong_to_the_change_of_the_model(operation: str) -> None:
    def step(kind: str) -> dict[str, Any]:
        sides = (None, {"name": "it"}) if operation == "create" else ({"name": "it"}, None)
        return previewed.make_step(operation, f"millrace:index:BlueGreenEndpoint${previewed.TYPES[kind]}", kind, *sides)

    assert (
        list(
            expected_changes.find_changes_besides_model(
                previewed.diff_steps(step("Endpoint"), step("Model"), step("Alarm"))
            )
        )
        == []
    )
    # An alarm that changes alone is a change of the checkout.
    assert list(expected_changes.find_changes_besides_model(previewed.diff_steps(step("Alarm")))) == ["Alarm"]


def test_other_changes_are_shown_before_deciding_about_a_model(account: Account) -> None:
    config = "stacks/Pulumi.flights-dev.yaml"
    account.register()
    account.edit(config, "endpoint_count: 2", "endpoint_count: 2\n    notify: [somebody@example.org]")
    shown = account.answered("approve", "flights", *DEV, "--deploy")
    assert "this checkout differs from what is deployed; deploying it makes 1 other change: " in shown
    assert "Approve version 1 and deploy, with 1 other change?" in shown
    assert account.approvals() == ["PendingManualApproval"]
    found = account.said("approve", "flights", *DEV, "--deploy")
    assert (len(found["others"]), found["deployed"]) == (1, 1)

    account.register()
    assert "Approve version 2 and deploy?" in account.answered("approve", "flights", *DEV, "--deploy")
    # Without --deploy, no other change is made.
    assert "Approve version 2?" in account.answered("approve", "flights", *DEV)
    found = account.said("approve", "flights", *DEV, "--deploy")
    assert (found["others"], found["deployed"]) == ([], 2)

    # Changed settings of the model's resources are another change, not part of the model's.
    account.edit(config, "endpoint_count: 2", "endpoint_count: 3")
    for asked, question in (
        (("reject", "flights", "2", *DEV, "--deploy"), "Reject version 2 and deploy, with 1 other change?"),
        (("rollback", "flights", *DEV), "Roll back to version 1, with 1 other change?"),
    ):
        shown = account.answered(*asked)
        assert question in shown
        assert f"deploying it makes 1 other change: {STACK}-config\n" in shown
    assert account.approvals() == ["Approved", "Approved"]
    found = account.said("rollback", "flights", *DEV)
    assert (found["others"], found["to"], found["deployed"]) == ([f"{STACK}-config"], 1, True)


def test_a_deployment_that_pulumi_would_refuse_midway_changes_nothing(account: Account) -> None:
    """Refuse before any change: the bucket is protected, but its unprotected settings would be deleted first."""
    s3 = account.client("s3")
    platform = account.folder / "stacks" / "Pulumi.platform-dev.yaml"
    declared = (account.folder / "stacks" / f"Pulumi.{STACK}.yaml").read_text()
    [image] = [line for line in declared.splitlines() if line.startswith("    image:")]
    platform.write_text(f"config:\n  aws:region: eu-west-1\n  millrace:environment:\n    name: dev\n{image}\n")
    account.millrace("deploy", "platform", *DEV, "--create", "--yes")
    account.edit(f"stacks/Pulumi.{STACK}.yaml", "    name: dev\n", "    name: dev\n    lake: shared\n")
    try:
        said = account.millrace("deploy", "flights", *DEV, "--yes", code=1).stderr
        assert "protected" in said
        assert s3.get_bucket_versioning(Bucket=LAKE)["Status"] == "Enabled"
        assert s3.get_bucket_policy(Bucket=LAKE)["Policy"]
    finally:
        account.git("checkout", "--quiet", "stacks")
    # No printed command may empty the shared lake.
    account.edit(f"stacks/Pulumi.{STACK}.yaml", "    name: dev\n", "    name: dev\n    lake: shared\n")
    try:
        said = account.millrace("destroy", "flights", *DEV, "--yes").stdout
    finally:
        account.git("checkout", "--quiet", "stacks")
    shared = "platform-dev-lake-123456789012"
    assert f"list-object-versions --bucket {LAKE} --query" in said
    assert f"--bucket {shared} --prefix flights/" in said
    assert f"--bucket {shared} --query" not in said
