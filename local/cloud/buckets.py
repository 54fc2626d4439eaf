"""Where this cloud's buckets depart from moto's: conditions of their policies, and delete markers that can be deleted.

A request never leaves this machine, so it counts as encrypted in transit: a statement that denies plain HTTP denies
nothing here. A statement with a condition that cannot be judged here is taken as if it applied, and logged.
"""

from __future__ import annotations

import json
import logging
from typing import Any

log = logging.getLogger(__name__)

_FACTS = {"aws:SecureTransport": "true"}


def install() -> None:
    """Make moto's buckets heed the conditions of their policies, and let go of a key that has markers only."""
    from moto.iam.access_control import IAMPolicy, PermissionResult
    from moto.s3.models import FakeBucket, FakeDeleteMarker

    def get_permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        return IAMPolicy(json.dumps(applicable(json.loads(self.policy)))).is_action_permitted(action, resource)

    FakeBucket.get_permission = get_permission  # type: ignore[method-assign]
    # It has no body to let go of, and moto asks it to when it is its key's last version.
    FakeDeleteMarker.dispose = lambda _: None  # type: ignore[attr-defined]


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
