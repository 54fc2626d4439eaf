"""`millrace deploy`: update an existing stack to what the program declares, or to exactly what a saved plan holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from click.core import ParameterSource

from cli.aws import endpoints, topic
from cli.aws.endpoints import build_endpoint_document
from cli.commands.options import env_option
from cli.console.durations import Duration
from cli.console.errors import CliError, DeclinedError, map_error
from cli.console.output import format_time, json_option, print_table, say, write_json
from cli.console.progress import Progress, Stage
from cli.deployment import endpoint_guard, expected_changes, foreign_state, promotion, saved_plan
from cli.pulumi import previews, process, stack_state, updates
from cli.stack import connection, deployable
from cli.stack.deployable import Deployable, Platform
from cli.stack.target import Target
from engine import bootstrap
from millrace.names import PLATFORM

#: The most lines of a list that are printed.
_SHOWN = 12
#: How long a deployment of the model alone waits for others.
_PATIENCE = timedelta(hours=1)
#: Pulumi's operations that change nothing.
_QUIET = frozenset({"same", "read", "refresh"})


@dataclass(frozen=True)
class _Order:
    """A deployment as it was requested, once it has been checked."""

    target: Deployable
    plan: saved_plan.Plan | None = None
    refresh: bool | None = None
    removes: bool = False
    """True where the deployment deletes the endpoint, as requested."""


@click.command()
@click.argument("use_case", metavar="USE_CASE")
@env_option
@click.option(
    "--plan", "file", type=click.Path(path_type=Path, dir_okay=False), help="Deploy exactly this plan, or nothing."
)
@click.option(
    "--max-age", type=Duration(), default=saved_plan.MAX_AGE, show_default="7d", help="Maximum age of the plan."
)
@click.option("--refresh", is_flag=True, help="Refresh the state first, in case of changes by hand.")
@click.option("--create", is_flag=True, help="Create the stack if it does not exist.")
@click.option("--remove-endpoint", is_flag=True, help="Delete the endpoint if it has no approved model left.")
@click.option(
    "--only-model",
    is_flag=True,
    help="Deploy the newest approved model, or nothing if more than the model would change.",
)
@click.option(
    "--patience",
    type=Duration(),
    default=_PATIENCE,
    show_default="1h",
    help="With --only-model: how long to wait for other updates of the stack.",
)
@click.option("--yes", is_flag=True, help="Do not ask before real resources are changed; local stacks never ask.")
@connection.state_option
@json_option
def deploy(
    use_case: str,
    environment: str,
    file: Path | None,
    max_age: timedelta,
    refresh: bool,
    create: bool,
    remove_endpoint: bool,
    only_model: bool,
    patience: timedelta,
    yes: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Deploy a stack: the current program, or exactly a saved plan.

    USE_CASE is a use case, or `platform` for what the use cases of an environment share. Nothing is trained. A plan
    that is out of date is refused before anything is touched: make one with `millrace diff --save-plan`.
    An endpoint that would be deleted, because no approved model is left, is only deleted with --remove-endpoint.
    With --only-model, the newest approved model is deployed until it serves, nobody is asked, and the notification
    topic is told of a deployment that is refused or fails; a model whose rollout its alarms roll back is rejected.
    """
    if only_model and use_case == PLATFORM:
        raise click.UsageError("--only-model is for use cases; the platform has no model")
    _check_options(file, refresh=refresh, create=create, remove_endpoint=remove_endpoint, only_model=only_model)
    target = deployable.load_deployable(use_case, environment, state)
    connection.use_environment(environment, state)
    progress = Progress(err=as_json)
    with progress.stage("engine") as stage:
        found = bootstrap.ensure_cli(stage.print_line)
        stage.result = f"Pulumi {found.origin} in {found.folder}"
    if only_model and isinstance(target, Target):
        _promote(target, progress, patience, as_json=as_json)
        return
    with progress.stage("check") as stage:
        order = _check_request(
            target, file, max_age, refresh=refresh, create=create, removes=remove_endpoint, stage=stage
        )
    if order.removes and isinstance(target, Target):
        # Otherwise even a preview would fail.
        with progress.stage("unprotect") as stage:
            stage.result = _unprotect_endpoint(target, stage)
    if not target.is_local and not _agreed(order, progress, yes=yes, as_json=as_json):
        _report(order, updates.Update(changes={"same": 0}), progress, as_json=as_json)
        return
    update = _deploy(order, progress, as_json=as_json)
    _report(order, update, progress, as_json=as_json)


