"""Gained permissions that are too wide to be overseen: power over others, whole services, access for everybody.

Conditions are not taken into account, except those that limit who may use a permission.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: Services that give access to what belongs to others: rights, keys, secrets, data.
_POWERFUL = frozenset({
    "cloudformation", "iam", "identitystore", "kms", "lambda", "organizations", "s3", "secretsmanager", "ssm", "sso",
    "sts",
})  # fmt: skip
#: Actions that amount to full access when they are allowed on every resource.
_TAKING = (
    "iam:PassRole", "sts:AssumeRole", "iam:CreateAccessKey", "iam:AttachRolePolicy", "iam:AttachUserPolicy",
    "iam:AttachGroupPolicy", "iam:PutRolePolicy", "iam:PutUserPolicy", "iam:PutGroupPolicy", "iam:CreatePolicyVersion",
    "iam:SetDefaultPolicyVersion", "iam:UpdateAssumeRolePolicy", "iam:AddUserToGroup", "iam:CreateLoginProfile",
    "iam:UpdateLoginProfile", "iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary",
    "iam:PutRolePermissionsBoundary", "iam:PutUserPermissionsBoundary",
)  # fmt: skip
#: Actions that read everybody's secrets when they are allowed on every resource.
_READING = ("secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue", "kms:Decrypt")
#: Public identity providers, in addition to the OIDC providers that an account registers itself.
_SIGNING_IN = frozenset({
    "accounts.google.com", "cognito-identity.amazonaws.com", "graph.facebook.com", "www.amazon.com",
})  # fmt: skip
#: Condition keys that limit who may use a permission, in lower case.
_WHO = frozenset({
    "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
    "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "aws:sourcevpc",
    "aws:sourcevpce", "aws:userid", "kms:calleraccount", "s3:dataaccesspointaccount", "s3:dataaccesspointarn",
})  # fmt: skip
#: Condition keys that limit whom a service acts for; without one, a stranger may make it act for them.
_FOR_WHOM = frozenset({
    "aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "sts:externalid",
})  # fmt: skip
#: Condition operators that a request without the key does not meet.
_NARROWING = frozenset({
    "stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress", "numericequals",
})  # fmt: skip
_EVERYWHERE = frozenset({"0.0.0.0/0", "::/0"})
#: The prefixes of what NotAction, NotResource or NotPrincipal name, and of an attached managed policy.
ALL_BUT, MANAGED = "all but ", "policy "


class Code(StrEnum):
    """The reason why a permission is too wide."""

    EVERYBODY = "everybody"
    SIGNED_IN = "signed_in"
    STRANGERS = "strangers"
    UNKNOWN_ACCOUNT = "unknown_account"
    EVERYTHING = "everything"
    ALL_BUT = "all_but"
    POWERFUL_SERVICE = "powerful_service"
    WHOLE_SERVICE = "whole_service"
    TAKING = "taking"
    READING = "reading"
    MANAGED_POLICY = "managed_policy"


_CONSEQUENCES = {
    Code.EVERYBODY: "Anybody with an AWS account is allowed, often anyone at all: no condition restricts who.",
    Code.SIGNED_IN: "No condition on the subject (`…:sub`) restricts which of its signed-in identities are allowed.",
    Code.STRANGERS: "It is not the stack's own account, {own}: that account decides who gets the access.",
    Code.UNKNOWN_ACCOUNT: (
        "The preview does not show whether it is the stack's own account; another account would decide who gets the "
        "access."
    ),
    Code.EVERYTHING: "That is more than any component needs, and nobody can foresee its use.",
    Code.ALL_BUT: "Everything that is not listed is allowed, including what AWS adds later.",
    Code.POWERFUL_SERVICE: "With {services} it can obtain the permissions, keys, secrets or data of others.",
    Code.WHOLE_SERVICE: "That is a whole service: it can also change and delete resources of others.",
    Code.TAKING: "It can act as any role of the account, or grant itself permissions, and so gain that role's access.",
    Code.READING: "It can read private data of others: secrets, or anything encrypted with a key of the account.",
    Code.MANAGED_POLICY: "An AWS managed policy this broad is meant for people, not for services.",
}


@dataclass(frozen=True)
class Opening:
    """A permission that is too wide, and who gets it.

    Attributes:
        code: Why it is too wide.
        whom: Who gets it.
        what: What it allows.
        fields: The values for the sentence of the consequence.
    """

    code: Code
    whom: str
    what: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def consequence(self) -> str:
        """The consequence, as a sentence."""
        return _CONSEQUENCES[self.code].format(**self.fields)


def find_openings(entry: Mapping[str, Any], own: str) -> Iterator[Opening]:
    """Yield the permissions that are too wide among those that a role, a policy or a resource has gained.

    Args:
        entry: The changes of one, as :func:`cli.diff.permissions.list_changes` returns them.
        own: The stack's account; empty when it is not known.
    """
    whom = f"{entry['of']} {entry['name']}"
    for each in entry["gained"]:
        if each["effect"] != "Allow":
            continue
        if _is_everybody(each["principal"]) and not limits_principal(each["condition"]):
            but = "" if each["principal"] == "*" else f" except {each['principal'].removeprefix(ALL_BUT)}"
            yield Opening(Code.EVERYBODY, f"everybody{but}", _named(each["actions"]))
            continue
        if _is_anybody_signed_in(each):
            yield Opening(
                Code.SIGNED_IN, f"anyone signed in by {shorten_arn(each['principal'])}", _named(each["actions"])
            )
            continue
        if strangers := sorted(_accounts(each) - {own}):
            code = Code.STRANGERS if own else Code.UNKNOWN_ACCOUNT
            yield Opening(code, f"account {', '.join(strangers)}", _named(each["actions"]), {"own": own})
            continue
        yield from _find_too_much(whom, each, is_role=entry["of"] not in ("trust", "resource"))


def _find_too_much(whom: str, gained: Mapping[str, Any], *, is_role: bool) -> Iterator[Opening]:
    actions, resources = gained["actions"], gained["resources"]
    everything = [each for each in actions if not each.replace(":", "").strip("*")]
    inverse = [each for each in [*actions, *resources] if each.startswith(ALL_BUT)]
    if everything:
        yield Opening(Code.EVERYTHING, whom, "everything")
        return
    if inverse:
        what = " on ".join([_named(actions), *(each for each in resources if each.startswith(ALL_BUT))])
        yield Opening(Code.ALL_BUT, whom, what)
        return
    # In a resource's own policy, `*` is the resource itself.
    wide = is_role and any(map(_is_every, resources))
    services = sorted({each.partition(":")[0].lower() for each in actions if each.partition(":")[2] == "*"})
    if wide and services:
        mighty = [each for each in services if each in _POWERFUL]
        code = Code.POWERFUL_SERVICE if mighty else Code.WHOLE_SERVICE
        what = f"{', '.join(f'{each}:*' for each in services)} on every resource"
        yield Opening(code, whom, what, {"services": ", ".join(mighty)})
    for among, code in ((_TAKING, Code.TAKING), (_READING, Code.READING)):
        taking = [each for each in actions if each.partition(":")[2] != "*" and _is_among(each, among)]
        if wide and taking:
            yield Opening(code, whom, f"{', '.join(taking)} on every resource")
    managed = [name for each in actions if (name := _managed(each))]
    if managed:
        yield Opening(Code.MANAGED_POLICY, whom, f"what {', '.join(managed)} allows")


def _named(actions: list[str], most: int = 6) -> str:
    left = len(actions) - most
    return ", ".join([*actions[:most], *([f"{left} more"] if left > 0 else [])])


def _is_everybody(principal: str) -> bool:
    return principal == "*" or principal.startswith(ALL_BUT)


def _accounts(gained: Mapping[str, Any]) -> set[str]:
    """Return the accounts that get a permission; none when the principal is a service."""
    if _is_everybody(gained["principal"]):
        return set(re.findall(r"\b\d{12}\b", gained["condition"]))
    found = re.fullmatch(r"(?:arn:[\w-]+:(?:iam|sts)::)?(\d{12})(?::.*)?", gained["principal"])
    return {found[1]} if found else set()


def _is_every(resource: str) -> bool:
    """Return True if a resource pattern matches everything of a service, or everything of one kind."""
    if not resource.strip("*"):
        return True
    parts = resource.split(":", 5)
    if parts[0] != "arn" or len(parts) < 6:
        return False
    if parts[2] == "s3":
        return parts[5].startswith("*")
    return bool(re.fullmatch(r"([A-Za-z-]+[/:])?\*+", parts[5]))


def _is_anybody_signed_in(gained: Mapping[str, Any]) -> bool:
    """Return True if the users of an identity provider may, without a condition that limits which."""
    who = gained["principal"]
    if who not in _SIGNING_IN and ":oidc-provider/" not in who:
        return False
    # For Cognito a condition on the audience is enough: it names an identity pool of the account.
    asked = ("cognito-identity.amazonaws.com:aud", ":sub") if who.startswith("cognito") else ":sub"
    return not any(key.endswith(asked) for key in _keys(gained["condition"]))


def _is_among(action: str, actions: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(each.lower(), action.lower().replace("[", "[[]")) for each in actions)


def _managed(action: str) -> str:
    """Return the name of a managed policy that allows too much; empty for any other action."""
    if not action.startswith(MANAGED):
        return ""
    name = action.rpartition("/")[2]
    return name if name in ("AdministratorAccess", "PowerUserAccess") or name.endswith("FullAccess") else ""


# -- conditions --------------------------------------------------------------------------------------------------------


def limits_principal(condition: str) -> bool:
    """Return True if a condition limits who may use a permission."""
    return bool(_keys(condition) & _WHO)


def find_guard_keys(condition: str) -> set[str]:
    """Return the keys of a condition that limit whom a service acts for."""
    return _keys(condition) & _FOR_WHOM


def format_condition(condition: str) -> str:
    """Return the condition of a policy as one line of text.

    Args:
        condition: JSON: operator → key → value or list of values; not empty.
    """
    words = {"StringEquals": "is", "ArnEquals": "is", "ArnLike": "is like", "StringLike": "is like", "Bool": "is"}
    said = []
    parsed = json.loads(condition)
    if not isinstance(parsed, Mapping) or not all(isinstance(keys, Mapping) for keys in parsed.values()):
        return condition
    for operator, keys in parsed.items():
        for key, given in keys.items():
            values = [str(each) for each in given] if isinstance(given, list) else [str(given)]
            more = f" or {len(values) - 3} more" if len(values) > 3 else ""
            shown = " or ".join(shorten_arn(each) for each in values[:3])
            said.append(f"{key} {words.get(operator, operator)} {shown}{more}")
    return " and ".join(said)


def shorten_arn(resource: str) -> str:
    """Return an ARN as service and resource only, without partition, region and account.

    Args:
        resource: An ARN; any other text is returned as it is.
    """
    found = re.fullmatch(r"arn:[^:]*:([^:]*):[^:]*:[^:]*:(.+)", resource)
    return f"{found[1]}: {found[2]}" if found else resource


def _keys(condition: str) -> set[str]:
    """Return the keys, in lower case, that a condition effectively limits."""
    given = json.loads(condition) if condition else {}
    found = set()
    for operator, keys in given.items() if isinstance(given, Mapping) else ():
        # A request without the key meets `ForAllValues:…` and `…IfExists`.
        if operator.lower().removeprefix("foranyvalue:") not in _NARROWING or not isinstance(keys, Mapping):
            continue
        for key, values in keys.items():
            bounds = [str(each) for each in (values if isinstance(values, list) else [values])]
            name = str(key).lower()
            if bounds and all(map(_is_subject if name.endswith(":sub") else _is_bound, bounds)):
                found.add(name)
    return found


def _is_subject(value: str) -> bool:
    """Return True if a subject, such as `repo:owner/name:*`, names its owner before the first wildcard."""
    said, wild, _ = re.sub("[*?]", "*", value).partition("*")
    owner = said.partition(":")[2]
    return bool(said) if not wild else bool(re.search(r"[^/:][/:]", owner))


def _is_bound(value: str) -> bool:
    """Return True if a value of a condition limits who meets it, rather than being met by everybody."""
    if value in _EVERYWHERE:
        return False
    parts = value.split(":", 5)
    if parts[0] == "arn" and len(parts) == 6:
        account, resource = parts[4], parts[5]
        return not re.search(r"[*?]", account) if account else not resource.startswith(("*", "?"))
    return not re.search(r"[*?]", re.split("[/:]", value)[0])
