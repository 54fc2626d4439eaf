"""`millrace alarms`: show a stack's alarms, and keep some from notifying for a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from cli.aws import alarms as found_alarms
from cli.aws import pauses, snoozes
from cli.aws.alarms import AlarmPart
from cli.commands import choices
from cli.commands.options import check_reason, with_target
from cli.console.durations import Duration
from cli.console.errors import CliError
from cli.console.output import format_time, json_option, print_table, say, write_json
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from queries.snoozes import Snooze, Until

#: A longer silence is `monitoring.off`, which is declared and reviewed.
_LONGEST = timedelta(days=90)
_SHORTEST = timedelta(minutes=1)


@click.group()
def alarms() -> None:
    """Show a stack's alarms, and keep some from notifying for a time.

    A snoozed alarm fires, is shown and starts retraining as ever: people are not told of it. To switch one off for
    good, name it in `monitoring.off` of the declaration.
    """


def _add_names(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("names", metavar="ALARM...", nargs=-1, required=True, shell_complete=choices.complete_alarms)(
        function
    )


def _add_reason(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--reason", required=True, help="The reason; it is shown wherever the alarm is.")(function)


@alarms.command("list")
@with_target
@json_option
def list_(target: Target, as_json: bool) -> None:
    """List the alarms with their states and what is snoozed."""
    found = _find_alarms(target)
    if as_json:
        write_json(found)
    else:
        _print_alarms(found)


@alarms.command()
@with_target
@_add_names
@click.option(
    "--for", "duration", required=True, type=Duration(_LONGEST, _SHORTEST), help="How long, e.g. 12h, 3d or 2w."
)
@_add_reason
@json_option
def snooze(target: Target, names: tuple[str, ...], duration: timedelta, reason: str, as_json: bool) -> None:
    """Keep alarms from notifying until a time, whether they fire now or not.

    The monitor reads it at its next run. The alarm of a monitor that does not run cannot be snoozed.
    """
    _snooze(target, names, duration, reason, Until.EXPIRY, as_json=as_json)


@alarms.command()
@with_target
@_add_names
@click.option(
    "--for",
    "duration",
    default="30d",
    show_default=True,
    type=Duration(_LONGEST, _SHORTEST),
    help="How long at most, e.g. 12h, 3d or 2w.",
)
@_add_reason
@json_option
def acknowledge(target: Target, names: tuple[str, ...], duration: timedelta, reason: str, as_json: bool) -> None:
    """Keep alarms that fire from notifying until they are OK again.

    One that fires again afterwards notifies.
    """
    _snooze(target, names, duration, reason, Until.OK, as_json=as_json)


@alarms.command()
@with_target
@click.argument("names", metavar="[ALARM...]", nargs=-1, shell_complete=choices.complete_alarms)
@json_option
def unsnooze(target: Target, names: tuple[str, ...], as_json: bool) -> None:
    """Let alarms notify again: those named, or all."""
    now = datetime.now(UTC)
    known = snoozes.read_snoozes(target, strict=bool(names))
    before = {name: each for name, each in known.items() if now < each.expires}
    if strangers := [name for name in names if name not in before]:
        raise CliError(
            ", ".join(strangers), "is not snoozed", fix=f"snoozed are: {', '.join(sorted(before)) or 'none'}"
        )
    kept = {name: each for name, each in before.items() if names and name not in names}
    snoozes.write_snoozes(target, kept)
    ended = sorted(set(before) - set(kept))
    if as_json:
        write_json({"stack": target.stack, "unsnoozed": ended, "alarms": _find_alarms(target)})
        return
    say(f"no longer snoozed: {', '.join(ended)}" if ended else "nothing was snoozed")


def _snooze(
    target: Target, names: Sequence[str], duration: timedelta, reason: str, until: Until, *, as_json: bool
) -> None:
    """Record a snooze of each alarm, and report it."""
    check_reason(reason)
    if not reason.strip():
        raise CliError("--reason", "is empty", expected="why nobody needs to be told", fix="say it in a sentence")
    found = {each["kind"]: each for each in _find_alarms(target)}
    for name in (names := list(dict.fromkeys(names))):
        snoozes.require_snoozable(target, name, found)
        if until is Until.OK and found[name]["state"] != "ALARM":
            raise CliError(
                f"alarm {found[name]['name']}",
                f"is {found[name]['state']}, so there is nothing to acknowledge",
                fix=f"to keep it from notifying anyway: {_render_snooze(target, name)}",
            )
    now = datetime.now(UTC)
    known = snoozes.read_snoozes(target)
    replaced = {name: known[name].describe() for name in names if name in known and now < known[name].expires}
    for name in names:
        # What is acknowledged is the state since then, whatever the clock of this machine says.
        since = (found[name]["since"] or now) if until is Until.OK else now
        known[name] = Snooze(
            since=since, expires=now + duration, by=pauses.find_caller(target), reason=reason.strip(), until=until
        )
    snoozes.write_snoozes(target, known)
    if as_json:
        written = {name: known[name].dump() for name in names}
        write_json({"stack": target.stack, "snoozed": written, "replaced": replaced, "alarms": _find_alarms(target)})
        return
    for name in names:
        say(f"{target.names.alarm(name)} notifies nobody: {known[name].describe()}")
        if name in replaced:
            say(f"  instead of: {replaced[name]}")
    say("it still fires, is shown and starts retraining where it is declared to")
    say(f"to end it: millrace alarms unsnooze {render_arguments(target)} {' '.join(names)}")


def _render_snooze(target: Target, name: str) -> str:
    return f"millrace alarms snooze {render_arguments(target)} {name} --for 7d --reason …"


def _find_alarms(target: Target) -> list[AlarmPart]:
    found = found_alarms.find_alarms(target)
    if not found and not target.is_provisioned():
        raise target.make_absence_error()
    return found


def _print_alarms(found: Sequence[AlarmPart]) -> None:
    print_table(
        (
            each["name"],
            each["state"],
            format_time(each["since"]) if each["since"] else "",
            each["snoozed"] or (each["description"] if each["state"] == "ALARM" else ""),
        )
        for each in found
    )
