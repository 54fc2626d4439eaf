"""Renamed and retired fields of declarations, and the versions up to which their old names are accepted.

The rule: what a declaration may contain stays valid for one minor version, with one warning that names the fix, and is
refused after that with an error that names the fix, too. `millrace upgrade` reads the same table. An entry stays after
it has expired, so that whoever merges late still gets the fix.

Models are not affected: each carries the code and the contract that it was trained with.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from millrace.errors import DeclarationError, Diagnosis

#: Millrace's own version. It is a constant because bundles run where Millrace is not installed.
VERSION = "0.1.0"

Unit = Literal["seconds", "minutes", "hours", "days"]


class DeclarationWarning(FutureWarning):
    """A warning that a later version will refuse a declaration; it is shown by default."""


@dataclass(frozen=True)
class Renamed:
    """A renamed field.

    Attributes:
        part: The class that has the field, e.g. `Rollout`.
        old: Its old name.
        new: Its new name.
        since: The minor version in which it was renamed, e.g. `0.2`.
        until: The minor version that refuses the old name.
        unit: The unit of the old value, a number, where the new one is a duration.
    """

    part: str
    old: str
    new: str
    since: str
    until: str
    unit: Unit | None = None

    def convert(self, old: Any) -> Any:
        """Return the old value as the new field accepts it; the field itself refuses what is not a number."""
        if self.unit is None or isinstance(old, bool) or not isinstance(old, int | float):
            return old
        return timedelta(**{self.unit: old})


@dataclass(frozen=True)
class Retired:
    """A field that no longer has an effect.

    Attributes:
        part: The class that had the field.
        old: Its name.
        since: The minor version from which it has no effect.
        until: The minor version that refuses it.
        why: A clause for messages: what replaced it, or why nothing had to.
    """

    part: str
    old: str
    since: str
    until: str
    why: str


Entry = Renamed | Retired

#: Every field that was ever renamed or retired, oldest first.
ENTRIES: tuple[Entry, ...] = (
    Retired(
        "Monitoring", "min_labels", "0.1", "0.2", "what can be told from the labels at hand is told, with its interval"
    ),
)


@dataclass(frozen=True)
class Table:
    """The entries, and the version of Millrace that applies them."""

    entries: tuple[Entry, ...] = ENTRIES
    version: str = VERSION

    def get_entries(self, part: str) -> dict[str, Entry]:
        """Return the entries of a part, by the old name.

        Args:
            part: The name of the class that has the fields, e.g. `Rollout`.
        """
        return {entry.old: entry for entry in self.entries if entry.part == part}

    def trace(self, part: str, name: str) -> list[Entry]:
        """Return the entries that lead from an old name to the current one; empty for a current name.

        Args:
            part: The name of the class that has the field.
            name: The field's name, old or current.
        """
        known, found = self.get_entries(part), list[Entry]()
        while (entry := known.get(name)) is not None and entry not in found:
            found.append(entry)
            if isinstance(entry, Retired):
                break
            name = entry.new
        return found

    def is_over(self, entry: Entry) -> bool:
        """Return True if this version refuses the old name.

        Args:
            entry: The entry of the old name.
        """
        return _minor(self.version) >= _minor(entry.until)


_OWN = Table()
_table: ContextVar[Table | None] = ContextVar("table", default=None)
#: The subject of a warning and its file, where that is not a Python file.
_place: ContextVar[tuple[str, str] | None] = ContextVar("place", default=None)
#: The registry of warnings that were shown, so that each is shown once in a process.
_warned: dict[Any, Any] = {}


def get_table() -> Table:
    """Return the table that applies to declarations now."""
    return _table.get() or _OWN


@contextmanager
def use_entries(*entries: Entry, version: str = VERSION) -> Iterator[Table]:
    """Apply these entries and this version to declarations in a block, to test what an entry will do."""
    table = Table(entries, version)
    token = _table.set(table)
    try:
        yield table
    finally:
        _table.reset(token)


@contextmanager
def name_place(place: str, file: str) -> Iterator[None]:
    """Name this place and file in the warnings of a block, for fields outside of Python such as in a stack file."""
    token = _place.set((place, file))
    try:
        yield
    finally:
        _place.reset(token)


def rename_fields(part: str, named: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a part under their current names, with a warning for each old name.

    Args:
        part: The part's class.
        named: The part's name in messages, e.g. `Gate('roc_auc')`.
        fields: The fields as they are given.

    Raises:
        DeclarationError: An old name has expired, or a field is given under two names.
    """
    table = get_table()
    old = [name for name in fields if name in table.get_entries(part)]
    if not old:
        return fields
    kept, problems = {name: value for name, value in fields.items() if name not in old}, []
    for name in old:
        route = table.trace(part, name)
        new, value = get_current_name(route), fields[name]
        if table.is_over(route[0]):
            found = f"{_what(route)} and is refused from {route[0].until} on"
            problems.append(Diagnosis(f"{name} = {value!r}:", found, fix=_mend(new)))
            continue
        if new in kept:
            found = f"{_what(route)}, and {new} is also given"
            problems.append(Diagnosis(f"{name} = {value!r}:", found, fix=f"remove {name}"))
            continue
        _warn(f"{named}: {name} {_what(route)}; it will be refused from {route[0].until} on: {_mend(new)}")
        if new is not None:
            kept[new] = _converted(route, value)
    if problems:
        raise DeclarationError(named, problems)
    return kept


