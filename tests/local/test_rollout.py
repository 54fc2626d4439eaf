"""UpdateEndpoint: traffic moves to the new fleet without a failed request, and back when something goes wrong."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from scipy import stats

from local.services.sagemaker.hosting import fleet
from local.services.sagemaker.hosting.deployment import compute_instances, plan_steps
from local.services.sagemaker.hosting.host import Hosting
from tests.local.hosted import REGION, HostedCloud, eventually, failures, hosted, moto_url, variant
from tests.local.test_endpoints import catch_refusal, find_servers

__all__ = ["hosted", "moto_url"]


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def blue_green(kind: str = "ALL_AT_ONCE", *, wait: int = 0, end: int = 0, **more: Any) -> dict[str, Any]:
    size: dict[str, Any] = {name: more.pop(name) for name in ("CanarySize", "LinearStepSize") if name in more}
    routing: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": wait, **size}
    policy: dict[str, Any] = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": end, **more}
    return {"BlueGreenUpdatePolicy": policy}


def rolling(size: dict[str, Any], wait: int = 0, **more: Any) -> dict[str, Any]:
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait, **more}}


def auto_rollback(*alarms: str) -> dict[str, Any]:
    return {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}}


@pytest.fixture
def alarm(hosted: HostedCloud) -> Iterator[str]:
    """Yield the name of an alarm in state OK."""
    client = hosted.aws("cloudwatch")
    client.put_metric_alarm(
        AlarmName="shop-5xx", Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Statistic="Sum",
        Period=60, EvaluationPeriods=1, Threshold=1.0, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    client.set_alarm_state(AlarmName="shop-5xx", StateValue="OK", StateReason="test")
    yield "shop-5xx"
    with contextlib.suppress(ClientError):
        client.delete_alarms(AlarmNames=["shop-5xx"])


def get_pending_variant(hosted: HostedCloud, name: str = "shop") -> dict[str, Any]:
    """Return the pending variant of the current deployment, or an empty dict."""
    pending = hosted.describe_endpoint(EndpointName=name).get("PendingDeploymentSummary")
    return pending["ProductionVariants"][0] if pending else {}


def wait_for_baking(hosted: HostedCloud) -> dict[str, Any]:
    def found() -> dict[str, Any]:
        pending = get_pending_variant(hosted)
        return pending if pending and pending["VariantStatus"][0]["Status"] == "Baking" else {}

    return dict(eventually(found))


@pytest.mark.parametrize(
    ("count", "deployment"),
    [
        pytest.param(1, None, id="none"),
        pytest.param(1, blue_green(end=90), id="all-at-once"),
        pytest.param(1, blue_green("CANARY", wait=90, end=90, CanarySize=percent(30)), id="canary"),
        pytest.param(2, blue_green("LINEAR", wait=60, LinearStepSize=percent(50)), id="linear"),
        pytest.param(2, rolling(percent(50), wait=60), id="rolling"),
    ],
)
def test_an_update_under_load_fails_no_request(hosted: HostedCloud, count: int, deployment: Any) -> None:
    hosted.endpoint("shop", hosted.config("shop-1", count=count))
    hosted.config("shop-2", count=count)
    with hosted.load("shop") as answers:
        eventually(lambda: answers["shop-1"] > 20)
        more = {"DeploymentConfig": deployment} if deployment else {}
        hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", **more)
        described = hosted.settled("shop")
        seen = answers["shop-1"]
        green = answers["shop-2"]
        eventually(lambda: answers["shop-2"] > green + 20)
    assert failures(answers) == []
    assert answers["shop-1"] == seen
    assert described["EndpointConfigName"] == "shop-2"
    assert "FailureReason" not in described
    assert described.get("LastDeploymentConfig") == deployment
    assert len(find_servers(hosted, "shop")) == count


def test_a_canary_gets_its_share_and_every_stage_sends_an_event(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1", count=2))
    hosted.config("shop-2", count=2)
    deployment = blue_green("CANARY", wait=900, end=60, CanarySize=percent(30))
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", DeploymentConfig=deployment)
    pending = wait_for_baking(hosted)
    described = hosted.describe_endpoint(EndpointName="shop")
    assert described["EndpointConfigName"] == "shop-1"
    assert described["EndpointStatus"] == "Updating"
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == "shop-2"
    answers: list[bytes] = []
    while len(answers) < 200:
        answer = hosted.ask("shop")
        if get_pending_variant(hosted).get("VariantStatus") != pending["VariantStatus"]:
            break
        answers.append(answer)
    # A busy machine sends fewer requests while baking. A correct share fails here once in 10 000 times.
    assert len(answers) >= 50
    assert stats.binomtest(answers.count(b"shop-2"), len(answers), 0.3).pvalue > 1e-4
    assert pending["CurrentInstanceCount"] == 1
    assert pending["DesiredInstanceCount"] == 2
    hosted.settled("shop")
    eventually(lambda: any(e["detail"]["EndpointConfigName"] == "shop-2" for e in hosted.drain_events()))
    stages = [
        event["detail"]["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]
        for event in hosted.drain_events()
        if event["detail-type"] == "SageMaker Endpoint Deployment State Change"
    ]
    canary = "canary capacity of 1 instance(s)"
    assert [(one["Status"], one["StatusMessage"]) for one in stages] == [
        ("Creating", "Launching 2 instance(s)."),
        ("ActivatingTraffic", f"Activating traffic on {canary}."),
        ("Baking", f"Baking for 900 seconds (WaitIntervalInSeconds) with traffic enabled on {canary}."),
        ("ActivatingTraffic", "Activating traffic on 2 instance(s)."),
        ("Baking", "Baking for 60 seconds (TerminationWaitInSeconds) with traffic enabled on 2 instance(s)."),
        ("Deleting", "Terminating 2 instance(s)."),
    ]
    statuses = [
        e["detail"]["EndpointStatus"] for e in hosted.events if e["detail-type"].endswith("Endpoint State Change")
    ]
    assert statuses == ["CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE"]


@pytest.mark.parametrize(
    ("count", "deployment"),
    [
        pytest.param(1, blue_green(end=3600), id="all-at-once"),
        pytest.param(1, blue_green("CANARY", wait=3600, CanarySize=percent(30)), id="canary"),
        pytest.param(2, rolling(percent(50), wait=3600), id="rolling"),
    ],
)
def test_an_alarm_during_baking_rolls_back_all_traffic(
    hosted: HostedCloud, alarm: str, count: int, deployment: dict[str, Any]
) -> None:
    hosted.endpoint("shop", hosted.config("shop-1", count=count))
    hosted.config("shop-2", count=count)
    with hosted.load("shop") as answers:
        hosted.update_endpoint(
            EndpointName="shop", EndpointConfigName="shop-2", DeploymentConfig={**deployment, **auto_rollback(alarm)}
        )
        wait_for_baking(hosted)
        eventually(lambda: answers["shop-2"] > 5)
        hosted.aws("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
        described = hosted.settled("shop")
        seen = answers["shop-2"]
        blue = answers["shop-1"]
        eventually(lambda: answers["shop-1"] > blue + 20)
    assert failures(answers) == []
    assert answers["shop-2"] == seen
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "shop-1"
    assert alarm in described["FailureReason"]
    assert "PendingDeploymentSummary" not in described
    assert len(find_servers(hosted, "shop")) == count


def test_a_rolled_back_rolling_update_restores_the_full_old_fleet(hosted: HostedCloud, alarm: str) -> None:
    hosted.endpoint("shop", hosted.config("shop-1", count=2))
    hosted.config("shop-2", count=2)
    before = find_servers(hosted, "shop")
    deployment = {**rolling(percent(50), wait=300), **auto_rollback(alarm)}
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", DeploymentConfig=deployment)
    with hosted.load("shop") as answers:
        eventually(lambda: get_pending_variant(hosted).get("CurrentInstanceCount") == 2)
        assert len(set(before) & set(find_servers(hosted, "shop"))) == 1
        hosted.aws("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
        assert hosted.settled("shop")["EndpointConfigName"] == "shop-1"
    assert failures(answers) == []
    assert len(find_servers(hosted, "shop")) == 2
    assert {hosted.ask("shop") for _ in range(20)} == {b"shop-1"}


def test_an_alarm_that_is_already_firing_ends_the_deployment(hosted: HostedCloud, alarm: str) -> None:
    hosted.aws("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    hosted.endpoint("shop", hosted.config("shop-1"))
    hosted.config("shop-2")
    deployment = {**blue_green(), **auto_rollback(alarm)}
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", DeploymentConfig=deployment)
    described = hosted.settled("shop")
    assert (described["EndpointConfigName"], alarm in described["FailureReason"]) == ("shop-1", True)


def test_a_missing_alarm_ends_the_deployment_and_is_named(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1"))
    hosted.config("shop-2")
    deployment = {**blue_green(), **auto_rollback("nowhere")}
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", DeploymentConfig=deployment)
    assert hosted.settled("shop")["FailureReason"] == "Alarm(s) of AutoRollbackConfiguration not found: nowhere."


def test_a_new_model_that_fails_to_start_never_gets_traffic(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1"))
    hosted.config("shop-2", environment={"FAIL": "1"})
    hosted.config("shop-3")
    with hosted.load("shop") as answers:
        hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2")
        described = hosted.settled("shop")
    assert set(answers) == {"shop-1"}
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "shop-1"
    assert "variant main did not pass the ping health check" in described["FailureReason"]
    assert len(find_servers(hosted, "shop")) == 1

    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-3")
    described = hosted.settled("shop")
    assert described["EndpointConfigName"] == "shop-3"
    assert "FailureReason" not in described


@pytest.mark.parametrize("how", ["ping 500", "stopped"])
@pytest.mark.parametrize("end", [3600, 30], ids=["in-the-bake", "at-its-end"])
def test_a_new_model_that_becomes_unhealthy_is_rolled_back(
    hosted: HostedCloud, monkeypatch: pytest.MonkeyPatch, how: str, end: int
) -> None:
    if end == 3600:
        monkeypatch.setattr(fleet, "HEALTH_INTERVAL", 0.1)
    monkeypatch.setattr(fleet, "PING_TIMEOUT", 0.5)
    hosted.endpoint("shop", hosted.config("shop-1"))
    old = find_servers(hosted, "shop")
    hosted.config("shop-2")
    deployment = blue_green("CANARY", wait=90, end=end, CanarySize=percent(50))
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", DeploymentConfig=deployment)
    wait_for_baking(hosted)
    (green,) = [server for server in find_servers(hosted, "shop") if server not in old]
    if how == "stopped":
        os.kill(green.pid, signal.SIGSTOP)
    else:
        endpoint = hosted.cloud.get_part(Hosting).get_endpoint(REGION, "shop")
        (server,) = endpoint.router.routes[1].fleet.variants["main"].servers
        assert server.pool is not None
        server.pool.request("POST", "/invocations", body=how.encode())
    described = hosted.settled("shop")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "shop-1"
    assert "main did not pass the ping health check during the deployment" in described["FailureReason"]
    assert ("HTTP status 500" if how == "ping 500" else "no answer") in described["FailureReason"]
    assert find_servers(hosted, "shop") == old
    assert hosted.ask("shop") == b"shop-1"


def test_a_deployment_that_takes_too_long_is_rolled_back(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1"))
    hosted.config("shop-2", environment={"PING": "503"})
    # Less than the API accepts, so that the test need not wait.
    deployment = blue_green(MaximumExecutionTimeoutInSeconds=1)
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", DeploymentConfig=deployment)
    described = hosted.settled("shop")
    assert described["EndpointConfigName"] == "shop-1"
    assert described["FailureReason"] == (
        "The deployment took longer than 1 seconds (MaximumExecutionTimeoutInSeconds)."
    )
    assert len(find_servers(hosted, "shop")) == 1


def test_a_timeout_below_the_total_wait_is_refused(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1"))
    deployment = blue_green(end=700, MaximumExecutionTimeoutInSeconds=600)
    message = catch_refusal(
        hosted.update_endpoint, EndpointName="shop", EndpointConfigName="shop-1", DeploymentConfig=deployment
    )[1]
    assert message == "MaximumExecutionTimeoutInSeconds 600 is not above the 700 seconds that the deployment waits."


def test_live_instance_counts_are_kept_when_asked(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1"))
    hosted.config("shop-2")
    hosted.update_endpoint_weights_and_capacities(
        EndpointName="shop", DesiredWeightsAndCapacities=[{"VariantName": "main", "DesiredInstanceCount": 2}]
    )
    assert hosted.settled("shop")["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", RetainAllVariantProperties=True)
    described = hosted.settled("shop")
    assert described["EndpointConfigName"] == "shop-2"
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert len(find_servers(hosted, "shop")) == 2
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-1")
    assert hosted.settled("shop")["ProductionVariants"][0]["CurrentInstanceCount"] == 1


def test_the_last_deployment_config_is_reused_when_asked(hosted: HostedCloud) -> None:
    deployment = blue_green(end=60)
    hosted.config("shop-1")
    hosted.config("shop-2")
    hosted.create_endpoint(EndpointName="shop", EndpointConfigName="shop-1", DeploymentConfig=deployment)
    hosted.settled("shop")
    hosted.update_endpoint(EndpointName="shop", EndpointConfigName="shop-2", RetainDeploymentConfig=True)
    assert "60 seconds (TerminationWaitInSeconds)" in wait_for_baking(hosted)["VariantStatus"][0]["StatusMessage"]
    assert hosted.settled("shop")["LastDeploymentConfig"] == deployment


def test_an_update_needs_the_old_configuration(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1"))
    hosted.config("shop-2")
    hosted.delete_endpoint_config(EndpointConfigName="shop-1")
    message = catch_refusal(hosted.update_endpoint, EndpointName="shop", EndpointConfigName="shop-2")[1]
    assert message.startswith("Could not find endpoint configuration")
    assert message.endswith('endpoint-config/shop-1".')
    assert hosted.ask("shop") == b"shop-1"


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        ({}, "exactly one of"),
        ({**blue_green(), **rolling(percent(50))}, "exactly one of"),
        (blue_green("CANARY"), "needs CanarySize"),
        (blue_green(CanarySize=percent(10)), "cannot have CanarySize"),
        (blue_green("CANARY", CanarySize=percent(60)), "CanarySize is 60 percent; expected 1 to 50"),
        (blue_green("LINEAR", LinearStepSize=percent(5)), "LinearStepSize is 5 percent; expected 10 to 50"),
        (blue_green("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}), "more than one instance; it has 1"),
        (rolling(percent(60)), "MaximumBatchSize is 60 percent; expected 5 to 50"),
    ],
)
def test_invalid_deployment_configs_are_refused(hosted: HostedCloud, deployment: Any, words: str) -> None:
    hosted.config("shop-1")
    create = {"EndpointName": "shop", "EndpointConfigName": "shop-1", "DeploymentConfig": deployment}
    assert words in catch_refusal(hosted.create_endpoint, **create)[1]


def test_guardrails_need_the_same_variants(hosted: HostedCloud) -> None:
    hosted.endpoint("shop", hosted.config("shop-1"))
    hosted.create_endpoint_config(EndpointConfigName="other", ProductionVariants=[variant("shop-1", name="blue")])
    update = {"EndpointName": "shop", "EndpointConfigName": "other"}
    message = catch_refusal(hosted.update_endpoint, **update, DeploymentConfig=blue_green())[1]
    assert "the endpoint has main, endpoint configuration other has blue" in message
    hosted.update_endpoint(**update)
    assert hosted.settled("shop")["ProductionVariants"][0]["VariantName"] == "blue"


def summarise_steps(config: dict[str, Any], count: int) -> list[tuple[int, float, float]]:
    return [(step.servers["v"], round(step.share, 3), step.bake) for step in plan_steps(config, {"v": count})]


def test_each_policy_becomes_a_list_of_steps() -> None:
    assert summarise_steps({}, 3) == [(3, 1.0, 0)]
    assert summarise_steps(blue_green(end=5), 3) == [(3, 1.0, 5)]
    assert summarise_steps(blue_green("CANARY", wait=7, end=5, CanarySize=percent(30)), 1) == [(1, 0.3, 7), (1, 1.0, 5)]
    count = {"Type": "INSTANCE_COUNT", "Value": 1}
    assert summarise_steps(blue_green("CANARY", wait=7, CanarySize=count), 4) == [(4, 0.25, 7), (4, 1.0, 0)]
    linear = blue_green("LINEAR", wait=7, end=5, LinearStepSize=percent(40))
    assert summarise_steps(linear, 2) == [(2, 0.4, 7), (2, 0.8, 7), (2, 1.0, 5)]
    assert summarise_steps(blue_green("LINEAR", wait=7, LinearStepSize=percent(50)), 2) == [(2, 0.5, 7), (2, 1.0, 0)]
    assert summarise_steps(rolling(percent(33), wait=7), 3) == [(1, 0.333, 7), (2, 0.667, 7), (3, 1.0, 7)]
    assert summarise_steps(rolling({"Type": "INSTANCE_COUNT", "Value": 2}, wait=7), 3) == [(2, 0.667, 7), (3, 1.0, 7)]


def test_percentages_become_whole_instances() -> None:
    assert compute_instances(percent(33), 3) == 1
    assert compute_instances(percent(10), 3) == 1
    assert compute_instances(percent(50), 5) == 2
    assert compute_instances({"Type": "INSTANCE_COUNT", "Value": 2}, 5) == 2
