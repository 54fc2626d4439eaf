"""The check after every deployment: does the endpoint really run the configuration that was asked for?

SageMaker rolls back a deployment whose alarm fires, and the provider reports success all the same.
"""

from pathlib import Path
from typing import Any

import pulumi

from millrace.errors import MillraceError
from queries.client import make_client
from queries.rollbacks import Rollback, find_rollback


class RolledBackError(MillraceError):
    """The endpoint went back to its old configuration."""

    def __init__(self, rollback: Rollback) -> None:
        super().__init__(rollback.text)
        self.rollback = rollback


def verified(name: str, region: str, report: str | None) -> pulumi.ResourceHookBinding:
    """Make hooks that fail the `up` when the endpoint does not run what was asked for.

    Args:
        name: The component's name; hooks are told apart by it.
        region: Where the endpoint is.
        report: A file that a rollback is written to as JSON, for the program that runs the `up`.
    """

    def check(args: pulumi.ResourceHookArgs) -> None:
        wanted: Any = args.new_inputs or {}
        found: Any = args.new_outputs or {}
        verify(region, found["name"], wanted["endpointConfigName"], report)

    hook = pulumi.ResourceHook(f"{name}-verified-rollout", check)
    return pulumi.ResourceHookBinding(after_create=[hook], after_update=[hook])


def verify(region: str, endpoint: str, wanted: str, report: str | None = None) -> None:
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
