"""The changes that `millrace upgrade` makes to files: to Python declarations and to stack files."""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace.deprecations import Entry, Renamed, Retired, get_current_name
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


def find_unit(route: list[Entry]) -> str | None:
    """Return the unit of the old number if the new value is a duration, else None."""
    return next((entry.unit for entry in route if isinstance(entry, Renamed) and entry.unit), None)


def make_automatic_finding(line: int, part: str, name: str, route: list[Entry]) -> Finding:
    """Return the finding about a field that is changed automatically."""
    new = get_current_name(route)
    if new is None:
        return Finding(line, part, name, None, f"{part}: {name} removed: {explain_retirement(route)}")
    became = f" (a duration; it was a number of {find_unit(route)})" if find_unit(route) else ""
    return Finding(line, part, name, new, f"{part}: {name} → {new}{became}")


def make_manual_finding(line: int, part: str, name: str, route: list[Entry], reason: str) -> Finding:
    """Return the finding about a field that a person has to change."""
    return Finding(line, part, name, get_current_name(route), f"{part}: {reason}", by_hand=True)


def make_duplicate_finding(line: int, part: str, name: str, route: list[Entry]) -> Finding:
    """Return the finding about a field that is given under both its old and its current name."""
    reason = f"{name} is now called {get_current_name(route)}, which is also given; remove {name} by hand"
    return make_manual_finding(line, part, name, route, reason)


def explain_retirement(route: list[Entry]) -> str:
    """Return why a retired field has no effect; empty if the field is not retired."""
    last = route[-1]
    return last.why if isinstance(last, Retired) else ""