def find_current_name(part: str, named: str, name: str) -> str | None:
    """Return the current name of an attribute read under an old one, with a warning; None if it cannot be read so."""
    table = get_table()
    route = table.trace(part, name)
    if not route or table.is_over(route[0]) or (new := get_current_name(route)) is None:
        return None
    if any(isinstance(entry, Renamed) and entry.unit for entry in route):
        return None
    _warn(f"{named}: {name} {_what(route)}; reading it will fail from {route[0].until} on: {_mend(new)}")
    return new


def get_current_name(route: list[Entry]) -> str | None:
    """Return the current name at the end of a route; None if the field is retired.

    Args:
        route: The entries that :meth:`Table.trace` found, at least one.
    """
    last = route[-1]
    return last.new if isinstance(last, Renamed) else None


def _converted(route: list[Entry], value: Any) -> Any:
    for entry in route:
        value = entry.convert(value) if isinstance(entry, Renamed) else value
    return value


def _what(route: list[Entry]) -> str:
    """Describe what became of the field, e.g. `has been called bake since 0.2`."""
    last = route[-1]
    if isinstance(last, Retired):
        return f"has had no effect since {last.since}: {last.why}"
    unit = next((entry.unit for entry in route if isinstance(entry, Renamed) and entry.unit), None)
    kind = f" and is a duration, not a number of {unit}," if unit else ""
    return f"has been called {last.new}{kind} since {route[0].since}"


def _mend(new: str | None) -> str:
    return f"run `millrace upgrade`, or {'remove it' if new is None else 'rename it'}"


def _warn(message: str) -> None:
    """Warn once per process and place, at the line of the declaration that uses the old name."""
    if place := _place.get():
        warnings.warn_explicit(f"{place[0]}: {message}", DeclarationWarning, place[1], 0, registry=_warned)
        return
    frame = _outside()
    file, line = (frame.f_code.co_filename, frame.f_lineno) if frame else ("declaration", 0)
    warnings.warn_explicit(message, DeclarationWarning, file, line, registry=_warned)


def _outside() -> FrameType | None:
    """Return the innermost frame outside of this package and of pydantic; None if there is none."""
    own = Path(__file__).parent
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        folder = Path(frame.f_code.co_filename).parent
        if folder != own and "pydantic" not in folder.parts:
            return frame
        frame = frame.f_back
    return None


def _minor(version: str) -> tuple[int, ...]:
    """Return the major and minor number of a version."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return tuple(numbers + [0] * (2 - len(numbers)))
