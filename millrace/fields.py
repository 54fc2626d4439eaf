"""The types of a declaration's fields, with the patterns and limits that each field of that type has."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from millrace.errors import InvalidValueError

#: A duration of no time, the lowest bound of durations.
NOTHING = timedelta(0)


def _require_unit(given: Any) -> Any:
    """Refuse a number, which would silently count as seconds; return any other value."""
    try:
        number = float(given)
    except (TypeError, ValueError):
        return given
    raise InvalidValueError(
        f"{given!r}", "has no unit", expected="a duration", fix=f"write timedelta(minutes={number:g})"
    )


def _require_whole_minutes(every: timedelta) -> timedelta:
    if every < timedelta(minutes=1) or every % timedelta(minutes=1):
        raise InvalidValueError(
            f"{every}",
            "is not a whole number of minutes",
            expected="at least one minute, in whole minutes",
            fix="round it",
        )
    return every


def _require_plain(given: Any) -> bool | int | float | str:
    if not isinstance(given, bool | int | float | str):
        kind = type(given).__name__
        raise InvalidValueError(
            f"{given!r}", f"is a {kind}", expected="a truth value, a number or text", fix="split it or write it as text"
        )
    if isinstance(given, float) and not math.isfinite(given):
        raise InvalidValueError(f"{given!r}", "is not finite", expected="a finite number", fix="change it")
    return given


Column = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=28)]
# No underscore at its end: it becomes a hyphen in the feature group's name, which may not end with one.
TableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_+[a-z0-9]+)*$", max_length=20)]
Duration = Annotated[timedelta, BeforeValidator(_require_unit)]
#: A duration that is longer than none.
Span = Annotated[timedelta, Field(gt=NOTHING), BeforeValidator(_require_unit)]
Interval = Annotated[timedelta, BeforeValidator(_require_unit), AfterValidator(_require_whole_minutes)]
Parameter = Annotated[bool | int | float | str, BeforeValidator(_require_plain)]
