"""What `millrace upgrade` does to a file: Python declarations and the stacks' configurations."""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace.deprecations import Entry, Renamed, Retired, newest
from millrace.errors import MillraceError


@dataclass(frozen=True)
class Finding:
    """One place where a declaration says something old.

    Attributes:
        line: In the file as it was.
        part: The class of the part, e.g. `Rollout`.
        old: The name that stands there.
        new: The name of today; None where the field is retired.
        text: What is done about it, or what a person has to do.
        by_hand: Whether a person has to.
    """

    line: int
    part: str
    old: str
    new: str | None
    text: str
    by_hand: bool = False


@dataclass
class Upgraded:
    """A file's content and what was found in it."""

    content: bytes
    findings: list[Finding] = field(default_factory=list)


class UnreadableSourceError(MillraceError):
    """The file cannot be parsed."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__("the file" if line is None else f"line {line}", f"cannot be read: {message}")
        self.line, self.message = line, message


def unit(route: list[Entry]) -> str | None:
    """The unit of the old number where the new value is a duration."""
    return next((entry.unit for entry in route if isinstance(entry, Renamed) and entry.unit), None)


def done(line: int, part: str, name: str, route: list[Entry]) -> Finding:
    """What was changed without a person's help."""
    new = newest(route)
    if new is None:
        return Finding(line, part, name, None, f"{part}: {name} removed: {why(route)}")
    became = f" (a duration; it was a number of {unit(route)})" if unit(route) else ""
    return Finding(line, part, name, new, f"{part}: {name} → {new}{became}")


def by_hand(line: int, part: str, name: str, route: list[Entry], reason: str) -> Finding:
    """What a person has to change."""
    return Finding(line, part, name, newest(route), f"{part}: {reason}", by_hand=True)


def twice(line: int, part: str, name: str, route: list[Entry]) -> Finding:
    """A field that stands there under both names."""
    reason = f"{name} is called {newest(route)}, which is given too; remove {name} by hand"
    return by_hand(line, part, name, route, reason)


def why(route: list[Entry]) -> str:
    """Why a retired field has no effect."""
    last = route[-1]
    return last.why if isinstance(last, Retired) else ""
