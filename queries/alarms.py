"""Alarms: which of them are in ALARM, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

#: Names in one DescribeAlarms call.
_AT_ONCE = 100


def find_firing(cloudwatch: Any, names: Sequence[str]) -> dict[str, datetime | None]:
    """Return which of these alarms are in ALARM, and since when; one that does not exist is not.

    Args:
        cloudwatch: A boto3 client.
        names: The names of metric alarms.

    Returns:
        Name → the time of its change to ALARM; None where CloudWatch does not say.
    """
    firing = dict[str, datetime | None]()
    for first in range(0, len(names), _AT_ONCE):
        # Composite alarms are answered only to those who may describe all alarms of the account.
        answer = cloudwatch.describe_alarms(
            AlarmNames=list(names[first : first + _AT_ONCE]), AlarmTypes=["MetricAlarm"], StateValue="ALARM"
        )
        firing |= {alarm["AlarmName"]: find_transition(alarm) for alarm in answer["MetricAlarms"]}
    return firing


def find_transition(alarm: Any) -> datetime | None:
    """Return the time since which an alarm has its state; None where CloudWatch does not say.

    Args:
        alarm: Its entry in DescribeAlarms' answer.
    """
    since: datetime | None = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
    return since
