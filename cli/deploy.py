"""`millrace deploy`: a stack that exists, brought to what the program says, or to exactly what a saved plan says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from cli import cloud, deployable, engine, plan, serving
from cli.deployable import Deployable, Platform
from cli.errors import CliError
from cli.output import json_option, moment, say, table, write_json
from cli.progress import Progress, Stage
from cli.status import endpoint_document
from cli.target import env_option
from local.engine import bootstrap

#: What the check after a deployment says, and the alarms that it names.
_ROLLED_BACK = "the deployment was rolled back"
_FIRING = re.compile(r"Alarms firing now: ([^.\n]+)")
#: What a person reads line by line.
_SHOWN = 12
#: Steps that are no change.
_QUIET = frozenset({"same", "read", "refresh"})


class _Age(click.ParamType[timedelta]):
    """A duration such as `7d`, `12h` or `30m`."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,5})([dhm])", str(value))
        if not match:
            self.fail(f"{value!r}; expected a number with d, h or m, e.g. 7d, 12h or 30m", param, ctx)
        unit = {"d": "days", "h": "hours", "m": "minutes"}[match[2]]
        return timedelta(**{unit: int(match[1])})


@dataclass(frozen=True)
class _Order:
    """What was asked for."""

    target: Deployable
    plan: plan.Plan | None = None
    refresh: bool | None = None
    create: bool = False


