"""Tests of decisions about models in the registry: two people at once, unusable models and rollbacks."""

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
    """Create the lake, so that the stack counts as provisioned."""
    make_bucket(loop.daemon, f"{STACK}-lake-123456789012")


@pytest.fixture
def registry(loop: Loop) -> Iterator[Loop]:
    """Yield the loop; delete the test's models afterwards."""
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
        """Answer yes; return the exit code, the remaining output and the errors."""
        out, err = self.process.communicate("y\n", timeout=60)
        assert "Traceback" not in err
        return self.process.returncode, out, err

    def no(self) -> str:
        """Answer no; return what was shown before."""
        self.process.communicate("n\n", timeout=60)
        assert self.process.returncode == 1
        return self.shown


# -- approve and reject ------------------------------------------------------------------------------------------------


def test_a_decision_does_not_overwrite_a_concurrent_one(registry: Loop) -> None:
    version, arn = registry.register(PENDING)
    asked = Asked(registry, "approve", "flights", str(version))
    registry("reject", "flights", str(version), "--yes", "--reason", "unfair")
    code, _, said = asked.yes()
    assert code == 1
    assert f"version {version} of {STACK} was set to {REJECTED} 20" in said
    assert "because: unfair, after it was shown as PendingManualApproval; nothing was changed here" in said
    assert registry.decided(arn) == (REJECTED, "unfair")


def test_approving_a_model_deleted_during_the_question_fails(registry: Loop) -> None:
    version, arn = registry.register(PENDING)
    asked = Asked(registry, "approve", "flights")
    registry.sagemaker.delete_model_package(ModelPackageName=arn)
    code, _, said = asked.yes()
    assert (code, f"version {version} of {STACK} was deleted in the meantime; nothing was changed" in said) == (1, True)


def test_overruling_a_gate_needs_a_reason(registry: Loop) -> None:
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
    # A new decision does not keep the old reason.
    registry("reject", "flights", str(version), "--yes")
    assert registry.decided(arn) == (REJECTED, "")


def test_a_model_without_an_archive_is_not_approved(registry: Loop) -> None:
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


def test_wrong_options_are_refused(registry: Loop) -> None:
    registry.register(PENDING)
    for command in ("approve", "reject", "rollback", "gc", "destroy"):
        assert "pass --yes, too" in registry(command, "flights", "--json", code=2).stderr
    assert "has several lines" in registry("approve", "flights", "--reason", "a\nb", code=1).stderr
    assert (
        "'2 years'; expected a duration in m, h, d or w"
        in registry("gc", "flights", "--older-than", "2 years", code=2).stderr
    )
    assert "contradict each other" in registry("destroy", "flights", "--keep-data", "--delete-data", code=2).stderr


def test_a_deleted_model_package_group_is_reported(registry: Loop) -> None:
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
    """Yield a registry with four versions: 1 rejected, 2 approved, 3 serving, 4 approved and not deployed."""
    arns = [registry.register(REJECTED)[1], *(registry.register(APPROVED)[1] for _ in range(2))]
    registry.serve(arns[2])
    registry.register(APPROVED, roc_auc="0.81")
    yield registry
    sagemaker = registry.sagemaker
    sagemaker.delete_endpoint(EndpointName=STACK)
    assert eventually(lambda: not sagemaker.list_endpoints()["Endpoints"])
    sagemaker.delete_endpoint_config(EndpointConfigName=STACK)
    sagemaker.delete_model(ModelName=STACK)


def list_versions(loop: Loop) -> list[tuple[int, str, str]]:
    """Return version, approval and reason of each package, oldest first."""
    found: list[dict[str, Any]] = loop.sagemaker.list_model_packages(
        ModelPackageGroupName=STACK, SortBy="CreationTime", SortOrder="Ascending"
    )["ModelPackageSummaryList"]
    return [(each["ModelPackageVersion"], *loop.decided(each["ModelPackageArn"])) for each in found]


def test_a_rollback_rejects_the_serving_and_newer_versions(served: Loop) -> None:
    before = list_versions(served)
    first, second, third, fourth = (version for version, *_ in before)
    asked = Asked(served, "rollback", "flights", "--no-deploy", "--reason", "too many alarms")
    rows = [line.split() for line in asked.shown.splitlines()]
    assert ["roc_auc", "0.73", "0.73"] in rows
    assert f"rejected: version {fourth}\n" in asked.shown
    assert f"rejected: version {third}, which serves" in asked.shown
    assert list_versions(served) == before
    code, out, _ = asked.yes()
    assert code == 0
    assert f"version {second} is the newest approved one; it serves after: millrace deploy flights" in out
    why = f"rolled back to version {second}: too many alarms"
    assert list_versions(served) == [
        (first, REJECTED, ""), (second, APPROVED, ""), (third, REJECTED, why), (fourth, REJECTED, why),
    ]  # fmt: skip
    assert [str(_read_rollback_target(served, each)).partition(":")[0] for each in (third, fourth)] == [str(second)] * 2
    # A second run resumes: nothing is left to decide, only to deploy.
    again = served.millrace.json("rollback", "flights", "--no-deploy", "--yes")
    assert (again["to"], again["rejected"], again["deployed"]) == (second, [], False)
    assert list_versions(served)[2:] == [(third, REJECTED, why), (fourth, REJECTED, why)]


