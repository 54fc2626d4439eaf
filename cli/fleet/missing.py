"""What a stack should have by its declaration and has no more: whatever was deleted or switched off by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cli.fleet.served import PUT_BACK, Warnings
from millrace import UseCase
from millrace.names import CALIBRATION, DRIFT, ERRORS, HEARTBEAT, LATENCY, UNDELIVERED, Names


def pipelines(names: Names, found: Iterable[str] | None) -> list[str]:
    """The pipelines that every stack has, and this one does not; none where the account did not say."""
    return _without((names.training_pipeline, names.monitor_pipeline), found)


def alarms(case: UseCase, names: Names, found: Iterable[str] | None, *, serves: bool) -> list[str]:
    """The same of alarms; those of an endpoint come with it."""
    calibration = () if case.monitoring.calibration_alarm is None else (CALIBRATION,)
    kinds = (DRIFT, *calibration, HEARTBEAT, UNDELIVERED, *((ERRORS, LATENCY) if serves else ()))
    return _without(map(names.alarm, kinds), found)


def rules(case: UseCase, names: Names, found: Iterable[str] | None) -> list[str]:
    """The same of the rule by which alarms start a training."""
    return _without([names.retraining_rule] if case.retraining.on else [], found)


def schedules(case: UseCase, names: Names, found: Iterable[str] | None) -> list[str]:
    """The same of schedules, whether they are enabled or not."""
    declared = [names.monitor_pipeline]
    declared += [names.features_pipeline] if case.tables else []
    declared += [names.retraining_backstop] if case.retraining.every is not None else []
    return _without(declared, found)


def _without(declared: Iterable[str], found: Iterable[str] | None) -> list[str]:
    return [] if found is None else [name for name in declared if name not in found]


def warnings(missing: Mapping[str, list[str]]) -> Warnings:
    """What to say of it, by kind."""
    said = [f"{kind} {' nor '.join(names)}" for kind, names in missing.items() if names]
    if not said:
        return {}
    text = (
        f"there is no {' nor '.join(said)}, though other parts of the stack are there: its deployment was broken off, "
        "or somebody has deleted it; a deployment that looks at what is there makes it"
    )
    return {text: PUT_BACK}


def switched_off(case: UseCase, names: Names, found: Mapping[str, Any] | None) -> Warnings:
    """What to say of a rule that is disabled; of a stack that nobody has paused."""
    rule = (found or {}).get(names.retraining_rule, {})
    if not case.retraining.on or rule.get("State") != "DISABLED":
        return {}
    text = (
        f"rule {names.retraining_rule} is disabled, though nothing is paused: no alarm starts a training; a deployment "
        "that looks at what is there enables it"
    )
    return {text: PUT_BACK}
