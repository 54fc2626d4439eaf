"""Permissions that policy documents grant, and the differences between two sets of them.

A permission counts as gained only when nothing allowed it before: a narrower statement under a broader one does not.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cli.diff.permissions import openings
from cli.diff.values import parse_document


@dataclass(frozen=True, order=True)
class Permission:
    """A permission for one action on one resource; with `NotAction` or `NotResource`, for everything but these."""

    effect: str
    action: str
    resource: str
    condition: str = ""
    principal: str = ""

    @property
    def is_wildcard(self) -> bool:
        """True if it covers what cannot be counted: a whole service, every resource, everybody."""
        action = self.action.partition(":")[2]
        return self.effect == "Allow" and (
            self.action == "*"
            or action == "*"
            or self.resource == "*"
            or self.principal == "*"
            or self.action.startswith(openings.ALL_BUT)
            or self.resource.startswith(openings.ALL_BUT)
        )

    def covers(self, other: Permission) -> bool:
        """Return True if this permission includes the other one.

        Args:
            other: The other permission, which may be a part of this one.
        """
        return (
            self.effect == other.effect
            and _covers(self.action.lower(), other.action.lower())
            and _covers(self.resource, other.resource)
            and self.condition in ("", other.condition)
            and self.principal in ("*", other.principal)
        )


def _covers(pattern: str, name: str) -> bool:
    # AWS does not treat square brackets as a pattern.
    return pattern == name or fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def read_policy(text: Any) -> set[Permission] | None:
    """Return the permissions of a policy document; None if it is known only after deployment or not a policy.

    Args:
        text: The document, as JSON or parsed; a mark if it is known only after deployment.
    """
    parsed = text if isinstance(text, Mapping) else parse_document(text)
    if not isinstance(parsed, Mapping):
        return None
    statements = parsed.get("Statement", [])
    found: set[Permission] = set()
    for statement in statements if isinstance(statements, list) else [statements]:
        if isinstance(statement, Mapping):
            found.update(_of_statement(statement))
    return found


def _of_statement(statement: Mapping[str, Any]) -> Iterator[Permission]:
    condition = statement.get("Condition")
    said = json.dumps(condition, sort_keys=True) if condition else ""
    for action in _list_values(statement, "Action"):
        for resource in _list_values(statement, "Resource") or [""]:
            for principal in _principals(statement):
                yield Permission(str(statement.get("Effect", "Allow")), action, resource, said, principal)


def _list_values(statement: Mapping[str, Any], key: str) -> list[str]:
    if f"Not{key}" in statement:
        return [f"{openings.ALL_BUT}{', '.join(_list(statement[f'Not{key}']))}"]
    return _list(statement.get(key))


def _principals(statement: Mapping[str, Any]) -> list[str]:
    given = statement.get("Principal", statement.get("NotPrincipal"))
    if given is None:
        return [""]
    inverse = openings.ALL_BUT if "NotPrincipal" in statement else ""
    if isinstance(given, Mapping):
        return [
            "*" if name == "*" and not inverse else f"{inverse}{name}"
            for names in given.values()
            for name in _list(names)
        ]
    return [f"{inverse}{name}" for name in _list(given)]


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def compare_permissions(
    before: Iterable[Permission], after: Iterable[Permission]
) -> tuple[list[Permission], list[Permission]]:
    """Return the permissions that are gained and those that are lost.

    Args:
        before: The permissions before the change.
        after: The permissions after the change.

    Returns:
        The gained permissions, and the lost ones, both sorted.
    """
    old, new = set(before), set(after)
    gained = [each for each in new if not any(other.covers(each) for other in old)]
    lost = [each for each in old if not any(other.covers(each) for other in new)]
    return sorted(gained), sorted(lost)
