"""Pauses of a stack's triggers: who paused them, the schedules and rules that exist, and switching them.

The schedules and the rule are switched by the API. An SSM parameter says so, and why; the program reads it, so that the
next `pulumi up` keeps them as they are.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.console.output import moment
from cli.stack.deployable import named
from cli.stack.target import Target
from millrace.names import FEATURES, MONITOR, PAUSES, RETRAINING, TRAINING
from queries.pauses import Pause, UnreadablePauseError, find_pause

ENABLED, DISABLED = "ENABLED", "DISABLED"
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


def write(target: Target, paused: Pause) -> None:
    target.client("ssm").put_parameter(
        Name=target.names.pause_parameter,
        Type="String",
        Value=paused.dump(),
        Description=f"While it is there, triggers of {target.stack} are paused: millrace resume deletes it",
        Overwrite=True,
    )


def find_caller(target: Target) -> str:
    """The user on this machine, or the caller as AWS knows them."""
    if target.is_local:
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            # A container whose user has no name.
            return f"user {os.getuid()}"
    return str(target.client("sts").get_caller_identity()["Arn"]).rpartition(":")[2]


def list_triggers(target: Target) -> Iterator[Trigger]:
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
        yield Trigger(RETRAINING, "rule", names.retraining_rule, rule.get("State", ENABLED))
    except events.exceptions.ResourceNotFoundException:
        return


def switch(target: Target, trigger: Trigger, state: str) -> Trigger | None:
    """Bring it to the state; as it is now, or None where it was so already."""
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


def stop(target: Target, reason: str) -> int:
    """Pause everything that starts by itself, e.g. before the stack is destroyed; how many were running."""
    found = list(list_triggers(target))
    if found and read(target, strict=False) is None:
        write(target, Pause(datetime.now(UTC), find_caller(target), reason))
    return sum(switch(target, each, DISABLED) is not None for each in found)
