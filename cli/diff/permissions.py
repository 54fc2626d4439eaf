"""Who may do what, before and after: actions gained and lost, role by role, resource by resource.

A permission counts as gained only when nothing allowed it before: a narrower statement under a broader one is none.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cli.diff import openings, policies
from cli.diff.preview import Preview, Resource
from cli.diff.values import Mark, document


@dataclass(frozen=True, order=True)
class Permission:
    """One action on one resource; with `NotAction` or `NotResource` everything but it."""

    effect: str
    action: str
    resource: str
    condition: str = ""
    principal: str = ""

    @property
    def is_wildcard(self) -> bool:
        """Whether it is wider than what can be counted: a whole service, every resource, everybody."""
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
        """Whether it says all that the other says."""
        return (
            self.effect == other.effect
            and _covers(self.action.lower(), other.action.lower())
            and _covers(self.resource, other.resource)
            and self.condition in ("", other.condition)
            and self.principal in ("*", other.principal)
        )


def _covers(pattern: str, name: str) -> bool:
    # Square brackets are no pattern of AWS's.
    return pattern == name or fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def of_policy(text: Any) -> set[Permission] | None:
    """The permissions of a policy document; None when it is only known after deployment, or is no policy."""
    parsed = text if isinstance(text, Mapping) else document(text)
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
    for action in _either(statement, "Action"):
        for resource in _either(statement, "Resource") or [""]:
            for principal in _principals(statement):
                yield Permission(str(statement.get("Effect", "Allow")), action, resource, said, principal)


def _either(statement: Mapping[str, Any], key: str) -> list[str]:
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


def compare(before: Iterable[Permission], after: Iterable[Permission]) -> tuple[list[Permission], list[Permission]]:
    """What is gained and what is lost."""
    old, new = set(before), set(after)
    gained = [each for each in new if not any(other.covers(each) for other in old)]
    lost = [each for each in old if not any(other.covers(each) for other in new)]
    return sorted(gained), sorted(lost)


# -- a preview's -------------------------------------------------------------------------------------------------------


def changes(preview: Preview) -> list[dict[str, Any]]:
    """Each role and resource whose permissions change, by name."""
    names = {each.urn: each.name for each in preview.of(policies.ROLE)}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for resource in preview.resources:
        if resource.operation == "same":
            continue
        for what, who, before, after in policies.of(resource, names):
            entry = found.setdefault((what, who), _entry(what, who))
            _add(entry, before, after, resource)
    for entry in found.values():
        entry["gained"], entry["lost"] = _grouped(entry["gained"]), _grouped(entry["lost"])
    changed = [each for each in found.values() if any(each[part] for part in ("gained", "lost", "unknown", "unread"))]
    return sorted(changed, key=lambda each: (each["of"], each["name"]))


def _entry(what: str, who: str) -> dict[str, Any]:
    return {"of": what, "name": who, "gained": [], "lost": [], "unguarded": [], "unknown": [], "unread": []}


def _add(entry: dict[str, Any], before: Any, after: Any, resource: Resource) -> None:
    old = set() if before is None else of_policy(before)
    new = set() if after is None else of_policy(after)
    if old is None or new is None:
        is_later = any(isinstance(each, Mark) for each in (before, after))
        if (is_later or before != after) and resource.name not in (names := entry["unknown" if is_later else "unread"]):
            names.append(resource.name)
        return
    gained, lost = compare(old, new)
    entry["gained"] += gained
    entry["lost"] += lost
    entry["unguarded"] += _unguarded(old, gained)


def _unguarded(old: Iterable[Permission], gained: Iterable[Permission]) -> list[dict[str, Any]]:
    """What a service might do for ours alone and now may for anybody: the conditions that are lost."""
    found = []
    for each in gained:
        if each.effect != "Allow" or openings.guards(each.condition):
            continue
        for other in old:
            if openings.guards(other.condition) and replace(each, condition="").covers(replace(other, condition="")):
                found.append({"action": each.action, "principal": each.principal, "condition": other.condition})
    return sorted(found, key=lambda one: (one["principal"], one["action"], one["condition"]))


def _grouped(permissions: list[Permission]) -> list[dict[str, Any]]:
    """Actions that go together: the same effect, resources, condition and principal."""
    by_action: dict[tuple[str, str, str, str], list[str]] = {}
    for each in permissions:
        by_action.setdefault((each.effect, each.action, each.condition, each.principal), []).append(each.resource)
    groups: dict[tuple[str, tuple[str, ...], str, str], list[str]] = {}
    for (effect, action, condition, principal), resources in by_action.items():
        groups.setdefault((effect, tuple(sorted(set(resources))), condition, principal), []).append(action)
    made = [
        {
            "effect": effect,
            "actions": sorted(actions),
            "resources": [each for each in resources if each],
            "condition": condition,
            "principal": principal,
            "wildcard": any(
                Permission(effect, action, resource, condition, principal).is_wildcard
                for action in actions
                for resource in resources
            ),
        }
        for (effect, resources, condition, principal), actions in groups.items()
    ]
    return sorted(made, key=lambda each: (not each["wildcard"], each["effect"], each["actions"], each["resources"]))
