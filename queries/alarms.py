"""Alarms: which of them are in ALARM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Names in one DescribeAlarms call.
_AT_ONCE = 100


def list_firing(cloudwatch: Any, names: Sequence[str]) -> list[str]:
    """Return which of these alarms are in ALARM; one that does not exist is not.

    Args:
        cloudwatch: A boto3 client.
        names: The names of metric alarms.
    """
    firing = []
    for first in range(0, len(names), _AT_ONCE):
        # Composite alarms are answered only to those who may describe all alarms of the account.
        answer = cloudwatch.describe_alarms(
            AlarmNames=list(names[first : first + _AT_ONCE]), AlarmTypes=["MetricAlarm"], StateValue="ALARM"
        )
        firing += [alarm["AlarmName"] for alarm in answer["MetricAlarms"]]
    return firing
