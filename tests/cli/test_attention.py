"""Tests of a stack's action items: they follow from known facts and never from unanswered requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from cli.commands import watch
from cli.fleet import depth, status, view
from cli.fleet.accounts import Account, Accounts
from cli.fleet.members import Stack
from cli.stack.target import Target
from millrace import Environment, FeatureTable, Monitoring, Retraining, UseCase
from tests.local.pipelines import create, process, start, wait_for_execution

from .many import Cloud

SERVED = ("whole", "crowded", "lost", "emptied", "forgetful", "plundered", "unconfigured")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Yield a local cloud in which some stacks serve version 1."""
    found = Cloud(tmp_path_factory.mktemp("attention") / "state")
    try:
        found.whole(*(f"{name}-local" for name in SERVED))
        yield found
    finally:
        found.daemon.stop()


class Answering(Accounts):
    """The cloud's account, in which some SageMaker operations are denied."""

    def __init__(self, cloud: Cloud, *denied: str) -> None:
        running = cloud.daemon.running
        self._account = Account("eu-west-1", None, (cloud.daemon.state.resolve() / "aws", running.endpoint_url))
        for operation in denied:
            self._account.client("sagemaker").meta.events.register(f"before-call.sagemaker.{operation}", deny_access)

    def get(self, environment: str, region: str, profile: str | None) -> Account:
        return self._account


def deny_access(**_: Any) -> tuple[AWSResponse, dict[str, Any]]:
    """Return the response of AWS to a denied request."""
    error = {"Code": "AccessDeniedException", "Message": "the policy forbids it"}
    return AWSResponse("", 400, {}, None), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}


def declare_stack(cloud: Cloud, name: str, *tables: FeatureTable) -> Stack:
    case = UseCase(
        name=name, target="left", key="customer", event_time="asked_at", tables=tables,
        monitoring=Monitoring(every=timedelta(days=1)), retraining=Retraining(on=("drift",), every=timedelta(days=7)),
    )  # fmt: skip
    target = Target(case, Environment(name="local"), cloud.daemon.state)
    return Stack(f"{name}-local", name, "local", target)


def query_document(cloud: Cloud, name: str, *denied: str) -> dict[str, Any]:
    """Return the fleet document of one stack while some operations are denied."""
    return status.query_stacks([declare_stack(cloud, name)], Answering(cloud, *denied))


def query_row(cloud: Cloud, name: str, *denied: str) -> dict[str, Any]:
    [found] = query_document(cloud, name, *denied)["stacks"]
    return dict(found)


def list_commands(found: dict[str, Any]) -> list[str]:
    return [need["command"] for need in found["attention"]]


# -- unanswered requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("denied", "silent"),
    [
        (("DescribeEndpoint",), "endpoint"),
        (("ListEndpoints", "DescribeEndpoint"), "endpoint"),
        (("DescribeEndpointConfig",), "model"),
        (("DescribeModel",), "model"),
        (("ListModelPackages",), "registry"),
    ],
)
def test_unanswered_requests_are_unknown_and_no_action_items(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], denied: tuple[str, ...], silent: str
) -> None:
    found = query_document(cloud, "whole", *denied)
    [whole] = found["stacks"]
    assert silent in whole["unknown"]
    assert (found["attention"], whole["warnings"]) == ([], [])
    view.print_fleet(found)
    head, line, *_ = capsys.readouterr().out.splitlines()
    place = head.index("waits") if silent == "registry" else head.index("serves")
    assert line[place:].startswith("unknown")
    view.print_stack(depth.add_details(*status.query_stack(declare_stack(cloud, "whole"), Answering(cloud, *denied))))
    shown = capsys.readouterr().out
    assert "nothing needs attention" in shown
    said = {
        "endpoint": "endpoint whole-local: unknown\n", "model": "InService, serves an unknown package",
        "registry": "registry: unknown",
    }  # fmt: skip
    assert said[silent] in shown


@pytest.mark.parametrize("denied", ["DescribeEndpoint", "DescribeModel", "ListModelPackages", "ListPipelineExecutions"])
def test_an_unanswered_request_is_not_reported_as_a_change(cloud: Cloud, denied: str) -> None:
    before = watch.collect_facts(query_document(cloud, "whole"))
    now = watch.keep_unanswered(before, watch.collect_facts(query_document(cloud, "whole", denied)))
    assert [change["what"] for change in watch.find_changes(before, now)] == ["not known"]
    again = watch.keep_unanswered(now, watch.collect_facts(query_document(cloud, "whole")))
    assert [change["what"] for change in watch.find_changes(now, again)] == ["not known"]
    # A request that fails the first time is unknown too.
    [first] = watch.find_changes({}, watch.collect_facts(query_document(cloud, "whole", "DescribeEndpoint")))
    assert (first["after"] or "").startswith("serves unknown, unknown; alarms firing: none")