def _check_options(file: Path | None, *, refresh: bool, create: bool, remove_endpoint: bool, only_model: bool) -> None:
    """Refuse options that cannot be combined.

    Raises:
        click.UsageError: They cannot.
    """
    if file and (refresh or create or remove_endpoint):
        option = "--refresh" if refresh else "--create" if create else "--remove-endpoint"
        raise click.UsageError(
            f"{option} cannot be combined with --plan: a plan is bound to the stack as it was; make a new plan instead"
        )
    if file is None and click.get_current_context().get_parameter_source("max_age") is not ParameterSource.DEFAULT:
        raise click.UsageError("--max-age bounds the age of a saved plan: name it with --plan")
    given = {"--plan": bool(file), "--refresh": refresh, "--create": create, "--remove-endpoint": remove_endpoint}
    if only_model and (others := [name for name, is_given in given.items() if is_given]):
        raise click.UsageError(f"{', '.join(others)} cannot be combined with --only-model")
    source = click.get_current_context().get_parameter_source("patience")
    if not only_model and source is not ParameterSource.DEFAULT:
        raise click.UsageError("--patience bounds the wait of --only-model: name it, too")


def _promote(target: Target, progress: Progress, patience: timedelta, *, as_json: bool) -> None:
    """Deploy the newest approved model alone, and report it; tell the topic of what is refused or fails.

    Raises:
        CliError: It was refused, or failed.
    """
    try:
        done = promotion.promote_newest_model(target, progress, patience.total_seconds())
    except Exception as error:
        why = str(map_error(error)) or type(error).__name__
        if untold := topic.tell_people(target, f"{target.stack}: the approved model does not serve", why):
            say(f"warning: {untold}", err=True)
        raise
    if as_json:
        served = build_endpoint_document(target, done.endpoint)
        write_json(
            {
                "stack": target.stack,
                "version": done.version,
                "deployed": done.deployed,
                "endpoint": served,
                "stages": dict(progress.took),
                "result": "succeeded",
            }
        )
        return
    how = f"deployed: {', '.join(f'version {each}' for each in done.deployed)}" if done.deployed else "nothing to do"
    say(f"endpoint {done.endpoint.name} serves version {done.version}; {how}")


# -- before ------------------------------------------------------------------------------------------------------------


def _check_request(
    target: Deployable,
    file: Path | None,
    max_age: timedelta,
    *,
    refresh: bool,
    create: bool,
    removes: bool,
    stage: Stage,
) -> _Order:
    """Check what is requested and return it as it can be deployed.

    Raises:
        CliError: The plan is stale, the stack does not exist, or its endpoint would be deleted without being asked for.
    """
    read = None
    if file:
        read = saved_plan.read_plan(target, file, stage.note, max_age)
        stage.result = f"plan {file} of {format_time(read.part.created)}: {_counts(read.changes)}"
    else:
        stage.note("looking for the stack")
        stage.result = _find_or_create_stack(target, create=create)
    gone = isinstance(target, Target) and endpoint_guard.would_lose_endpoint(target)
    if isinstance(target, Target) and gone and not removes:
        raise endpoint_guard.make_removal_error(target)
    return _Order(target, read, refresh=refresh or None, removes=gone)


def _find_or_create_stack(target: Deployable, *, create: bool) -> str:
    """Describe Pulumi's stack in words; create it where it does not exist and ``create`` is set."""
    try:
        deployment = process.export_state(target).get("deployment") or {}
    except process.NoStackError as error:
        foreign_state.require_no_foreign_resources(target)
        if not create:
            raise saved_plan.make_missing_stack_error(target) from error
        process.create_stack(target)
        return f"created stack {target.stack}"
    resources = deployment.get("resources") or []
    if not (deployment.get("pending_operations") or any(each["type"].startswith("aws:") for each in resources)):
        # The stack exists and is empty: perhaps this is not the backend that has its resources.
        foreign_state.require_no_foreign_resources(target)
    return f"stack {target.stack} has {len(resources)} resources"


def _agreed(order: _Order, progress: Progress, *, yes: bool, as_json: bool) -> bool:
    """Show what would change and ask for confirmation; return False when there is nothing to do.

    The preview runs even where no confirmation is asked for: Pulumi would otherwise refuse, e.g. to delete a protected
    resource, only in the middle of the deployment.

    Raises:
        CliError: The answer is no, or the preview fails; nothing was changed.
    """
    target = order.target
    if order.plan:
        changes, risks = order.plan.changes, order.plan.risks
        steps = [f"{kind} {_name(urn)}" for urn, kind in order.plan.steps.items()]
    else:
        with progress.stage("preview") as stage:
            document = previews.preview_stack(target, stage.note, refresh=bool(order.refresh))
            changes = {kind: count for kind, count in document["changeSummary"].items() if kind not in _QUIET}
            risks, steps = expected_changes.describe_preview(target, document)["risks"], []
            stage.result = _counts(changes)
    if not changes:
        return False
    for line in [*expected_changes.format_risks(risks), *_truncate(steps)]:
        say(f"  {line}", err=as_json)
    if yes:
        return True
    where = f"account {deployable.find_account(target)}, {target.environment.region}"
    if not click.confirm(f"This changes real resources in {where}. Proceed?", err=True):
        left = f"endpoint {target.names.endpoint} is not protected until the next deployment" if order.removes else ""
        raise DeclinedError(but=left)
    return True


