"""Tests of pausing triggers, garbage collection and destroy, with resources created without Pulumi."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.local.hosted import IMAGE, eventually
from tests.local.jobs import ROLE, make_bucket
from tests.local.pipelines import create, process
from tests.local.watched import make_role

from .conftest import STACK, Loop

LAKE = f"{STACK}-lake-123456789012"
ACCOUNT = "arn:aws:sagemaker:eu-west-1:123456789012"
PARAMETER = f"/millrace/{STACK}/paused"
RULE = f"{STACK}-training-on-alarm"


@pytest.fixture(scope="module")
def stack(loop: Loop) -> Loop:
    """Return the loop with a lake, two pipelines, the monitor's schedule, the backstop and the rule."""
    make_bucket(loop.daemon, LAKE)
    for kind in ("training", "monitor"):
        loop.pipeline(kind, "print('ran')")
    create_schedules(loop)
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [f"{STACK}-drift"]}}
    loop.daemon.client("events").put_rule(Name=RULE, EventPattern=json.dumps(pattern))
    return loop


def create_schedules(loop: Loop) -> None:
    scheduler = loop.daemon.client("scheduler")
    trigger = make_role(loop.daemon, "scheduler.amazonaws.com", {"sagemaker:StartPipelineExecution": "*"})
    for name, rate in ((f"{STACK}-monitor", "rate(300 days)"), (f"{STACK}-training-backstop", "rate(365 days)")):
        scheduler.create_schedule(
            Name=name,
            ScheduleExpression=rate,
            # The schedule must not fire at once.
            StartDate=datetime.now(UTC) + timedelta(days=300),
            FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
            Target={
                "Arn": f"{ACCOUNT}:pipeline/{STACK}-monitor",
                "RoleArn": trigger,
                "RetryPolicy": {"MaximumRetryAttempts": 7, "MaximumEventAgeInSeconds": 600},
                "SageMakerPipelineParameters": {"PipelineParameterList": [{"Name": "AsOf", "Value": "now"}]},
            },
        )


def read_trigger_states(loop: Loop) -> dict[str, str]:
    """Return the state of each trigger by its name."""
    scheduler, events = loop.daemon.client("scheduler"), loop.daemon.client("events")
    found = {
        each["Name"]: scheduler.get_schedule(Name=each["Name"])["State"]
        for each in scheduler.list_schedules()["Schedules"]
    }
    return {**found, RULE: events.describe_rule(Name=RULE)["State"]}


