"""Rules for weaker monitoring: alarms, schedules and event rules, captured requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.diff import traffic, watching
from cli.diff.preview import Preview, Resource
from cli.diff.risks.risk import Cause, Code, Risk, caused_by

_TRIGGERS = {watching.SCHEDULE: "schedule", watching.RULE: "rule", watching.TARGET: "target of the rule"}


def list_risks(preview: Preview) -> Iterator[Risk]:
    """Yield the risks of problems that nobody notices from then on.

    Args:
        preview: The preview of the change.
    """
    for alarm in preview.find_resources(watching.ALARM, watching.COMPOSITE):
        name = watching.find_name(alarm)
        if alarm.operation == "delete":
            rule = watching.describe_rule(alarm.before)
            yield Risk(Code.ALARM_REMOVED, name, alarm.type, Cause.NOT_DECLARED, {"rule": rule})
        for changed, how in watching.list_loosened(alarm):
            yield Risk(Code.ALARM_LOOSENED, name, alarm.type, caused_by(changed), {"how": how})
    for resource in preview.find_resources(watching.SCHEDULE, watching.RULE, watching.TARGET):
        yield from _list_stopped(resource, preview)
    for config in preview.find_resources(traffic.CONFIG):
        if config.old is not None and config.new is not None:
            yield from _list_captured_less(config, config.old, config.new)


def _list_stopped(resource: Resource, preview: Preview) -> Iterator[Risk]:
    name, noun = watching.find_name(resource), {"noun": _TRIGGERS[resource.type]}
    if watching.is_off(resource) or watching.is_untargeted(resource, preview):
        if resource.new is None:
            yield Risk(Code.TRIGGER_REMOVED, name, resource.type, Cause.NOT_DECLARED, noun)
        else:
            yield Risk(Code.TRIGGER_OFF, name, resource.type, caused_by("state"), noun)
    elif stopped := watching.find_stopped(resource):
        changed, how = stopped
        yield Risk(Code.TRIGGER_STOPPED, name, resource.type, caused_by(changed), {**noun, "how": how})


def _list_captured_less(config: Resource, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Risk]:
    before, after = _find_percent(old), _find_percent(new)
    if after < before:
        code = Code.CAPTURE_OFF if after == 0 else Code.CAPTURE_FEWER
        fields = {"before": before, "after": after}
        yield Risk(code, config.name, config.type, caused_by("dataCaptureConfig"), fields)
    elif before and (left := sorted(_list_modes(old) - _list_modes(new))):
        cause = caused_by("dataCaptureConfig.captureOptions")
        yield Risk(Code.CAPTURE_LESS, config.name, config.type, cause, {"modes": " and ".join(left)})


def _find_percent(inputs: Mapping[str, Any]) -> float:
    capture = inputs.get("dataCaptureConfig") or {}
    if not capture.get("enableCapture"):
        return 0.0
    percent = capture.get("initialSamplingPercentage", 100)
    return float(percent) if isinstance(percent, int | float) else 100.0


def _list_modes(inputs: Mapping[str, Any]) -> set[str]:
    options = (inputs.get("dataCaptureConfig") or {}).get("captureOptions") or []
    return {str(each.get("captureMode")) for each in options}
