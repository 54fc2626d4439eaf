"""Output of the commands: tables for people, JSON for programs, one format of times and figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

#: Marks of a line's outcome.
DONE, FAILED, NOTE = "✓", "✗", "•"


def json_option(function: Function) -> Function:
    """Add the option ``--json``, which every command that reads has.

    Args:
        function: The command, which takes ``as_json``.

    Returns:
        The command with the option.
    """
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")(function)


#: The beginning of an error's line on standard error.
ERROR_MARK = "error: "


def write_json(document: Any) -> None:
    """Print a document for a program on standard output.

    Args:
        document: JSON data, as in :func:`render_json`.
    """
    print(render_json(document))


def render_json(document: Any) -> str:
    """Return a document for a program as JSON text.

    Args:
        document: JSON data, in which datetimes with a zone become ISO 8601 in UTC, to the millisecond.
    """
    return json.dumps(document, indent=2, default=_plain)


def say(text: str = "", *, err: bool = False) -> None:
    """Print a line for people.

    Args:
        text: The line, without its end; empty for a blank line.
        err: Whether to print on standard error.
    """
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


def print_table(rows: Iterable[Sequence[object]], *, indent: int = 2) -> None:
    """Print rows in aligned columns; nothing is cut, so that programs can read the output, too.

    Args:
        rows: The cells of each row, printed as `str` gives them; rows may differ in length.
        indent: Number of spaces before each row.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max((len(row[place]) for row in texts if place < len(row)), default=0) for place in range(_most(texts))]
    for row in texts:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        say(" " * indent + "  ".join(cells).rstrip())


def format_time(time: datetime | None) -> str:
    """Format a time in UTC, to the second; None becomes `never`.

    Args:
        time: A time with its zone, or None.

    Returns:
        The text, e.g. `2025-01-31 12:00:00Z`.
    """
    return "never" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def format_age(time: datetime) -> str:
    """Format the distance of a time from now in one unit, short enough for a table.

    Args:
        time: A time with its zone, in the past or in the future.

    Returns:
        The distance without a sign, e.g. `3 d`, `5 h`, `90 min` or `12 s`.
    """
    distance = abs((datetime.now(UTC) - time).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if distance >= 2 * length or (unit == "d" and distance >= length):
            return f"{distance // length:.0f} {unit}"
    return f"{distance:.0f} s"


def format_duration(value: float) -> str:
    """Format a duration for people.

    Args:
        value: Seconds.

    Returns:
        The text: `12.3 s`, or `2 min 05 s` from a minute on.
    """
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(max(int(value), 60), 60)
    return f"{minutes} min {seconds:02d} s"


def _most(texts: Sequence[Sequence[str]]) -> int:
    return max((len(row) for row in texts), default=0)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not JSON")


def format_size(size: float) -> str:
    """Format a number of bytes for people.

    Args:
        size: Number of bytes.

    Returns:
        The text in units of 1000, e.g. `12 bytes` or `1.5 MB`.
    """
    for unit, digits in (("bytes", 0), ("KB", 1), ("MB", 1), ("GB", 1)):
        if round(size, digits) < 1000:
            return f"{size:.{digits}f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
