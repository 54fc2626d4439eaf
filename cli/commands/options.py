"""Arguments and options that several commands share, and checks of their values."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click

from cli.commands import choices
from cli.console.errors import CliError
from cli.console.output import format_time
from cli.stack import connection
from cli.stack.target import Target

#: The most characters of a reason that the registry keeps.
LONGEST = 1024


def with_target(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add USE_CASE, ``--env`` and ``--state``; the function gets a connected :class:`Target` first."""

    @click.argument("use_case", metavar="USE_CASE", shell_complete=choices.complete_use_cases)
    @env_option
    @connection.state_option
    @wraps(function)
    def command(use_case: str, environment: str, state: Path, **rest: Any) -> Any:
        target = Target.load(use_case, environment, state)
        connection.use_environment(environment, state)
        return function(target, **rest)

    return command


def env_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--env``."""
    return click.option(
        "--env",
        "environment",
        default=connection.LOCAL,
        show_default=True,
        shell_complete=choices.complete_environments,
        help="The stack's environment.",
    )(function)


def require_yes_with_json(*, yes: bool, as_json: bool) -> None:
    """Refuse ``--json`` without ``--yes``: a question has no place in a document for a program."""
    if as_json and not yes:
        raise click.UsageError("--json cannot ask for confirmation; pass --yes, too")


def check_reason(reason: str) -> None:
    """Refuse a reason that the registry would not keep."""
    if len(reason) > LONGEST:
        raise CliError(
            "--reason",
            f"has {len(reason)} characters",
            expected=f"at most {LONGEST}, the limit of the registry",
            fix="shorten it",
        )
    if "\n" in reason:
        raise CliError("--reason", "has several lines", expected="one line", fix="join them")
    if wrong := next((each for each in reason if unicodedata.category(each) in ("Cc", "Cs")), None):
        raise CliError(
            "--reason",
            f"holds {wrong!r}, which is not text",
            expected="letters, digits and punctuation in UTF-8",
            fix="leave it out",
        )


def check_time(as_of: str) -> None:
    """Refuse a value that is neither `now` nor an ISO time."""
    if as_of == "now":
        return
    try:
        datetime.fromisoformat(as_of)
    except ValueError as error:
        raise click.BadParameter(
            f"{as_of!r}; expected 'now' or an ISO time such as 2013-04-01T00:00:00Z", param_hint="--as-of"
        ) from error


def require_past(target: Target, as_of: str) -> None:
    """Refuse a data time that has not come yet: a model would be trained on what nobody can know.

    Args:
        target: The stack, which may have a data clock.
        as_of: `now`, or a valid ISO time.

    Raises:
        CliError: When it has not come yet.
    """
    if as_of == "now":
        return
    asked = datetime.fromisoformat(as_of)
    try:
        now = target.read_data_time()
    except CliError:
        # Without its clock the stack is not whole, which whoever starts the pipeline is told.
        return
    if (asked if asked.tzinfo else asked.replace(tzinfo=UTC)) > now:
        raise CliError("--as-of", f"is {as_of}, but data time is {format_time(now)}", expected="a time that has come")


def parse_pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Parse options `NAME=VALUE`, each name once: a callback of click's."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not (name and equals and text):
            raise click.BadParameter(f"{value!r}; expected {param.metavar}", ctx, param)
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice; give it once", ctx, param)
        found[name] = text
    return found