def _read_rollback_target(loop: Loop, version: int) -> str | None:
    described = loop.sagemaker.describe_model_package(ModelPackageName=_arn(loop, version))
    found: str | None = described.get("CustomerMetadataProperties", {}).get("rolled_back_to")
    return found


def test_a_later_decision_clears_the_rollback_metadata(served: Loop) -> None:
    _, _, third, _ = (version for version, *_ in list_versions(served))
    served("rollback", "flights", "--no-deploy", "--yes")
    assert _read_rollback_target(served, third) is not None
    refused = served("approve", "flights", str(third), "--yes", code=1)
    assert f"version {third} is Rejected: " in refused.stderr
    assert f"give a reason: millrace approve flights {third} --reason" in refused.stderr
    served("approve", "flights", str(third), "--yes", "--reason", "it was right after all")
    assert _read_rollback_target(served, third) is None


def test_a_rollback_to_a_named_version_approves_it_again(served: Loop) -> None:
    first, second, third, fourth = (version for version, *_ in list_versions(served))
    found = served.millrace.json("rollback", "flights", "--to", str(first), "--no-deploy", "--yes", "--reason", "May")
    assert (found["from"], found["to"]) == (third, first)
    assert (found["approved"], found["rejected"]) == ([first], [fourth, third, second])
    assert list_versions(served)[0] == (first, APPROVED, f"serves again instead of version {third}: May")
    assert {approval for _, approval, _ in list_versions(served)[1:]} == {REJECTED}


def test_repeating_a_completed_rollback_changes_nothing(served: Loop) -> None:
    first, second, third, fourth = (version for version, *_ in list_versions(served))
    # The state of an interrupted run that had decided and deployed; it must not go on to the older approved version.
    served("rollback", "flights", "--to", str(second), "--no-deploy", "--yes")
    served.sagemaker.update_model_package(
        ModelPackageArn=_arn(served, first), ModelApprovalStatus=APPROVED, ApprovalDescription=""
    )
    switch_endpoint(served, _arn(served, second))
    before = list_versions(served)
    for arguments in ((), ("--to", str(second))):
        done = served("rollback", "flights", *arguments, "--yes")
        assert f"version {second} of {STACK} is already serving, since 20" in done.stdout
        assert "to roll back further: millrace rollback flights --to" in done.stdout
        found = served.millrace.json("rollback", "flights", *arguments, "--yes")
        assert (found["from"], found["to"], found["rejected"], found["deployed"]) == (second, second, [], True)
    assert list_versions(served) == before
    # After later decisions by somebody else, a new rollback goes to the previous approved version.
    reject(served, third, "unfair")
    reject(served, fourth, "unfair")
    assert served.millrace.json("rollback", "flights", "--no-deploy", "--yes")["to"] == first


def reject(loop: Loop, version: int, reason: str) -> None:
    loop.sagemaker.update_model_package(
        ModelPackageArn=_arn(loop, version), ModelApprovalStatus=REJECTED, ApprovalDescription=reason
    )


