"""Durations and figures as the commands take and print them."""

from __future__ import annotations

from datetime import timedelta

import click
import pytest

from cli.console.durations import Duration


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
