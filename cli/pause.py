"""`millrace pause` and `millrace resume`: what starts by itself stops at once, and stays so through deployments.

The schedules and the rule are disabled by the API. An SSM parameter says so, and why; the program reads it, so that the
next `pulumi up` keeps them as they are. Pulumi's own record is refreshed, so that a preview shows no change.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import click

from cli import pipelines
from cli.approval import check_reason
from cli.deployable import named
from cli.engine import record
from cli.errors import CliError
from cli.output import json_option, moment, say, table, write_json
from cli.target import Target, of_use_case
from millrace.inventory import PIPELINE_KINDS
from millrace.names import FEATURES, MONITOR, PAUSABLE, PAUSES, RETRAINING, TRAINING
from queries.pauses import Pause, UnreadablePauseError, find_pause

_ENABLED, _DISABLED = "ENABLED", "DISABLED"
#: What UpdateSchedule takes of what GetSchedule says; what is left out would be as new.
_KEPT = (
    "Name", "GroupName", "ScheduleExpression", "StartDate", "EndDate", "Description", "ScheduleExpressionTimezone",
    "State", "KmsKeyArn", "Target", "FlexibleTimeWindow", "ActionAfterCompletion",
)  # fmt: skip


@dataclass(frozen=True)
class Trigger:
    """A schedule or rule that starts a pipeline."""

    pausable: str
    kind: str
    """`schedule` or `rule`."""
    name: str
    state: str

    def document(self) -> dict[str, str]:
        """For programs."""
        return {"what": self.pausable, "kind": self.kind, "name": self.name, "state": self.state}


@click.command()
@of_use_case
@click.option("--only", type=click.Choice(PAUSABLE), multiple=True, help="Only this; may be given more than once.")
@click.option("--reason", default="", help="Why; `millrace status` shows it.")
@json_option
def pause(target: Target, only: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Stop schedules and triggers until they are resumed.

    Alarms start no training, and schedules start nothing. What runs goes on, the endpoint serves on, and `millrace
    retrain` works. While the monitor is paused, its heartbeat alarm fires after two of its intervals: that is meant.
    """
    check_reason(reason)
    if any(ord(each) < 32 for each in reason):
        raise CliError(f"--reason is {reason!r}; expected plain text: leave the control characters out")
    if "features" in only and not target.use_case.tables:
        raise CliError(
            f"use case {target.use_case.name} has no feature tables, and so nothing that publishes features; nothing "
            "was changed: leave out `--only features`"
        )
    found = _required(target)
    before, replaced = read(target), None
    wanted = tuple(each for each in PAUSABLE if not only or each in only)
    if before and set(before.only) >= set(wanted) and not reason:
        # Said again: the first one's reason stands; what somebody has switched on by hand is switched off once more.
        now = before
    else:
        what = tuple(each for each in PAUSABLE if each in wanted or (before and each in before.only))
        if before and not reason:
            # More is paused, and why it began is still so.
            now = replace(before, only=what)
        else:
            now, replaced = Pause(datetime.now(UTC), _who(target), reason, what), before
        _write(target, now)
    changed = [_switch(target, each, _DISABLED) for each in found if each.pausable in now.only]
    _tell(target, now, [each for each in changed if each], as_json=as_json, was=replaced)


@click.command()
@of_use_case
@json_option
def resume(target: Target, as_json: bool) -> None:
    """Let schedules and triggers run again.

    Those that the declaration itself switches off, because data time is moved by replays, stay off.
    """
    found = _required(target)
    before = read(target, strict=False)
    # A schedule of a replayed environment is disabled whether anything is paused or not.
    by_time = target.environment.replay_from is None
    changed = [_switch(target, each, _ENABLED) for each in found if each.kind == "rule" or by_time]
    if before:
        target.client("ssm").delete_parameter(Name=target.names.pause_parameter)
    _tell(target, None, [each for each in changed if each], as_json=as_json, was=before)


def describe_pause(found: Pause) -> str:
    """Say what is paused, since when, by whom and why."""
    what = "all triggers" if found.is_complete else " and ".join(found.only)
    why = f", because: {found.reason}" if found.reason else ""
    since = moment(found.since) if found.since else "an unknown time"
    return f"{what} paused since {since} by {found.by}{why}"