def switch_endpoint(loop: Loop, arn: str) -> None:
    """Let the endpoint serve another package."""
    sagemaker, name = loop.sagemaker, f"{STACK}-2"
    sagemaker.create_model(ModelName=name, Containers=[{"ModelPackageName": arn}], ExecutionRoleArn=ROLE)
    variant = {"VariantName": "main", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.update_endpoint(EndpointName=STACK, EndpointConfigName=name)
    assert eventually(
        lambda: sagemaker.describe_endpoint(EndpointName=STACK)["EndpointStatus"] == "InService", seconds=30
    )


def test_rejecting_the_serving_version_names_the_next_one(served: Loop) -> None:
    _, second, third, fourth = (version for version, *_ in list_versions(served))
    assert f"next deployment rolls forward to version {fourth}" in Asked(served, "reject", "flights", str(third)).no()
    reject(served, fourth, "")
    assert f"the next deployment rolls back to version {second}" in Asked(served, "reject", "flights", str(third)).no()


def test_an_impossible_rollback_changes_nothing(served: Loop) -> None:
    before = list_versions(served)
    first, second, third, fourth = (version for version, *_ in before)
    for arguments, said in (
        (("--to", str(third)), f"already serves, and version {fourth} is approved and newer"),
        (("--to", str(fourth)), f"to serve it: millrace approve flights {fourth} --deploy"),
        (("--to", "999"), f"the newest is version {fourth}"),
    ):
        assert said in served("rollback", "flights", *arguments, "--yes", code=1).stderr
    assert list_versions(served) == before
    served("reject", "flights", str(second), "--yes")
    said = served("rollback", "flights", "--yes", code=1).stderr
    assert f"version {third} serves, and no older version is approved" in said
    assert f"name one with --to: {second} (Rejected), {first} (Rejected)" in said
    served.sagemaker.delete_model_package(ModelPackageName=_arn(served, first))
    deleted = served("rollback", "flights", "--to", str(first), "--yes", code=1).stderr
    assert f"has no model version {first}; the newest is version {fourth}; the requested one was deleted" in deleted


def test_a_rollback_fails_when_a_version_is_approved_meanwhile(served: Loop) -> None:
    before = list_versions(served)
    asked = Asked(served, "rollback", "flights", "--no-deploy")
    newest, _ = served.register(APPROVED)
    code, _, said = asked.yes()
    assert (code, f"version {newest} of {STACK} was approved in the meantime" in said) == (1, True)
    assert list_versions(served)[:-1] == before


def test_a_rollback_works_when_the_serving_package_was_deleted(served: Loop) -> None:
    _, second, third, fourth = (version for version, *_ in list_versions(served))
    served.sagemaker.delete_model_package(ModelPackageName=_arn(served, third))
    asked = Asked(served, "rollback", "flights", "--no-deploy")
    assert ["roc_auc", "deleted", "0.73"] in [line.split() for line in asked.shown.splitlines()]
    assert asked.yes()[0] == 0
    assert {version for version, approval, _ in list_versions(served) if approval == APPROVED} == {second}
    assert (fourth, REJECTED, f"rolled back to version {second}") in list_versions(served)


def test_without_an_endpoint_there_is_nothing_to_roll_back(registry: Loop) -> None:
    registry.register(APPROVED)
    said = registry("rollback", "flights", "--yes", code=1).stderr
    assert f"nothing can be rolled back: endpoint {STACK} is pending its first approved" in said


def test_a_deleted_endpoint_is_reported(registry: Loop) -> None:
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


def test_a_deployment_that_cannot_start_leaves_the_registry_unchanged(served: Loop) -> None:
    # The stack was created without Pulumi and is unknown to it.
    newest, _ = served.register(PENDING)
    before = list_versions(served)
    for arguments in (("rollback", "flights"), ("approve", "flights", str(newest), "--deploy")):
        assert f"no stack named '{STACK}'" in served(*arguments, "--yes", code=1).stderr
    assert list_versions(served) == before


def test_a_deployment_that_would_delete_the_endpoint_is_refused(served: Loop) -> None:
    target = replace(Target.load("flights", "local", served.daemon.state), clients=served.daemon.client)
    first, second, third, fourth = (version for version, *_ in list_versions(served))
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
        # A training could not register its model.
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


def create_training_pipeline(loop: Loop, *steps: dict[str, Any]) -> None:
    """Create or update a training pipeline with these steps and the parameters of the real one."""
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


def make_register_step(approval: str, description: str, **figures: str) -> dict[str, Any]:
    """Return the step that registers the model of its execution."""
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


def test_a_registered_challenger_is_shown_with_the_next_command(registry: Loop) -> None:
    champion, arn = registry.register(APPROVED)
    create_training_pipeline(registry, make_register_step(PENDING, "better by 0.01"))
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


@pytest.fixture
def asked(registry: Loop) -> Iterator[Loop]:
    """Yield a stack whose newest start of the training asks a person."""
    create_training_pipeline(registry, make_register_step(PENDING, "not looked at"))
    execution = registry.sagemaker.start_pipeline_execution(PipelineName=f"{STACK}-training")["PipelineExecutionArn"]
    eventually(
        lambda: registry.sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)[
            "PipelineExecutionStatus"
        ] == "Succeeded"
    )  # fmt: skip
    s3, lake = registry.daemon.client("s3"), f"{STACK}-lake-123456789012"
    if lake not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=lake, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    start = {
        "version": 1, "needed": 0, "as_of": "2013-04-01T00:00:00Z", "trigger": "drift", "code": "review",
        "reason": "trigger drift asks whether to train",
    }  # fmt: skip
    key = f"snapshots/{execution.rpartition('/')[2]}/start/start.json"
    s3.put_object(Bucket=lake, Key=key, Body=json.dumps(start).encode())
    yield registry
    s3.delete_object(Bucket=lake, Key=key)


