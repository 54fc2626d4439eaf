"""The deployment of a package: `pulumi up`, and then a check that the endpoint serves it."""

from __future__ import annotations

from datetime import timedelta

from cli.aws import endpoints
from cli.aws.endpoints import Endpoint
from cli.aws.model_packages import Package
from cli.console import interrupts
from cli.console.errors import CliError
from cli.console.progress import Progress, Stage
from cli.pulumi import updates
from cli.stack.deployable import render_arguments, render_logs_command
from cli.stack.target import Target
from engine import bootstrap
from local import client
from queries import endpoints as queried
from queries.endpoints import IN_SERVICE


class NotServingError(CliError):
    """The deployment ended, but the endpoint does not serve what it should."""


def deploy_package(target: Target, package: Package, *, quiet: bool = False) -> Endpoint:
    """Deploy the stack and wait until its endpoint serves this package, which must be the newest approved one.

    Args:
        target: The stack.
        package: The package that the endpoint must serve.
        quiet: Whether progress goes to standard error.

    Returns:
        The endpoint, which serves the package.

    Raises:
        CliError: With Pulumi's diagnostics when the deployment fails.
        NotServingError: When the endpoint does not serve the package afterwards.
    """
    with Progress(err=quiet).stage("deploy") as stage:
        stage.note(f"version {package.version} on {target.names.endpoint}")
        bootstrap.ensure_cli(stage.print_line)
        updates.update_stack(target, stage.note, create=False)
        endpoint = require_serving(target, package, wait_until_settled(target, stage))
        stage.result = f"{endpoint.name} has served version {endpoint.version} since {endpoint.since_text}"
    return endpoint


def is_serving(endpoint: Endpoint | None, package: Package) -> bool:
    """Tell whether an endpoint is in service with this package.

    Args:
        endpoint: The endpoint; None when it does not exist.
        package: The package that it should serve.

    Returns:
        True if it is; False also while the endpoint is still being updated.
    """
    return endpoint is not None and endpoint.status == IN_SERVICE and endpoint.package == package.arn


def require_serving(target: Target, package: Package, endpoint: Endpoint | None) -> Endpoint:
    """Return the endpoint if it serves this package.

    Args:
        target: The stack.
        package: The package that it should serve.
        endpoint: The endpoint; None when it does not exist.

    Raises:
        NotServingError: When it does not, with its actual state.
    """
    if endpoint is None or not is_serving(endpoint, package):
        raise NotServingError(
            f"endpoint {target.names.endpoint}",
            f"does not serve version {package.version}: it {_state(endpoint)}",
            fix=(
                f"see `millrace status {render_arguments(target)}` and "
                f"`{render_logs_command(target, target.names.endpoint)}`"
            ),
        )
    return endpoint


def wait_until_settled(target: Target, stage: Stage) -> Endpoint | None:
    """Wait until the endpoint is no longer changing.

    Args:
        target: The stack.
        stage: Shows the endpoint's status while it changes.

    Returns:
        The endpoint, which after an hour may still be changing; None when it does not exist.
    """
    name = target.names.endpoint
    found = queried.wait_until_settled(
        target.sagemaker,
        name,
        lambda: interrupts.sleep(0.25 if target.is_local else 10.0),
        lambda status: stage.note(f"endpoint {name} is {status}"),
    )
    return endpoints.parse_endpoint(target, found) if found else None


def _state(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return "does not exist"
    serves = f", serves version {endpoint.version}" if endpoint.version else ""
    return f"is {endpoint.status}{serves}{f', because: {endpoint.reason}' if endpoint.reason else ''}"


def compute_duration(target: Target) -> timedelta:
    """Return how long all waits of a rollout take together; starting the new fleet takes longer.

    In the local cloud time runs faster, and so does the rollout.

    Args:
        target: The stack.
    """
    total = target.environment.rollout.bake_total
    running = client.find_daemon(target.state) if target.is_local else None
    return timedelta(seconds=total / running.scale if running else total)
