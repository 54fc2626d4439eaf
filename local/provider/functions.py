"""The provider's functions, which programs call as ``aws.get_…`` and ``aws.iam.get_policy_document``."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

from local.provider.api import Context
from local.provider.errors import ProviderError, UnknownTypeError
from local.provider.values import Values

_PARTITION = "aws"


def _get_caller_identity(context: Context, args: Values) -> Values:  # noqa: ARG001
    who = context.call("sts", "GetCallerIdentity", {})
    return {"accountId": who["Account"], "arn": who["Arn"], "userId": who["UserId"], "id": who["Account"]}


def _get_region(context: Context, args: Values) -> Values:
    region = args.get("region") or args.get("name") or args.get("id") or context.region
    return {
        "region": region,
        "name": region,
        "id": region,
        "description": region,
        "endpoint": f"ec2.{region}.amazonaws.com",
    }


def _get_partition(context: Context, args: Values) -> Values:  # noqa: ARG001
    return {
        "partition": _PARTITION,
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
        "id": _PARTITION,
    }


def _get_policy_document(context: Context, args: Values) -> Values:  # noqa: ARG001
    document: dict[str, Any] = {"Version": args.get("version", "2012-10-17")}
    if args.get("policyId"):
        document["Id"] = args["policyId"]
    statements: list[dict[str, Any]] = []
    for source in args.get("sourcePolicyDocuments", ()):
        _merge(statements, json.loads(source).get("Statement", []), replace=False)
    _merge(statements, [_statement(statement) for statement in args.get("statements", ())], replace=True)
    for override in args.get("overridePolicyDocuments", ()):
        _merge(statements, json.loads(override).get("Statement", []), replace=True)
    document["Statement"] = statements
    text = json.dumps(document, indent=2)
    return {
        **args,
        "json": text,
        "minifiedJson": json.dumps(document, separators=(",", ":")),
        "id": str(zlib.crc32(text.encode())),
    }


def _merge(statements: list[dict[str, Any]], more: Any, replace: bool) -> None:
    """Add statements; one with an existing Sid replaces that statement or, without ``replace``, is refused."""
    for statement in more if isinstance(more, list) else [more]:
        sid = statement.get("Sid")
        at = next((i for i, known in enumerate(statements) if sid and known.get("Sid") == sid), None)
        if at is None:
            statements.append(statement)
        elif replace:
            statements[at] = statement
        else:
            raise ProviderError("getPolicyDocument: two source documents", f"have a statement {sid!r}")


def _statement(given: Values) -> dict[str, Any]:
    statement: dict[str, Any] = {}
    if given.get("sid"):
        statement["Sid"] = given["sid"]
    statement["Effect"] = given.get("effect", "Allow")
    for name, member in (("actions", "Action"), ("notActions", "NotAction")):
        if given.get(name):
            statement[member] = _one_or_more(given[name])
    for name, member in (("resources", "Resource"), ("notResources", "NotResource")):
        if given.get(name):
            statement[member] = _one_or_more(given[name])
    for name, member in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if given.get(name):
            statement[member] = _principals(given[name])
    for condition in given.get("conditions", ()):
        tests = statement.setdefault("Condition", {}).setdefault(condition["test"], {})
        tests[condition["variable"]] = _one_or_more(condition["values"])
    return statement


def _principals(given: list[Values]) -> Any:
    if any(principal["type"] == "*" for principal in given):
        return "*"
    found: dict[str, list[str]] = {}
    for principal in given:
        found.setdefault(principal["type"], []).extend(principal["identifiers"])
    return {kind: _one_or_more(names) for kind, names in found.items()}


def _one_or_more(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else sorted(values, key=str, reverse=True)


FUNCTIONS: dict[str, Callable[[Context, Values], Values]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _get_caller_identity,
    "aws:index/getPartition:getPartition": _get_partition,
    "aws:index/getRegion:getRegion": _get_region,
    "aws:iam/getPolicyDocument:getPolicyDocument": _get_policy_document,
}


def call(token: str, context: Context, args: Values) -> Values:
    """Call a function of the provider.

    Args:
        token: The function's token, e.g. ``aws:index/getRegion:getRegion``.
        context: The context of the engine's request.
        args: The arguments by name.

    Returns:
        The members of the result by name.

    Raises:
        UnknownTypeError: If the provider does not have the function.
    """
    function = FUNCTIONS.get(token)
    if function is None:
        raise UnknownTypeError(
            token, "cannot be called on this machine", expected=f"one of {', '.join(sorted(FUNCTIONS))}"
        )
    return function(context, args)
