"""Durations on the command line, such as `30d`, `12h` or `30m`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: The form of a duration: a number and its unit.
DURATION = re.compile(r"(\d{1,5})([mhdw])")


def spell_duration(text: str) -> str:
    """Return a duration in words: `72 hours` for `72h`.

    Args:
        text: A duration in the form of `DURATION`.
    """
    match = DURATION.fullmatch(text)
    assert match is not None, text
    return f"{match[1]} {_UNITS[match[2]]}"


class Duration(click.ParamType[timedelta]):
    """The type of an option that takes a duration.

    Args:
        longest: The longest duration that is accepted; None accepts all.
        shortest: The shortest duration that is accepted.
    """

    name = "duration"

    def __init__(self, longest: timedelta | None = None, shortest: timedelta = timedelta(0)) -> None:
        self._longest, self._shortest = longest, shortest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse a number with its unit.

        Args:
            value: The text, or a duration, which is returned as it is.
            param: The option, named in the error; None if there is none.
            ctx: The context of the command, shown in the error; None outside a command.

        Returns:
            The duration.

        Raises:
            click.BadParameter: The text is not a duration, or is outside the bounds.
        """
        if isinstance(value, timedelta):
            return value
        match = DURATION.fullmatch(str(value).strip())
        found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
        if found is None or found < self._shortest or (self._longest is not None and found > self._longest):
            self.fail(f"{value!r}; expected a duration{self._bounds} in m, h, d or w, e.g. 12h or 3d", param, ctx)
        return found

    @property
    def _bounds(self) -> str:
        bounds = [f"at least {_format_bound(self._shortest)}"] if self._shortest else []
        if self._longest is not None:
            bounds.append(f"at most {_format_bound(self._longest)}")
        return f" of {' and '.join(bounds)}" if bounds else ""


def _format_bound(bound: timedelta) -> str:
    """Return a bound in the largest unit of which it is a whole number."""
    minutes = bound.total_seconds() / 60
    for unit, length in (("d", 1440), ("h", 60)):
        if minutes and minutes % length == 0:
            return f"{minutes / length:.0f}{unit}"
    return f"{minutes:g}m"
