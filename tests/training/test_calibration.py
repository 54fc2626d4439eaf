"""Calibration against chance: figures by hand and by scipy, and how often a perfect model would alarm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.quality import draw_window, is_alarm
from training.calibration import FALSE_ALARMS, Spread, measure_calibration, measure_spread


def test_the_figures_are_those_of_a_calculation_by_hand() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(2, 5, 400)
    y = (rng.random(400) < p).astype(float)
    days = np.repeat(np.arange(10), 40)
    found = measure_calibration(y, p, days, Spread(), seed=0)
    assert (found.rows, found.days, found.observed) == (400, 10, int(y.sum()))
    assert found.expected == pytest.approx(p.sum())
    assert found.gap.value == pytest.approx(y.mean() - p.mean())
    # The squared error minus the one that the probabilities expect.
    assert found.excess.value == pytest.approx(np.mean((y - p) ** 2) - np.mean(p * (1 - p)))
    # A third of the rate, on both sides of a sum of independent outcomes.
    error = np.sqrt(np.sum(p * (1 - p))) / 400
    assert found.gap.chance == pytest.approx(stats.norm.isf(FALSE_ALARMS / 6) * error, rel=0.05)
    assert found.excess.chance == pytest.approx(
        stats.norm.isf(FALSE_ALARMS / 3) * np.sqrt(np.sum((1 - 2 * p) ** 2 * p * (1 - p))) / 400, rel=0.05
    )


def test_many_rows_are_drawn_like_few() -> None:
    rng = np.random.default_rng(2)
    p = rng.beta(1, 20, 5000)
    y, days = (rng.random(5000) < p).astype(float), np.repeat(np.arange(10), 500)
    one_by_one = measure_calibration(y, p, days, Spread(), seed=0)
    twice = measure_calibration(np.tile(y, 2), np.tile(p, 2), np.tile(days, 2), Spread(), seed=0)
    assert twice.gap.value == pytest.approx(one_by_one.gap.value)
    assert twice.gap.chance == pytest.approx(one_by_one.gap.chance / np.sqrt(2), rel=0.06)


@pytest.mark.parametrize("size", [0.0, 0.3])
def test_the_spread_of_days_is_found(size: float) -> None:
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y, p, days = draw_window(rng, 12_000, 0.3, size, days=60)
        spread = measure_spread(y, p, days)
        assert spread is not None
        assert spread.days == 60
        found.append(spread.size)
    assert np.mean(found) == pytest.approx(size, abs=0.06)


def test_two_days_tell_nothing_about_their_spread() -> None:
    y, p, days = draw_window(np.random.default_rng(3), 500, 0.3, 0.2, days=2)
    assert measure_spread(y, p, days) is None


@pytest.mark.parametrize(
    ("rows", "base", "size"), [(200, 0.26, 0.0), (200, 0.02, 0.3), (500, 0.5, 0.3), (2000, 0.1, 0.0)]
)
def test_a_perfect_model_hardly_ever_alarms(rows: int, base: float, size: float) -> None:
    windows = 60
    found = [is_alarm(np.random.default_rng((rows, seed)), rows, base, size) for seed in range(windows)]
    bound = stats.binom.ppf(0.99, windows, FALSE_ALARMS)
    assert sum(calibration for calibration, _ in found) <= bound
    assert sum(quality for _, quality in found) <= bound


@pytest.mark.parametrize("base", [0.1, 0.26, 0.5])
def test_a_bias_of_eight_points_is_seen_with_five_hundred_outcomes(base: float) -> None:
    found = [is_alarm(np.random.default_rng((9, seed)), 500, base, 0.0, bias=0.08)[0] for seed in range(25)]
    assert sum(found) >= stats.binom.ppf(0.01, 25, 0.8)
