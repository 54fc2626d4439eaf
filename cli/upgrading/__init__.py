"""The changes that `millrace upgrade` makes to files: to Python declarations and to stack files."""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace.deprecations import Entry, Renamed, Retired, newest
from millrace.errors import MillraceError


@dataclass(frozen=True)
class Finding:
    """One place where a declaration uses an old field.

    Attributes:
        line: The line in the original file.
        part: The class of the part, e.g. `Rollout`.
        old: The field's old name.
        new: The field's current name; None if the field is retired.
        text: What is changed, or what a person has to change.
        by_hand: Whether a person has to change it.
    """

    line: int
    part: str
    old: str
    new: str | None
    text: str
    by_hand: bool = False


@dataclass
class Upgraded:
    """The upgraded content of a file, with the findings about it."""

    content: bytes
    findings: list[Finding] = field(default_factory=list)


class UnreadableSourceError(MillraceError):
    """An error about a file that cannot be parsed."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__("the file" if line is None else f"line {line}", f"cannot be read: {message}")
        self.line, self.message = line, message


def unit(route: list[Entry]) -> str | None:
    """Return the unit of the old number if the new value is a duration, else None."""
    return next((entry.unit for entry in route if isinstance(entry, Renamed) and entry.unit), None)


def done(line: int, part: str, name: str, route: list[Entry]) -> Finding:
    """Return the finding about a field that is changed automatically."""
    new = newest(route)
    if new is None:
        return Finding(line, part, name, None, f"{part}: {name} removed: {why(route)}")
    became = f" (a duration; it was a number of {unit(route)})" if unit(route) else ""
    return Finding(line, part, name, new, f"{part}: {name} → {new}{became}")


def by_hand(line: int, part: str, name: str, route: list[Entry], reason: str) -> Finding:
    """Return the finding about a field that a person has to change."""
    return Finding(line, part, name, newest(route), f"{part}: {reason}", by_hand=True)


def twice(line: int, part: str, name: str, route: list[Entry]) -> Finding:
    """Return the finding about a field that is given under both its old and its current name."""
    reason = f"{name} is called {newest(route)}, which is given too; remove {name} by hand"
    return by_hand(line, part, name, route, reason)


def why(route: list[Entry]) -> str:
    """Return why a retired field has no effect; empty if the field is not retired."""
    last = route[-1]
    return last.why if isinstance(last, Retired) else ""
