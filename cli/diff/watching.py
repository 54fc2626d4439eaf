"""Alarms, schedules and rules before and after: what is monitored and what starts automatically."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cli.diff import differences
from cli.diff.preview import Preview, Resource
from cli.diff.values import UNKNOWN, Mark, parse_document

ALARM, COMPOSITE = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm"
SCHEDULE = "aws:scheduler/schedule:Schedule"
RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"

#: Operators by direction; the second of each also fires at the threshold itself.
_BELOW = ("LessThanThreshold", "LessThanOrEqualToThreshold")
_ABOVE = ("GreaterThanThreshold", "GreaterThanOrEqualToThreshold")

#: The properties of an alarm, a schedule or a rule that a reviewer needs; the resources have all of them.
_FIELDS = {
    ALARM: (
        "threshold", "comparisonOperator", "period", "evaluationPeriods", "datapointsToAlarm", "statistic",
        "extendedStatistic", "metricName", "namespace", "dimensions", "metricQueries", "treatMissingData",
        "actionsEnabled", "alarmActions", "okActions",
    ),
    COMPOSITE: ("alarmRule", "actionsEnabled", "actionsSuppressor", "alarmActions", "okActions"),
    SCHEDULE: ("scheduleExpression", "scheduleExpressionTimezone", "state", "startDate", "endDate"),
    RULE: ("eventPattern", "scheduleExpression", "state", "isEnabled"),
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


def list_changes(preview: Preview) -> list[dict[str, Any]]:
    """Return each alarm, schedule, rule and dashboard that changes.

    Args:
        preview: The preview of the change.

    Returns:
        The part ``watching`` of the document of `millrace diff`, with `ABSENT` for a value that does not exist.
    """
    found = []
    # The target of a rule that is created or deleted is not reported separately.
    rules = {find_name(each) for each in preview.find_resources(RULE) if each.operation in ("create", "delete")}
    for resource in preview.find_resources(*_FIELDS):
        if resource.operation == "same" or (resource.type == TARGET and find_name(resource) in rules):
            continue
        fields = [{"path": each.path, "before": each.before, "after": each.after} for each in _differences(resource)]
        found.append(
            {
                "what": _NOUNS[resource.type],
                "name": find_name(resource),
                "operation": resource.operation,
                "is": _state(resource),
                "changes": fields,
            }
        )
    return sorted(found, key=lambda each: (each["what"], each["name"]))


def find_name(resource: Resource) -> str:
    """Return the name that AWS knows a resource by.

    Args:
        resource: The resource.
    """
    key = _NAMES.get(resource.type, "name")
    return str(resource.after.get(key) or resource.before.get(key) or resource.name)


def _differences(resource: Resource) -> Iterator[differences.Difference]:
    if resource.old is None or resource.new is None:
        return
    for field in _FIELDS[resource.type]:
        before, after = resource.old.get(field, differences.ABSENT), resource.new.get(field, differences.ABSENT)
        old, new = parse_document(before), parse_document(after)
        if old is not None and new is not None:
            yield from differences.compare_values(old, new, field)
        else:
            yield from differences.compare_values(before, after, field)


def _state(resource: Resource) -> str:
    """Return the rule of an alarm, the expression of a schedule or the pattern of a rule, in a few words."""
    inputs = resource.new if resource.new is not None else resource.before
    if resource.type == ALARM:
        return describe_rule(inputs)
    if resource.type == SCHEDULE:
        return f"{inputs.get('scheduleExpression', '')}, {str(inputs.get('state', 'ENABLED')).lower()}"
    if resource.type == RULE:
        pattern = parse_document(inputs.get("eventPattern"))
        if not isinstance(pattern, dict):
            return str(inputs.get("scheduleExpression", ""))
        detail = pattern.get("detail") or {}
        names = detail.get("alarmName") or [*pattern.get("detail-type", ()), *detail.get("stack", ())]
        return f"on {', '.join(map(str, names))}"
    return ""


def describe_rule(inputs: Mapping[str, Any]) -> str:
    """Return when an alarm fires.

    Args:
        inputs: The inputs of an alarm, before or after the change.

    Returns:
        E.g. `Errors > 5`; `an expression` for an alarm that does not watch a single metric.
    """
    symbol = {
        "GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": "≥",
        "LessThanThreshold": "<", "LessThanOrEqualToThreshold": "≤",
    }.get(str(inputs.get("comparisonOperator")), str(inputs.get("comparisonOperator", "")))  # fmt: skip
    if inputs.get("metricName") is None:
        return "an expression"
    return f"{inputs['metricName']} {symbol} {format_number(inputs.get('threshold'))}"


def format_number(value: Any) -> str:
    """Return a number as text, without a trailing `.0`."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


# -- weaker monitoring -------------------------------------------------------------------------------------------------


def list_loosened(alarm: Resource) -> list[tuple[str, str]]:
    """Return how an alarm fires later or less often than before, as pairs of property and description.

    Args:
        alarm: The alarm; a resource of any other type gives none.
    """
    if alarm.type not in (ALARM, COMPOSITE) or alarm.old is None or alarm.new is None:
        return []
    return [
        *_compared(alarm.old, alarm.new),
        *_measured(alarm.old, alarm.new),
        *_list_later(alarm.old, alarm.new),
        *_list_quieter(alarm.old, alarm.new),
        *_list_other_subject(alarm.old, alarm.new),
    ]


def _compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    was, now = old.get("comparisonOperator"), new.get("comparisonOperator")
    if was is None or now is None:
        return
    if was != now and (was, now) not in (_ABOVE, _BELOW):
        yield "comparisonOperator", f"its comparison changes from {was} to {now}"
        return
    before, after = old.get("threshold"), new.get("threshold")
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return
    if (now in _ABOVE and after > before) or (now in _BELOW and after < before):
        yield "threshold", f"its threshold changes from {format_number(before)} to {format_number(after)}"