def test_an_endpoint_of_unknown_cost_is_named(cloud: Cloud) -> None:
    assert "endpoint" in query_row(cloud, "whole", "DescribeEndpoint")["cost"]["unknown"]


def test_an_unanswered_registry_is_not_taken_for_an_empty_one(cloud: Cloud) -> None:
    cloud.provision("new-local")
    assert list_commands(query_row(cloud, "new")) == ["millrace retrain new"]
    assert list_commands(query_row(cloud, "new", "ListModelPackages")) == []
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/emptied-local/1"
    cloud.sagemaker.delete_model_package(ModelPackageName=arn)
    [known] = query_row(cloud, "emptied")["warnings"]
    assert (known["code"], known["fields"]["package"]) == ("package_deleted_none_approved", arn)
    assert "no version is approved" in known["text"]
    [unknown] = query_row(cloud, "emptied", "ListModelPackages")["warnings"]
    assert unknown["code"] == "package_deleted_registry_silent"
    assert "whether another version is approved is unknown" in unknown["text"]


# -- registered versions -----------------------------------------------------------------------------------------------


def test_approved_and_pending_versions_are_found_among_many_rejected(cloud: Cloud) -> None:
    cloud.register("crowded-local", "PendingManualApproval")
    for _ in range(100):
        cloud.register("crowded-local", "Rejected")
    found = query_row(cloud, "crowded")
    assert (found["approved"], [each["version"] for each in found["pending"]]) == (1, [2])
    assert (found["warnings"], list_commands(found)) == ([], ["millrace approve crowded 2"])


def test_an_outdated_pending_version_does_not_hide_an_alarm(cloud: Cloud) -> None:
    cloud.register("forgetful-local", "PendingManualApproval")
    cloud.register("forgetful-local", "Approved")
    cloud.fire("forgetful-local-drift")
    drift = "alarm forgetful-local-drift: drift of forgetful-local is too high"
    needs = {need["what"]: need["command"] for need in query_row(cloud, "forgetful")["attention"]}
    assert needs[drift] == "millrace retrain forgetful"
    assert "millrace reject forgetful 2" in needs.values()
    # A version that may still serve is the suggested fix for the alarm.
    cloud.register("forgetful-local", "PendingManualApproval")
    needs = {need["what"]: need["command"] for need in query_row(cloud, "forgetful")["attention"]}
    assert needs[f"{drift}; version 4 waits for approval"] == "millrace approve forgetful 4"
    assert drift not in needs


# -- missing resources -------------------------------------------------------------------------------------------------


def test_an_endpoint_deleted_by_hand_is_reported(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.delete_endpoint(EndpointName="lost-local")
    found = query_document(cloud, "lost")
    [need] = found["attention"]
    assert (need["code"], need["fields"]) == ("endpoint_missing", {"endpoint": "lost-local", "approved": 1})
    assert need["what"].startswith("endpoint lost-local was deleted, and version 1 is approved: ")
    assert need["command"] == "millrace deploy lost --refresh"
    view.print_fleet(found)
    head, line, *_ = capsys.readouterr().out.splitlines()
    assert line[head.index("serves") :].startswith("gone ")
    # Its alarms are deployed with it; without them, it counts as never deployed.
    cloud.cloudwatch.delete_alarms(AlarmNames=["lost-local-errors"])
    found = query_row(cloud, "lost")
    assert found["endpoint"]["status"] == "pending its first approved model"
    assert list_commands(found) == ["millrace deploy lost"]


def test_an_interrupted_first_deployment_is_not_a_destroyed_stack(cloud: Cloud) -> None:
    cloud.sagemaker.create_model_package_group(ModelPackageGroupName="half-local")
    assert query_document(cloud, "half")["stacks"] == []
    cloud.cloudwatch.put_metric_alarm(
        AlarmName="half-local-undelivered", AlarmDescription="Triggers start nothing.", Namespace="n", MetricName="m",
        Statistic="Maximum", Period=60, EvaluationPeriods=1, Threshold=0, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    found = query_row(cloud, "half")
    assert (found["deployed"], found["missing"]) == (True, ["half-local-training", "half-local-monitor"])
    [need] = found["attention"]
    assert need["code"] == "resources_missing"
    assert need["fields"]["missing"]["pipeline"] == ["half-local-training", "half-local-monitor"]
    assert need["what"].startswith("pipeline half-local-training and half-local-monitor and alarm half-local-drift ")
    assert need["command"] == "millrace deploy half --refresh"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("alarm", kind) for kind in ("drift", "heartbeat", "undelivered", "errors", "latency")),
        ("rule", "training-on-alarm"),
        ("schedule", "monitor"),
        ("schedule", "training-backstop"),
        ("schedule", "training-recheck"),
    ],
)
def test_deleted_alarms_rules_and_schedules_are_named(cloud: Cloud, kind: str, name: str) -> None:
    cloud.remove(kind, f"plundered-local-{name}")
    try:
        [need] = query_row(cloud, "plundered")["attention"]
    finally:
        cloud.watch("plundered-local")
    assert need["fields"] == {"missing": {kind: [f"plundered-local-{name}"]}}
    assert need["what"].startswith(f"{kind} plundered-local-{name} is missing, although other parts of the stack ")
    assert need["command"] == "millrace deploy plundered --refresh"
    assert query_row(cloud, "plundered")["attention"] == []


