"""Alarms, schedules and rules: what is watched and what starts by itself, before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.diff import differences
from cli.diff.preview import Preview, Resource
from cli.diff.values import document

ALARM, COMPOSITE = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm"
SCHEDULE = "aws:scheduler/schedule:Schedule"
RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"

_BELOW = ("LessThanThreshold", "LessThanOrEqualToThreshold")
_ABOVE = ("GreaterThanThreshold", "GreaterThanOrEqualToThreshold")

#: What of an alarm, a schedule or a rule a reviewer wants to know; the rest stands in the resources.
_FIELDS = {
    ALARM: (
        "threshold", "comparisonOperator", "period", "evaluationPeriods", "datapointsToAlarm", "statistic",
        "extendedStatistic", "metricName", "namespace", "dimensions", "treatMissingData", "actionsEnabled",
        "alarmActions", "okActions",
    ),
    COMPOSITE: ("alarmRule", "actionsEnabled", "alarmActions", "okActions"),
    SCHEDULE: ("scheduleExpression", "scheduleExpressionTimezone", "state", "startDate", "endDate"),
    RULE: ("eventPattern", "scheduleExpression", "state"),
    TARGET: ("arn", "sagemakerPipelineTarget", "input", "deadLetterConfig"),
    DASHBOARD: (),
}  # fmt: skip
_NOUNS = {
    ALARM: "alarm",
    COMPOSITE: "composite alarm",
    SCHEDULE: "schedule",
    RULE: "rule",
    TARGET: "target of a rule",
    DASHBOARD: "dashboard",
}
_NAMES = {
    ALARM: "name",
    COMPOSITE: "alarmName",
    SCHEDULE: "name",
    RULE: "name",
    TARGET: "rule",
    DASHBOARD: "dashboardName",
}


def changes(preview: Preview) -> list[dict[str, Any]]:
    """Each alarm, schedule, rule and dashboard that changes."""
    found = []
    for resource in preview.of(*_FIELDS):
        # A rule is told with its target, unless the target alone is another one.
        if resource.operation == "same" or (resource.type == TARGET and resource.operation in ("create", "delete")):
            continue
        fields = [{"path": each.path, "before": each.before, "after": each.after} for each in _differences(resource)]
        found.append(
            {
                "what": _NOUNS[resource.type],
                "name": called(resource),
                "operation": resource.operation,
                "is": _state(resource),
                "changes": fields,
            }
        )
    return sorted(found, key=lambda each: (each["what"], each["name"]))


def called(resource: Resource) -> str:
    """The name that AWS knows it by."""
    key = _NAMES.get(resource.type, "name")
    return str(resource.after.get(key) or resource.before.get(key) or resource.name)


def _differences(resource: Resource) -> Iterator[differences.Difference]:
    if resource.old is None or resource.new is None:
        return
    for field in _FIELDS[resource.type]:
        before, after = resource.old.get(field, differences.ABSENT), resource.new.get(field, differences.ABSENT)
        old, new = document(before), document(after)
        if old is not None and new is not None:
            yield from differences.between(old, new, field)
        else:
            yield from differences.between(before, after, field)


def _state(resource: Resource) -> str:
    """What a new or a deleted one says, in a few words."""
    inputs = resource.new if resource.new is not None else resource.before
    if resource.type == ALARM:
        return rule_of(inputs)
    if resource.type == SCHEDULE:
        return f"{inputs.get('scheduleExpression', '')}, {str(inputs.get('state', 'ENABLED')).lower()}"
    if resource.type == RULE:
        pattern = document(inputs.get("eventPattern"))
        names = ((pattern or {}).get("detail") or {}).get("alarmName") if isinstance(pattern, dict) else None
        return f"on {', '.join(map(str, names))}" if names else str(inputs.get("scheduleExpression", ""))
    return ""


def rule_of(inputs: Mapping[str, Any]) -> str:
    """When an alarm fires."""
    symbol = {
        "GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": "≥",
        "LessThanThreshold": "<", "LessThanOrEqualToThreshold": "≤",
    }.get(str(inputs.get("comparisonOperator")), str(inputs.get("comparisonOperator", "")))  # fmt: skip
    if inputs.get("metricName") is None:
        return "an expression"
    return f"{inputs['metricName']} {symbol} {number(inputs.get('threshold'))}"


def number(value: Any) -> str:
    """A number without a needless `.0`."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


# -- what is watched less ----------------------------------------------------------------------------------------------


def loosened(alarm: Resource) -> list[tuple[str, str]]:
    """How an alarm fires later or less often than before: the property and what about it."""
    if alarm.type != ALARM or alarm.old is None or alarm.new is None:
        return []
    return [*_later(alarm.old, alarm.new), *_quieter(alarm.old, alarm.new)]


def _later(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    before, after = old.get("threshold"), new.get("threshold")
    if isinstance(before, int | float) and isinstance(after, int | float):
        operator = new.get("comparisonOperator")
        if (operator in _ABOVE and after > before) or (operator in _BELOW and after < before):
            yield "threshold", f"its threshold goes from {number(before)} to {number(after)}"
    for field, words in (("evaluationPeriods", "periods"), ("datapointsToAlarm", "data points")):
        before, after = old.get(field), new.get(field)
        if isinstance(before, int | float) and isinstance(after, int | float) and after > before:
            yield field, f"it waits for {number(after)} {words} instead of {number(before)}"


def _quieter(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if old.get("treatMissingData") == "breaching" and new.get("treatMissingData") != "breaching":
        yield "treatMissingData", "silence no longer counts as a failure"
    if old.get("actionsEnabled", True) is not False and new.get("actionsEnabled", True) is False:
        yield "actionsEnabled", "it no longer tells anybody"
    elif old.get("alarmActions") and not new.get("alarmActions"):
        yield "alarmActions", "it no longer tells anybody"
    for field in ("metricName", "namespace", "dimensions"):
        if old.get(field) != new.get(field):
            yield field, "it watches something else"
            return


def is_off(resource: Resource) -> bool:
    """Whether a schedule or a rule that ran runs no more."""
    if resource.type not in (SCHEDULE, RULE) or resource.old is None:
        return False
    ran = resource.old.get("state", "ENABLED") != "DISABLED"
    return ran and (resource.new is None or resource.new.get("state", "ENABLED") == "DISABLED")
