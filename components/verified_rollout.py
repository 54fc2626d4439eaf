"""The check after every deployment that the endpoint runs the configuration that was deployed.

SageMaker rolls back a deployment whose alarm fires, and the provider still reports success.
"""

from pathlib import Path
from typing import Any

import pulumi

from millrace.errors import MillraceError
from queries.client import make_client
from queries.rollbacks import Rollback, find_rollback


class RolledBackError(MillraceError):
    """A deployment that SageMaker rolled back."""

    def __init__(self, rollback: Rollback) -> None:
        super().__init__(rollback.text)
        self.rollback = rollback


def make_verification_hooks(name: str, region: str, report: str | None) -> pulumi.ResourceHookBinding:
    """Make hooks that fail the `up` if the endpoint does not run the configuration that was deployed.

    Args:
        name: The component's name, with which the hook's name begins.
        region: Where the endpoint is.
        report: The file to which a rollback is written as JSON, for the program that runs the `up`; None writes none.
    """

    def check(args: pulumi.ResourceHookArgs) -> None:
        wanted: Any = args.new_inputs or {}
        found: Any = args.new_outputs or {}
        verify_rollout(region, found["name"], wanted["endpointConfigName"], report)

    hook = pulumi.ResourceHook(f"{name}-verified-rollout", check)
    return pulumi.ResourceHookBinding(after_create=[hook], after_update=[hook])


def verify_rollout(region: str, endpoint: str, wanted: str, report: str | None = None) -> None:
    """Refuse an endpoint that does not run the configuration `wanted`.

    Raises:
        RolledBackError: With SageMaker's reason and the alarms that it names or that are firing.
    """
    rollback = find_rollback(make_client("sagemaker", region), make_client("cloudwatch", region), endpoint, wanted)
    if rollback is None:
        return
    if report is not None:
        Path(report).write_text(rollback.dump())
    raise RolledBackError(rollback)
