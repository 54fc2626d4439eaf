"""What a resource says of permissions: of whom or at what, and the policy documents before and after.

What AWS says in inputs of their own, such as an access list or a grant, is written as the statement that it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.diff.permissions import openings
from cli.diff.preview import Resource
from cli.diff.values import Mark, document

ROLE, USER = "aws:iam/role:Role", "aws:iam/user:User"
_POLICY, _MANY = "aws:iam/policy:Policy", "aws:iam/policyAttachment:PolicyAttachment"
_INVOCATION, _GRANT = "aws:lambda/permission:Permission", "aws:kms/grant:Grant"

#: A policy of somebody → the input that says of whom.
_INLINE = {
    "aws:iam/rolePolicy:RolePolicy": "role",
    "aws:iam/userPolicy:UserPolicy": "user",
    "aws:iam/groupPolicy:GroupPolicy": "group",
}
_ATTACHED = {
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "role",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment": "user",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment": "group",
}
#: Inputs of any other type that say who may do something, whether they can be read here or not.
_SAYING = frozenset({
    "accessControlPolicy", "accessPolicies", "accessPolicy", "acl", "grants", "granteePrincipal", "managedPolicyArns",
    "permissionsBoundary", "policy", "policyArn", "policyArns", "policyDocument", "principal", "principalArn",
    "principals", "resourcePolicy",
})  # fmt: skip
#: What the access lists of a bucket that are open to everybody allow.
_OPEN_LISTS = {
    "public-read": ["s3:ListBucket"],
    "public-read-write": ["s3:ListBucket", "s3:PutObject"],
    # Everybody with an account at AWS.
    "authenticated-read": ["s3:ListBucket"],
}
#: Inputs of a permission to invoke → the condition that they are.
_CONDITIONS = {
    "sourceAccount": ("StringEquals", "aws:SourceAccount"),
    "sourceArn": ("ArnLike", "aws:SourceArn"),
    "principalOrgId": ("StringEquals", "aws:PrincipalOrgID"),
}

#: Of what, of whom, the document before and after.
Said = tuple[str, str, Any, Any]


def of(resource: Resource, roles: Mapping[str, str]) -> Iterator[Said]:
    """All that a resource says.

    Args:
        roles: URN → name.
    """
    before, after = resource.before, resource.after
    if resource.type in (ROLE, USER):
        yield from _of_principal(resource)
    elif owner := _INLINE.get(resource.type):
        yield owner, _owner(resource, owner, roles), before.get("policy"), after.get("policy")
    elif owner := _ATTACHED.get(resource.type):
        yield owner, _owner(resource, owner, roles), _managed(before.get("policyArn")), _managed(after.get("policyArn"))
    elif resource.type == _POLICY:
        yield "policy", resource.name, before.get("policy"), after.get("policy")
    elif resource.type == _MANY:
        yield from _of_many(resource)
    elif resource.type == _INVOCATION:
        yield "resource", resource.name, _invocation(before), _invocation(after)
    elif resource.type == _GRANT:
        yield "resource", resource.name, _grant(before), _grant(after)
    elif resource.is_real:
        yield from _of_any(resource)


def _of_principal(resource: Resource) -> Iterator[Said]:
    before, after = resource.before, resource.after
    kind = "role" if resource.type == ROLE else "user"
    if resource.type == ROLE:
        yield "trust", resource.name, before.get("assumeRolePolicy"), after.get("assumeRolePolicy")
    inline = [
        {
            str(each.get("name", place)): each.get("policy")
            for place, each in enumerate(side.get("inlinePolicies") or [])
        }
        for side in (before, after)
    ]
    for name in sorted({*inline[0], *inline[1]}):
        yield kind, resource.name, inline[0].get(name), inline[1].get(name)
    yield kind, resource.name, _managed(before.get("managedPolicyArns")), _managed(after.get("managedPolicyArns"))
    yield kind, resource.name, _bound(before.get("permissionsBoundary")), _bound(after.get("permissionsBoundary"))


def _of_many(resource: Resource) -> Iterator[Said]:
    """A managed policy attached to several at once."""
    for kind in ("role", "user", "group"):
        old, new = (
            dict.fromkeys(_names(side.get(f"{kind}s")), _managed(side.get("policyArn")))
            for side in (resource.before, resource.after)
        )
        for name in sorted({*old, *new}):
            yield kind, name, old.get(name), new.get(name)


def _of_any(resource: Resource) -> Iterator[Said]:
    """Policies at the resource itself: wherever one stands, and in what is called so."""
    for key in sorted({*resource.before, *resource.after}):
        sides = resource.before.get(key), resource.after.get(key)
        if key == "acl" and resource.type.startswith("aws:s3/bucket"):
            yield "resource", resource.name, _access_list(sides[0]), _access_list(sides[1])
        elif key in _SAYING or any(map(_is_policy, sides)):
            yield "resource", resource.name, *map(_as_it_is, sides)


def _as_it_is(value: Any) -> Any:
    """An object that is no policy, in a form that is not taken for one that allows nothing."""
    return [value] if isinstance(value, Mapping) and not _is_policy(value) else value


def _is_policy(value: Any) -> bool:
    parsed = value if isinstance(value, Mapping) else document(value)
    return isinstance(parsed, Mapping) and "Statement" in parsed


# -- statements --------------------------------------------------------------------------------------------------------


def _statement(effect: str = "Allow", **said: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, **said}]}


def _managed(arns: Any) -> dict[str, Any] | None:
    """A managed policy, of which the preview says the name only."""
    return (
        _statement(Action=[f"{openings.MANAGED}{arn}" for arn in _names(arns)], Resource="as it says") if arns else None
    )


def _bound(arn: Any) -> dict[str, Any] | None:
    """A boundary refuses what it does not allow itself."""
    return _statement("Deny", NotAction=f"what {arn} allows") if arn else None


def _access_list(acl: Any) -> Any:
    if acl in (None, "private"):
        return None
    if isinstance(acl, Mark):
        return acl
    if actions := _OPEN_LISTS.get(str(acl)):
        return _statement(Principal="*", Action=actions)
    return _statement(Action=f"access list {acl}")


def _invocation(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    if not inputs:
        return None
    condition: dict[str, dict[str, Any]] = {}
    for key, (operator, name) in _CONDITIONS.items():
        if inputs.get(key):
            condition.setdefault(operator, {})[name] = inputs[key]
    return _statement(Principal=inputs.get("principal"), Action=inputs.get("action"), Condition=condition)


def _grant(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    if not inputs:
        return None
    actions = [f"kms:{operation}" for operation in _names(inputs.get("operations"))]
    return _statement(Principal=inputs.get("granteePrincipal"), Action=actions)


# -- whose -------------------------------------------------------------------------------------------------------------


def _names(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _owner(resource: Resource, key: str, roles: Mapping[str, str]) -> str:
    """The name of the role, user or group that a policy belongs to."""
    urns = resource.sources.get(key, ())
    if known := next((roles[urn] for urn in urns if urn in roles), None):
        return known
    said = (resource.new or resource.old or {}).get(key)
    return urns[0].rpartition("::")[2] if urns else resource.name if isinstance(said, Mark) or not said else str(said)