# -- deploying ---------------------------------------------------------------------------------------------------------


def _deploy(order: _Order, progress: Progress, *, as_json: bool) -> updates.Update:
    try:
        with progress.stage("deploy") as stage:
            file = order.plan.file if order.plan else None
            update = updates.update_stack(order.target, stage.note, create=False, plan=file, refresh=order.refresh)
            stage.result = update.text
    except updates.UpdateError as error:
        done, left = _split_done_and_left(order, error.update)
        if as_json:
            part = {"result": "failed", "error": str(error), "done": done, "left": left}
            write_json({**_document(order, error.update, progress), **part})
        raise CliError(_failure(order, error, done, left)) from error
    return update


def _unprotect_endpoint(target: Target, stage: Stage) -> str:
    """Remove the protection of an endpoint that is to be deleted; return in words what was done."""
    found = stack_state.list_resources(target, stage.note) or []
    kind = "aws:sagemaker/endpoint:Endpoint"
    urns = [each.urn for each in found if each.type == kind and each.protect]
    stack_state.unprotect_resources(target, urns)
    return f"endpoint {target.names.endpoint} may be deleted" if urns else "nothing was protected"


def _split_done_and_left(order: _Order, update: updates.Update) -> tuple[dict[str, str], list[str] | None]:
    """Return what an update has changed, by name, and what is left of the plan; None for the latter without a plan."""
    done = {_name(urn): kind for urn, kind in update.done.items() if kind not in _QUIET and urn not in update.failed}
    if order.plan is None:
        return done, None
    return done, [_name(urn) for urn in order.plan.steps if urn not in update.done or urn in update.failed]


def _failure(order: _Order, error: updates.UpdateError, done: Mapping[str, str], left: list[str] | None) -> str:
    target, lines = order.target, [str(error)]
    rollback = error.update.rollback
    if done and not rollback:
        lines.append(f"done before that: {', '.join(_truncate(f'{name} ({kind})' for name, kind in done.items()))}")
    if left is not None and not rollback:
        lines.append(f"not completed: {', '.join(_truncate(left)) or 'nothing'}")
    name = deployable.render_arguments(target)
    if rollback:
        cause = f"by its alarms ({', '.join(rollback.alarms)})" if rollback.alarms else "for the reason above"
        over = "once the alarm has cleared" if rollback.alarms else "once that is fixed"
        lines.append(
            f"the rollout was rolled back {cause}; the old model still serves. See "
            f"`{deployable.render_logs_command(target, target.stack)}` and `millrace status {name}`; "
            f"`millrace reject {name}` keeps the new model from serving, "
            f"`millrace deploy {name}` tries again {over}"
        )
    elif order.plan:
        lines.append(
            "the stack has changed since this plan was made: fix the error above, then make a new plan of what "
            f"remains with `millrace diff {name} --save-plan {order.plan.file}`"
        )
    else:
        back = f"; `millrace rollback {name}` serves the previous model again" if _has_endpoint(target) else ""
        lines.append(f"fix the error above and run this again: it continues where it stopped{back}")
    return "\n".join(lines)


def _has_endpoint(target: Deployable) -> bool:
    """Tell whether an endpoint exists whose model could be rolled back."""
    try:
        return isinstance(target, Target) and endpoints.read_endpoint(target) is not None
    except (BotoCoreError, ClientError):
        # The deployment's own error is the one to report.
        return False


# -- after -------------------------------------------------------------------------------------------------------------


def _report(order: _Order, update: updates.Update, progress: Progress, *, as_json: bool) -> None:
    document = {**_document(order, update, progress), "result": "succeeded"}
    if as_json:
        write_json(document)
        return
    say(f"stack {order.target.stack}: {update.text if any(update.changes.values()) else 'nothing to do'}")
    if endpoint := document["endpoint"]:
        version = f", serves version {endpoint['version']}" if endpoint["version"] else ""
        say(f"endpoint {endpoint['name']}: {endpoint['status']}{version}")
    if following := update.outputs.get("nextStep"):
        print_table([("next", following)], indent=0)


def _document(order: _Order, update: updates.Update, progress: Progress) -> dict[str, Any]:
    target = order.target
    served = None if isinstance(target, Platform) else build_endpoint_document(target, endpoints.read_endpoint(target))
    return {
        "stack": target.stack,
        "plan": str(order.plan.file) if order.plan else None,
        "changes": update.changes,
        "done": _split_done_and_left(order, update)[0],
        "outputs": update.outputs,
        "endpoint": served,
        "stages": dict(progress.took),
    }


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _counts(changes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} to {kind}" for kind, count in changes.items()) or "nothing to do"


def _truncate(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return [*found[:_SHOWN], f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else found