def read_pause_parameter(loop: Loop) -> dict[str, Any] | None:
    ssm = loop.daemon.client("ssm")
    try:
        document: dict[str, Any] = json.loads(ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None
    return document


def test_pause_disables_all_triggers_and_reports_it(stack: Loop) -> None:
    scheduler = stack.daemon.client("scheduler")
    before = scheduler.get_schedule(Name=f"{STACK}-monitor")
    said = stack("pause", "flights", "--reason", "the source is down").stdout
    assert "all triggers paused since 20" in said
    assert "because: the source is down" in said
    assert "next: millrace resume flights" in said
    assert set(read_trigger_states(stack).values()) == {"DISABLED"}
    found = read_pause_parameter(stack)
    assert found is not None
    assert set(found) == {"since", "by", "reason"}
    assert found["reason"] == "the source is down"
    assert datetime.fromisoformat(found["since"]) <= datetime.now(UTC)
    # An update replaces the whole schedule: fields left out would be reset to their defaults.
    after = scheduler.get_schedule(Name=f"{STACK}-monitor")
    changes = {"State", "LastModificationDate", "ResponseMetadata"}
    assert {k: v for k, v in after.items() if k not in changes} == {k: v for k, v in before.items() if k not in changes}


def test_a_second_pause_keeps_the_reason_and_disables_enabled_triggers(stack: Loop) -> None:
    stack.daemon.client("events").enable_rule(Name=RULE)
    first = read_pause_parameter(stack)
    found = stack.millrace.json("pause", "flights", "--only", "retraining")
    assert read_pause_parameter(stack) == first
    assert [each["name"] for each in found["changed"]] == [RULE]
    assert set(read_trigger_states(stack).values()) == {"DISABLED"}


def test_training_by_hand_works_while_paused(stack: Loop, tmp_path: Path) -> None:
    gate = tmp_path / "go-on"
    create_waiting_training(stack, gate)
    started = stack.millrace.json("retrain", "flights", "--no-wait")
    assert started["outcome"] == "started"
    assert f"training keeps running: {started['execution']}" in stack("pause", "flights").stdout
    gate.touch()
    assert eventually(lambda: _read_status(stack, started["execution"]) == "Succeeded", seconds=30)


def create_waiting_training(stack: Loop, gate: Path) -> None:
    """Create a training pipeline that runs until a file exists, with the parameters of the real one."""
    stack.sagemaker.delete_pipeline(PipelineName=f"{STACK}-training")
    work = f"while not os.path.exists({str(gate)!r}): time.sleep(0.1)"
    parameters = [{"Name": name, "Type": "String", "DefaultValue": "x"} for name in ("AsOf", "Champion", "Trigger")]
    create(stack.sagemaker, f"{STACK}-training", process("Work", work), parameters=parameters)


def _read_status(stack: Loop, execution: str) -> str:
    described = stack.sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
    return str(described["PipelineExecutionStatus"])


def test_resume_enables_what_the_declaration_enables(stack: Loop) -> None:
    # Replays move the data time of flights, so its schedules are off whether or not anything is paused.
    found = stack.millrace.json("resume", "flights")
    assert (found["paused"], read_pause_parameter(stack)) == (None, None)
    assert read_trigger_states(stack) == {
        f"{STACK}-monitor": "DISABLED",
        f"{STACK}-training-backstop": "DISABLED",
        RULE: "ENABLED",
    }
    assert "nothing was paused" in stack("resume", "flights").stdout


def test_only_option_pauses_the_named_trigger(stack: Loop) -> None:
    stack("pause", "flights", "--only", "retraining")
    found = read_pause_parameter(stack)
    assert found is not None
    assert found["only"] == ["retraining"]
    assert read_trigger_states(stack)[RULE] == "DISABLED"
    assert "all triggers paused" in stack("pause", "flights", "--reason", "all of it").stdout
    stack("resume", "flights")
    assert "one of 'retraining', 'monitor', 'features'" in stack("pause", "flights", "--only", "x", code=2).stderr


def test_a_wider_pause_keeps_the_reason_unless_a_new_one_replaces_it(stack: Loop) -> None:
    stack("pause", "flights", "--only", "retraining", "--reason", "too many alarms")
    first = read_pause_parameter(stack)
    assert first is not None
    stack("pause", "flights", "--only", "monitor")
    assert read_pause_parameter(stack) == {**first, "only": ["retraining", "monitor"]}
    said = stack("pause", "flights", "--reason", "the source is down").stdout
    assert "because: the source is down" in said
    assert "this replaces: retraining and monitor paused since 20" in said
    assert "because: too many alarms" in said
    stack("resume", "flights")


def test_an_invalid_pause_parameter_is_refused(stack: Loop) -> None:
    stack.daemon.client("ssm").put_parameter(Name=PARAMETER, Type="String", Value="yes")
    said = stack("pause", "flights", code=1).stderr
    assert f"SSM parameter {PARAMETER} is 'yes'; expected JSON" in said
    assert "millrace resume flights" in said
    stack("resume", "flights")
    assert read_pause_parameter(stack) is None


def test_pause_fails_when_all_triggers_were_deleted_by_hand(stack: Loop) -> None:
    scheduler, events = stack.daemon.client("scheduler"), stack.daemon.client("events")
    rule = events.describe_rule(Name=RULE)
    events.delete_rule(Name=RULE)
    for name in (f"{STACK}-monitor", f"{STACK}-training-backstop"):
        scheduler.delete_schedule(Name=name)
    try:
        said = stack("pause", "flights", code=1).stderr
        assert "its schedules and its rule were deleted by hand" in said
        assert read_pause_parameter(stack) is None
    finally:
        events.put_rule(Name=RULE, EventPattern=rule["EventPattern"])
        create_schedules(stack)


# -- gc ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def used(stack: Loop) -> Iterator[Loop]:
    """Yield a stack whose three versions were deployed in turn, the last one serving, and a lake with their inputs."""
    sagemaker, s3 = stack.sagemaker, stack.daemon.client("s3")
    for number in (1, 2, 3):
        execution = f"{ACCOUNT}:pipeline/{STACK}-training/execution/made{number}"
        code = {"code_uri": f"s3://{LAKE}/code/millrace-flights-{number}.pyz"}
        _, arn = stack.register("Approved", execution=execution, **code)
        deploy(stack, number, arn)
        for key in (f"snapshots/made{number}/raw/events.parquet", f"datasets/made{number}/rows.parquet"):
            s3.put_object(Bucket=LAKE, Key=key, Body=b"needed")
        s3.put_object(Bucket=LAKE, Key=f"code/millrace-flights-{number}.pyz", Body=b"needed")
    for key in (
        "snapshots/refused/raw/events.parquet", "datasets/refused/rows.parquet", "models/refused/model.tar.gz",
        "code/millrace-flights-old.pyz", "quarantine/job-1/validation.json",
    ):  # fmt: skip
        s3.put_object(Bucket=LAKE, Key=key, Body=b"x" * 1000)
    for key in ("evaluations/refused/evaluation.json", "capture/2013/a.jsonl", "offline/b.parquet", "clock.json"):
        s3.put_object(Bucket=LAKE, Key=key, Body=b'{"now": "2013-04-01T00:00:00+00:00"}')
    sagemaker.create_model(
        ModelName="flights-local-model-b", Containers=[{"Image": IMAGE, "ModelDataUrl": "s3://cli/model.tar.gz"}],
        ExecutionRoleArn=ROLE,
    )  # fmt: skip
    yield stack
    assert eventually(lambda: is_in_service(stack), seconds=60)
    sagemaker.delete_endpoint(EndpointName=STACK)
    assert eventually(lambda: not sagemaker.list_endpoints()["Endpoints"])
    for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]:
        sagemaker.delete_endpoint_config(EndpointConfigName=each["EndpointConfigName"])
    for each in sagemaker.list_models()["Models"]:
        sagemaker.delete_model(ModelName=each["ModelName"])
    for each in s3.list_objects_v2(Bucket=LAKE).get("Contents", []):
        s3.delete_object(Bucket=LAKE, Key=each["Key"])
    stack.forget_models()


