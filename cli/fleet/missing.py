"""What a stack should have by its declaration and has no more: whatever was deleted or switched off by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cli.fleet.findings import Code, Finding, find
from cli.fleet.served import PUT_BACK
from millrace import UseCase, inventory
from millrace.names import Names


def pipelines(case: UseCase, names: Names, found: Iterable[str] | None) -> list[str]:
    """The declared pipelines that do not exist; none where the account did not say."""
    return _without(inventory.list_pipelines(case, names).values(), found)


def alarms(case: UseCase, names: Names, found: Iterable[str] | None, *, serves: bool) -> list[str]:
    """The declared alarms that do not exist; those of an endpoint come with it."""
    return _without(map(names.alarm, inventory.list_alarm_kinds(case, has_endpoint=serves)), found)


def rules(case: UseCase, names: Names, found: Iterable[str] | None) -> list[str]:
    """The declared rules that do not exist."""
    return _without(inventory.list_rules(case, names), found)


def schedules(case: UseCase, names: Names, found: Iterable[str] | None) -> list[str]:
    """The declared schedules that do not exist, whether they would be enabled or not."""
    return _without([each.name for each in inventory.list_schedules(case, names)], found)


def _without(declared: Iterable[str], found: Iterable[str] | None) -> list[str]:
    return [] if found is None else [name for name in declared if name not in found]


def list_findings(missing: Mapping[str, list[str]]) -> list[Finding]:
    """Return what to report of missing resources.

    Args:
        missing: The names of the missing resources, by their kind.
    """
    found = {kind: names for kind, names in missing.items() if names}
    return [find(Code.RESOURCES_MISSING, *PUT_BACK, missing=found)] if found else []


def find_disabled_rule(case: UseCase, names: Names, found: Mapping[str, Any] | None) -> list[Finding]:
    """Return what to report of a rule that is disabled in a stack that nobody has paused."""
    rule = (found or {}).get(names.retraining_rule, {})
    if not case.retraining.on or rule.get("State") != "DISABLED":
        return []
    return [find(Code.RULE_DISABLED, *PUT_BACK, rule=names.retraining_rule)]
