"""How the commands write: tables for people, JSON for programs, one way to show a time or a figure."""

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
    """The option ``--json`` of every command that reads."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")(function)


#: How an error begins on standard error.
ERROR_MARK = "error: "


def write_json(document: Any) -> None:
    """One document for a program, on standard output."""
    print(json_text(document))


def json_text(document: Any) -> str:
    """A document for a program."""
    return json.dumps(document, indent=2, default=_plain)


def say(text: str = "", *, err: bool = False) -> None:
    """A line for a person."""
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


def table(rows: Iterable[Sequence[object]], *, indent: int = 2) -> None:
    """Rows in aligned columns; nothing is cut, so that output can be read by programs too."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max((len(row[place]) for row in texts if place < len(row)), default=0) for place in range(_most(texts))]
    for row in texts:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        say(" " * indent + "  ".join(cells).rstrip())


def moment(time: datetime | None) -> str:
    """A time in UTC, to the second."""
    return "never" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def ago(time: datetime) -> str:
    """How far away a time is, in one unit: what a table has room for."""
    distance = abs((datetime.now(UTC) - time).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if distance >= 2 * length or (unit == "d" and distance >= length):
            return f"{distance // length:.0f} {unit}"
    return f"{distance:.0f} s"


def seconds(value: float) -> str:
    """A duration as a person says it."""
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60):02d} s"


def _most(texts: Sequence[Sequence[str]]) -> int:
    return max((len(row) for row in texts), default=0)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not JSON")


def human_size(size: float) -> str:
    """Bytes as a person says them."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
