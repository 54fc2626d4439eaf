"""The snoozes of a stack: reading, checking and writing them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from cli.aws.parameters import delete_parameter, write_parameter
from cli.console.errors import CliError
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.watching import NEVER_SNOOZED, MonitorAlarm
from queries.snoozes import Snooze, Snoozes, UnreadableSnoozeError, find_snoozes

#: The most characters of a standard parameter.
_LONGEST = 4096


def read_snoozes(target: Target, *, strict: bool = True) -> dict[str, Snooze]:
    """Return the stack's snoozes by kind of alarm; some may be over.

    Args:
        target: The stack.
        strict: Raise for a parameter that cannot be understood; otherwise nothing counts as snoozed.

    Raises:
        UnreadableSnoozeError: The parameter cannot be understood, and ``strict`` is set.
    """
    try:
        return find_snoozes(target.client("ssm"), target.names.snooze_parameter)
    except UnreadableSnoozeError:
        if strict:
            raise
        return {}


def write_snoozes(target: Target, snoozes: Mapping[str, Snooze]) -> None:
    """Write the snoozes that have not expired; without any, the parameter is deleted.

    Args:
        target: The stack.
        snoozes: All of the stack's, by kind of alarm.

    Raises:
        CliError: They are longer than a parameter may be; nothing is written.
    """
    now = datetime.now(UTC)
    kept = {kind: snooze for kind, snooze in snoozes.items() if now < snooze.expires}
    if not kept:
        delete_parameter(target, target.names.snooze_parameter)
        return
    value = Snoozes(version=1, alarms=kept).model_dump_json()
    if len(value) > _LONGEST:
        raise CliError(
            f"the snoozes of {target.stack}",
            f"have {len(value)} characters with their reasons; nothing was changed",
            expected=f"at most {_LONGEST}, the limit of an SSM parameter",
            fix="shorten the reason, or end another: millrace alarms unsnooze",
        )
    about = f"Alarms of {target.stack} that notify nobody for a time; millrace alarms writes it"
    write_parameter(target, target.names.snooze_parameter, value, about)


def require_snoozable(target: Target, name: str, existing: Collection[str]) -> None:
    """Raise where an alarm cannot be snoozed.

    Args:
        target: The stack.
        name: The kind of alarm, as a person typed it.
        existing: The kinds of the alarms that exist.

    Raises:
        CliError: It is no alarm of the stack, or one that always notifies.
    """
    can = [kind for kind in existing if kind in tuple(MonitorAlarm) and kind != NEVER_SNOOZED]
    if name in can:
        return
    if name == NEVER_SNOOZED:
        raise CliError(
            f"alarm {name!r}",
            "cannot be snoozed: the monitor, which would have to read it, does not run when it fires",
            fix=f"to stop the monitor for a time: millrace pause {render_arguments(target)} --only monitor",
        )
    if name in existing:
        raise CliError(
            f"alarm {name!r}",
            "cannot be snoozed: it says that requests or triggers fail now",
            expected=f"one of: {', '.join(can)}",
        )
    raise CliError(f"alarm {name!r}", f"is none of {target.stack}", expected=f"one of: {', '.join(can)}")
