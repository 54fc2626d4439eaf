"""The deployment of the newest approved model and of nothing else, as it is done without a person.

The newest approved package is read again until it serves: of two approvals the newer wins, and none is lost. What would
change anything besides model, configuration and endpoint is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cli.aws import model_packages
from cli.aws.endpoints import Endpoint
from cli.aws.model_packages import Package
from cli.console import interrupts
from cli.console.errors import CliError
from cli.console.progress import Progress
from cli.deployment import endpoint_guard, expected_changes, rollout
from cli.deployment.rollout import is_serving
from cli.pulumi import previews, updates
from cli.pulumi.process import LockedError
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from queries.packages import APPROVED, REJECTED

#: Seconds between two tries at a locked stack: the first pause, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
#: The most models that one run deploys; more approvals in a row are not the work of people.
_ROUNDS = 10
#: The most names in a message.
_NAMED = 6


class OtherChangesError(CliError):
    """A deployment of the model alone would change more than the model."""

    def __init__(self, target: Target, found: Sequence[str]) -> None:
        named = ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
        name = render_arguments(target)
        super().__init__(
            f"stack {target.stack}",
            f"would change by more than the model: {named}; nothing was changed",
            expected="the revision that is deployed",
            fix=f"`millrace diff {name}` shows the changes, `millrace deploy {name}` makes them",
        )


class RolledBackModelError(CliError):
    """A model whose rollout SageMaker rolled back; it was rejected, and the old one serves."""


@dataclass
class Promotion:
    """What a run has done.

    Attributes:
        endpoint: The endpoint, which serves the newest approved package.
        version: The version that it serves.
        deployed: The versions that this run deployed, in order; empty where nothing was to do.
    """

    endpoint: Endpoint
    version: int
    deployed: list[int] = field(default_factory=list)


def promote_newest_model(target: Target, progress: Progress, patience: float) -> Promotion:
    """Deploy the newest approved package until the newest one serves.

    Args:
        target: The stack.
        progress: Shows each stage.
        patience: Seconds to wait for other updates of the stack, in total.

    Returns:
        The endpoint, which serves the newest approved package, and what was deployed.

    Raises:
        OtherChangesError: More than the model would change; nothing was changed.
        RolledBackModelError: SageMaker rolled the rollout back; the model is rejected now.
        LockedError: Others have been updating the stack for longer than ``patience``.
        CliError: No package is approved, it cannot serve, or the deployment fails.
    """
    deadline, deployed = time.monotonic() + patience, list[int]()
    while len(deployed) < _ROUNDS:
        with progress.stage("model") as stage:
            package = _require_newest(target)
            endpoint = rollout.wait_until_settled(target, stage)
            served = f"version {endpoint.version} serves" if endpoint else "there is no endpoint"
            stage.result = f"version {package.version} is the newest approved, {served}"
        if endpoint is not None and is_serving(endpoint, package):
            return Promotion(endpoint, package.version, deployed)
        _require_servable(target, package)
        _require_only_model(target, progress)
        _deploy(target, package, progress, deadline)
        deployed.append(package.version)
    raise CliError(
        f"stack {target.stack}",
        f"got {_ROUNDS} new approved models while they were deployed one after the other",
        fix=f"stop what approves them, then `millrace deploy {render_arguments(target)} --only-model`",
    )


def _require_newest(target: Target) -> Package:
    """Return the newest approved package.

    Raises:
        CliError: None is approved; without one, the endpoint would be deleted.
    """
    package = model_packages.find_newest(target, APPROVED)
    if package is None:
        raise endpoint_guard.make_removal_error(target)
    return package


def _require_servable(target: Target, package: Package) -> None:
    if because := model_packages.find_obstacle(target, package):
        name = render_arguments(target)
        raise CliError(
            f"version {package.version} of {target.names.model_package_group}",
            f"cannot serve: {because}; nothing was changed",
            fix=f"millrace reject {name} {package.version}; the version before it goes on serving",
        )


def _require_only_model(target: Target, progress: Progress) -> None:
    with progress.stage("preview") as stage:
        asked = previews.preview_stack(target, stage.note)
        document = expected_changes.describe_preview(target, asked)
        found = list(expected_changes.find_changes_besides_model(document))
        stage.result = "only the model changes" if not found else f"{len(found)} other changes"
    if found:
        raise OtherChangesError(target, found)


def _deploy(target: Target, package: Package, progress: Progress, deadline: float) -> None:
    """Deploy, once nobody else does; where the rollout is rolled back, reject the package.

    The program deploys the package that is the newest when it runs, which may be newer than this one.
    """
    with progress.stage("deploy") as stage:
        stage.note(f"version {package.version} on {target.names.endpoint}")
        try:
            update = _retry_while_locked(target, stage.note, deadline)
        except updates.UpdateError as error:
            if error.update.rollback is None:
                raise
            raise _reject(target, package, error) from error
        stage.result = update.text


def _retry_while_locked(target: Target, note: Callable[[str], None], deadline: float) -> updates.Update:
    """Update the stack; where another update holds its lock, try again with growing pauses."""
    pause = _FIRST_PAUSE
    while True:
        left = max(0.0, deadline - time.monotonic())
        try:
            return updates.update_stack(target, note, create=False, refresh=False, patience=left, clears_stale=True)
        except LockedError:
            if time.monotonic() + pause > deadline:
                raise
            note(f"another update holds the stack's lock; trying again in {pause:.0f} s")
            interrupts.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _reject(target: Target, package: Package, error: updates.UpdateError) -> RolledBackModelError:
    """Reject a package whose rollout was rolled back, so that the version that serves is the newest approved one."""
    rollback = error.update.rollback
    assert rollback is not None
    newest = model_packages.find_newest(target, APPROVED)
    name = render_arguments(target)
    where = f"version {package.version} of {target.names.model_package_group}"
    if newest is None or newest.arn != package.arn:
        # The program may have deployed the newer one: whose rollout it was, nothing says.
        return RolledBackModelError(
            where, f"was not deployed: {rollback.text}", fix=f"see `millrace status {name}`, then deploy again"
        )
    by = f" by {', '.join(rollback.alarms)}" if rollback.alarms else ""
    reason = f"its rollout was rolled back{by}: {rollback.text}"
    model_packages.set_approval(target, package, REJECTED, " ".join(reason.split())[:1024])
    return RolledBackModelError(
        where,
        f"was rejected, because {reason}",
        fix=f"the model before it serves; `millrace approve {name} {package.version}` tries it again",
    )
