"""A deployment that a command of its own asks for: `pulumi up`, and then the proof that the endpoint serves."""

from __future__ import annotations

import time
from datetime import timedelta

from cli import engine, interrupts, serving
from cli.deployable import named
from cli.errors import CliError
from cli.output import moment
from cli.progress import Progress, Stage
from cli.registry import Package
from cli.serving import Endpoint
from cli.target import Target
from local import client
from local.engine import bootstrap
from millrace.environment import Traffic

#: The statuses of an endpoint that something is being done to.
AT_WORK = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
#: How long an endpoint that is still at work after an update is waited for, seconds.
_PATIENCE = 3600.0


class NotServingError(CliError):
    """The deployment ended, and the endpoint does not serve what it should."""


def serve(target: Target, package: Package, *, quiet: bool = False) -> Endpoint:
    """Deploy the stack and wait until its endpoint serves this package, which must be the newest approved one.

    Args:
        quiet: Whether progress goes to standard error.

    Raises:
        CliError: With Pulumi's diagnostics when the deployment fails.
        NotServingError: When the endpoint does not serve the package afterwards.
    """
    with Progress(err=quiet).stage("deploy") as stage:
        stage.note(f"version {package.version} on {target.names.endpoint}")
        bootstrap.ensure(stage.line)
        engine.up(target, stage.note, create=False)
        endpoint = settled(target, stage)
        if endpoint is None or endpoint.status != "InService" or endpoint.package != package.arn:
            raise NotServingError(
                f"endpoint {target.names.endpoint} does not serve version {package.version}: it {_state(endpoint)}; "
                f"see `millrace status {named(target)}` and `millrace logs {target.names.endpoint}`"
            )
        stage.result = f"{endpoint.name} serves version {endpoint.version} since {moment(endpoint.since)}"
    return endpoint


def settled(target: Target, stage: Stage) -> Endpoint | None:
    """The endpoint once nothing happens to it any more."""
    deadline = time.monotonic() + _PATIENCE
    while (found := serving.find(target)) and found.status in AT_WORK:
        stage.note(f"endpoint {found.name} is {found.status}")
        if time.monotonic() > deadline:
            break
        interrupts.pause(0.25 if target.is_local else 10.0)
    return found


def _state(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return "is not there"
    serves = f", serves version {endpoint.version}" if endpoint.version else ""
    return f"is {endpoint.status}{serves}{f', because: {endpoint.reason}' if endpoint.reason else ''}"


def duration(target: Target) -> timedelta:
    """How long a roll-out bakes, all shifts and the end of the old fleet; fleets take time to start besides.

    On this machine the cloud's time runs faster, and so does the roll-out.
    """
    rollout = target.environment.rollout
    shifts = {Traffic.ALL_AT_ONCE: 1, Traffic.CANARY: 2, Traffic.LINEAR: -(-100 // rollout.step_percent)}
    total = (shifts[rollout.traffic] + 1) * rollout.bake_seconds
    running = client.status(target.state) if target.is_local else None
    return timedelta(seconds=total / running.scale if running else total)