def test_a_missing_feature_pipeline_is_reported_where_tables_exist(cloud: Cloud) -> None:
    table = FeatureTable("shop", entity="place", columns={"area": "number"}, event_time="known")
    [found] = status.query_stacks([declare_stack(cloud, "plundered", table)], Answering(cloud))["stacks"]
    assert found["missing"] == ["plundered-local-features"]
    [need] = found["attention"]
    # With tables, their age has an alarm, too.
    assert need["fields"]["missing"] == {
        "alarm": ["plundered-local-freshness"],
        "pipeline": ["plundered-local-features"],
        "schedule": ["plundered-local-features"],
    }
    assert "pipeline plundered-local-features and alarm plundered-local-freshness and schedule " in need["what"]
    assert need["command"] == "millrace deploy plundered --refresh"


def test_alarms_of_a_pending_endpoint_are_not_missing(cloud: Cloud) -> None:
    cloud.provision("awaited-local")
    for kind in ("errors", "latency"):
        cloud.remove("alarm", f"awaited-local-{kind}")
    assert list_commands(query_row(cloud, "awaited")) == ["millrace retrain awaited"]


def test_a_disabled_rule_is_reported_unless_it_is_paused(cloud: Cloud) -> None:
    cloud.provision("deaf-local")
    cloud.register("deaf-local", "PendingManualApproval")
    cloud.daemon.client("events").disable_rule(Name="deaf-local-training-on-alarm")
    told = "rule deaf-local-training-on-alarm is disabled, though nothing is paused"
    needs = {need["what"].partition(":")[0]: need["command"] for need in query_row(cloud, "deaf")["attention"]}
    assert needs[told] == "millrace deploy deaf --refresh"
    names = Environment(name="local").make_names("deaf", "123456789012")
    cloud.daemon.client("ssm").put_parameter(Name=names.pause_parameter, Type="String", Value="{}")
    assert list_commands(query_row(cloud, "deaf")) == ["millrace approve deaf 1", "millrace resume deaf"]


def test_an_endpoint_without_its_configuration_must_be_deleted_first(cloud: Cloud) -> None:
    cloud.sagemaker.delete_endpoint_config(EndpointConfigName="unconfigured-local-config-0a1b2c3")
    [need] = query_row(cloud, "unconfigured")["attention"]
    assert "`aws sagemaker delete-endpoint --endpoint-name unconfigured-local --region eu-west-1`" in need["what"]
    assert need["command"] == "millrace deploy unconfigured --refresh"


def test_a_failed_feature_run_is_reported(cloud: Cloud) -> None:
    cloud.provision("tabled-local")
    create(cloud.sagemaker, "tabled-local-features", process("Publish", "sys.exit('no weather')"))
    wait_for_execution(cloud.sagemaker, start(cloud.sagemaker, "tabled-local-features"))
    weather = FeatureTable("weather", entity="customer", event_time="known_at", columns={"rain": "number"})
    stack = declare_stack(cloud, "tabled", weather)
    [found] = status.query_stacks([stack], Answering(cloud))["stacks"]
    assert found["last"]["features"]["step"] == "Publish"
    needs = {need["command"]: need["what"] for need in found["attention"]}
    assert needs["millrace logs tabled-local-features/"].startswith("the last run of features failed: ")
    assert watch.collect_facts({"stacks": [found], "not_asked": []})["tabled-local"]["features"].startswith("Failed, ")
