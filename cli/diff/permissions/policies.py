"""The policy documents of a resource before and after, and the roles or resources that they apply to.

Permissions in other inputs of AWS, such as an access list or a grant, are converted to the equivalent statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.diff.permissions import openings
from cli.diff.preview import Resource
from cli.diff.values import Mark, parse_document

ROLE, USER = "aws:iam/role:Role", "aws:iam/user:User"
_POLICY, _MANY = "aws:iam/policy:Policy", "aws:iam/policyAttachment:PolicyAttachment"
_INVOCATION, _GRANT = "aws:lambda/permission:Permission", "aws:kms/grant:Grant"

#: A type of inline policy → the input that names its owner.
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
#: Inputs of other types that grant permissions, whether they can be read here or not.
_SAYING = frozenset({
    "accessControlPolicy", "accessPolicies", "accessPolicy", "acl", "grants", "granteePrincipal", "managedPolicyArns",
    "permissionsBoundary", "policy", "policyArn", "policyArns", "policyDocument", "principal", "principalArn",
    "principals", "resourcePolicy",
})  # fmt: skip
#: The actions that a bucket's public access lists allow to everybody.
_OPEN_LISTS = {
    "public-read": ["s3:ListBucket"],
    "public-read-write": ["s3:ListBucket", "s3:PutObject"],
    # To everybody with an AWS account.
    "authenticated-read": ["s3:ListBucket"],
}
#: Inputs of a Lambda permission → the equivalent condition.
_CONDITIONS = {
    "sourceAccount": ("StringEquals", "aws:SourceAccount"),
    "sourceArn": ("ArnLike", "aws:SourceArn"),
    "principalOrgId": ("StringEquals", "aws:PrincipalOrgID"),
}

#: The kind and the name of the owner, the document before and after.
Said = tuple[str, str, Any, Any]


def list_documents(resource: Resource, roles: Mapping[str, str]) -> Iterator[Said]:
    """Yield the policy documents of a resource.

    Args:
        resource: The resource.
        roles: URN → name, of all roles.
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
    """Yield the documents of a managed policy that is attached to several roles, users or groups at once."""
    for kind in ("role", "user", "group"):
        old, new = (
            dict.fromkeys(_names(side.get(f"{kind}s")), _managed(side.get("policyArn")))
            for side in (resource.before, resource.after)
        )
        for name in sorted({*old, *new}):
            yield kind, name, old.get(name), new.get(name)


def _of_any(resource: Resource) -> Iterator[Said]:
    """Yield the policies of the resource itself: inputs that hold one, and inputs that are named like one."""
    for key in sorted({*resource.before, *resource.after}):
        sides = resource.before.get(key), resource.after.get(key)
        if key == "acl" and resource.type.startswith("aws:s3/bucket"):
            yield "resource", resource.name, _access_list(sides[0]), _access_list(sides[1])
        elif key in _SAYING or any(map(_is_policy, sides)):
            yield "resource", resource.name, *map(_wrap_unreadable, sides)


def _wrap_unreadable(value: Any) -> Any:
    """Wrap an object that is not a policy, so that it is not read as a policy that allows nothing."""
    return [value] if isinstance(value, Mapping) and not _is_policy(value) else value


def _is_policy(value: Any) -> bool:
    parsed = value if isinstance(value, Mapping) else parse_document(value)
    return isinstance(parsed, Mapping) and "Statement" in parsed


# -- statements --------------------------------------------------------------------------------------------------------


def _statement(effect: str = "Allow", **said: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, **said}]}


def _managed(arns: Any) -> dict[str, Any] | None:
    """Return a statement for managed policies, of which the preview has only the names."""
    if not arns:
        return None
    actions = [f"{openings.MANAGED}{arn}" for arn in _names(arns)]
    return _statement(Action=actions, Resource="as the policy defines")


def _bound(arn: Any) -> dict[str, Any] | None:
    """Return a statement for a permissions boundary, which denies everything that it does not allow."""
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


# -- owners ------------------------------------------------------------------------------------------------------------


def _names(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _owner(resource: Resource, key: str, roles: Mapping[str, str]) -> str:
    """Return the name of the role, user or group that a policy belongs to."""
    urns = resource.sources.get(key, ())
    if known := next((roles[urn] for urn in urns if urn in roles), None):
        return known
    said = (resource.new or resource.old or {}).get(key)
    return urns[0].rpartition("::")[2] if urns else resource.name if isinstance(said, Mark) or not said else str(said)