def _measured(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    was, now = (side.get("extendedStatistic") or side.get("statistic") for side in (old, new))
    if was is None or now is None or was == now:
        return
    before, after = _span(str(was)), _span(str(now))
    if before is not None and after is not None:
        operator = new.get("comparisonOperator")
        if (operator in _ABOVE and after[0] >= before[1]) or (operator in _BELOW and after[1] <= before[0]):
            return
    field = "extendedStatistic" if new.get("extendedStatistic") else "statistic"
    yield field, f"it measures {now} instead of {was}"


def _span(statistic: str) -> tuple[float, float] | None:
    """Return the percentiles between which a statistic lies; None when it is not one, e.g. a sum."""
    found = re.fullmatch(r"p(\d+(?:\.\d+)?)", statistic)
    if found:
        return float(found[1]), float(found[1])
    return {"Minimum": (0.0, 0.0), "Average": (0.0, 100.0), "Maximum": (100.0, 100.0)}.get(statistic)


def _list_later(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field, verb, words in (
        ("period", "evaluates", "seconds per period"),
        ("evaluationPeriods", "waits for", "periods"),
        ("datapointsToAlarm", "waits for", "data points"),
    ):
        before, after = old.get(field), new.get(field)
        if isinstance(before, int | float) and isinstance(after, int | float) and after > before:
            yield field, f"it {verb} {format_number(after)} {words} instead of {format_number(before)}"


def _list_quieter(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if old.get("treatMissingData") == "breaching" and new.get("treatMissingData") != "breaching":
        yield "treatMissingData", "missing data no longer counts as a failure"
    if old.get("actionsEnabled", True) is not False and new.get("actionsEnabled", True) is False:
        yield "actionsEnabled", "it no longer notifies anybody"
    else:
        yield from _list_unnotified(old.get("alarmActions") or [], new.get("alarmActions") or [])
    suppressor = new.get("actionsSuppressor")
    if isinstance(suppressor, Mapping) and suppressor != old.get("actionsSuppressor"):
        yield "actionsSuppressor", f"it notifies nobody while {suppressor.get('alarm')} fires"


def _list_unnotified(old: Any, new: Any) -> Iterator[tuple[str, str]]:
    """Yield who is no longer notified; a value known only after deployment may be any of the receivers."""
    if not isinstance(old, list) or not isinstance(new, list):
        return
    left = [str(each) for each in old if each not in new]
    if old and not new:
        yield "alarmActions", "it no longer notifies anybody"
    elif len(left) > sum(isinstance(each, Mark) for each in new):
        yield "alarmActions", f"it no longer notifies {', '.join(left)}"


def _list_other_subject(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in ("metricName", "namespace", "dimensions", "metricQueries"):
        if old.get(field) != new.get(field):
            yield field, "it monitors a different metric"
            return
    was, now = str(old.get("alarmRule")), str(new.get("alarmRule"))
    # An additional alternative only makes it fire more often.
    only_more = "NOT" not in now.upper() and {*was.split(" OR ")} <= {*now.split(" OR ")}
    if was != now and not only_more:
        yield "alarmRule", "its rule is different"


# -- triggers that stop ------------------------------------------------------------------------------------------------


def is_off(resource: Resource) -> bool:
    """Return True if a schedule or a rule that ran no longer runs.

    Args:
        resource: The resource; any type but these gives False.
    """
    if resource.type not in (SCHEDULE, RULE) or resource.old is None:
        return False
    return _runs(resource.old) and (resource.new is None or not _runs(resource.new))


def find_stopped(resource: Resource) -> tuple[str, str] | None:
    """Return how a schedule or a rule that is on no longer starts what it did: the property and a description.

    Args:
        resource: The schedule or the rule; the target of a rule gives None.
    """
    if resource.old is None or resource.new is None or not _runs(resource.old) or not _runs(resource.new):
        return None
    if resource.type == SCHEDULE:
        before, after = resource.old.get("endDate"), resource.new.get("endDate")
        # Dates of this form sort correctly as texts.
        sooner = bool(after) and (not before or str(after) < str(before))
        return ("endDate", f"It starts nothing after {after}.") if sooner else None
    unheard = list(
        _list_unmatched(
            parse_document(resource.old.get("eventPattern")), parse_document(resource.new.get("eventPattern"))
        )
    )
    return ("eventPattern", f"It no longer matches {' and '.join(unheard)}.") if unheard else None


def _list_unmatched(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield what a pattern matched and no longer does; a filter that is not a plain value may still match it."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in old:
            yield from _list_unmatched(old[key], new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list):
        plain = all(not isinstance(each, Mapping) and str(UNKNOWN) not in str(each) for each in new)
        if plain and not any(each in new for each in old):
            yield f"{path} {' or '.join(map(str, old))}"


def _runs(inputs: Mapping[str, Any]) -> bool:
    return inputs.get("state", "ENABLED") != "DISABLED" and inputs.get("isEnabled") is not False


def is_untargeted(target: Resource, preview: Preview) -> bool:
    """Return True if a rule that ran, and still runs, no longer starts this target.

    Args:
        target: The target of an event rule; a resource of any other type gives False.
        preview: The preview with the rule and its other targets.
    """
    if target.type != TARGET or target.operation != "delete":
        return False
    rule = next((each for each in preview.find_resources(RULE) if find_name(each) == find_name(target)), None)
    if rule is not None and not (_runs(rule.before) and rule.new is not None and _runs(rule.new)):
        return False
    others = [each.after for each in preview.find_resources(TARGET) if each.new is not None]
    return not any(all(each.get(key) == target.before.get(key) for key in ("rule", "arn")) for each in others)
