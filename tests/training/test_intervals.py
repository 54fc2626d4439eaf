"""Intervals by a bootstrap of days: each draw against scikit-learn's weighted metrics, and how often they are right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from benchmarks import simulated
from benchmarks.simulated import Array
from training.intervals import DRAWS, Bootstrap

Weighted = Callable[[Array, Array, Array], float]
EXPECTED: dict[str, Weighted] = {
    "roc_auc": lambda y, p, w: sk.roc_auc_score(y, p, sample_weight=w),
    "average_precision": lambda y, p, w: sk.average_precision_score(y, p, sample_weight=w),
    "brier": lambda y, p, w: sk.brier_score_loss(y, p, sample_weight=w),
    "log_loss": lambda y, p, w: sk.log_loss(y, p, sample_weight=w),
    "brier_skill": lambda y, p, w: sk.r2_score(y, p, sample_weight=w),
    "mae": lambda y, p, w: sk.mean_absolute_error(y, p, sample_weight=w),
    "rmse": lambda y, p, w: sk.root_mean_squared_error(y, p, sample_weight=w),
    "r2": lambda y, p, w: sk.r2_score(y, p, sample_weight=w),
    "bias": lambda y, p, w: abs(np.average(p - y, weights=w)),
}


def draw(rows: int = 300, days: int = 15, seed: int = 5) -> tuple[simulated.Rows, Array]:
    rng = np.random.default_rng(seed)
    drawn = simulated.draw_rows(rng, rows, days, day_effect=0.5)
    # Rounded, so that there are ties.
    return drawn, simulated.predict(rng, drawn, 0.005).clip(0.02, 0.98).round(2)


@pytest.mark.parametrize("metric", sorted(EXPECTED))
def test_each_draw_is_the_weighted_metric(metric: str) -> None:
    rows, p = draw()
    bootstrap = Bootstrap(rows.y, p, rows.day, seed=1)
    assert bootstrap.weights.shape == (DRAWS, 15)
    assert (bootstrap.weights.sum(axis=1) == 15).all()
    values = [EXPECTED[metric](rows.y, p, weights[rows.day]) for weights in bootstrap.weights]
    assert bootstrap.find_interval(metric, 0.9) == pytest.approx(np.quantile(values, [0.05, 0.95]), rel=1e-9)


def test_a_target_far_from_zero_has_the_interval_of_its_deviations() -> None:
    rows, p = draw()
    near, far = (
        Bootstrap(rows.y + offset, p + offset, rows.day, seed=1).find_interval("r2", 0.9) for offset in (0.0, 1e8)
    )
    assert far == pytest.approx(near, abs=1e-5)


def compute_drawn_error(y: Array, p: Array) -> float:
    """Return the debiased error of drawn rows, whose gaps hold the chance of the outcomes and that of the draw."""
    total = 0.0
    for part in np.array_split(np.argsort(p, kind="stable"), 10):
        gap = abs(float(np.mean(y[part] - p[part])))
        error = np.sqrt(2 * np.sum(p[part] * (1 - p[part]))) / len(part)
        total += len(part) * (2 * gap - stats.foldnorm.mean(gap / error, scale=error))
    return max(0.0, total / len(y))


def test_a_draw_of_the_calibration_error_is_that_of_its_rows() -> None:
    rows, p = draw(3000, 30)
    bootstrap = Bootstrap(rows.y, p, rows.day, seed=1)
    values = []
    for weights in bootstrap.weights:
        drawn = np.repeat(np.arange(3000), weights[rows.day].astype(int))
        values.append(compute_drawn_error(rows.y[drawn], p[drawn]))
    # Copies of one row may fall into two bins where rows are drawn, and never where they have weights.
    assert bootstrap.find_interval("ece", 0.9) == pytest.approx(np.quantile(values, [0.05, 0.95]), abs=2e-3)


def is_covered(seed: int, rows_as_blocks: bool) -> bool:
    """Tell whether the interval of a known error contains it, where each day shifts all of its outcomes."""
    rng = np.random.default_rng(seed)
    rows = simulated.draw_rows(rng, 1500, 30)
    shift = rng.normal(0, 0.15, 30)[rows.day]
    y = rows.probability + shift + rng.normal(0, 0.05, 1500)
    blocks = np.arange(1500) if rows_as_blocks else rows.day
    interval = Bootstrap(y, rows.probability, blocks, seed).find_interval("rmse", 0.9)
    assert interval is not None
    return bool(interval[0] <= np.hypot(0.15, 0.05) <= interval[1])


def test_the_interval_contains_the_true_value_as_often_as_it_says() -> None:
    covered = [is_covered(seed, rows_as_blocks=False) for seed in range(200)]
    assert 0.8 <= np.mean(covered) <= 0.97
    # If rows were blocks, the interval of .9 would be right in fewer than half of the cases.
    assert np.mean([is_covered(seed, rows_as_blocks=True) for seed in range(20)]) < 0.6


def test_there_is_no_interval_of_two_days_or_of_hardly_any_positives() -> None:
    rows, p = draw(300, 2)
    assert Bootstrap(rows.y, p, rows.day, 0).find_interval("brier", 0.9) is None
    rows, p = draw()
    one_day = np.where(rows.day == 3, rows.y, 0.0)
    assert one_day.sum() > 0
    assert Bootstrap(one_day, p, rows.day, 0).find_interval("roc_auc", 0.9) is None
    assert Bootstrap(one_day, p, rows.day, 0).find_interval("brier", 0.9) is not None
