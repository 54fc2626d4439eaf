"""Permissions before and after: actions gained and lost, by role and by resource.

`policies` finds the policy documents of a resource, `permission` reads what they allow, and `openings` finds what is
too wide to be overseen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cli.diff.permissions import openings, policies
from cli.diff.permissions.permission import Permission, compare_permissions, read_policy
from cli.diff.preview import Preview, Resource
from cli.diff.values import Mark

__all__ = ["Permission", "compare_permissions", "list_changes", "read_policy"]


def list_changes(preview: Preview) -> list[dict[str, Any]]:
    """Return each role and resource whose permissions change, sorted by kind and name.

    Args:
        preview: The preview of the change.

    Returns:
        Documents: ``of`` (`role`, `user`, `group`, `policy`, `trust` or `resource`), ``name``, ``gained`` and ``lost``
        (actions, grouped by effect, resources, condition and principal), ``unguarded`` (gained permissions that lost a
        condition on whom a service acts for), and the names of policies whose content is ``unknown`` until deployment
        or ``unread``.
    """
    names = {each.urn: each.name for each in preview.find_resources(policies.ROLE)}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for resource in preview.resources:
        if resource.operation == "same":
            continue
        for what, who, before, after in policies.list_documents(resource, names):
            entry = found.setdefault((what, who), _entry(what, who))
            _add(entry, before, after, resource)
    for entry in found.values():
        entry["gained"], entry["lost"] = _grouped(entry["gained"]), _grouped(entry["lost"])
    changed = [each for each in found.values() if any(each[part] for part in ("gained", "lost", "unknown", "unread"))]
    return sorted(changed, key=lambda each: (each["of"], each["name"]))


def _entry(what: str, who: str) -> dict[str, Any]:
    return {"of": what, "name": who, "gained": [], "lost": [], "unguarded": [], "unknown": [], "unread": []}


def _add(entry: dict[str, Any], before: Any, after: Any, resource: Resource) -> None:
    old = set() if before is None else read_policy(before)
    new = set() if after is None else read_policy(after)
    if old is None or new is None:
        is_later = any(isinstance(each, Mark) for each in (before, after))
        if (is_later or before != after) and resource.name not in (names := entry["unknown" if is_later else "unread"]):
            names.append(resource.name)
        return
    gained, lost = compare_permissions(old, new)
    entry["gained"] += gained
    entry["lost"] += lost
    entry["unguarded"] += _unguarded(old, gained)


def _unguarded(old: Iterable[Permission], gained: Iterable[Permission]) -> list[dict[str, Any]]:
    """Return the gained permissions that a service had before only under a condition on whom it acts for.

    Each is returned with the condition that it lost.
    """
    found = []
    for each in gained:
        if each.effect != "Allow" or openings.find_guard_keys(each.condition):
            continue
        for other in old:
            if openings.find_guard_keys(other.condition) and replace(each, condition="").covers(
                replace(other, condition="")
            ):
                found.append({"action": each.action, "principal": each.principal, "condition": other.condition})
    return sorted(found, key=lambda one: (one["principal"], one["action"], one["condition"]))


def _grouped(permissions: list[Permission]) -> list[dict[str, Any]]:
    """Group actions that have the same effect, resources, condition and principal."""
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
