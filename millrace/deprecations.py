"""Fields of declarations that were renamed or retired, and until when their old names are taken.

The rule: what a declaration may say goes on working for one minor version, with one warning that names the mend, and
is refused after that with an error that names the mend too. `millrace upgrade` reads the same table. An entry stays
when its time is over, so that whoever merges late is still told what to do.

A model is not touched by any of this: it carries the code and the contract that it was trained with.
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

#: Millrace's own version. Bundles run where nothing is installed under its name, so it stands here.
VERSION = "0.1.0"

Unit = Literal["seconds", "minutes", "hours", "days"]


class DeclarationWarning(FutureWarning):
    """A declaration says something that a later version will refuse. Shown unless somebody hides it."""


@dataclass(frozen=True)
class Renamed:
    """A field that has another name.

    Attributes:
        part: The class that has the field, e.g. `Rollout`.
        old: Its name until then.
        new: Its name now.
        since: The minor version in which it was renamed, e.g. `0.2`.
        until: The minor version that refuses the old name.
        unit: Where the old value was a number of this unit and the new one is a duration.
    """

    part: str
    old: str
    new: str
    since: str
    until: str
    unit: Unit | None = None

    def value(self, old: Any) -> Any:
        """The old value as the new field takes it; what is no number is left for the field to refuse."""
        if self.unit is None or isinstance(old, bool) or not isinstance(old, int | float):
            return old
        return timedelta(**{self.unit: old})


@dataclass(frozen=True)
class Retired:
    """A field that has no effect any more.

    Attributes:
        part: The class that had the field.
        old: Its name.
        since: The minor version from which it has no effect.
        until: The minor version that refuses it.
        why: Half a sentence: what took its place, or why nothing had to.
    """

    part: str
    old: str
    since: str
    until: str
    why: str


Entry = Renamed | Retired

#: Every field that was ever renamed or retired, oldest first.
ENTRIES: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Table:
    """The entries as a version of Millrace sees them."""

    entries: tuple[Entry, ...] = ENTRIES
    version: str = VERSION

    def of(self, part: str) -> dict[str, Entry]:
        """The entries of a part, by the old name."""
        return {entry.old: entry for entry in self.entries if entry.part == part}

    def route(self, part: str, name: str) -> list[Entry]:
        """From a name to what it is now, entry by entry; none for a name of today."""
        known, found = self.of(part), list[Entry]()
        while (entry := known.get(name)) is not None and entry not in found:
            found.append(entry)
            if isinstance(entry, Retired):
                break
            name = entry.new
        return found

    def is_over(self, entry: Entry) -> bool:
        """Whether this version refuses the old name."""
        return _minor(self.version) >= _minor(entry.until)


_OWN = Table()
_table: ContextVar[Table | None] = ContextVar("table", default=None)
#: What a warning is about and the file to look at, where that is no Python file.
_place: ContextVar[tuple[str, str] | None] = ContextVar("place", default=None)
#: What was warned of already: once in a process is enough.
_warned: dict[Any, Any] = {}


def current() -> Table:
    """The table that declarations are read by."""
    return _table.get() or _OWN


@contextmanager
def using(*entries: Entry, version: str = VERSION) -> Iterator[Table]:
    """Read declarations by these entries, as this version would: to try what an entry will do."""
    table = Table(entries, version)
    token = _table.set(table)
    try:
        yield table
    finally:
        _table.reset(token)


@contextmanager
def within(place: str, file: str) -> Iterator[None]:
    """Name this place and file in warnings: for what no line of Python says, such as a stack's configuration."""
    token = _place.set((place, file))
    try:
        yield
    finally:
        _place.reset(token)


def mended(part: str, named: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a part under the names of today, with a warning for each that had another.

    Args:
        part: The part's class.
        named: What messages call it, e.g. `Gate('roc_auc')`.
        fields: As they are given.

    Raises:
        DeclarationError: When the time of an old name is over, or a field is given under two names.
    """
    table = current()
    old = [name for name in fields if name in table.of(part)]
    if not old:
        return fields
    kept, problems = {name: value for name, value in fields.items() if name not in old}, []
    for name in old:
        route = table.route(part, name)
        new, value = newest(route), fields[name]
        if table.is_over(route[0]):
            found = f"{_what(route)} and is refused from {route[0].until} on"
            problems.append(Diagnosis(f"{name} = {value!r}:", found, fix=_mend(new)))
            continue
        if new in kept:
            found = f"{_what(route)}, and {new} is given too"
            problems.append(Diagnosis(f"{name} = {value!r}:", found, fix=f"remove {name}"))
            continue
        _warn(f"{named}: {name} {_what(route)}; it will be refused from {route[0].until} on: {_mend(new)}")
        if new is not None:
            kept[new] = _converted(route, value)
    if problems:
        raise DeclarationError(named, problems)
    return kept


def read(part: str, named: str, name: str) -> str | None:
    """The name of today of an attribute that is read under an old one, with a warning; None where there is none."""
    table = current()
    route = table.route(part, name)
    if not route or table.is_over(route[0]) or (new := newest(route)) is None:
        return None
    if any(isinstance(entry, Renamed) and entry.unit for entry in route):
        return None
    _warn(f"{named}: {name} {_what(route)}; reading it will fail from {route[0].until} on: {_mend(new)}")
    return new


def newest(route: list[Entry]) -> str | None:
    """The name at the end of a route; None where the field is retired."""
    last = route[-1]
    return last.new if isinstance(last, Renamed) else None


def _converted(route: list[Entry], value: Any) -> Any:
    for entry in route:
        value = entry.value(value) if isinstance(entry, Renamed) else value
    return value


def _what(route: list[Entry]) -> str:
    """What became of the field, e.g. `is called bake since 0.2`."""
    last = route[-1]
    if isinstance(last, Retired):
        return f"has no effect since {last.since}: {last.why}"
    unit = next((entry.unit for entry in route if isinstance(entry, Renamed) and entry.unit), None)
    kind = f" and is a duration, not a number of {unit}," if unit else ""
    return f"is called {last.new}{kind} since {route[0].since}"


def _mend(new: str | None) -> str:
    return f"run `millrace upgrade`, or {'remove it' if new is None else 'rename it'}"


def _warn(message: str) -> None:
    """Once a process and place, at the line of the declaration that says it."""
    if place := _place.get():
        warnings.warn_explicit(f"{place[0]}: {message}", DeclarationWarning, place[1], 0, registry=_warned)
        return
    frame = _outside()
    file, line = (frame.f_code.co_filename, frame.f_lineno) if frame else ("declaration", 0)
    warnings.warn_explicit(message, DeclarationWarning, file, line, registry=_warned)


def _outside() -> FrameType | None:
    """The innermost frame that is neither the vocabulary's nor a library's that calls it."""
    own = Path(__file__).parent
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        folder = Path(frame.f_code.co_filename).parent
        if folder != own and "pydantic" not in folder.parts:
            return frame
        frame = frame.f_back
    return None


def _minor(version: str) -> tuple[int, ...]:
    """Major and minor number."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return tuple(numbers + [0] * (2 - len(numbers)))
