"""Corrections of moto's IAM: policy simulations, AWS's managed policies, and names that are unique in any case.

No policy of a caller is evaluated yet, so a simulation answers that everything is allowed, for a role, user or group
that exists.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from local.core.identity import ACCOUNT, PARTITION


def install() -> None:
    """Patch moto's IAM with the corrections; call this once in a process."""
    from moto.iam.models import IAMBackend, iam_backends
    from moto.iam.responses import IamResponse

    for name, answer in (
        ("simulate_principal_policy", _simulate_principal_policy),
        ("simulate_custom_policy", _simulate_custom_policy),
    ):
        setattr(IamResponse, name, answer)
    for kind in ("role", "user", "group"):
        setattr(IAMBackend, f"create_{kind}", _of_a_free_name(kind, getattr(IAMBackend, f"create_{kind}")))
    # Only for this partition: moto creates the backends of all partitions when it looks up a key.
    add_managed_policies(iam_backends[ACCOUNT][PARTITION])


def _of_a_free_name(kind: str, create: Callable[..., Any]) -> Callable[..., Any]:
    from moto.iam.exceptions import EntityAlreadyExists, MalformedPolicyDocument

    of_create = inspect.signature(create)

    @wraps(create)
    def created(self: Any, *args: Any, **params: Any) -> Any:
        given = of_create.bind(self, *args, **params).arguments
        name = given[f"{kind}_name"]
        taken = [each.name for each in getattr(self, f"{kind}s").values()]
        if name.lower() in (each.lower() for each in taken):
            raise EntityAlreadyExists(f"{kind.title()} with name {name} already exists.")
        if kind == "role" and not _trusts(given["assume_role_policy_document"]):
            raise MalformedPolicyDocument("Missing required field Statement")
        return create(self, *args, **params)

    return created


def _trusts(document: str) -> bool:
    """Return True if a trust policy has a Statement, which may be empty; moto checks the rest, and invalid JSON."""
    try:
        found = json.loads(document)
    except ValueError:
        return True
    return isinstance(found, dict) and "Statement" in found


def add_managed_policies(backend: Any) -> None:
    """Add AWS's managed policies to a backend that has none, because a snapshot leaves them out.

    Args:
        backend: moto's backend of IAM, which is changed.
    """
    if not backend.aws_managed_policies:
        backend.aws_managed_policies = list(load_managed_policies().values())
        backend.managed_policies = load_managed_policies() | backend.managed_policies


def list_kept_policies(backend: Any) -> dict[str, Any]:
    """Return the managed policies of a backend that a snapshot keeps: the account's own, and AWS's if attached.

    Args:
        backend: moto's backend of IAM.

    Returns:
        moto's policies by ARN.
    """
    return {
        arn: policy
        for arn, policy in backend.managed_policies.items()
        if type(policy).__name__ != "AWSManagedPolicy" or policy.attachment_count
    }


@cache
def load_managed_policies() -> dict[str, Any]:
    """Return AWS's managed policies by ARN."""
    from moto.iam.aws_managed_policies import aws_managed_policies_data
    from moto.iam.models import AWSManagedPolicy

    made = (
        AWSManagedPolicy.from_data(name, ACCOUNT, PARTITION, data)
        for name, data in json.loads(aws_managed_policies_data).items()
    )
    return {policy.arn: policy for policy in made}


def _simulate_principal_policy(self: Any) -> Any:
    source = self._get_param("PolicySourceArn")
    kind, _, name = source.rpartition(":")[2].partition("/")
    if kind == "role":
        self.backend.get_role(name.rpartition("/")[2])
    elif kind == "user":
        self.backend.get_user(name.rpartition("/")[2])
    elif kind == "group":
        self.backend.get_group(name.rpartition("/")[2])
    return _simulate_custom_policy(self)


def _simulate_custom_policy(self: Any) -> Any:
    from moto.core.responses import ActionResult

    params = self._get_params()
    results = [
        {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": "allowed", "MatchedStatements": []}
        for action in params["ActionNames"]
        for resource in params.get("ResourceArns") or ["*"]
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})
