"""`millrace pause` and `millrace resume`: stop schedules and triggers at once, and keep them stopped.

The API disables the schedules and the rule. An SSM parameter records the pause and its reason; the program reads it, so
that the next `pulumi up` keeps them as they are. Pulumi's state is refreshed, so that a preview shows no change.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import click

from cli.aws import pauses, pipelines
from cli.aws.pauses import DISABLED, ENABLED, Trigger
from cli.commands.options import check_reason, with_target
from cli.console.errors import CliError
from cli.console.output import json_option, print_table, say, write_json
from cli.pulumi import stack_state
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.inventory import PIPELINE_KINDS
from millrace.names import PAUSABLE
from queries.pauses import Pause


@click.command()
@with_target
@click.option("--only", type=click.Choice(PAUSABLE), multiple=True, help="Pause only this; may be repeated.")
@click.option("--reason", default="", help="The reason; `millrace status` shows it.")
@json_option
def pause(target: Target, only: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Stop schedules and triggers until they are resumed.

    Alarms start no training, and schedules start nothing. Running executions continue, the endpoint keeps serving, and
    `millrace retrain` works. While the monitor is paused, its heartbeat alarm fires after two of its intervals: that is
    intended.
    """
    check_reason(reason)
    if any(ord(each) < 32 for each in reason):
        raise CliError("--reason", f"is {reason!r}", expected="plain text", fix="leave the control characters out")
    if "features" in only and not target.use_case.tables:
        raise CliError(
            f"use case {target.use_case.name}",
            "has no feature tables, so nothing publishes features; nothing was changed",
            fix="leave out `--only features`",
        )
    found = _required(target)
    before, replaced = pauses.read_pause(target), None
    wanted = tuple(each for each in PAUSABLE if not only or each in only)
    if before and set(before.only) >= set(wanted) and not reason:
        # Paused already: the first pause and its reason are kept; what somebody has enabled by hand is disabled again.
        now = before
    else:
        what = tuple(each for each in PAUSABLE if each in wanted or (before and each in before.only))
        if before and not reason:
            # More is paused; the time and reason of the first pause still apply.
            now = replace(before, only=what)
        else:
            now, replaced = Pause(datetime.now(UTC), pauses.find_caller(target), reason, what), before
        pauses.write_pause(target, now)
    changed = [pauses.set_trigger_state(target, each, DISABLED) for each in found if each.pausable in now.only]
    _refresh_and_report(target, now, [each for each in changed if each], as_json=as_json, was=replaced)


@click.command()
@with_target
@json_option
def resume(target: Target, as_json: bool) -> None:
    """Let schedules and triggers run again.

    Those that the declaration itself disables, because replays move data time, stay disabled.
    """
    found = _required(target)
    before = pauses.read_pause(target, strict=False)
    # A schedule of a replayed environment is disabled whether anything is paused or not.
    by_time = target.environment.replay_from is None
    changed = [pauses.set_trigger_state(target, each, ENABLED) for each in found if each.kind == "rule" or by_time]
    if before:
        target.client("ssm").delete_parameter(Name=target.names.pause_parameter)
    _refresh_and_report(target, None, [each for each in changed if each], as_json=as_json, was=before)


def _required(target: Target) -> list[Trigger]:
    found = list(pauses.list_triggers(target))
    if found:
        return found
    if target.names.shared_lake or not target.is_provisioned():
        raise target.make_absence_error()
    raise CliError(
        f"stack {target.stack}",
        "exists, but its schedules and its rule were deleted by hand",
        fix=f"`pulumi up --refresh --stack {target.stack}` recreates them",
    )


def _refresh_and_report(
    target: Target, paused: Pause | None, changed: list[Trigger], *, as_json: bool, was: Pause | None = None
) -> None:
    """Refresh Pulumi's state, and print what is paused and running now."""
    behind = stack_state.refresh_resources(target, [each.name for each in changed]) if changed else None
    running = {kind: found for kind in PIPELINE_KINDS if (found := pipelines.find_running(target, kind))}
    if as_json:
        write_json(
            {
                "stack": target.stack,
                "paused": None
                if paused is None
                else {"since": paused.since, "by": paused.by, "reason": paused.reason, "only": list(paused.only)},
                "changed": [each.to_document() for each in changed],
                "triggers": [each.to_document() for each in pauses.list_triggers(target)],
                "running": running,
                "refreshed": behind is None,
            }
        )
        return
    if paused:
        say(pauses.describe_pause(paused))
        if was:
            say(f"this replaces: {pauses.describe_pause(was)}")
    elif was:
        say(f"resumed: {pauses.describe_pause(was)}")
    else:
        say("nothing was paused" + ("; triggers that were disabled by hand are enabled again" if changed else ""))
    print_table((each.kind, each.name, each.state.lower()) for each in pauses.list_triggers(target))
    for kind, execution in running.items():
        say(f"{kind} keeps running: {execution}")
    if behind:
        say(f"note: Pulumi's state could not be refreshed ({behind}); the next `pulumi up` does it", err=True)
    if paused:
        say(f"next: millrace resume {render_arguments(target)}")
