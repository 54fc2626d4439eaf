"""Pauses of a stack's triggers: who paused them, the schedules and rules that exist, and switching them.

The API switches the schedules and the rule. An SSM parameter records the pause and its reason; the program reads it, so
that the next `pulumi up` keeps them as they are.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.aws.parameters import write_parameter
from cli.console.output import format_time
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.names import PAUSES, RETRAINING
from queries.pauses import Pause, UnreadablePauseError, find_pause

ENABLED, DISABLED = "ENABLED", "DISABLED"
#: The fields of GetSchedule's answer that UpdateSchedule accepts; it resets a field that is left out to its default.
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

    def to_document(self) -> dict[str, str]:
        """Return the trigger as a document for JSON output."""
        return {"what": self.pausable, "kind": self.kind, "name": self.name, "state": self.state}


def describe_pause(found: Pause) -> str:
    """Describe in words what is paused, since when, by whom and why.

    Args:
        found: The pause.

    Returns:
        A phrase, e.g. `all triggers paused since … by …, because: …`.
    """
    what = "all triggers" if found.is_complete else " and ".join(found.only)
    why = f", because: {found.reason}" if found.reason else ""
    since = format_time(found.since) if found.since else "an unknown time"
    return f"{what} paused since {since} by {found.by}{why}"


def read_pause(target: Target, *, strict: bool = True) -> Pause | None:
    """Return the stack's pause; None when nothing is paused.

    Args:
        target: The stack.
        strict: Raise for a parameter that cannot be understood; otherwise it counts as a pause of everything.

    Raises:
        UnreadablePauseError: The parameter cannot be understood, and ``strict`` is set.
    """
    try:
        return find_pause(target.client("ssm"), target.names.pause_parameter)
    except UnreadablePauseError as error:
        if strict:
            fix = f"it was written by hand; `millrace resume {render_arguments(target)}` deletes it"
            raise UnreadablePauseError(error.parameter, error.value, fix) from error
        return Pause(None, "somebody", "")


def write_pause(target: Target, paused: Pause) -> None:
    """Write a pause to the stack's SSM parameter, which deployments read.

    Args:
        target: The stack.
        paused: The pause, which replaces an earlier one.
    """
    about = f"While this exists, triggers of {target.stack} are paused; millrace resume deletes it"
    write_parameter(target, target.names.pause_parameter, paused.dump(), about)


def find_caller(target: Target) -> str:
    """Return the user on this machine, for a local stack, or the caller's name in AWS.

    Args:
        target: The stack.
    """
    if target.is_local:
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            # A container whose user has no name.
            return f"user {os.getuid()}"
    return str(target.client("sts").get_caller_identity()["Arn"]).rpartition(":")[2]


def list_triggers(target: Target) -> Iterator[Trigger]:
    """Yield the schedules and the rules that exist.

    Args:
        target: The stack.
    """
    names = target.names
    scheduler, events = target.client("scheduler"), target.client("events")
    for name, kind in names.schedules.items():
        try:
            yield Trigger(PAUSES[kind], "schedule", name, scheduler.get_schedule(Name=name)["State"])
        except scheduler.exceptions.ResourceNotFoundException:
            continue
    for name in names.rules:
        try:
            rule = events.describe_rule(Name=name)
        except events.exceptions.ResourceNotFoundException:
            continue
        yield Trigger(RETRAINING, "rule", name, rule.get("State", ENABLED))


def set_trigger_state(target: Target, trigger: Trigger, state: str) -> Trigger | None:
    """Set a trigger's state.

    Args:
        target: The stack.
        trigger: The trigger with its present state.
        state: `ENABLED` or `DISABLED`.

    Returns:
        The trigger as it is now; None where it had that state already.
    """
    if trigger.state == state:
        return None
    if trigger.kind == "rule":
        events = target.client("events")
        (events.enable_rule if state == ENABLED else events.disable_rule)(Name=trigger.name)
    else:
        scheduler = target.client("scheduler")
        described: Mapping[str, Any] = scheduler.get_schedule(Name=trigger.name)
        kept = {key: described[key] for key in _KEPT if described.get(key) is not None}
        scheduler.update_schedule(**{**kept, "State": state})
    return Trigger(trigger.pausable, trigger.kind, trigger.name, state)


def pause_all(target: Target, reason: str) -> int:
    """Pause all triggers, e.g. before the stack is destroyed.

    Args:
        target: The stack.
        reason: The reason, for people; not recorded if the stack is already paused.

    Returns:
        How many triggers were enabled.
    """
    found = list(list_triggers(target))
    if found and read_pause(target, strict=False) is None:
        write_pause(target, Pause(datetime.now(UTC), find_caller(target), reason))
    return sum(set_trigger_state(target, each, DISABLED) is not None for each in found)
