"""What is shown, asked and refused before a deployment: in a checkout whose local cloud stands in for the account."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.deployment import expected_changes
from cli.stack.stack_files import StackFile
from local import client
from tests.e2e.stand import Stand
from tests.local.hosted import IMAGE, eventually

from . import previewed
from .conftest import REPOSITORY

pytestmark = pytest.mark.timeout(300)

ECHO = REPOSITORY / "tests" / "local" / "images" / "echo"
STACK = "flights-dev"
LAKE = f"{STACK}-lake-123456789012"
DEV = ("--env", "dev")


class Account(Stand):
    """A stand whose cloud stands in for every account."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MILLRACE_STAND_IN": "1"}

    def answered(self, *arguments: str) -> str:
        """All that a command says whose question is answered with a no."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=self.folder, env=self.environment, input="n\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "nothing was changed" in done.stderr
        return done.stdout + done.stderr

    def said(self, *arguments: str) -> Any:
        """What a command with ``--json`` says."""
        return json.loads(self.millrace(*arguments, "--yes", "--json").stdout)

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))

    def register(self) -> None:
        """One more model, which waits for a person."""
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{LAKE}/models/echo.tar.gz"}
        self.client("s3").put_object(Bucket=LAKE, Key="models/echo.tar.gz", Body=_archive())
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
        """Of each version, oldest first."""
        listed = self.client("sagemaker").list_model_packages(
            ModelPackageGroupName=STACK, SortBy="CreationTime", SortOrder="Ascending"
        )
        return [each["ModelApprovalStatus"] for each in listed["ModelPackageSummaryList"]]


def _archive() -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member, answer = tarfile.TarInfo("answer.txt"), b'{"score": 0.5}'
        member.size = len(answer)
        tar.addfile(member, io.BytesIO(answer))
    return archive.getvalue()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """With the stack of flights in dev, deployed and without a model."""
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


def plan_is_refused(account: Account) -> str:
    return account.millrace("deploy", "flights", *DEV, "--plan", "plan.json", "--yes", code=1).stderr


# -- the question ------------------------------------------------------------------------------------------------------


def test_the_question_shows_every_risk_that_diff_shows_of_a_plan_too(account: Account) -> None:
    account.edit("stacks/flights/__init__.py", 'Gate("roc_auc", at_least=', 'Gate("roc_auc", at_least=0.5 * ')
    account.edit("components/access.py", '["iam:PassRole"], [role_arn]', '["iam:PassRole"], ["*"]')
    # As in the job of a workflow, which has not built what is deployed: the lake has it.
    shutil.rmtree(account.folder / ".millrace" / "bundles")
    diff = ("diff", "flights", *DEV, "--json")
    document = json.loads(account.millrace(*diff, "--save-plan", "plan.json", code=3).stdout)
    assert {"gate-loosened", "opened"} <= {each["kind"] for each in document["risks"]}
    for arguments in ((), ("--plan", "plan.json")):
        shown = account.answered("deploy", "flights", *DEV, *arguments)
        for line in expected_changes.format_risks(document["risks"]):
            assert line in shown
    # The steps of a plan stand below.
    assert f"update {STACK}-training-pipeline" in shown
    account.git("checkout", "--quiet", "stacks", "components")


# -- saved plans -------------------------------------------------------------------------------------------------------


def test_a_plan_is_out_of_date_when_a_module_of_every_stack_is_another(account: Account) -> None:
    account.millrace("diff", "flights", *DEV, "--save-plan", "plan.json")
    common = account.folder / "stacks" / "common.py"
    common.write_text("THRESHOLD = 0.5\n")
    said = plan_is_refused(account)
    common.unlink()
    assert "1 file: stacks/common.py is new" in said


def test_a_stack_is_made_of_what_concerns_it_and_every_stack() -> None:
    flights, platform = (StackFile(name, "dev", f"{name}-dev", "eu-west-1") for name in ("flights", "platform"))
    for path in ("stacks/common.py", "stacks/flights/data.py", "stacks/Pulumi.flights-dev.yaml", "queries/client.py"):
        assert flights.includes(path)
    for path in ("stacks/churn/data.py", "stacks/Pulumi.flights-prod.yaml", "docs/operating.md"):
        assert not flights.includes(path)
    assert platform.includes("stacks/churn/data.py")


def test_a_plan_takes_no_endpoint_away(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    sagemaker.create_model(ModelName=STACK, PrimaryContainer={"Image": IMAGE})
    variant = {"VariantName": "main", "ModelName": STACK, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=STACK, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=STACK, EndpointConfigName=STACK)
    account.millrace("diff", "flights", *DEV, "--save-plan", "plan.json")
    said = plan_is_refused(account)
    assert f"endpoint {STACK} would be deleted, because no model of {STACK} is approved" in said
    assert "`millrace deploy flights --env dev --remove-endpoint`" in said
    assert eventually(
        lambda: sagemaker.describe_endpoint(EndpointName=STACK)["EndpointStatus"] != "Creating", seconds=60
    )
    sagemaker.delete_endpoint(EndpointName=STACK)
    assert eventually(lambda: not sagemaker.list_endpoints()["Endpoints"])


# -- what goes along with a model --------------------------------------------------------------------------------------


def test_what_stands_and_is_unknown_to_the_backend_is_neither_told_as_new_nor_made(
    account: Account, tmp_path: Path
) -> None:
    other = {"PULUMI_BACKEND_URL": f"file://{tmp_path}"}
    for command in (["diff", "flights", *DEV], ["deploy", "flights", *DEV, "--create", "--yes"]):
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *command],
            cwd=account.folder, env={**account.environment, **other}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"in this backend (file://{tmp_path}), but AWS has: pipeline {STACK}-training" in done.stderr
    assert not list(tmp_path.rglob(f"{STACK}.json"))


def test_what_only_another_model_explains_is_not_told_as_another_change() -> None:
    assert list(expected_changes.find_changes_besides_model(previewed.recorded("model"))) == []
    pipelines = [f"flights-local-{kind}-pipeline" for kind in ("features", "monitor", "training")]
    assert sorted(expected_changes.find_changes_besides_model(previewed.recorded("instance"))) == [
        "flights-local-config",
        *pipelines,
    ]
    assert list(expected_changes.find_changes_besides_model(previewed.recorded("rollout"))) == [
        "flights-local-endpoint"
    ]


@pytest.mark.parametrize("operation", ["create", "delete"])
def test_an_endpoint_comes_and_goes_with_its_model_and_its_alarms_with_it(operation: str) -> None:
    def step(kind: str) -> dict[str, Any]:
        sides = (None, {"name": "it"}) if operation == "create" else ({"name": "it"}, None)
        return previewed.step(operation, f"millrace:index:BlueGreenEndpoint${previewed.TYPES[kind]}", kind, *sides)

    assert (
        list(
            expected_changes.find_changes_besides_model(previewed.told(step("Endpoint"), step("Model"), step("Alarm")))
        )
        == []
    )
    # An alarm that goes alone is the checkout's doing.
    assert list(expected_changes.find_changes_besides_model(previewed.told(step("Alarm")))) == ["Alarm"]


def test_whoever_decides_about_a_model_is_told_what_goes_along(account: Account) -> None:
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
    # Without a deployment nothing goes along.
    assert "Approve version 2?" in account.answered("approve", "flights", *DEV)
    found = account.said("approve", "flights", *DEV, "--deploy")
    assert (found["others"], found["deployed"]) == ([], 2)

    # How the model's own resources are is not the model's.
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


def test_what_pulumi_would_refuse_in_the_middle_changes_nothing(account: Account) -> None:
    """A bucket is protected; its settings, which would go before it, are not."""
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
    # Nothing that is printed may empty the lake of all.
    account.edit(f"stacks/Pulumi.{STACK}.yaml", "    name: dev\n", "    name: dev\n    lake: shared\n")
    try:
        said = account.millrace("destroy", "flights", *DEV, "--yes").stdout
    finally:
        account.git("checkout", "--quiet", "stacks")
    shared = "platform-dev-lake-123456789012"
    assert f"list-object-versions --bucket {LAKE} --query" in said
    assert f"--bucket {shared} --prefix flights/" in said
    assert f"--bucket {shared} --query" not in said
