"""Deciding about models: two people at once, what cannot serve, and going back, in the registry alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cli.console.errors import CliError
from cli.deployment import endpoint_guard
from cli.stack.target import Target
from tests.local.hosted import eventually
from tests.local.jobs import ROLE, make_bucket

from .conftest import MODEL, REPOSITORY, STACK, Loop

APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"


@pytest.fixture(scope="module", autouse=True)
def _lake(loop: Loop) -> None:
    """So that the stack counts as provisioned."""
    make_bucket(loop.daemon, f"{STACK}-lake-123456789012")


@pytest.fixture
def registry(loop: Loop) -> Iterator[Loop]:
    """Without models and without an endpoint."""
    yield loop
    loop.forget_models()


class Asked:
    """A command that waits for an answer."""

    def __init__(self, loop: Loop, *arguments: str) -> None:
        self.process = subprocess.Popen(
            loop.millrace.command(*arguments), cwd=REPOSITORY, env=loop.millrace.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.shown = ""
        assert self.process.stdout is not None
        while not self.shown.endswith("[y/N]: "):
            letter = self.process.stdout.read(1)
            assert letter, f"it ended: {self.shown}\n{self.process.communicate()[1]}"
            self.shown += letter

    def yes(self) -> tuple[int, str, str]:
        """Exit code and what it said, after a yes."""
        out, err = self.process.communicate("y\n", timeout=60)
        assert "Traceback" not in err
        return self.process.returncode, out, err

    def no(self) -> str:
        """What it had shown, after a no."""
        self.process.communicate("n\n", timeout=60)
        assert self.process.returncode == 1
        return self.shown


# -- approve and reject ------------------------------------------------------------------------------------------------


def test_a_decision_is_not_written_over_another_one(registry: Loop) -> None:
    version, arn = registry.register(PENDING)
    asked = Asked(registry, "approve", "flights", str(version))
    registry("reject", "flights", str(version), "--yes", "--reason", "unfair")
    code, _, said = asked.yes()
    assert code == 1
    assert f"version {version} of {STACK} was set to {REJECTED} 20" in said
    assert "because: unfair, after it was shown as PendingManualApproval; nothing was changed here" in said
    assert registry.decided(arn) == (REJECTED, "unfair")


def test_a_model_that_is_deleted_while_it_is_asked_about(registry: Loop) -> None:
    version, arn = registry.register(PENDING)
    asked = Asked(registry, "approve", "flights")
    registry.sagemaker.delete_model_package(ModelPackageName=arn)
    code, _, said = asked.yes()
    assert (code, f"version {version} of {STACK} was deleted in the meantime; nothing was changed" in said) == (1, True)


def test_whoever_overrules_a_gate_says_why(registry: Loop) -> None:
    version, arn = registry.register(PENDING, ece="0.09", brier_skill="unreadable")
    said = registry("approve", "flights", "--yes", code=1).stderr
    assert "brier_skill is unknown, expected at least" in said
    assert "ece is 0.0900, expected at most 0.05" in said
    assert f"millrace approve flights {version} --reason" in said
    assert registry.decided(arn) == (PENDING, "")
    found = registry.millrace.json("approve", "flights", "--yes", "--reason", "the labels of May are late")
    assert found == {
        "stack": STACK,
        "version": version,
        "was": PENDING,
        "approval": APPROVED,
        "reason": "the labels of May are late",
        "others": [],
        "deployed": None,
        "next": f"to let version {version} serve: millrace deploy flights",
    }
    assert registry.decided(arn) == (APPROVED, "the labels of May are late")
    # Of a new decision the old reason is not the reason.
    registry("reject", "flights", str(version), "--yes")
    assert registry.decided(arn) == (REJECTED, "")


def test_what_cannot_serve_is_not_approved(registry: Loop) -> None:
    s3 = registry.daemon.client("s3")
    s3.copy_object(Bucket="cli", Key="gone.tar.gz", CopySource={"Bucket": "cli", "Key": "model.tar.gz"})
    version, arn = registry.register(PENDING)
    specification = registry.sagemaker.describe_model_package(ModelPackageName=arn)["InferenceSpecification"]
    specification["Containers"][0]["ModelDataUrl"] = "s3://cli/gone.tar.gz"
    registry.sagemaker.update_model_package(ModelPackageArn=arn, InferenceSpecification=specification)
    s3.delete_object(Bucket="cli", Key="gone.tar.gz")
    said = registry("approve", "flights", "--yes", code=1).stderr
    assert f"version {version} of {STACK} cannot serve: its archive s3://cli/gone.tar.gz does not exist" in said
    assert registry.decided(arn) == (PENDING, "")
    del specification["Containers"][0]["ModelDataUrl"]
    registry.sagemaker.update_model_package(ModelPackageArn=arn, InferenceSpecification=specification)
    assert "it has no model archive" in registry("approve", "flights", "--yes", code=1).stderr


def test_what_is_used_wrongly(registry: Loop) -> None:
    registry.register(PENDING)
    for command in ("approve", "reject", "rollback", "gc", "destroy"):
        assert "pass --yes, too" in registry(command, "flights", "--json", code=2).stderr
    assert "has several lines" in registry("approve", "flights", "--reason", "a\nb", code=1).stderr
    assert (
        "'2 years'; expected a number and m, h, d or w"
        in registry("gc", "flights", "--older-than", "2 years", code=2).stderr
    )
    assert "contradict each other" in registry("destroy", "flights", "--keep-data", "--delete-data", code=2).stderr


def test_a_group_that_somebody_has_deleted(registry: Loop) -> None:
    registry.sagemaker.delete_model_package_group(ModelPackageGroupName=STACK)
    try:
        for command in ("approve", "reject", "rollback", "gc", "retrain"):
            said = registry(command, "flights", code=1).stderr
            assert f"model package group {STACK} was deleted, though stack {STACK} exists" in said
            assert "`millrace deploy flights --refresh`" in said
            assert "--remove-endpoint" in said
    finally:
        registry.sagemaker.create_model_package_group(ModelPackageGroupName=STACK)


# -- rollback ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(registry: Loop) -> Iterator[Loop]:
    """Four versions: 1 rejected, 2 and 3 approved, 3 serves, 4 is approved and not deployed."""
    arns = [registry.register(REJECTED)[1], *(registry.register(APPROVED)[1] for _ in range(2))]
    registry.serve(arns[2])
    registry.register(APPROVED, roc_auc="0.81")
    yield registry
    sagemaker = registry.sagemaker
    sagemaker.delete_endpoint(EndpointName=STACK)
    assert eventually(lambda: not sagemaker.list_endpoints()["Endpoints"])
    sagemaker.delete_endpoint_config(EndpointConfigName=STACK)
    sagemaker.delete_model(ModelName=STACK)


def versions(loop: Loop) -> list[tuple[int, str, str]]:
    """Version, approval and reason of each, oldest first; versions as if the first one were 1."""
    found: list[dict[str, Any]] = loop.sagemaker.list_model_packages(
        ModelPackageGroupName=STACK, SortBy="CreationTime", SortOrder="Ascending"
    )["ModelPackageSummaryList"]
    return [(each["ModelPackageVersion"], *loop.decided(each["ModelPackageArn"])) for each in found]


def test_a_rollback_rejects_what_serves_and_what_is_newer(served: Loop) -> None:
    before = versions(served)
    first, second, third, fourth = (version for version, *_ in before)
    asked = Asked(served, "rollback", "flights", "--no-deploy", "--reason", "too many alarms")
    rows = [line.split() for line in asked.shown.splitlines()]
    assert ["roc_auc", "0.73", "0.73"] in rows
    assert f"rejected: version {fourth}\n" in asked.shown
    assert f"rejected: version {third}, which serves" in asked.shown
    assert versions(served) == before
    code, out, _ = asked.yes()
    assert code == 0
    assert f"version {second} is the newest approved one; it serves after: millrace deploy flights" in out
    why = f"rolled back to version {second}: too many alarms"
    assert versions(served) == [
        (first, REJECTED, ""), (second, APPROVED, ""), (third, REJECTED, why), (fourth, REJECTED, why),
    ]  # fmt: skip
    assert [str(_rolled_back_to(served, each)).partition(":")[0] for each in (third, fourth)] == [str(second)] * 2
    # Run again, it goes on: there is nothing left to decide, only to deploy.
    again = served.millrace.json("rollback", "flights", "--no-deploy", "--yes")
    assert (again["to"], again["rejected"], again["deployed"]) == (second, [], False)
    assert versions(served)[2:] == [(third, REJECTED, why), (fourth, REJECTED, why)]


def _rolled_back_to(loop: Loop, version: int) -> str | None:
    described = loop.sagemaker.describe_model_package(ModelPackageName=_arn(loop, version))
    found: str | None = described.get("CustomerMetadataProperties", {}).get("rolled_back_to")
    return found


def test_what_a_rollback_rejected_says_so_no_more_once_somebody_else_decides(served: Loop) -> None:
    _, _, third, _ = (version for version, *_ in versions(served))
    served("rollback", "flights", "--no-deploy", "--yes")
    assert _rolled_back_to(served, third) is not None
    served("approve", "flights", str(third), "--yes")
    assert _rolled_back_to(served, third) is None


def test_a_named_version_is_approved_again(served: Loop) -> None:
    first, second, third, fourth = (version for version, *_ in versions(served))
    found = served.millrace.json("rollback", "flights", "--to", str(first), "--no-deploy", "--yes", "--reason", "May")
    assert (found["from"], found["to"]) == (third, first)
    assert (found["approved"], found["rejected"]) == ([first], [fourth, third, second])
    assert versions(served)[0] == (first, APPROVED, f"serves again instead of version {third}: May")
    assert {approval for _, approval, _ in versions(served)[1:]} == {REJECTED}


def test_a_rollback_that_was_broken_off_when_all_was_done_is_done(served: Loop) -> None:
    first, second, third, fourth = (version for version, *_ in versions(served))
    # What the run decided and deployed until it was broken off; an older approved one is no reason to go on to it.
    served("rollback", "flights", "--to", str(second), "--no-deploy", "--yes")
    served.sagemaker.update_model_package(
        ModelPackageArn=_arn(served, first), ModelApprovalStatus=APPROVED, ApprovalDescription=""
    )
    switch(served, _arn(served, second))
    before = versions(served)
    for arguments in ((), ("--to", str(second))):
        done = served("rollback", "flights", *arguments, "--yes")
        assert f"version {second} of {STACK} is already serving, since 20" in done.stdout
        assert "to roll back further: millrace rollback flights --to" in done.stdout
        found = served.millrace.json("rollback", "flights", *arguments, "--yes")
        assert (found["from"], found["to"], found["rejected"], found["deployed"]) == (second, second, [], True)
    assert versions(served) == before
    # Whoever decides otherwise afterwards is asked for no more than the previous one.
    reject(served, third, "unfair")
    reject(served, fourth, "unfair")
    assert served.millrace.json("rollback", "flights", "--no-deploy", "--yes")["to"] == first


def reject(loop: Loop, version: int, reason: str) -> None:
    loop.sagemaker.update_model_package(
        ModelPackageArn=_arn(loop, version), ModelApprovalStatus=REJECTED, ApprovalDescription=reason
    )


def switch(loop: Loop, arn: str) -> None:
    """Let the endpoint serve another package."""
    sagemaker, name = loop.sagemaker, f"{STACK}-2"
    sagemaker.create_model(ModelName=name, Containers=[{"ModelPackageName": arn}], ExecutionRoleArn=ROLE)
    variant = {"VariantName": "main", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.update_endpoint(EndpointName=STACK, EndpointConfigName=name)
    assert eventually(
        lambda: sagemaker.describe_endpoint(EndpointName=STACK)["EndpointStatus"] == "InService", seconds=30
    )


def test_what_serves_and_is_rejected_goes_on_to_what_is_newer(served: Loop) -> None:
    _, second, third, fourth = (version for version, *_ in versions(served))
    assert f"next deployment rolls forward to version {fourth}" in Asked(served, "reject", "flights", str(third)).no()
    reject(served, fourth, "")
    assert f"the next deployment rolls back to version {second}" in Asked(served, "reject", "flights", str(third)).no()


def test_what_is_no_way_back_changes_nothing(served: Loop) -> None:
    before = versions(served)
    first, second, third, fourth = (version for version, *_ in before)
    for arguments, said in (
        (("--to", str(third)), f"already serves, and version {fourth} is approved and newer"),
        (("--to", str(fourth)), f"to serve it: millrace approve flights {fourth} --deploy"),
        (("--to", "999"), f"the newest is version {fourth}"),
    ):
        assert said in served("rollback", "flights", *arguments, "--yes", code=1).stderr
    assert versions(served) == before
    served("reject", "flights", str(second), "--yes")
    said = served("rollback", "flights", "--yes", code=1).stderr
    assert f"version {third} serves, and no older version is approved" in said
    assert f"name one with --to: {second} (Rejected), {first} (Rejected)" in said
    served.sagemaker.delete_model_package(ModelPackageName=_arn(served, first))
    deleted = served("rollback", "flights", "--to", str(first), "--yes", code=1).stderr
    assert f"has no model version {first}; the newest is version {fourth}; the requested one was deleted" in deleted


def test_a_version_that_is_approved_meanwhile_would_serve_instead(served: Loop) -> None:
    before = versions(served)
    asked = Asked(served, "rollback", "flights", "--no-deploy")
    newest, _ = served.register(APPROVED)
    code, _, said = asked.yes()
    assert (code, f"version {newest} of {STACK} was approved in the meantime" in said) == (1, True)
    assert versions(served)[:-1] == before


def test_what_serves_was_deleted_from_the_registry(served: Loop) -> None:
    _, second, third, fourth = (version for version, *_ in versions(served))
    served.sagemaker.delete_model_package(ModelPackageName=_arn(served, third))
    asked = Asked(served, "rollback", "flights", "--no-deploy")
    assert ["roc_auc", "deleted", "0.73"] in [line.split() for line in asked.shown.splitlines()]
    assert asked.yes()[0] == 0
    assert {version for version, approval, _ in versions(served) if approval == APPROVED} == {second}
    assert (fourth, REJECTED, f"rolled back to version {second}") in versions(served)


def test_without_an_endpoint_there_is_nothing_to_roll_back(registry: Loop) -> None:
    registry.register(APPROVED)
    said = registry("rollback", "flights", "--yes", code=1).stderr
    assert f"nothing can be rolled back: endpoint {STACK} is pending its first approved" in said


def test_an_endpoint_that_somebody_has_deleted(registry: Loop) -> None:
    version, _ = registry.register(APPROVED)
    cloudwatch = registry.daemon.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=f"{STACK}-errors", Namespace="n", MetricName="m", Statistic="Maximum", Period=60,
        EvaluationPeriods=1, Threshold=0, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    try:
        for command in (("rollback", "flights", "--yes"), ("invoke", "flights", "--json", "{}")):
            said = registry(*command, code=1).stderr
            assert f"endpoint {STACK} was deleted by hand, although version {version} is approved" in said
            assert "`millrace deploy flights --refresh`" in said
    finally:
        cloudwatch.delete_alarms(AlarmNames=[f"{STACK}-errors"])


def test_a_deployment_that_cannot_begin_leaves_the_registry_as_it_was(served: Loop) -> None:
    # Made by hand, the stack is unknown to Pulumi.
    newest, _ = served.register(PENDING)
    before = versions(served)
    for arguments in (("rollback", "flights"), ("approve", "flights", str(newest), "--deploy")):
        assert f"no stack named '{STACK}'" in served(*arguments, "--yes", code=1).stderr
    assert versions(served) == before


def test_a_deployment_that_would_delete_the_endpoint_is_refused(served: Loop) -> None:
    target = replace(Target.load("flights", "local", served.daemon.state), clients=served.daemon.client)
    first, second, third, fourth = (version for version, *_ in versions(served))
    for version in (second, third, fourth):
        assert not endpoint_guard.would_lose_endpoint(target)
        reject(served, version, "")
    assert endpoint_guard.would_lose_endpoint(target)
    said = str(endpoint_guard.make_removal_error(target))
    assert f"endpoint {STACK}, which serves version {third}, would be deleted, because no model of {STACK}" in said
    assert f"`millrace approve flights {fourth}`" in said
    assert "`millrace deploy flights --remove-endpoint`" in said
    assert "pulumi up" not in said
    for version in (first, second, third, fourth):
        served.sagemaker.delete_model_package(ModelPackageName=_arn(served, version))
    assert "train one, `millrace retrain flights`" in str(endpoint_guard.make_removal_error(target))
    served.sagemaker.delete_model_package_group(ModelPackageGroupName=STACK)
    try:
        # A training could not register what it makes.
        with pytest.raises(CliError, match=f"model package group {STACK} was deleted") as refused:
            endpoint_guard.make_removal_error(target)
        assert "retrain" not in str(refused.value)
    finally:
        served.sagemaker.create_model_package_group(ModelPackageGroupName=STACK)
    wrong = served("deploy", "flights", "--plan", "plan.json", "--remove-endpoint", code=2).stderr
    assert "--remove-endpoint cannot be combined with --plan" in wrong


def _arn(loop: Loop, version: int) -> str:
    group = loop.sagemaker.describe_model_package_group(ModelPackageGroupName=STACK)["ModelPackageGroupArn"]
    return f"{group.replace('model-package-group', 'model-package')}/{version}"


# -- retrain -----------------------------------------------------------------------------------------------------------


def training(loop: Loop, *steps: dict[str, Any]) -> None:
    """A training pipeline of these steps, with the parameters of the real one."""
    defaults = {"AsOf": "now", "Champion": "approved", "Trigger": "unknown"}
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "Type": "String", "DefaultValue": value} for name, value in defaults.items()],
        "Steps": list(steps),
    }
    name = f"{STACK}-training"
    known = [each["PipelineName"] for each in loop.sagemaker.list_pipelines()["PipelineSummaries"]]
    request = {"PipelineName": name, "PipelineDefinition": json.dumps(definition), "RoleArn": ROLE}
    if name in known:
        loop.sagemaker.update_pipeline(**request)
    else:
        loop.sagemaker.create_pipeline(**request)


def register(approval: str, description: str, **figures: str) -> dict[str, Any]:
    """The step that registers a model of this execution."""
    from tests.local.hosted import IMAGE

    return {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": STACK,
            "ModelApprovalStatus": approval,
            "ModelPackageDescription": description,
            "InferenceSpecification": {
                "Containers": [{"Image": IMAGE, "ModelDataUrl": MODEL}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "CustomerMetadataProperties": {
                "roc_auc": "0.73", "brier_skill": "0.15", "ece": "0.01", **figures,
                "execution": {"Get": "Execution.PipelineExecutionArn"},
            },
        },
    }  # fmt: skip


def test_a_registered_challenger_says_what_to_do_next(registry: Loop) -> None:
    champion, arn = registry.register(APPROVED)
    training(registry, register(PENDING, "better by 0.01"))
    found = registry.millrace.json("retrain", "flights", "--champion", str(champion), "--as-of", "2013-04-01T00:00:00Z")
    assert set(found) == {
        "execution", "pipeline", "status", "outcome", "reason", "version", "approval", "gates", "champion", "steps",
        "next",
    }  # fmt: skip
    assert (found["outcome"], found["approval"], found["version"]) == ("registered", PENDING, champion + 1)
    assert found["next"] == [f"millrace approve flights {champion + 1}"]
    assert [gate["passed"] for gate in found["gates"]] == [True, True, True]
    given = registry.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=found["execution"])
    assert {each["Name"]: each["Value"] for each in given["PipelineParameters"]} == {
        "AsOf": "2013-04-01T00:00:00Z", "Champion": arn, "Trigger": "manual",
    }  # fmt: skip
    shown = registry("retrain", "flights").stdout
    assert f"registered version {champion + 2}, {PENDING}: better by 0.01" in shown
    assert f"next: millrace approve flights {champion + 2}" in shown


def test_a_refused_challenger_is_exit_code_4_and_no_error(registry: Loop) -> None:
    training(registry, register(REJECTED, "worse by 0.02"))
    done = registry("retrain", "flights", code=4)
    assert "is registered as Rejected: worse by 0.02" in done.stdout
    assert done.stderr == ""
    message = {"ErrorMessage": "ece is 0.09; expected at most 0.05"}
    training(registry, {"Name": "Refused", "Type": "Fail", "Arguments": message})
    done = registry("retrain", "flights", code=4)
    assert "refused: the challenger does not meet its gates and is not registered: ece is 0.09" in done.stdout
    assert done.stderr == ""
    found = json.loads(registry("retrain", "flights", "--json", code=4).stdout)
    assert (found["outcome"], found["status"], found["version"]) == ("refused", "Failed", None)
    assert found["reason"] == "ece is 0.09; expected at most 0.05"


def test_a_training_that_fails_is_an_error(registry: Loop) -> None:
    training(registry, {"Name": "Broken", "Type": "Fail", "Arguments": {"ErrorMessage": "no disk"}})
    assert "step Broken failed: no disk" in registry("retrain", "flights", code=1).stderr
    started = registry.millrace.json("retrain", "flights", "--no-wait")
    assert (started["outcome"], started["status"], started["version"]) == ("started", "Executing", None)
    assert (
        "'newest'; expected 'approved', 'none'" in registry("retrain", "flights", "--champion", "newest", code=2).stderr
    )
    assert "has no model version 77" in registry("retrain", "flights", "--champion", "77", code=1).stderr
