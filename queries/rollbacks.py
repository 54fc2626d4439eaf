"""Rollouts that SageMaker rolled back: an endpoint that does not run the configuration that was deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from queries.endpoints import IN_SERVICE

_VERSION = 1


@dataclass(frozen=True)
class Rollback:
    """An endpoint that does not run the configuration that was deployed.

    Attributes:
        endpoint: Its name.
        status: Its EndpointStatus.
        config: The configuration that it runs.
        expected: The configuration that was deployed.
        reason: SageMaker's FailureReason; empty where it gives none.
        alarms: The alarms of the deployment that SageMaker names, or that are in alarm now; sorted.
    """

    endpoint: str
    status: str
    config: str
    expected: str
    reason: str = ""
    alarms: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """A description of the rollback, as sentences for people."""
        return (
            f"endpoint {self.endpoint!r} is {self.status} on {self.config!r}, expected {self.expected!r}: the "
            f"deployment was rolled back. Reason: {self.reason or 'none given'}. "
            f"Its alarms: {', '.join(self.alarms) or 'none fired'}. "
            "The old model still serves. Reject the package, or clear the alarm, and run `pulumi up` again."
        )

    def dump(self) -> str:
        """Return it as a JSON document."""
        return json.dumps({"version": _VERSION, **asdict(self)})

    @classmethod
    def load(cls, text: str) -> Rollback:
        """Read what :meth:`dump` wrote.

        Args:
            text: The JSON document.

        Returns:
            The rollback.

        Raises:
            ValueError: The text is not JSON, or the document has another version.
        """
        document = json.loads(text)
        if (version := document.pop("version")) != _VERSION:
            raise ValueError(f"version of the rollback document is {version!r}; expected {_VERSION}")
        return cls(**{**document, "alarms": tuple(document["alarms"])})


def find_rollback(sagemaker: Any, cloudwatch: Any, endpoint: str, expected: str) -> Rollback | None:
    """Return the rollback of an endpoint that does not run a configuration; None if it runs it.

    Args:
        sagemaker: A boto3 client.
        cloudwatch: A boto3 client.
        endpoint: The endpoint's name.
        expected: The name of the configuration that was deployed.
    """
    live = sagemaker.describe_endpoint(EndpointName=endpoint)
    if live["EndpointConfigName"] == expected and live["EndpointStatus"] == IN_SERVICE:
        return None
    names = list_rollback_alarms(live)
    reason = live.get("FailureReason", "")
    # An alarm may be over by now, and a reason may be missing.
    alarms = set(list_named_alarms(live))
    if names:
        found = cloudwatch.describe_alarms(AlarmNames=names, StateValue="ALARM")
        alarms |= {alarm["AlarmName"] for alarm in found["MetricAlarms"]}
    status, config = live["EndpointStatus"], live["EndpointConfigName"]
    return Rollback(endpoint, status, config, expected, reason, tuple(sorted(alarms)))


def list_rollback_alarms(endpoint: Mapping[str, Any]) -> list[str]:
    """Return the names of the alarms that may roll back the last deployment.

    Args:
        endpoint: DescribeEndpoint's answer.
    """
    deployment = endpoint.get("LastDeploymentConfig", {}).get("AutoRollbackConfiguration", {})
    return [alarm["AlarmName"] for alarm in deployment.get("Alarms", [])]


def is_caused_by_alarm(endpoint: Mapping[str, Any]) -> bool:
    """Tell whether an alarm ended the last deployment.

    SageMaker reports it only in FailureReason, which need not name the alarm.

    Args:
        endpoint: DescribeEndpoint's answer.

    Returns:
        True if its FailureReason mentions an alarm.
    """
    return "alarm" in endpoint.get("FailureReason", "").lower()


def list_named_alarms(endpoint: Mapping[str, Any]) -> list[str]:
    """Return those alarms of the last deployment that SageMaker's FailureReason names."""
    reason = endpoint.get("FailureReason", "")
    return [name for name in list_rollback_alarms(endpoint) if name in reason]
