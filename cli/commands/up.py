"""`millrace up`: the whole loop of one use case in stages, each of which does only what is left to do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from cli.aws import bundle_steps, endpoints, gates, model_packages, pipelines
from cli.aws.model_packages import Package
from cli.commands import up_summary
from cli.console import interrupts
from cli.console.errors import CliError, DeclinedError
from cli.console.output import format_duration, format_time, json_option, write_json
from cli.console.progress import Progress, Stage
from cli.deployment import endpoint_guard, rollout
from cli.pulumi import updates
from cli.stack import connection
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from engine import bootstrap
from millrace.environment import ApprovalMode
from millrace.names import CAPTURE
from queries.packages import APPROVED, PENDING
from queries.pipelines import SUCCEEDED

#: The data time that the first monitor looks at: a week, so that it has every weekday.
OBSERVED = timedelta(days=7)
#: The longest wait for captured requests, seconds: where no event was replayed, none are captured.
_CAPTURE = 10.0


@dataclass
class Run:
    """The state that the stages share."""

    target: Target
    progress: Progress
    serving: endpoints.Endpoint | None = None
    approved: Package | None = None
    waiting: Package | None = None
    outputs: dict[str, Any] = field(default_factory=dict)


@click.command()
@click.argument("use_case", default="flights")
@click.option("--stack", help="Default: <use case>-local.")
@click.option("--yes", is_flag=True, help="Do not ask before real resources are changed; local stacks never ask.")
@click.option("--no-observe", is_flag=True, help="Skip the first replay and monitor run of a local stack.")
@connection.state_option
@json_option
def up(use_case: str, stack: str | None, yes: bool, no_observe: bool, state: Path, as_json: bool) -> None:
    """Bring up a use case: cloud, infrastructure, model, endpoint, monitor.

    USE_CASE is flights unless it is given. Each stage does only what is left to do: a second run changes nothing and
    trains nothing, and an interrupted run continues where it stopped.
    """
    target = Target.load_stack(stack or f"{use_case}-{connection.LOCAL}", state)
    _check_stack(target, use_case)
    if not target.is_local:
        connection.use_environment(target.environment.name, state)
    run = Run(target, Progress(err=as_json))
    _each(run, yes=yes, observe=not no_observe)
    found = up_summary.build_summary(target, run.progress.took)
    if as_json:
        write_json(found)
    else:
        up_summary.print_summary(target, found)


def _each(run: Run, *, yes: bool, observe: bool) -> None:
    with run.progress.stage("engine") as stage:
        _engine(stage)
    if run.target.is_local:
        with run.progress.stage("cloud") as stage:
            _cloud(run.target, stage)
    elif not yes:
        _ask(run.target)
    with run.progress.stage("provision") as stage:
        _provision(run, stage)
    with run.progress.stage("train") as stage:
        _train(run, stage)
    with run.progress.stage("approve") as stage:
        _find_decision(run, stage)
    with run.progress.stage("deploy") as stage:
        _deploy(run, stage)
    if observe and run.serving and run.target.is_local and run.target.environment.replay_from:
        with run.progress.stage("observe") as stage:
            _observe(run.target, stage)


def _check_stack(target: Target, use_case: str) -> None:
    source = click.get_current_context().get_parameter_source("use_case")
    if source is not click.core.ParameterSource.DEFAULT and target.use_case.name != use_case:
        raise click.UsageError(f"stack {target.stack} belongs to use case {target.use_case.name!r}, not {use_case!r}")


def _ask(target: Target) -> None:
    names = target.names
    if not click.confirm(f"This changes real resources in account {names.account}, {names.region}. Proceed?", err=True):
        raise DeclinedError()


def _engine(stage: Stage) -> None:
    """Find, install or build the Pulumi CLI."""
    found = bootstrap.ensure_cli(stage.print_line)
    stage.result = f"Pulumi {found.origin} in {found.folder}"


def _cloud(target: Target, stage: Stage) -> None:
    """Start the local cloud if it is not running, and use it."""
    running = connection.ensure_local_cloud(target.state)
    if "millrace" not in running.images:
        raise CliError(
            f"the local cloud of {target.state}",
            "was started without the runtime image `millrace`",
            fix="run `millrace local stop`, then this again; its state is kept",
        )
    connection.use_local_cloud(running, target.state)
    stage.result = f"{running.endpoint_url}, an hour takes {format_duration(3600 / running.scale)}"


def _provision(run: Run, stage: Stage) -> None:
    """Deploy everything that exists without an approved model; refuse where that would delete the endpoint."""
    if endpoint_guard.would_lose_endpoint(run.target):
        raise endpoint_guard.make_removal_error(run.target)
    update = updates.update_stack(run.target, stage.note)
    run.outputs = update.outputs
    stage.result = update.text


def _train(run: Run, stage: Stage) -> None:
    """Train a model, unless one is approved or waits for approval."""
    target = run.target
    execution = pipelines.find_running(target, "training")
    if execution is None:
        if package := model_packages.find_newest(target, APPROVED):
            stage.result = f"version {package.version} is already approved"
            return
        if package := model_packages.find_newest(target, PENDING):
            stage.result = f"version {package.version} already waits for approval"
            return
        execution = pipelines.start_execution(target, "training")
    else:
        stage.print_line(f"already running: {execution}")
    status = pipelines.wait_with_progress(target, execution, stage.note, stage.print_line)
    pipelines.require_success(target, execution, status)
    package = model_packages.find_newest(target)
    stage.result = f"version {package.version} registered" if package else "no model was registered"


def _find_decision(run: Run, stage: Stage) -> None:
    """Find the version that is approved and the one that waits for approval.

    Nothing is approved here: with automatic promotion the pipeline's gate has done it, with manual a person will.
    """
    target = run.target
    run.approved, run.waiting = (
        model_packages.find_newest(target, APPROVED),
        model_packages.find_newest(target, PENDING),
    )
    if run.approved and run.waiting and run.waiting.version < run.approved.version:
        run.waiting = None
    how = "by the gate" if target.environment.promotion.approval is ApprovalMode.AUTOMATIC else "by a person"
    if run.approved:
        stage.result = f"version {run.approved.version}, approved {how}"
    if run.waiting:
        for row in gates.format_package_gates(target.use_case, run.waiting):
            stage.print_line("  ".join(row))
        stage.result = f"version {run.waiting.version} waits for a person: millrace approve {render_arguments(target)}"
    if not run.approved and not run.waiting:
        newest = model_packages.find_newest(target)
        said = f"the newest, version {newest.version}, is {newest.approval}: {newest.description}" if newest else ""
        raise CliError(
            f"model package group {target.names.model_package_group}",
            f"has no model that may serve: {said or 'none was registered'}",
        )


def _deploy(run: Run, stage: Stage) -> None:
    """Deploy the newest approved model, unless the endpoint serves it."""
    target = run.target
    run.serving = endpoints.read_endpoint(target)
    if run.approved is None:
        stage.result = "pending its first approved model"
        return
    if not rollout.is_serving(run.serving, run.approved):
        # The state is that of a moment ago, when everything else was provisioned.
        updates.update_stack(target, stage.note, create=False, refresh=False)
        # An interrupted update may have left the endpoint changing.
        run.serving = rollout.wait_until_settled(target, stage)
    run.serving = rollout.require_serving(target, run.approved, run.serving)
    stage.result = f"{run.serving.name} has served version {run.serving.version} since {run.serving.since_text}"


# -- observe -----------------------------------------------------------------------------------------------------------


def _observe(target: Target, stage: Stage) -> None:
    """Replay some days of past events and run the monitor, unless it has already succeeded once."""
    execution, features = pipelines.find_running(target, "monitor"), None
    if execution is None:
        ran = pipelines.list_newest_executions(target, "monitor")
        if any(each["PipelineExecutionStatus"] == SUCCEEDED for each in ran):
            stage.result = "the monitor has already run"
            return
        features = _replay(target, stage)
        execution = pipelines.start_execution(target, "monitor")
    for each in filter(None, (features, execution)):
        pipelines.require_success(
            target, each, pipelines.wait_with_progress(target, each, stage.note, stage.print_line)
        )
    stage.result = f"the monitor has evaluated what was served until {format_time(target.read_data_time())}"


def _replay(target: Target, stage: Stage) -> str | None:
    """Replay the first days after the data clock's start, as far as they have not been sent.

    Returns:
        The execution that publishes the features of the new data time; None where there are none.
    """
    start = target.environment.replay_from
    assert start is not None
    now, until = target.read_data_time(), start + OBSERVED
    if now > start and not _captured(target):
        until = now + OBSERVED
    # Events after the present do not exist yet.
    until = min(until, datetime.now(UTC))
    if now >= until:
        return None
    bundle_steps.replay_events(target, now.isoformat(), until.isoformat(), stage.note)
    stage.print_line(f"replayed {format_time(now)} to {format_time(until)}")
    _wait_for_capture(target, stage)
    # The features that the endpoint looks up online are still of the data time before the replay.
    return pipelines.start_execution(target, "features") if target.use_case.tables else None


def _wait_for_capture(target: Target, stage: Stage) -> None:
    """Wait until served requests are captured in the lake: a monitor that runs earlier would see none."""
    deadline = time.monotonic() + _CAPTURE
    stage.note("waiting for the served requests to be captured")
    while target.environment.capture_percent and not _captured(target) and time.monotonic() < deadline:
        interrupts.sleep(0.2)


def _captured(target: Target) -> bool:
    """Tell whether the endpoint has captured anything."""
    found = target.client("s3").list_objects_v2(
        Bucket=target.names.lake, Prefix=f"{target.names.key(CAPTURE)}/", MaxKeys=1
    )
    return bool(found.get("Contents"))
