"""Resources that a stack's declaration requires and that are missing or disabled, usually by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cli.fleet.findings import Code, Finding, make_finding
from cli.fleet.served import PUT_BACK
from millrace import UseCase, inventory
from millrace.names import Names


def find_missing_pipelines(case: UseCase, names: Names, found: Iterable[str] | None) -> list[str]:
    """Return the declared pipelines that do not exist; none if the account's pipelines are unknown."""
    return _list_missing(inventory.list_pipelines(case, names).values(), found)


def find_missing_alarms(case: UseCase, names: Names, found: Iterable[str] | None, *, serves: bool) -> list[str]:
    """Return the declared alarms that do not exist; alarms of the endpoint count only if it ``serves``."""
    return _list_missing(map(names.alarm, inventory.list_alarm_kinds(case, has_endpoint=serves)), found)


def find_missing_rules(case: UseCase, names: Names, found: Iterable[str] | None) -> list[str]:
    """Return the declared rules that do not exist."""
    return _list_missing(inventory.list_rules(case, names), found)


def find_missing_schedules(case: UseCase, names: Names, found: Iterable[str] | None) -> list[str]:
    """Return the declared schedules that do not exist, whether they would be enabled or not."""
    return _list_missing([each.name for each in inventory.list_schedules(case, names)], found)


def _list_missing(declared: Iterable[str], found: Iterable[str] | None) -> list[str]:
    return [] if found is None else [name for name in declared if name not in found]


def list_findings(missing: Mapping[str, list[str]]) -> list[Finding]:
    """Return the finding about missing resources; none if nothing is missing.

    Args:
        missing: The names of the missing resources, by their kind.
    """
    found = {kind: names for kind, names in missing.items() if names}
    return [make_finding(Code.RESOURCES_MISSING, *PUT_BACK, missing=found)] if found else []


def find_disabled_rules(case: UseCase, names: Names, found: Mapping[str, Any] | None) -> list[Finding]:
    """Return a finding for each disabled rule that starts a training; the caller checks that nothing is paused."""
    return [
        make_finding(Code.RULE_DISABLED, *PUT_BACK, rule=name)
        for name in inventory.list_rules(case, names)
        if (found or {}).get(name, {}).get("State") == "DISABLED"
    ]
