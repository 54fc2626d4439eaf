"""The CloudWatch alarms of a stack and their states."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from cli.stack.target import Target
from millrace.inventory import ALARM_KINDS
from millrace.names import Names
from queries.alarms import find_transition
from queries.snoozes import Snooze, find_snoozes, list_active


class AlarmPart(TypedDict):
    """An alarm of the stack and its state."""

    name: str
    kind: str
    state: str
    since: datetime | None
    reason: str
    snoozed: str
    """Who does not want people to be told of it, until when and why; empty where it notifies."""
    description: str
    metric: str | None
    comparison: str | None
    threshold: float | None


def find_alarms(target: Target) -> list[AlarmPart]:
    """Return the stack's existing alarms and their states.

    Args:
        target: The stack.
    """
    names = [target.names.alarm(kind) for kind in ALARM_KINDS]
    found = target.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    snoozes = find_snoozes(target.client("ssm"), target.names.snooze_parameter)
    return describe_alarms(target.names, {alarm["AlarmName"]: alarm for alarm in found}, snoozes)


def format_alarm_rows(found: list[AlarmPart]) -> list[tuple[str, str, str]]:
    """Return the alarms as table rows: name, state, and an explanation where one fires, lacks data or is snoozed.

    Args:
        found: The alarms, one row each in the same order.
    """
    return [
        (
            each["name"],
            each["state"],
            " ".join(
                text
                for text in (
                    {"ALARM": each["description"], "INSUFFICIENT_DATA": each["reason"]}.get(each["state"], ""),
                    f"({each['snoozed']})" if each["snoozed"] else "",
                )
                if text
            ),
        )
        for each in found
    ]


def describe_alarms(
    names: Names, found: Mapping[str, Any], snoozes: Mapping[str, Snooze] | None = None
) -> list[AlarmPart]:
    """Describe the stack's alarms, given CloudWatch's answers by name; leave out those not found.

    Args:
        names: The names of the stack's resources.
        found: Alarm name → its entry in DescribeAlarms' answer; alarms of other stacks are ignored.
        snoozes: The stack's snoozes by kind of alarm; those that are over are ignored.

    Returns:
        The alarms in the order of `ALARM_KINDS`.
    """
    chosen = [(kind, found[names.alarm(kind)]) for kind in ALARM_KINDS if names.alarm(kind) in found]
    firing = {kind: find_transition(alarm) for kind, alarm in chosen if alarm["StateValue"] == "ALARM"}
    active = list_active(snoozes or {}, datetime.now(UTC), firing)
    return [
        {
            "name": alarm["AlarmName"],
            "kind": kind,
            "state": alarm["StateValue"],
            "since": find_transition(alarm),
            "reason": alarm.get("StateReason", ""),
            "snoozed": active[kind].describe() if kind in active else "",
            "description": alarm.get("AlarmDescription", ""),
            "metric": alarm.get("MetricName"),
            "comparison": alarm.get("ComparisonOperator"),
            "threshold": alarm.get("Threshold"),
        }
        for kind, alarm in chosen
    ]
