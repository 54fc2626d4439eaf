"""Schedule expressions: ``rate(…)``, ``cron(…)`` and ``at(…)``, and when they are next due."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from local.errors import LocalError

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_YEARS = (1970, 2199)


class ExpressionError(LocalError, ValueError):
    """A schedule expression that AWS would refuse."""


class Expression(Protocol):
    """A parsed schedule expression."""

    def next(self, after: float) -> float | None:
        """Return the first time after ``after``, in epoch seconds; None if there is none.

        Args:
            after: Epoch seconds.
        """


@dataclass(frozen=True)
class Rate:
    """A fixed interval in seconds."""

    seconds: float

    def next(self, after: float) -> float:
        """Return the time one interval after ``after``.

        Args:
            after: Epoch seconds, as is the result.
        """
        return after + self.seconds


@dataclass(frozen=True)
class At:
    """One time, in epoch seconds."""

    time: float

    def next(self, after: float) -> float | None:
        """Return the time if it is later than ``after``, else None.

        Args:
            after: Epoch seconds.
        """
        return self.time if self.time > after else None


@dataclass(frozen=True)
class Cron:
    """Six fields in a time zone: a time that the clocks skip is left out, one that they repeat is due once."""

    minutes: frozenset[int]
    hours: frozenset[int]
    is_day: Callable[[dt.date], bool]
    years: frozenset[int]
    zone: ZoneInfo

    def next(self, after: float) -> float | None:
        """Return the first matching time after ``after``; None after the last matching year.

        Args:
            after: Epoch seconds, as is the result.
        """
        day = dt.datetime.fromtimestamp(after, self.zone).date()
        while day.year <= max(self.years):
            if day.year not in self.years:
                day = dt.date(day.year + 1, 1, 1)
                continue
            if self.is_day(day) and (time := self._on(day, after)) is not None:
                return time
            day += dt.timedelta(days=1)
        return None

    def _on(self, day: dt.date, after: float) -> float | None:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                time = _instant(dt.datetime.combine(day, dt.time(hour, minute)), self.zone)
                if time is not None and time > after:
                    return time
        return None


def parse(expression: str, zone: str = "UTC", *, once: bool = False) -> Expression:
    """Parse a schedule expression.

    Args:
        expression: ``rate(…)``, ``cron(…)`` or ``at(…)``.
        zone: IANA name of the time zone of ``cron`` and ``at``.
        once: Whether ``at(…)`` is allowed: schedules support it, rules do not.

    Returns:
        The expression as a :class:`Rate`, :class:`Cron` or :class:`At`.

    Raises:
        ExpressionError: The expression or the time zone is not valid.
    """
    kind, inner = _split(expression)
    tz = _zone(zone)
    if kind == "rate":
        return _rate(inner, expression)
    if kind == "cron":
        return _cron(inner, expression, tz)
    if kind == "at" and once:
        try:
            when = dt.datetime.strptime(inner, "%Y-%m-%dT%H:%M:%S")
        except ValueError as error:
            raise ExpressionError(f"'{expression}': expected at(yyyy-mm-ddThh:mm:ss)") from error
        time = _instant(when, tz)
        if time is None:
            raise ExpressionError(f"'{expression}': this time does not exist in {zone}")
        return At(time)
    known = "rate(…), cron(…) or at(…)" if once else "rate(…) or cron(…)"
    raise ExpressionError(f"'{expression}': expected {known}")


def _split(expression: str) -> tuple[str, str]:
    match = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", expression)
    return (match[1], match[2].strip()) if match else ("", "")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ExpressionError(f"time zone '{name}': expected an IANA name such as Europe/Berlin") from error


def _instant(naive: dt.datetime, zone: ZoneInfo) -> float | None:
    """Return the first moment at which clocks in the zone show this time, epoch seconds; None if they skip it."""
    time = naive.replace(tzinfo=zone).timestamp()
    shown = dt.datetime.fromtimestamp(time, zone).replace(tzinfo=None)
    return time if shown == naive else None


def _rate(inner: str, expression: str) -> Rate:
    match = re.fullmatch(r"(\d+) (minute|hour|day)(s?)", inner)
    if not match or int(match[1]) < 1:
        raise ExpressionError(f"'{expression}': expected rate(<number above 0> minutes|hours|days)")
    number = int(match[1])
    if (number == 1) is bool(match[3]):
        raise ExpressionError(f"'{expression}': 1 takes minute, hour or day; more take minutes, hours or days")
    return Rate(float(number * _UNITS[match[2]]))


def _cron(inner: str, expression: str, zone: ZoneInfo) -> Cron:
    fields = inner.upper().split()
    if len(fields) != 6:
        expected = "six fields (minutes hours day-of-month month day-of-week year)"
        raise ExpressionError(f"'{expression}': expected {expected}, got {len(fields)}")
    minutes, hours, month_day, months, week_day, years = fields
    if (month_day == "?") == (week_day == "?"):
        raise ExpressionError(f"'{expression}': '?' belongs in exactly one of day-of-month and day-of-week")
    try:
        in_months = _numbers(months, 1, 12, _MONTHS)
        in_years = _numbers(years, *_YEARS)
        fits = _month_day(month_day) if week_day == "?" else _week_day(week_day)
        return Cron(
            _numbers(minutes, 0, 59),
            _numbers(hours, 0, 23),
            lambda day: day.month in in_months and fits(day),
            in_years,
            zone,
        )
    except ValueError as error:
        raise ExpressionError(f"'{expression}': {error}") from error


def _numbers(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    """Return the numbers of a field of ``*``, numbers, names, ranges, steps and lists of these."""

    def number(text: str) -> int:
        value = names.index(text) + low if text in names else int(text) if text.isdigit() else -1
        if not low <= value <= high:
            raise ValueError(f"'{text}' in '{field}' is not in {low}–{high}")
        return value

    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        elif dash:
            start, end = number(first), number(last)
        else:
            start = number(first)
            end = high if step else start
        if step and (not step.isdigit() or int(step) < 1):
            raise ValueError(f"'{step}' in '{field}' is not a step of 1 or more")
        # A range such as FRI-MON wraps around.
        round_the_end = [*range(start, high + 1), *range(low, end + 1)]
        numbers = range(start, end + 1) if start <= end else round_the_end
        found.update(numbers[:: int(step or 1)])
    return frozenset(found)


def _last_day(day: dt.date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _month_day(field: str) -> Callable[[dt.date], bool]:
    if field == "L":
        return lambda day: day.day == _last_day(day)
    if field == "LW":
        return lambda day: day == _nearest_weekday(day, _last_day(day))
    if match := re.fullmatch(r"(\d{1,2})W", field):
        wanted = int(match[1])
        if not 1 <= wanted <= 31:
            raise ValueError(f"'{field}' is not in 1W–31W")
        return lambda day: wanted <= _last_day(day) and day == _nearest_weekday(day, wanted)
    days = _numbers(field, 1, 31)
    return lambda day: day.day in days


def _nearest_weekday(day: dt.date, wanted: int) -> dt.date:
    """Return the weekday, Monday to Friday, nearest to the ``wanted`` day within the month of ``day``."""
    at = day.replace(day=wanted)
    if at.weekday() == 5:
        shift = -1 if wanted > 1 else 2
    elif at.weekday() == 6:
        shift = 1 if wanted < _last_day(day) else -2
    else:
        shift = 0
    return at + dt.timedelta(days=shift)


def _week_day(field: str) -> Callable[[dt.date], bool]:
    def number(day: dt.date) -> int:
        return day.isoweekday() % 7 + 1  # SUN is 1

    if field == "L":
        return lambda day: number(day) == 7
    if match := re.fullmatch(r"(\w+)L", field):
        (last,) = _numbers(match[1], 1, 7, _DAYS)
        return lambda day: number(day) == last and day.day + 7 > _last_day(day)
    if match := re.fullmatch(r"(\w+)#([1-5])", field):
        (nth,) = _numbers(match[1], 1, 7, _DAYS)
        week = int(match[2])
        return lambda day: number(day) == nth and (day.day + 6) // 7 == week
    days = _numbers(field, 1, 7, _DAYS)
    return lambda day: number(day) in days
