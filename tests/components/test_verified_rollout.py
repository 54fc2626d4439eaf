"""The verification after a deployment, on an endpoint of the local cloud that was really rolled back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.verified_rollout import RolledBackError, verify_rollout
from local import client
from queries.rollbacks import Rollback
from tests.local.conftest import CloudDaemon, cloud_daemon
from tests.local.hosted import eventually
from tests.local.test_endpoints_over_http import create_endpoint_configs

__all__ = ["cloud_daemon"]

ALARM = "verified-errors"


@pytest.fixture
def sagemaker(cloud_daemon: CloudDaemon, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client; boto3 in this process is configured for the same cloud."""
    for name, value in client.build_environment(cloud_daemon.running, cloud_daemon.state).items():
        monkeypatch.setenv(name, value)
    return create_endpoint_configs(cloud_daemon, "verified-1", "verified-2")


def wait_until_settled(sagemaker: Any) -> dict[str, Any]:
    """Return the endpoint as soon as no deployment is in progress."""

    def done() -> dict[str, Any] | None:
        described: dict[str, Any] = sagemaker.describe_endpoint(EndpointName="verified")
        return described if described["EndpointStatus"] not in ("Creating", "Updating") else None

    return dict(eventually(done))


def test_a_rolled_back_deployment_is_reported_with_its_alarm(
    sagemaker: Any, cloud_daemon: CloudDaemon, tmp_path: Path
) -> None:
    sagemaker.create_endpoint(EndpointName="verified", EndpointConfigName="verified-1")
    wait_until_settled(sagemaker)
    verify_rollout(client.REGION, "verified", "verified-1")

    cloudwatch = cloud_daemon.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=ALARM, Namespace="test", MetricName="errors", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1.0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="breaching",
    )  # fmt: skip
    eventually(lambda: cloudwatch.describe_alarms(AlarmNames=[ALARM], StateValue="ALARM")["MetricAlarms"])
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    sagemaker.update_endpoint(
        EndpointName="verified",
        EndpointConfigName="verified-2",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 600},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": ALARM}]},
        },
    )
    after = wait_until_settled(sagemaker)
    # This makes the verification necessary: the endpoint looks healthy.
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", "verified-1")

    report = tmp_path / "rollback.json"
    with pytest.raises(RolledBackError) as told:
        verify_rollout(client.REGION, "verified", "verified-2", str(report))
    rollback = Rollback.load(report.read_text())
    assert (rollback.endpoint, rollback.status) == ("verified", "InService")
    assert (rollback.config, rollback.expected) == ("verified-1", "verified-2")
    assert rollback.alarms == (ALARM,)
    assert rollback == told.value.rollback
    message = str(told.value)
    assert message.startswith("endpoint 'verified' is InService on 'verified-1', expected 'verified-2': ")
    assert f"Its alarms: {ALARM}." in message
    assert "run `pulumi up` again" in message

    # Most such alarms end as soon as the new fleet is removed.
    cloudwatch.delete_alarms(AlarmNames=[ALARM])
    with pytest.raises(RolledBackError, match=f"Its alarms: {ALARM}\\."):
        verify_rollout(client.REGION, "verified", "verified-2")
    verify_rollout(client.REGION, "verified", "verified-1")
