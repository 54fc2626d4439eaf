"""Tests of `millrace status` for one stack in detail, with resources created like those of `pulumi up`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.local.hosted import eventually
from tests.local.jobs import ROLE, make_bucket
from tests.local.pipelines import start, wait_for_execution

from .conftest import STACK, Loop, Millrace

LAKE = f"{STACK}-lake-123456789012"
DEPTH = ("status", "flights", "--env", "local")


@pytest.fixture(scope="module")
def served(loop: Loop) -> Loop:
    """Return the loop with an endpoint that serves version 1, two pipelines and a data clock."""
    _, arn = loop.register("Approved")
    loop.serve(arn)
    loop.pipeline("training", "print('done')")
    loop.pipeline("monitor", "sys.exit('no figures in the capture')")
    clock = json.dumps({"now": "2013-04-03T00:00:00Z"}).encode()
    make_bucket(loop.daemon, LAKE).put_object(Bucket=LAKE, Key="clock.json", Body=clock)
    return loop


def create_alarm(loop: Loop, kind: str, state: str, reason: str) -> None:
    cloudwatch = loop.daemon.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=f"{STACK}-{kind}", AlarmDescription=f"{kind} is too high.", Namespace="n", MetricName="drift",
        Statistic="Maximum", Period=86_400, EvaluationPeriods=1, Threshold=0.25, TreatMissingData="ignore",
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName=f"{STACK}-{kind}", StateValue=state, StateReason=reason)


def publish(loop: Loop, at: datetime, **figures: float) -> None:
    """Publish the metrics of a run of the monitor."""
    data: list[dict[str, Any]] = [
        {"MetricName": name, "Value": value, "Timestamp": at, "Dimensions": [{"Name": "Endpoint", "Value": STACK}]}
        for name, value in {"heartbeat": 1, **figures}.items()
    ]
    loop.daemon.client("cloudwatch").put_metric_data(Namespace=f"Millrace/{STACK}", MetricData=data)


@dataclass
class Seen:
    """The JSON and the text output of the command for a stack with many events, and its versions."""

    found: dict[str, Any]
    shown: str
    versions: dict[str, int]

    @property
    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.shown.splitlines()]


@pytest.fixture(scope="module")
def seen(served: Loop) -> Seen:
    create_alarm(served, "drift", "ALARM", "it is 2")
    waiting, _ = served.register("PendingManualApproval", ece="0.2")
    for kind in ("training", "monitor"):
        wait_for_execution(served.sagemaker, start(served.sagemaker, f"{STACK}-{kind}"))
    rejected, _ = served.register("PendingManualApproval")
    served("reject", "flights", str(rejected), "--yes", "--reason", "unfair to small carriers")
    late, arn = served.register("PendingManualApproval")
    approved, _ = served.register("Approved")
    served.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    now = datetime.now(UTC)
    publish(served, now - timedelta(hours=5), drift=0.4, ece=0.06, label_coverage=0.9, skew=0.0)
    # The newest run had too few labels for a calibration error; the older run's must not be shown for it.
    publish(served, now - timedelta(hours=1), drift=0.1, label_coverage=0.2, skew=0.01)
    sqs = served.daemon.client("sqs")
    url = sqs.create_queue(QueueName=f"{STACK}-dead-letters")["QueueUrl"]
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="a trigger that started nothing")
    served.daemon.client("scheduler").create_schedule(
        Name=f"{STACK}-monitor", ScheduleExpression="rate(3 hours)", FlexibleTimeWindow={"Mode": "OFF"},
        State="DISABLED",
        Target={"Arn": f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/{STACK}-monitor", "RoleArn": ROLE},
    )  # fmt: skip
    versions = {"waiting": waiting, "rejected": rejected, "late": late, "approved": approved}
    return Seen(served.millrace.json(*DEPTH), served(*DEPTH).stdout, versions)


def test_serving_and_pending_versions_and_firing_alarms_are_shown(seen: Seen) -> None:
    found, waiting = seen.found, seen.versions["waiting"]
    assert set(found) == {
        "version", "stack", "use_case", "environment", "region", "account", "deployed", "endpoint", "model", "rollout",
        "approved",
        "pending", "missing", "warnings", "alarms", "last", "next", "paused", "cost", "unknown", "attention",
        "data_time", "executions", "figures", "monitor", "off", "traffic", "registry", "schedules", "dead_letters",
    }  # fmt: skip
    endpoint = found["endpoint"]
    assert (endpoint["status"], endpoint["version"], endpoint["instance_type"]) == ("InService", 1, "ml.m5.large")
    assert [gate["passed"] for gate in found["model"]["gates"]] == [True, True, True]
    [pending] = found["pending"]
    assert pending["version"] == waiting
    assert {gate["metric"]: gate["passed"] for gate in pending["gates"]}["ece"] is False
    [fires] = found["alarms"]
    assert (fires["name"], fires["state"], fires["reason"]) == (f"{STACK}-drift", "ALARM", "it is 2")
    assert (fires["metric"], fires["threshold"]) == ("drift", 0.25)
    assert (found["unknown"], found["cost"]["billed"]) == ({}, False)
    assert "serves version 1 since" in seen.shown
    # A newer version is approved, so approving this one would be refused.
    newer = f"version {seen.versions['approved']} is approved and newer"
    assert f"version {waiting} waits for approval, but {newer}: millrace reject flights {waiting}" in seen.shown
    assert "drift is too high. it is 2" in seen.shown
    assert "drift > 0.25" in seen.shown


def test_executions_and_data_time_are_shown(seen: Seen) -> None:
    ran = seen.found["executions"]
    assert [run["status"] for run in ran["training"]] == ["Succeeded"]
    [failed] = ran["monitor"]
    assert (failed["status"], failed["step"]) == ("Failed", "Work")
    assert ran["features"] == []
    assert f"! the last run of monitor failed: {failed['reason']} → millrace logs {STACK}-monitor/" in seen.shown
    assert seen.found["data_time"] == "2013-04-03T00:00:00.000Z"
    assert "data time 2013-04-03 00:00:00Z" in seen.shown


def test_the_registry_history_shows_decisions_with_reasons(seen: Seen) -> None:
    registered = {each["version"]: each for each in seen.found["registry"]}
    assert list(registered) == sorted([1, *seen.versions.values()], reverse=True)
    package = registered[seen.versions["rejected"]]
    assert (package["approval"], package["reason"]) == ("Rejected", "unfair to small carriers")
    assert package["changed"] is not None
    [line] = [line for line in seen.lines if line[:1] == [f"v{seen.versions['rejected']}"]]
    assert line[1] == "rejected"
    assert line[-4:] == ["unfair", "to", "small", "carriers"]


def test_an_older_version_approved_late_is_not_served(seen: Seen) -> None:
    late, approved = seen.versions["late"], seen.versions["approved"]
    assert seen.found["approved"] == approved
    late_approval = {"version": late, "newest": approved}
    assert ("approved_late", late_approval) in [(each["code"], each["fields"]) for each in seen.found["warnings"]]
    assert "millrace deploy flights" in [need["command"] for need in seen.found["attention"]]


def test_the_newest_monitor_metrics_and_their_age_are_shown(seen: Seen) -> None:
    figures = seen.found["figures"]
    known = {name: value for name, value in figures.items() if name not in ("at", "age_seconds")}
    assert known == {"drift": 0.1, "label_coverage": 0.2, "skew": 0.01}
    assert 3600 - 61 <= figures["age_seconds"] <= 3600 + 120
    assert "monitor: last published" in seen.shown
    assert ["drift", "0.1"] in seen.lines


def test_schedules_and_dead_letters_are_shown(seen: Seen) -> None:
    assert seen.found["dead_letters"]["waiting"] == 3
    assert f"dead letters: 3 waiting in {STACK}-dead-letters" in seen.shown
    [schedule] = seen.found["schedules"]
    assert (schedule["pipeline"], schedule["expression"]) == ("monitor", "rate(3 hours)")
    assert schedule["expected"] == "rate(1 day)"
    assert "changed by hand: the declared value is rate(1 day)" in seen.shown


def test_a_running_rollout_shows_both_fleets(served: Loop, seen: Seen) -> None:
    version, arn = served.register("Approved")
    served.sagemaker.create_model(
        ModelName=f"{STACK}-next", Containers=[{"ModelPackageName": arn}], ExecutionRoleArn=ROLE
    )
    variant = {
        "VariantName": "main", "ModelName": f"{STACK}-next", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large",
    }  # fmt: skip
    served.sagemaker.create_endpoint_config(EndpointConfigName=f"{STACK}-next", ProductionVariants=[variant])
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 600}
    # Reset the alarm first: one that fires during the rollout would roll it back.
    create_alarm(served, "drift", "OK", "it is over")
    served.sagemaker.update_endpoint(
        EndpointName=STACK, EndpointConfigName=f"{STACK}-next",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 600,
                "MaximumExecutionTimeoutInSeconds": 3000,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": f"{STACK}-drift"}]},
        },
    )  # fmt: skip

    def baking() -> dict[str, Any] | None:
        described = served.sagemaker.describe_endpoint(EndpointName=STACK)
        return dict(described) if "PendingDeploymentSummary" in described else None

    eventually(baking, 30)
    found = served.millrace.json(*DEPTH)
    assert found["endpoint"]["status"] == "Updating"
    # The old version has served since its own deployment.
    assert found["endpoint"]["since"] == seen.found["endpoint"]["since"]
    rolling = found["rollout"]
    assert (rolling["traffic"], rolling["alarms"]) == ("ALL_AT_ONCE", [f"{STACK}-drift"])
    assert (rolling["blue"]["config"], rolling["blue"]["version"], rolling["green"]["version"]) == (STACK, 1, version)
    assert rolling["green"]["stages"]
    # A version that is being deployed is no action item.
    assert "millrace deploy flights" not in [need["command"] for need in found["attention"]]
    # Where no other environment answers, the table is followed by the same details.
    both = served("status", "flights", AWS_EC2_METADATA_DISABLED="true").stdout
    assert f"v1 → v{version}, rolling out" in both
    assert f"green  version {version}: " in both
    assert f"rolled back by: {STACK}-drift" in both


def test_status_of_an_empty_cloud(millrace: Millrace) -> None:
    millrace("local", "start")
    found = millrace.json(*DEPTH)
    assert found["deployed"] is False
    assert found["endpoint"]["status"] == "pending its first approved model"
    assert (found["data_time"], found["model"], found["pending"], found["alarms"]) == (None, None, [], [])
    assert found["unknown"] == {}
    assert "at its beginning: none of it is running on this machine: millrace up flights" in millrace(*DEPTH).stdout
    assert "flights-local: never deployed" in millrace("status", AWS_EC2_METADATA_DISABLED="true").stdout


def test_a_stopped_cloud_is_an_error_for_one_stack_and_a_line_in_the_table(millrace: Millrace) -> None:
    assert "is not running" in millrace.error(*DEPTH)
    assert "is not running" in millrace("status", "flights", AWS_EC2_METADATA_DISABLED="true").stdout