@click.command()
@click.argument("use_case", metavar="USE_CASE")
@env_option
@click.option(
    "--plan", "file", type=click.Path(path_type=Path, dir_okay=False), help="Deploy exactly this plan, or refuse."
)
@click.option("--max-age", type=_Age(), default=plan.MAX_AGE, show_default="7d", help="How old the plan may be.")
@click.option("--refresh", is_flag=True, help="Look first at what is there, in case it was changed by hand.")
@click.option("--create", is_flag=True, help="Make the stack if it was never made.")
@click.option("--yes", is_flag=True, help="Do not ask before real resources are changed; local stacks never ask.")
@cloud.state_option
@json_option
def deploy(
    use_case: str,
    environment: str,
    file: Path | None,
    max_age: timedelta,
    refresh: bool,
    create: bool,
    yes: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Deploy a stack: the program as it stands, or exactly a saved plan.

    USE_CASE is a use case, or `platform` for what the use cases of an environment share. Nothing is trained. A plan
    that is out of date is refused before anything is touched: make one with `millrace diff --save-plan`.
    """
    if file and (refresh or create):
        option = "--refresh" if refresh else "--create"
        raise click.UsageError(
            f"{option} cannot go with --plan: a plan is of a stack as it was; make a new plan instead"
        )
    target = deployable.of(use_case, environment, state)
    cloud.connect(environment, state)
    progress = Progress(err=as_json)
    with progress.stage("engine") as stage:
        found = bootstrap.ensure(stage.line)
        stage.result = f"Pulumi {found.origin} in {found.folder}"
    with progress.stage("check") as stage:
        order = _order(target, file, max_age, refresh=refresh, create=create, stage=stage)
    if not target.is_local and not yes and not _agreed(order, progress, as_json=as_json):
        _tell(order, engine.Update(changes={"same": 0}), progress, as_json=as_json)
        return
    update = _deployed(order, progress, as_json=as_json)
    _tell(order, update, progress, as_json=as_json)


# -- before ------------------------------------------------------------------------------------------------------------


def _order(
    target: Deployable, file: Path | None, max_age: timedelta, *, refresh: bool, create: bool, stage: Stage
) -> _Order:
    """What can be deployed.

    Raises:
        CliError: When the plan is stale, or there is no such stack.
    """
    if file:
        read = plan.read(target, file, stage.note, max_age)
        stage.result = f"plan {file} of {moment(read.created)}: {_counts(read.changes)}"
        return _Order(target, read)
    stage.note("looking for the stack")
    try:
        count = len((engine.state(target).get("deployment") or {}).get("resources") or [])
        stage.result = f"stack {target.stack} has {count} resources"
    except engine.NoStackError as error:
        if not create:
            raise plan.not_made(target) from error
        engine.make(target)
        stage.result = f"stack {target.stack} is made"
    return _Order(target, refresh=refresh or None, create=create)


def _agreed(order: _Order, progress: Progress, *, as_json: bool) -> bool:
    """Show what would be changed and ask; False when there is nothing to do.

    Raises:
        CliError: When the answer is no.
    """
    target = order.target
    if order.plan:
        changes, lines = order.plan.changes, [f"{kind} {_name(urn)}" for urn, kind in order.plan.steps.items()]
    else:
        with progress.stage("preview") as stage:
            document = engine.preview(target, stage.note, refresh=bool(order.refresh))
            changes = {kind: count for kind, count in document["changeSummary"].items() if kind not in _QUIET}
            stage.result = _counts(changes)
        lines = _dangers(document)
    if not changes:
        return False
    for line in _cut(lines):
        say(f"  {line}", err=as_json)
    where = f"account {deployable.account(target)}, {target.environment.region}"
    if not click.confirm(f"This changes real resources in {where}. Go on?", err=True):
        raise CliError("nothing was changed")
    return True


def _dangers(document: Mapping[str, Any]) -> list[str]:
    """What to look at twice, a line each."""
    from cli.diff import dangers, preview

    found = dangers.of(preview.of(document, "the preview"))
    return [f"{each['title']}: {each['name']}. {each['consequence']}" for each in found]


# -- deploying ---------------------------------------------------------------------------------------------------------


def _deployed(order: _Order, progress: Progress, *, as_json: bool) -> engine.Update:
    try:
        with progress.stage("deploy") as stage:
            file = order.plan.file if order.plan else None
            update = engine.up(order.target, stage.note, create=False, plan=file, refresh=order.refresh)
            stage.result = update.text
    except engine.UpdateError as error:
        done, left = _progress(order, error.update)
        if as_json:
            part = {"result": "failed", "error": str(error), "done": done, "left": left}
            write_json({**_document(order, error.update, progress), **part})
        raise CliError(_failure(order, error, done, left)) from error
    return update


def _progress(order: _Order, update: engine.Update) -> tuple[dict[str, str], list[str] | None]:
    """What a failed update did, and what of its plan is left; None where there is no plan to tell."""
    done = {_name(urn): kind for urn, kind in update.done.items() if kind not in _QUIET and urn not in update.failed}
    if order.plan is None:
        return done, None
    return done, [_name(urn) for urn in order.plan.steps if urn not in update.done or urn in update.failed]


def _failure(order: _Order, error: engine.UpdateError, done: Mapping[str, str], left: list[str] | None) -> str:
    target, lines = order.target, [str(error)]
    undone = _ROLLED_BACK in str(error)
    if done and not undone:
        lines.append(f"done until then: {', '.join(_cut(f'{name} ({kind})' for name, kind in done.items()))}")
    if left is not None and not undone:
        lines.append(f"left of the plan: {', '.join(_cut(left)) or 'nothing'}")
    name, where = deployable.name(target), "" if target.is_local else f" --env {target.environment.name}"
    if undone:
        firing = _FIRING.search(str(error))
        alarms = f" ({firing[1]})" if firing and firing[1] != "none" else ""
        lines.append(
            f"the roll-out was undone by its alarms{alarms}; the old model serves on. Look with "
            f"`millrace logs {target.stack}` and `millrace status {name}{where}`; "
            f"`millrace reject {name}{where}` keeps the new model from serving, "
            f"`millrace deploy {name}{where}` tries again once the alarm is over"
        )
    elif order.plan:
        lines.append(
            "a plan is of one state, and this one is over: mend what is said above, then make a new plan of what is "
            f"left with `millrace diff {name}{where} --save-plan {order.plan.file}`"
        )
    elif not isinstance(target, Platform):
        lines.append(
            "mend what is said above and run this again: it goes on where it stopped; "
            f"`millrace rollback {name}{where}` serves the previous model again"
        )
    return "\n".join(lines)


# -- after -------------------------------------------------------------------------------------------------------------


def _tell(order: _Order, update: engine.Update, progress: Progress, *, as_json: bool) -> None:
    document = {**_document(order, update, progress), "result": "succeeded"}
    if as_json:
        write_json(document)
        return
    say(f"stack {order.target.stack}: {update.text if any(update.changes.values()) else 'nothing to do'}")
    if endpoint := document["endpoint"]:
        version = f", serves version {endpoint['version']}" if endpoint["version"] else ""
        say(f"endpoint {endpoint['name']}: {endpoint['status']}{version}")
    if following := update.outputs.get("nextStep"):
        table([("next", following)], indent=0)


def _document(order: _Order, update: engine.Update, progress: Progress) -> dict[str, Any]:
    target = order.target
    served = None if isinstance(target, Platform) else endpoint_document(target, serving.find(target))
    return {
        "stack": target.stack,
        "plan": str(order.plan.file) if order.plan else None,
        "changes": update.changes,
        "done": _progress(order, update)[0],
        "outputs": update.outputs,
        "endpoint": served,
        "stages": dict(progress.took),
    }


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _counts(changes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} to {kind}" for kind, count in changes.items()) or "nothing to do"


def _cut(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return [*found[:_SHOWN], f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else found
