"""Durations and figures as the commands take and print them."""

from __future__ import annotations

from datetime import timedelta

import click
import pytest

from cli.console.durations import Duration
from cli.console.output import format_duration, format_size


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (Duration(timedelta(hours=12)), "13h", "expected a duration of at most 12h in m, h, d or w"),
        (Duration(timedelta(days=30)), "5w", "expected a duration of at most 30d in m, h, d or w"),
        (Duration(timedelta(minutes=90)), "2h", "expected a duration of at most 90m in m, h, d or w"),
        (
            Duration(timedelta(days=1), timedelta(minutes=5)), "1m",
            "expected a duration of at least 5m and at most 1d in m, h, d or w",
        ),
        (Duration(shortest=timedelta(hours=2)), "90m", "expected a duration of at least 2h in m, h, d or w"),
        (Duration(), "soon", "expected a duration in m, h, d or w"),
    ],
)  # fmt: skip
def test_a_refused_duration_names_its_bounds(kind: Duration, given: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=f"'{given}'; {said}, e.g. 12h or 3d"):
        kind.convert(given, None, None)


def test_durations_at_the_bounds_are_accepted() -> None:
    kind = Duration(timedelta(days=1), timedelta(minutes=5))
    assert [kind.convert(text, None, None) for text in ("5m", "24h")] == [timedelta(minutes=5), timedelta(days=1)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (59.999, "1 min 00 s"),
        (60.0, "1 min 00 s"),
        (125.9, "2 min 05 s"),
    ],
)
def test_a_duration_of_almost_a_minute_is_a_minute(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (999, "999 bytes"),
        (999.6, "1.0 KB"),
        (1000, "1.0 KB"),
        (999_940, "999.9 KB"),
        (999_960, "1.0 MB"),
        (999_999_999, "1.0 GB"),
        (999_960_000_000, "1.0 TB"),
        (5e15, "5000.0 TB"),
    ],
)
def test_a_size_of_almost_a_unit_is_one(size: float, text: str) -> None:
    assert format_size(size) == text
