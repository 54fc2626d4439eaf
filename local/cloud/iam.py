"""Where this cloud's IAM departs from moto's: simulations are answered, and AWS's managed policies are there.

No policy of a caller is evaluated yet, so a simulation answers that everything is allowed, for a role or user that
exists.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from local.cloud.identity import ACCOUNT, PARTITION


def install() -> None:
    """Give moto's IAM what it lacks, once in a process."""
    from moto.iam.models import iam_backends
    from moto.iam.responses import IamResponse

    for name, answer in (
        ("simulate_principal_policy", _simulate_principal_policy),
        ("simulate_custom_policy", _simulate_custom_policy),
    ):
        setattr(IamResponse, name, answer)
    # Of this partition only: moto makes backends of all when it looks for a key.
    complete(iam_backends[ACCOUNT][PARTITION])


def complete(backend: Any) -> None:
    """Give a backend AWS's managed policies, which a snapshot leaves out."""
    if not backend.aws_managed_policies:
        backend.aws_managed_policies = list(managed_policies().values())
        backend.managed_policies = managed_policies() | backend.managed_policies


def kept_policies(backend: Any) -> dict[str, Any]:
    """Return the managed policies of a backend that a snapshot keeps: the account's own, and what is attached."""
    return {
        arn: policy
        for arn, policy in backend.managed_policies.items()
        if type(policy).__name__ != "AWSManagedPolicy" or policy.attachment_count
    }


@cache
def managed_policies() -> dict[str, Any]:
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