def test_a_question_is_declined_with_a_reason_and_no_longer_waits(asked: Loop) -> None:
    status = ("status", "flights", "--env", "local")
    waits = [each for each in asked.millrace.json(*status)["attention"] if each["code"] == "retraining_asked"]
    assert [each["command"] for each in waits] == ["millrace approve flights --retraining"]
    assert "is empty" in asked.millrace.error("reject", "flights", "--retraining", "--yes")
    assert "leave VERSION and --deploy out" in asked.millrace.error("reject", "flights", "3", "--retraining", code=2)
    done = asked("reject", "flights", "--retraining", "--yes", "--reason", "holidays").stdout
    assert "asked on data as of 2013-04-01T00:00:00Z: trigger drift asks whether to train" in done
    assert "nothing is trained, decided by" in done
    found = asked.daemon.client("ssm").get_parameter(Name=f"/millrace/{STACK}/answered")["Parameter"]["Value"]
    assert (json.loads(found)["asked"], json.loads(found)["reason"]) == ("2013-04-01T00:00:00Z", "holidays")
    assert not [each for each in asked.millrace.json(*status)["attention"] if each["code"] == "retraining_asked"]
    asked.daemon.client("ssm").delete_parameter(Name=f"/millrace/{STACK}/answered")


def test_an_execution_that_failed_answers_no_question(asked: Loop) -> None:
    create_training_pipeline(asked, {"Name": "Broken", "Type": "Fail", "Arguments": {"ErrorMessage": "no disk"}})
    asked("retrain", "flights", code=1)
    found = {
        each["code"]: each["fields"]
        for each in asked.millrace.json("status", "flights", "--env", "local")["attention"]
        if each["code"] in ("run_failed", "retraining_asked")
    }
    assert found["run_failed"]["reason"] == "no disk"
    assert found["retraining_asked"]["asked"] == "2013-04-01T00:00:00Z"
    assert found["retraining_asked"]["reason"] == "trigger drift asks whether to train"
    done = asked("reject", "flights", "--retraining", "--yes", "--reason", "no disk").stdout
    assert "asked on data as of 2013-04-01T00:00:00Z: trigger drift asks whether to train" in done
    asked.daemon.client("ssm").delete_parameter(Name=f"/millrace/{STACK}/answered")


def test_a_question_is_approved_by_a_training(asked: Loop) -> None:
    found = asked.millrace.json("approve", "flights", "--retraining", "--yes")
    assert (found["asked"], found["train"]) == ("2013-04-01T00:00:00Z", True)
    given = asked.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=found["execution"])
    assert {each["Name"]: each["Value"] for each in given["PipelineParameters"]}["AsOf"] == "now"


def test_without_a_question_there_is_nothing_to_answer(registry: Loop) -> None:
    create_training_pipeline(registry, make_register_step(PENDING, "better"))
    registry("retrain", "flights")
    said = registry.millrace.error("approve", "flights", "--retraining", "--yes")
    assert "asks nobody whether to train" in said


def test_a_refused_challenger_is_exit_code_4_and_no_error(registry: Loop) -> None:
    create_training_pipeline(registry, make_register_step(REJECTED, "worse by 0.02"))
    done = registry("retrain", "flights", code=4)
    assert "is registered as Rejected: worse by 0.02" in done.stdout
    assert done.stderr == ""
    create_training_pipeline(registry, make_register_step(REJECTED, "ece is 0.09; expected at most 0.05", ece="0.09"))
    found = json.loads(registry("retrain", "flights", "--json", code=4).stdout)
    assert (found["outcome"], found["status"], found["approval"]) == ("refused", "Succeeded", REJECTED)
    assert found["reason"] == "ece is 0.09; expected at most 0.05"
    assert {gate["metric"]: gate["passed"] for gate in found["gates"]}["ece"] is False


def test_a_training_that_fails_is_an_error(registry: Loop) -> None:
    create_training_pipeline(registry, {"Name": "Broken", "Type": "Fail", "Arguments": {"ErrorMessage": "no disk"}})
    assert "step Broken failed: no disk" in registry("retrain", "flights", code=1).stderr
    started = registry.millrace.json("retrain", "flights", "--no-wait")
    assert (started["outcome"], started["status"], started["version"]) == ("started", "Executing", None)
    assert (
        "'newest'; expected 'approved', 'none'" in registry("retrain", "flights", "--champion", "newest", code=2).stderr
    )
    assert "has no model version 77" in registry("retrain", "flights", "--champion", "77", code=1).stderr
