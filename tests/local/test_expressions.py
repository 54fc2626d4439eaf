"""Schedule expressions: which are valid, and when they are due, computed by hand with a calendar."""

from __future__ import annotations

import datetime as dt

import pytest

from local.services.eventbridge import expressions


def to_timestamp(utc: str) -> float:
    return dt.datetime.fromisoformat(utc + "+00:00").timestamp()


def format_time(time: float | None) -> str | None:
    return None if time is None else dt.datetime.fromtimestamp(time, dt.UTC).strftime("%Y-%m-%dT%H:%M")


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minute)", "rate(5 minutes)", "rate(1 hour)", "rate(12 hours)", "rate(1 day)", "rate(7 days)",
        "cron(0 12 * * ? *)", "cron(15 6 ? * MON *)", "cron(0/15 8-17 ? JAN,MAR 2-6 2026-2028)", "cron(0 0 L * ? *)",
        "cron(0 0 LW * ? *)", "cron(0 0 1W * ? *)", "cron(0 0 ? * 6L *)", "cron(0 0 ? * FRI#2 *)", "cron(0 0 ? * L *)",
        "cron(0 0 ? * sun *)",
    ],
)  # fmt: skip
def test_valid_expressions_have_a_next_run(expression: str) -> None:
    assert expressions.parse(expression).next(to_timestamp("2026-01-01T00:00")) is not None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("rate(1 minutes)", "1 takes minute"), ("rate(5 minute)", "more take minutes"), ("rate(0 minutes)", "above 0"),
        ("rate(-1 minutes)", "expected rate"), ("rate(1.5 hours)", "expected rate"), ("rate(1 week)", "expected rate"),
        ("rate(minute)", "expected rate"), ("rate 1 hour", "expected rate"), ("", "expected rate"),
        ("every(1 hour)", "expected rate"),
        ("cron(0 12 * * ?)", "six fields.*got 5"), ("cron(0 12 * * * *)", "exactly one"),
        ("cron(0 12 ? * ? *)", "exactly one"), ("cron(0 12 1 * MON *)", "exactly one"),
        ("cron(60 12 * * ? *)", "0–59"), ("cron(0 24 * * ? *)", "0–23"), ("cron(0 12 32 * ? *)", "1–31"),
        ("cron(0 12 0 * ? *)", "1–31"), ("cron(0 12 * 13 ? *)", "1–12"), ("cron(0 12 ? * 8 *)", "1–7"),
        ("cron(0 12 ? * 0 *)", "1–7"), ("cron(0 12 ? * FOO *)", "FOO"), ("cron(0 12 * * ? 1969)", "1970–2199"),
        ("cron(0/0 12 * * ? *)", "step"), ("cron(5- 12 * * ? *)", "0–59"), ("cron(0 12 ? * 2#6 *)", "2#6"),
        ("cron(0 12 L-3 * ? *)", "L"), ("cron(0 12 32W * ? *)", "1W–31W"),
        ("at(2026-12-01T06:15:00)", r"expected rate\(…\) or cron"),
    ],
)  # fmt: skip
def test_invalid_expressions_are_refused(expression: str, message: str) -> None:
    with pytest.raises(expressions.ExpressionError, match=message):
        expressions.parse(expression)