def deploy(stack: Loop, number: int, arn: str) -> None:
    """Deploy a package as Pulumi would, with generated names for model and configuration."""
    sagemaker = stack.sagemaker
    model, config = f"{STACK}-model-000000{number}", f"{STACK}-config-000000{number}"
    sagemaker.create_model(ModelName=model, PrimaryContainer={"ModelPackageName": arn}, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "main", "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
    if number == 1:
        sagemaker.create_endpoint(EndpointName=STACK, EndpointConfigName=config)
    else:
        sagemaker.update_endpoint(EndpointName=STACK, EndpointConfigName=config)
    assert eventually(lambda: is_in_service(stack), seconds=30)


def is_in_service(stack: Loop) -> bool:
    return bool(stack.sagemaker.describe_endpoint(EndpointName=STACK)["EndpointStatus"] == "InService")


def list_resources(stack: Loop) -> set[str]:
    """Return the names of configurations and models and the keys of objects."""
    sagemaker, s3 = stack.sagemaker, stack.daemon.client("s3")
    return {
        *(each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]),
        *(each["ModelName"] for each in sagemaker.list_models()["Models"]),
        *(each["Key"] for each in s3.list_objects_v2(Bucket=LAKE).get("Contents", [])),
    }


UNNEEDED = {
    "snapshots/refused/raw/events.parquet", "datasets/refused/rows.parquet", "models/refused/model.tar.gz",
    "code/millrace-flights-old.pyz", "quarantine/job-1/validation.json",
}  # fmt: skip


def test_gc_deletes_what_is_not_needed_and_can_be_repeated(used: Loop) -> None:
    before = list_resources(used)
    assert "nothing to delete" in used("gc", "flights").stdout
    assert "younger than --older-than, which can be lowered to delete them" in used("gc", "flights", "--yes").stdout
    seen = used.millrace.json("gc", "flights", "--older-than", "0d", "--keep", "1", "--dry-run")
    assert (seen["dry_run"], seen["deleted"], seen["bytes"]) == (True, [], 5000)
    asked = used("gc", "flights", "--older-than", "0d", "--keep", "1", stdin="n\n", code=1)
    assert "nothing was changed" in asked.stderr
    assert list_resources(used) == before
    rows = [line.split() for line in asked.stdout.splitlines()]
    assert ["objects", "snapshots/refused/", "1.0", "KB"] in [row[:4] for row in rows]
    done = used.millrace.json("gc", "flights", "--older-than", "0d", "--keep", "1", "--yes")
    assert sorted(done["deleted"]) == sorted(item["name"] for item in seen["items"])
    # Keeping one version before the serving one retains the resources for a rollback.
    old = {f"{STACK}-config-0000001", f"{STACK}-model-0000001"}
    assert before - list_resources(used) == UNNEEDED | old
    assert "nothing to delete" in used("gc", "flights", "--older-than", "0d", "--keep", "1").stdout
    assert '{"score": 0.5}' in used("invoke", "flights", "--json", "[1]").stdout


def test_gc_keeps_all_possible_inputs_of_a_model_of_unknown_origin(used: Loop) -> None:
    before = list_resources(used)
    used.register("Rejected")
    found = used.millrace.json("gc", "flights", "--older-than", "0d", "--yes")
    assert [each for each in found["kept"] if each["kind"] == "prefix"] == [
        {
            "kind": "prefix",
            "name": prefix,
            "reason": "origin_unknown",
            "text": f"everything under {prefix}/: version {_find_newest_version(used)} does not record which {what} "
            "made it",
        }
        for prefix, what in {
            "snapshots": "execution",
            "datasets": "execution",
            "models": "execution",
            "code": "code",
        }.items()
    ]
    assert before - list_resources(used) == {"quarantine/job-1/validation.json"}


