"""Rollouts: what is refused, their stages and their duration."""

from __future__ import annotations

from typing import Any

import pytest

from millrace import DeclarationError
from millrace.rollout import Rollout, Traffic, list_linear_stages


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"traffic": Traffic.CANARY, "step_percent": 51}, "less than or equal to 50"),
        ({"traffic": Traffic.CANARY, "step_percent": 0}, "greater than or equal to 1"),
        (
            {"traffic": Traffic.LINEAR, "step_percent": 9},
            "step_percent=9 is too small for traffic 'linear'; expected 10",
        ),
        ({"bake_seconds": -1}, "greater than or equal to 0"),
        ({"bake_seconds": 3601}, "less than or equal to 3600"),
        ({"max_seconds": 599}, "greater than or equal to 600"),
        ({"max_seconds": 3301}, "less than or equal to 3300"),
        # Two waits: the bake, and the one before the old fleet is terminated.
        ({"bake_seconds": 1500}, "takes 3000 s; expected less than max_seconds=3000: shorten the bake"),
        ({"traffic": Traffic.CANARY, "bake_seconds": 1000}, "takes 3000 s; expected less than max_seconds=3000"),
        ({"traffic": Traffic.LINEAR, "step_percent": 30, "bake_seconds": 600}, "takes 3000 s; expected less than"),
    ],
)
def test_an_invalid_rollout_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        Rollout(**changes)
    assert said in str(refused.value)


def test_a_canary_may_be_as_small_as_one_percent() -> None:
    assert Rollout(traffic=Traffic.CANARY, step_percent=1).stages == [1, 100]


@pytest.mark.parametrize("traffic", list(Traffic))
@pytest.mark.parametrize("step", [10, 33, 50])
@pytest.mark.parametrize("bake", [0, 60, 299, 750, 1200, 1650, 3299])
def test_a_rollout_ends_within_max_seconds_or_is_refused(traffic: Traffic, step: int, bake: int) -> None:
    """Compare with the number of traffic shifts counted by hand, plus one final wait."""
    shifts = {"all_at_once": 1, "canary": 2, "linear": {10: 10, 33: 4, 50: 2}[step]}[traffic.value]
    given = {"traffic": traffic, "step_percent": step, "bake_seconds": bake, "max_seconds": 3300}
    if (shifts + 1) * bake >= 3300:
        with pytest.raises(ValueError, match="shorten"):
            Rollout(**given)  # type: ignore[arg-type]
        return
    made = Rollout(**given)  # type: ignore[arg-type]
    assert len(made.stages) == shifts
    assert made.stages[-1] == 100
    assert made.bake_total == (shifts + 1) * bake


@pytest.mark.parametrize(
    ("step", "stages"),
    [(50, [50, 100]), (30, [30, 60, 90, 100]), (33.3, [33.3, 66.6, pytest.approx(99.9), 100]), (25, [25, 50, 75, 100])],
)
def test_the_last_linear_step_takes_the_remainder(step: float, stages: list[float]) -> None:
    assert list_linear_stages(step) == stages
