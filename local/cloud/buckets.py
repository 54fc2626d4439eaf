"""Where this cloud's buckets depart from moto's: conditions of their policies, and delete markers that can be deleted.

A request never leaves this machine, so it counts as encrypted in transit: a statement that denies plain HTTP denies
nothing here. A statement with a condition that cannot be judged here is taken as if it applied, and logged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from local.regions import known_regions

log = logging.getLogger(__name__)

_FACTS = {"aws:SecureTransport": "true"}


def install() -> None:
    """Make moto's buckets heed the conditions of their policies, and let go of a key that has markers only."""
    from moto.iam.access_control import IAMPolicy, PermissionResult
    from moto.s3.models import FakeBucket, FakeDeleteMarker, S3Backend
    from moto.s3.responses import S3Response

    def get_permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        return IAMPolicy(json.dumps(applicable(json.loads(self.policy)))).is_action_permitted(action, resource)

    FakeBucket.get_permission = get_permission  # type: ignore[method-assign]
    S3Backend.put_bucket_policy = _checking(S3Backend.put_bucket_policy)  # type: ignore[method-assign]
    S3Response._get_location_constraint = _known(S3Response._get_location_constraint)  # type: ignore[method-assign]
    # It has no body to let go of, and moto asks it to when it is its key's last version.
    FakeDeleteMarker.dispose = lambda _: None  # type: ignore[attr-defined]


def _checking(put: Callable[..., Any]) -> Callable[..., Any]:
    from moto.s3.exceptions import S3ClientError

    @wraps(put)
    def put_bucket_policy(self: Any, bucket_name: str, policy: Any) -> Any:
        if problem := _problem(policy):
            raise S3ClientError("MalformedPolicy", problem)
        return put(self, bucket_name, policy)

    return put_bucket_policy


def _problem(policy: Any) -> str | None:
    """What keeps a text from being a bucket's policy."""
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        return "Policies must be valid JSON and the first byte must be '{'"
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        return "Missing required field Statement"
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            return "Invalid effect: expected Allow or Deny"
        for name in ("Principal", "Action", "Resource"):
            value = statement.get(name, statement.get(f"Not{name}"))
            each = value if isinstance(value, list) else [value]
            if not each or not all(isinstance(item, str | dict if name == "Principal" else str) for item in each):
                return f"Missing required field {name}"
    return None


def _known(read: Callable[..., Any]) -> Callable[..., Any]:
    from moto.s3.exceptions import S3ClientError

    @wraps(read)
    def location_constraint(self: Any) -> Any:
        found = read(self)
        if found and found not in known_regions() | {"EU"}:
            raise S3ClientError("InvalidLocationConstraint", "The specified location-constraint is not valid")
        return found

    return location_constraint


def applicable(policy: dict[str, Any]) -> dict[str, Any]:
    """The policy with those statements only whose conditions hold for a request on this machine."""
    statements = policy.get("Statement", [])
    if isinstance(statements, dict):
        statements = [statements]
    return {**policy, "Statement": [statement for statement in statements if _holds(statement.get("Condition", {}))]}


def _holds(condition: dict[str, dict[str, Any]]) -> bool:
    for operator, tests in condition.items():
        for key, wanted in tests.items():
            if operator == "Bool" and key in _FACTS:
                values = wanted if isinstance(wanted, list) else [wanted]
                if _FACTS[key] not in (str(value).lower() for value in values):
                    return False
            else:
                log.warning("bucket policy: the condition %s of %s is not judged here, taken as met", operator, key)
    return True