def test_gc_is_refused_during_a_rollout(used: Loop) -> None:
    before = list_resources(used)
    config = f"{STACK}-config-0000001"
    policy = {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 600}}
    used.sagemaker.update_endpoint(
        EndpointName=STACK,
        EndpointConfigName=config,
        DeploymentConfig={"BlueGreenUpdatePolicy": {**policy, "TerminationWaitInSeconds": 600}},
    )
    said = used("gc", "flights", "--older-than", "0d", "--yes", code=1).stderr
    assert f"endpoint {STACK} is Updating: it may be rolled back to any of its configurations" in said
    assert list_resources(used) == before


def test_gc_aborts_incomplete_uploads(stack: Loop) -> None:
    s3 = stack.daemon.client("s3")
    started = s3.create_multipart_upload(Bucket=LAKE, Key="models/x/model.tar.gz")["UploadId"]
    part = {"Bucket": LAKE, "Key": "models/x/model.tar.gz", "UploadId": started}
    s3.upload_part(**part, PartNumber=1, Body=b"x" * 700)
    found = stack.millrace.json("gc", "flights", "--older-than", "0d", "--yes")
    [item] = [item for item in found["items"] if item["kind"] == "incomplete upload"]
    assert (item["name"], item["bytes"]) == ("models/x/model.tar.gz", 700)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=LAKE)


def _find_newest_version(stack: Loop) -> int:
    listed = stack.sagemaker.list_model_packages(
        ModelPackageGroupName=STACK, SortBy="CreationTime", SortOrder="Descending"
    )
    return int(listed["ModelPackageSummaryList"][0]["ModelPackageVersion"])


# -- destroy in an emulated account ------------------------------------------------------------------------------------


def test_hints_name_the_environment_and_destroy_asks_for_the_stack_name(stack: Loop) -> None:
    ssm = stack.daemon.client("ssm")
    stack.sagemaker.create_model_package_group(ModelPackageGroupName="flights-dev")
    said = stack("approve", "flights", "--env", "dev", code=1, MILLRACE_STAND_IN="1").stderr
    assert "train: millrace retrain flights --env dev" in said
    stack.sagemaker.delete_model_package_group(ModelPackageGroupName="flights-dev")
    assert "never deployed" in stack("destroy", "flights", "--env", "dev", MILLRACE_STAND_IN="1").stdout

    # The state that an interrupted destroy leaves.
    name, model = "/millrace/flights-dev/paused", "flights-dev-model-0000001"
    stack.sagemaker.create_model(
        ModelName=model, Containers=[{"Image": IMAGE, "ModelDataUrl": "s3://cli/model.tar.gz"}], ExecutionRoleArn=ROLE
    )
    ssm.put_parameter(Name=name, Type="String", Value='{"since": "2026-11-23T08:00:00Z", "by": "anna", "reason": ""}')
    wrong = stack("destroy", "flights", "--env", "dev", stdin="y\n", code=1, MILLRACE_STAND_IN="1")
    assert "type the stack's name, flights-dev" in wrong.stdout
    assert "'y' is not 'flights-dev'; nothing was changed" in wrong.stderr
    assert ssm.get_parameter(Name=name)
    stack("destroy", "flights", "--env", "dev", stdin="flights-dev\n", MILLRACE_STAND_IN="1")
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name=name)
    assert model not in [each["ModelName"] for each in stack.sagemaker.list_models()["Models"]]


def test_destroying_a_stack_of_another_backend_is_refused(used: Loop) -> None:
    # The stack was created without Pulumi, so the backend does not know it.
    before = list_resources(used), read_trigger_states(used), read_pause_parameter(used)
    said = used("destroy", "flights", "--yes", code=1).stderr
    assert f"stack {STACK} has no resources in the state of this backend (file://" in said
    assert f"endpoint {STACK}, pipeline {STACK}-training, pipeline {STACK}-monitor, model package group {STACK}" in said
    assert f"bucket {LAKE}; nothing was changed" in said
    assert "PULUMI_BACKEND_URL" in said
    assert "aws sagemaker delete-endpoint" not in said
    assert (list_resources(used), read_trigger_states(used), read_pause_parameter(used)) == before


def test_a_refused_destroy_keeps_models_without_an_endpoint(stack: Loop) -> None:
    name = f"{STACK}-model-0000009"
    stack.sagemaker.create_model(
        ModelName=name, Containers=[{"Image": IMAGE, "ModelDataUrl": "s3://cli/model.tar.gz"}], ExecutionRoleArn=ROLE
    )
    assert f"pipeline {STACK}-training" in stack("destroy", "flights", "--yes", code=1).stderr
    assert stack.sagemaker.describe_model(ModelName=name)
    stack.sagemaker.delete_model(ModelName=name)
