"""The deployment of the newest approved model and of nothing else, as it is done without a person.

The newest approved package is read again until it serves: of two approvals the newer wins, and none is lost. What would
change anything besides model, configuration and endpoint is refused.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.aws import model_packages
from cli.aws.endpoints import Endpoint
from cli.aws.model_packages import Package
from cli.console import interrupts
from cli.console.errors import CliError
from cli.console.progress import Progress, Stage
from cli.deployment import endpoint_guard, expected_changes, rollout
from cli.deployment.rollout import is_serving
from cli.pulumi import locks, previews, secrets_key, updates
from cli.pulumi.process import LockedError
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from queries.packages import APPROVED, REJECTED

#: Seconds between two tries at a locked stack: the first pause, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
#: The most models that one run deploys; more approvals in a row are not the work of people.
_ROUNDS = 10
#: Pulumi's message when an update would do what its plan has not.
_EXCEEDS = "violates plan"


class OtherChangesError(CliError):
    """A deployment of the model alone would change more than the model."""

    def __init__(self, target: Target, found: Sequence[str]) -> None:
        named, name = expected_changes.format_names(found), render_arguments(target)
        super().__init__(
            f"stack {target.stack}",
            f"would change by more than the model: {named}; nothing was changed",
            expected="the revision that is deployed",
            fix=f"`millrace diff {name}` shows the changes, `millrace deploy {name}` makes them",
        )


class RolledBackModelError(CliError):
    """A model whose rollout its alarms rolled back; it was rejected, and the old one serves."""


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
        RolledBackModelError: The alarms rolled the rollout back; the model is rejected now.
        LockedError: Others have been updating the stack for longer than ``patience``.
        CliError: No package is approved, it cannot serve, or the deployment fails.
    """
    deadline, deployed = time.monotonic() + patience, list[int]()
    for _ in range(_ROUNDS):
        with progress.stage("model") as stage:
            package = _require_newest(target)
            endpoint = rollout.wait_until_settled(target, stage)
            served = f"version {endpoint.version} serves" if endpoint else "there is no endpoint"
            stage.result = f"version {package.version} is the newest approved, {served}"
        if endpoint is not None and is_serving(endpoint, package):
            return Promotion(endpoint, package.version, deployed)
        _require_servable(target, package)
        _deploy(target, package, progress, deadline)
        found = rollout.wait_until_settled(target, stage)
        newest = _require_newest(target)
        if newest.arn == package.arn:
            # Nobody has decided since: what was deployed has to serve.
            found = rollout.require_serving(target, package, found)
        if found is not None and found.version is not None:
            deployed.append(found.version)
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


def _deploy(target: Target, package: Package, progress: Progress, deadline: float) -> None:
    """Deploy once nobody else does, and no more than a preview of that moment has shown to be the model alone."""
    pause = _FIRST_PAUSE
    # This folder would make a key of its own, and could not read the stack's secrets.
    secrets_key.restore_key(target)
    while True:
        with progress.stage("deploy") as stage, tempfile.TemporaryDirectory(prefix="millrace-plan-") as scratch:
            try:
                locks.wait_for_lock(target, stage.note, max(0.0, deadline - time.monotonic()), clears_stale=True)
                plan = Path(scratch) / "plan.json"
                _require_only_model(target, stage, plan)
                stage.note(f"version {package.version} on {target.names.endpoint}")
                update = updates.update_stack(
                    target, stage.note, create=False, plan=plan, patience=0.0, clears_stale=True
                )
                stage.result = update.text
                return
            except LockedError:
                # Somebody began since; what they change is in the next preview.
                if time.monotonic() + pause > deadline:
                    raise
            except updates.UpdateError as error:
                if error.update.rollback is not None:
                    raise _reject(target, package, error) from error
                if _EXCEEDS not in str(error) or time.monotonic() + pause > deadline:
                    raise
            stage.result = f"another update came first; trying again in {pause:.0f} s"
        interrupts.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _require_only_model(target: Target, stage: Stage, plan: Path) -> None:
    """Preview the stack, and write Pulumi's plan of it.

    Raises:
        OtherChangesError: More than the model would change.
    """
    asked = previews.preview_stack(target, stage.note, draft=plan)
    document = expected_changes.describe_preview(target, asked)
    if found := list(expected_changes.find_changes_besides_model(document)):
        raise OtherChangesError(target, found)


def _reject(target: Target, package: Package, error: updates.UpdateError) -> CliError:
    """Reject a package whose rollout its alarms rolled back: the version that serves is then the newest approved one.

    A rollout that failed for another reason, such as a lack of machines, says nothing about the model.
    """
    rollback = error.update.rollback
    assert rollback is not None
    newest, name = model_packages.find_newest(target, APPROVED), render_arguments(target)
    where = f"version {package.version} of {target.names.model_package_group}"
    why = f"endpoint {rollback.endpoint} is {rollback.status}: {rollback.reason or 'SageMaker gives no reason'}"
    if not rollback.alarms or newest is None or newest.arn != package.arn:
        again = f"`millrace deploy {name} --only-model` tries again"
        return CliError(where, f"does not serve: {why}", fix=f"see `millrace status {name}`; {again}")
    reason = f"its rollout was rolled back by {', '.join(rollback.alarms)}: {why}"
    model_packages.set_approval(target, package, REJECTED, " ".join(reason.split())[:1024])
    return RolledBackModelError(
        where,
        f"was rejected, because {reason}",
        fix=f"`millrace status {name}` says what serves; `millrace approve {name} {package.version}` tries it again",
    )