def read(target: Target, *, strict: bool = True) -> Pause | None:
    """What is paused, by whom and why; None when nothing is.

    Args:
        strict: Whether a parameter that cannot be understood is an error; else it counts as everything.

    Raises:
        UnreadablePauseError: When it cannot be understood.
    """
    try:
        return find_pause(target.client("ssm"), target.names.pause_parameter)
    except UnreadablePauseError as error:
        if strict:
            fix = f"somebody has written it by hand; `millrace resume {named(target)}` deletes it"
            raise UnreadablePauseError(error.parameter, error.value, fix) from error
        return Pause(None, "somebody", "")


def _write(target: Target, paused: Pause) -> None:
    target.client("ssm").put_parameter(
        Name=target.names.pause_parameter,
        Type="String",
        Value=paused.dump(),
        Description=f"While it is there, triggers of {target.stack} are paused: millrace resume deletes it",
        Overwrite=True,
    )


def _who(target: Target) -> str:
    """The user on this machine, or the caller as AWS knows them."""
    if target.is_local:
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            # A container whose user has no name.
            return f"user {os.getuid()}"
    return str(target.client("sts").get_caller_identity()["Arn"]).rpartition(":")[2]


def triggers(target: Target) -> Iterator[Trigger]:
    """The schedules and the rule that are there."""
    names = target.names
    scheduler, events = target.client("scheduler"), target.client("events")
    for kind in (MONITOR, FEATURES, TRAINING):
        name = names.schedule(kind)
        try:
            yield Trigger(PAUSES[kind], "schedule", name, scheduler.get_schedule(Name=name)["State"])
        except scheduler.exceptions.ResourceNotFoundException:
            continue
    try:
        rule = events.describe_rule(Name=names.retraining_rule)
        yield Trigger(RETRAINING, "rule", names.retraining_rule, rule.get("State", _ENABLED))
    except events.exceptions.ResourceNotFoundException:
        return


def _required(target: Target) -> list[Trigger]:
    found = list(triggers(target))
    if found:
        return found
    if target.names.shared_lake or not target.is_provisioned():
        raise target.absent()
    raise CliError(
        f"stack {target.stack} has neither schedules nor a rule, though it is there: they have been deleted by hand; "
        f"`pulumi up --refresh --stack {target.stack}` makes them anew"
    )


def _switch(target: Target, trigger: Trigger, state: str) -> Trigger | None:
    """Bring it to the state; as it is now, or None where it was so already."""
    if trigger.state == state:
        return None
    if trigger.kind == "rule":
        events = target.client("events")
        (events.enable_rule if state == _ENABLED else events.disable_rule)(Name=trigger.name)
    else:
        scheduler = target.client("scheduler")
        described: Mapping[str, Any] = scheduler.get_schedule(Name=trigger.name)
        kept = {key: described[key] for key in _KEPT if described.get(key) is not None}
        scheduler.update_schedule(**{**kept, "State": state})
    return Trigger(trigger.pausable, trigger.kind, trigger.name, state)


def stop(target: Target, reason: str) -> int:
    """Pause everything that starts by itself, e.g. before the stack is destroyed; how many were running."""
    found = list(triggers(target))
    if found and read(target, strict=False) is None:
        _write(target, Pause(datetime.now(UTC), _who(target), reason))
    return sum(_switch(target, each, _DISABLED) is not None for each in found)


def _tell(
    target: Target, paused: Pause | None, changed: list[Trigger], *, as_json: bool, was: Pause | None = None
) -> None:
    """Bring Pulumi's record up to date, and say what is so now."""
    behind = record.refresh(target, [each.name for each in changed]) if changed else None
    running = {kind: found for kind in PIPELINE_KINDS if (found := pipelines.running(target, kind))}
    if as_json:
        write_json(
            {
                "stack": target.stack,
                "paused": None
                if paused is None
                else {"since": paused.since, "by": paused.by, "reason": paused.reason, "only": list(paused.only)},
                "changed": [each.document() for each in changed],
                "triggers": [each.document() for each in triggers(target)],
                "running": running,
                "refreshed": behind is None,
            }
        )
        return
    if paused:
        say(describe_pause(paused))
        if was:
            say(f"this replaces: {describe_pause(was)}")
    elif was:
        say(f"resumed: {describe_pause(was)}")
    else:
        say("nothing was paused" + ("; what was switched off by hand is on again" if changed else ""))
    table((each.kind, each.name, each.state.lower()) for each in triggers(target))
    for kind, execution in running.items():
        say(f"{kind} runs on: {execution}")
    if behind:
        say(f"note: Pulumi's record could not be refreshed ({behind}); the next `pulumi up` does it", err=True)
    if paused:
        say(f"next: millrace resume {named(target)}")
