"""Who may do what, before and after: actions gained and lost, role by role, resource by resource.

A permission counts as gained only when nothing allowed it before: a narrower statement under a broader one is none.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cli.diff import openings
from cli.diff.preview import Preview, Resource
from cli.diff.values import Mark, document

_ROLE, _POLICY, _ROLE_POLICY = "aws:iam/role:Role", "aws:iam/policy:Policy", "aws:iam/rolePolicy:RolePolicy"
_ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"

#: Policies that lie at a resource and say who may use it → the input that holds them.
_AT_RESOURCES = {
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:kms/keyPolicy:KeyPolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy": "resourcePolicy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
}


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
            or self.action.startswith("all but ")
            or self.resource.startswith("all but ")
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
        return [f"all but {', '.join(_list(statement[f'Not{key}']))}"]
    return _list(statement.get(key))


def _principals(statement: Mapping[str, Any]) -> list[str]:
    given = statement.get("Principal", statement.get("NotPrincipal"))
    if given is None:
        return [""]
    inverse = "all but " if "NotPrincipal" in statement else ""
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
    names = {each.urn: each.name for each in preview.of(_ROLE)}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for resource in preview.resources:
        for what, who, before, after in _policies(resource, names):
            if resource.operation == "same":
                continue
            entry = found.setdefault((what, who), _entry(what, who))
            _add(entry, before, after, resource)
    for entry in found.values():
        entry["gained"], entry["lost"] = _grouped(entry["gained"]), _grouped(entry["lost"])
    changed = [each for each in found.values() if each["gained"] or each["lost"] or each["unknown"]]
    return sorted(changed, key=lambda each: (each["of"], each["name"]))


def _entry(what: str, who: str) -> dict[str, Any]:
    return {"of": what, "name": who, "gained": [], "lost": [], "unguarded": [], "unknown": []}


def _add(entry: dict[str, Any], before: Any, after: Any, resource: Resource) -> None:
    old = set() if before is None else of_policy(before)
    new = set() if after is None else of_policy(after)
    if old is None or new is None:
        entry["unknown"].append(resource.name)
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


def _policies(resource: Resource, roles: Mapping[str, str]) -> Iterator[tuple[str, str, Any, Any]]:
    """What a resource says of permissions: of what, of whom, document before and after."""
    before, after = resource.before, resource.after
    if resource.type == _ROLE:
        yield "trust", resource.name, before.get("assumeRolePolicy"), after.get("assumeRolePolicy")
        inline = [
            {
                str(each.get("name", place)): each.get("policy")
                for place, each in enumerate(side.get("inlinePolicies") or [])
            }
            for side in (before, after)
        ]
        for name in sorted({*inline[0], *inline[1]}):
            yield "role", resource.name, inline[0].get(name), inline[1].get(name)
        yield "role", resource.name, _managed(before.get("managedPolicyArns")), _managed(after.get("managedPolicyArns"))
    elif resource.type == _ROLE_POLICY:
        yield "role", _role(resource, roles), before.get("policy"), after.get("policy")
    elif resource.type == _POLICY:
        yield "policy", resource.name, before.get("policy"), after.get("policy")
    elif resource.type == _ATTACHMENT:
        yield "role", _role(resource, roles), _managed(before.get("policyArn")), _managed(after.get("policyArn"))
    elif key := _AT_RESOURCES.get(resource.type):
        yield "resource", resource.name, before.get(key), after.get(key)


def _managed(arns: Any) -> dict[str, Any] | None:
    """A managed policy, of which the preview says the name only."""
    given = [arns] if isinstance(arns, str) else arns
    if not given:
        return None
    return {"Statement": [{"Effect": "Allow", "Action": [f"policy {arn}" for arn in given], "Resource": "as it says"}]}


def _role(resource: Resource, roles: Mapping[str, str]) -> str:
    """The name of the role that a policy belongs to."""
    source = next((roles[urn] for urn in resource.sources.get("role", ()) if urn in roles), None)
    if source:
        return source
    urns = resource.sources.get("role", ())
    said = (resource.new or resource.old or {}).get("role")
    return urns[0].rpartition("::")[2] if urns else resource.name if isinstance(said, Mark) or not said else str(said)


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
