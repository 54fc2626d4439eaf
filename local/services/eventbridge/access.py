"""Policy evaluation: whether a service of this cloud may do what it is about to do.

A small part of IAM's evaluation: an explicit deny wins, then any allow. It supports actions, resources, principals and
the string, ARN and Bool conditions. With an unsupported condition an allow does not apply, and a deny applies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local.core.identity import ACCOUNT
from local.core.regex import compile_wildcards
from local.errors import LocalError

if TYPE_CHECKING:
    from local.core.context import Cloud

Document = Mapping[str, Any]


class AccessError(LocalError):
    """A denied access, with the error code for dead-letter messages."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def make_condition_keys(principal: str, arn: str) -> dict[str, str]:
    """Return the condition keys of a call that a service makes on behalf of a resource.

    Args:
        principal: The service.
        arn: The resource, which policies see as ``aws:SourceArn``.
    """
    keys = {"aws:sourcearn": arn, "aws:sourceaccount": ACCOUNT, "aws:securetransport": "true"}
    if principal == "cloudwatch.amazonaws.com":
        keys["aws:sourceowner"] = ACCOUNT
    return keys


def require_role(cloud: Cloud, role: str, *, principal: str, sender: str, action: str, resource: str) -> None:
    """Check that ``principal`` may assume ``role``, and the role may perform ``action`` on ``resource``.

    Args:
        cloud: The cloud, whose IAM has the role.
        role: The role's ARN.
        principal: The service that assumes the role.
        sender: The ARN that trust policies see as ``aws:SourceArn``.
        action: An IAM action, such as ``sqs:SendMessage``.
        resource: The ARN that the action is performed on.

    Raises:
        AccessError: The role does not exist, or a policy does not allow it.
    """
    iam = cloud.client("iam", "us-east-1")
    name = role.rpartition("/")[2]
    try:
        found = iam.get_role(RoleName=name)["Role"]
    except ClientError as error:
        raise AccessError("FAILED_TO_ASSUME_ROLE", f"The role {role} does not exist: {error}") from error
    keys = make_condition_keys(principal, sender)
    trust = found["AssumeRolePolicyDocument"]
    if not allows([trust], action="sts:AssumeRole", resource=role, principal=principal, keys=keys):
        raise AccessError(
            "FAILED_TO_ASSUME_ROLE", f"The trust policy of {role} does not let {principal} assume it for {sender}."
        )
    if not allows(_policies(iam, name), action=action, resource=resource, keys=keys):
        raise AccessError("NO_PERMISSIONS", f"{role} is not authorized to perform: {action} on resource: {resource}")


def require_policy(policies: Iterable[Document], *, principal: str, sender: str, action: str, resource: str) -> None:
    """Check that a resource's own policies let ``principal`` perform ``action`` on behalf of ``sender``.

    Raises:
        AccessError: They do not allow it.
    """
    if not allows(
        policies, action=action, resource=resource, principal=principal, keys=make_condition_keys(principal, sender)
    ):
        raise AccessError(
            "NO_PERMISSIONS",
            f"The policy of {resource} does not allow {principal} to perform {action} for {sender}: "
            "add a statement with that service as its Principal.",
        )


def _policies(iam: Any, role: str) -> list[Document]:
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for page in iam.get_paginator("list_role_policies").paginate(RoleName=role)
        for name in page["PolicyNames"]
    ]
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for attached in page["AttachedPolicies"]:
            arn = attached["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            documents.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
    return documents


def allows(
    documents: Iterable[Document],
    *,
    action: str,
    resource: str,
    principal: str | None = None,
    keys: Mapping[str, str] | None = None,
) -> bool:
    """Return True if policies allow an action on a resource.

    Args:
        documents: The policies.
        action: An IAM action.
        resource: The resource's ARN.
        principal: The calling service for policies that have principals (trust and resource policies).
        keys: Condition keys in lower case, with their values.
    """
    verdict = False
    for document in documents:
        for statement in _many(document.get("Statement", [])):
            deny = statement["Effect"] == "Deny"
            if not _concerns(statement, action, resource, principal):
                continue
            if not _conditions(statement.get("Condition", {}), keys or {}, unknown=deny):
                continue
            if deny:
                return False
            verdict = True
    return verdict


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _concerns(statement: Document, action: str, resource: str, principal: str | None) -> bool:
    if principal is not None and not _is_principal(statement.get("Principal"), principal):
        return False
    if "NotAction" in statement:
        if _any_like(statement["NotAction"], action, ignore_case=True):
            return False
    elif not _any_like(statement.get("Action", []), action, ignore_case=True):
        return False
    if "NotResource" in statement:
        return not _any_like(statement["NotResource"], resource)
    # A trust policy has no Resource: it applies to its role.
    return "Resource" not in statement or _any_like(statement["Resource"], resource)


def _is_principal(given: Any, principal: str) -> bool:
    if isinstance(given, Mapping):
        return "*" in _many(given.get("AWS", [])) or principal in _many(given.get("Service", []))
    return bool(given == "*")


def _any_like(patterns: Any, value: str, *, ignore_case: bool = False) -> bool:
    if ignore_case:
        return any(compile_wildcards(each.lower()).fullmatch(value.lower()) for each in _many(patterns))
    return any(compile_wildcards(each).fullmatch(value) for each in _many(patterns))


def _exact(patterns: Any, value: str) -> bool:
    return value in _many(patterns)


def _flag(patterns: Any, value: str) -> bool:
    return value in [str(each).lower() for each in _many(patterns)]


_CONDITIONS: Mapping[str, Callable[[Any, str], bool]] = {
    "StringEquals": _exact,
    "StringLike": _any_like,
    "ArnEquals": _any_like,
    "ArnLike": _any_like,
    "Bool": _flag,
}


def _conditions(conditions: Document, keys: Mapping[str, str], *, unknown: bool) -> bool:
    for name, wanted in conditions.items():
        base = name.removesuffix("IfExists")
        negated = "Not" in base
        test = _CONDITIONS.get(base.replace("Not", ""))
        for key, patterns in wanted.items():
            value = keys.get(key.lower())
            if test is None:
                if not unknown:
                    return False
            elif value is None:
                if not negated and base == name:
                    return False
            elif test(patterns, value) is negated:
                return False
    return True