@pytest.mark.parametrize(
    ("expression", "zone", "message"),
    [
        ("at(2026-02-30T06:15:00)", "UTC", "yyyy-mm-dd"),
        ("at(2026-12-01 06:15:00)", "UTC", "yyyy-mm-dd"),
        ("at(2026-03-29T02:30:00)", "Europe/Berlin", "does not exist"),
        ("cron(0 12 * * ? *)", "Europe/Bärlin", "IANA"),
    ],
)
def test_invalid_schedule_expressions_are_refused(expression: str, zone: str, message: str) -> None:
    with pytest.raises(expressions.ExpressionError, match=message):
        expressions.parse(expression, zone, once=True)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("rate(5 minutes)", "2026-01-01T10:07", "2026-01-01T10:12"),
        ("cron(0 12 * * ? *)", "2026-01-01T11:59", "2026-01-01T12:00"),
        ("cron(0 12 * * ? *)", "2026-01-01T12:00", "2026-01-02T12:00"),
        ("cron(0/15 * * * ? *)", "2026-01-01T10:07", "2026-01-01T10:15"),
        ("cron(0/15 * * * ? *)", "2026-01-01T23:45", "2026-01-02T00:00"),
        ("cron(*/20 * * * ? *)", "2026-01-01T10:40", "2026-01-01T11:00"),
        ("cron(0 10/4 * * ? *)", "2026-01-01T22:00", "2026-01-02T10:00"),
        ("cron(5,35 14 * * ? *)", "2026-01-01T14:05", "2026-01-01T14:35"),
        # 1 January 2026 is a Thursday.
        ("cron(0 18 ? * MON-FRI *)", "2026-01-02T18:00", "2026-01-05T18:00"),
        ("cron(0 18 ? * 1 *)", "2026-01-01T00:00", "2026-01-04T18:00"),
        ("cron(0 22 ? * FRI-MON *)", "2026-01-06T00:00", "2026-01-09T22:00"),
        ("cron(0 22 ? * FRI-MON/2 *)", "2026-01-09T22:00", "2026-01-11T22:00"),
        ("cron(0 5 ? * L *)", "2026-01-01T00:00", "2026-01-03T05:00"),
        ("cron(15 10 ? * 6L *)", "2026-01-01T00:00", "2026-01-30T10:15"),
        ("cron(0 9 ? * 2#1 *)", "2026-01-01T00:00", "2026-01-05T09:00"),
        ("cron(0 9 ? * THU#5 *)", "2026-01-30T00:00", "2026-04-30T09:00"),
        ("cron(0 9 L * ? *)", "2026-02-01T00:00", "2026-02-28T09:00"),
        ("cron(0 9 L * ? *)", "2028-02-01T00:00", "2028-02-29T09:00"),
        # 15 August 2026 is a Saturday, 15 November a Sunday, 1 August a Saturday, 31 May a Sunday.
        ("cron(0 9 15W * ? *)", "2026-08-01T00:00", "2026-08-14T09:00"),
        ("cron(0 9 15W * ? *)", "2026-11-01T00:00", "2026-11-16T09:00"),
        ("cron(0 9 1W * ? *)", "2026-08-01T00:00", "2026-08-03T09:00"),
        ("cron(0 9 31W * ? *)", "2026-05-01T00:00", "2026-05-29T09:00"),
        ("cron(0 9 31W * ? *)", "2026-06-01T00:00", "2026-07-31T09:00"),
        ("cron(0 9 LW * ? *)", "2026-02-01T00:00", "2026-02-27T09:00"),
        ("cron(0 8 1 FEB-APR/2 ? *)", "2026-02-01T08:00", "2026-04-01T08:00"),
        ("cron(0 0 29 2 ? *)", "2025-01-01T00:00", "2028-02-29T00:00"),
        ("cron(0 0 1 1 ? 2050)", "2026-01-01T00:00", "2050-01-01T00:00"),
        ("cron(0 0 1 1 ? 2020)", "2026-01-01T00:00", None),
        ("cron(0 0 31 2 ? *)", "2026-01-01T00:00", None),
    ],
)
def test_next_run_in_utc(expression: str, after: str, expected: str | None) -> None:
    assert format_time(expressions.parse(expression).next(to_timestamp(after))) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Winter time is UTC+1 in Berlin, summer time UTC+2.
        ("cron(15 6 ? * MON *)", "Europe/Berlin", "2026-01-01T00:00", "2026-01-05T05:15"),
        ("cron(15 6 ? * MON *)", "Europe/Berlin", "2026-07-01T00:00", "2026-07-06T04:15"),
        # On 29 March 2026 the clocks go from 2:00 to 3:00, on 25 October from 3:00 back to 2:00.
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T01:30", "2026-03-30T00:30"),
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-25T00:30", "2026-10-26T01:30"),
        # In New York on 8 March 2026, from 2:00 to 3:00.
        ("cron(30 2 * * ? *)", "America/New_York", "2026-03-08T05:00", "2026-03-09T06:30"),
        # The day is the zone's: 23:30 UTC on New Year's Eve is 8:30 of the first in Tokyo.
        ("cron(0 9 1 * ? *)", "Asia/Tokyo", "2025-12-31T23:30", "2026-01-01T00:00"),
        ("at(2026-12-01T06:15:00)", "Europe/Berlin", "2026-01-01T00:00", "2026-12-01T05:15"),
        ("at(2026-12-01T06:15:00)", "UTC", "2026-12-01T06:15", None),
    ],
)
def test_next_run_in_a_time_zone(expression: str, zone: str, after: str, expected: str | None) -> None:
    assert format_time(expressions.parse(expression, zone, once=True).next(to_timestamp(after))) == expected
