"""Thresholds of drift against scipy, and how often a window without and with drift alarms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.drift import EFFECT, draw_window
from benchmarks.simulated import Array
from millrace.monitor_report import Shift
from training.drift import compute_baseline
from training.significance import (
    FALSE_ALARMS,
    FALSE_WARNINGS,
    MISSING,
    NEW,
    VALUES,
    compare_counts,
    measure_excess,
    measure_shifts,
)


def shifts(then: Array, now: Array, tests: int = 1) -> dict[str, Shift]:
    found = measure_shifts(compute_baseline({"x": then})["x"], now, tests=tests, effect=EFFECT)
    return {shift.kind: shift for shift in found}


def texts(**counts: int) -> Array:
    return np.repeat(np.array(list(counts), dtype=object), list(counts.values()))


# -- one test ----------------------------------------------------------------------------------------------------------


def test_the_index_is_that_of_a_calculation_by_hand() -> None:
    found = shifts(texts(a=60, b=40), texts(a=30, b=70))[VALUES]
    # Half a row is added to each of the two bins.
    then, now = [60.5 / 101, 40.5 / 101], [30.5 / 101, 70.5 / 101]
    expected = sum((b - a) * math.log(b / a) for a, b in zip(then, now, strict=True))
    assert found.value == pytest.approx(expected)
    assert found.ratio == pytest.approx(expected / found.threshold)


@pytest.mark.parametrize(("rows", "tests", "excess"), [
    (200, 1, 0.0), (200, 76, 0.0), (20_000, 76, 0.0), (500, 10, 0.1),
])  # fmt: skip
def test_a_threshold_is_what_chance_exceeds_or_the_effect_size(rows: int, tests: int, excess: float) -> None:
    values = np.random.default_rng(0).random(2000).astype(np.float32)
    bins = compute_baseline({"x": values})["x"] | {"excess": excess}
    found = measure_shifts(bins, np.resize(values, rows), tests=tests, effect=EFFECT)[0]
    scale = 1 / 2000 + 1 / rows

    def chance(rate: float) -> float:
        # Ten bins; what days add is a chi-square of one degree of freedom, however many rows there are.
        return float(scale * stats.chi2.isf(rate / tests, 9) + excess * stats.chi2.isf(rate / tests, 1))

    assert found.threshold == pytest.approx(max(0.25, chance(FALSE_ALARMS)))
    assert found.warning == pytest.approx(max(0.1, chance(FALSE_WARNINGS)))


def test_rare_bins_are_merged() -> None:
    index = compare_counts(False, np.array([50.0, 1, 40, 2, 3, 4]), np.array([50.0, 0, 40, 10, 0, 0]))
    assert index is not None
    assert index.bins == 3
    # A single rare bin joins the smallest of the others; in an order, neighbours are merged.
    index = compare_counts(False, np.array([50.0, 1, 40]), np.array([50.0, 1, 40]))
    assert index is not None
    assert (index.bins, index.value) == (2, 0.0)
    index = compare_counts(True, np.array([3.0, 3, 3, 50, 2]), np.array([30.0, 0, 0, 30, 1]))
    assert index is not None
    assert index.bins == 2
    assert compare_counts(True, np.array([3.0, 90]), np.array([50.0, 50])) is None
    assert compare_counts(True, np.array([4.0, 4]), np.array([4.0, 4])) is None


def test_a_constant_that_moves_is_new() -> None:
    found = shifts(np.full(500, 3, np.float32), np.full(300, 4, np.float32))
    assert VALUES not in found
    assert (found[NEW].value, found[NEW].ratio > 1) == (1.0, True)
    same = shifts(np.full(500, 3, np.float32), np.full(300, 3, np.float32))
    assert max(shift.ratio for shift in same.values()) == 0.0


def test_a_caller_who_sends_another_unit_is_out_of_range() -> None:
    rng = np.random.default_rng(1)
    now = rng.lognormal(0, 1, 2000).astype(np.float32)
    now[:200] *= 1000
    found = shifts(rng.lognormal(0, 1, 2000).astype(np.float32), now)
    assert found[NEW].value == pytest.approx(0.1, abs=0.01)
    assert found[NEW].ratio > 1


def test_unseen_levels_are_new() -> None:
    found = shifts(texts(a=900, b=100), texts(a=800, b=80, c=120))
    assert found[NEW].value == pytest.approx(0.12)
    assert found[NEW].ratio > 1


def test_missing_values_are_a_test_of_their_own() -> None:
    rng = np.random.default_rng(2)

    def column(missing: float) -> Array:
        return np.where(rng.random(2000) < missing, np.nan, rng.random(2000)).astype(np.float32)

    moved = shifts(column(0.3), column(0.7))
    assert moved[MISSING].ratio > 1 > moved[VALUES].ratio
    # Where hardly anything was missing, the share itself is tested.
    assert shifts(column(0.0), column(0.04))[MISSING].ratio < 1
    assert shifts(column(0.0), column(0.1))[MISSING].value == pytest.approx(0.1, abs=0.02)
    assert shifts(column(0.0), column(0.1))[MISSING].ratio > 1
    # And where hardly anything was present, the share of what is present.
    assert shifts(np.full(2000, np.nan, np.float32), column(0.8))[MISSING].ratio > 1


@pytest.mark.parametrize(("rows", "seen", "of"), [(200, 2, 200), (2000, 2, 5000), (20_000, 0, 300), (500, 40, 1000)])
def test_a_share_of_rare_values_is_bounded_as_a_beta_binomial_says(rows: int, seen: int, of: int) -> None:
    """Values seen ``seen`` times are as rare in the population as a beta distribution says."""
    levels = {f"s{number}": 1 for number in range(seen)}
    found = shifts(texts(common=of - seen, **levels), texts(common=rows), tests=10)[NEW]
    exact = stats.betabinom(rows, seen + 1, of - seen).isf(FALSE_ALARMS / 10) / rows
    # Never below the exact quantile, and not far above it; 5 % of new values are never too few to matter.
    assert exact <= found.threshold <= max(0.05, 1.6 * exact + 3 / rows)


def test_no_rows_and_a_baseline_without_rows_are_not_tested() -> None:
    bins = compute_baseline({"x": np.arange(100, dtype=np.float32)})["x"]
    assert measure_shifts(bins, np.empty(0, np.float32), tests=1, effect=EFFECT) == []
    assert measure_shifts({**bins, "rows": 0}, np.ones(50, np.float32), tests=1, effect=EFFECT) == []


# -- excess ------------------------------------------------------------------------------------------------------------


def draw_days(rng: np.random.Generator, days: int, a_day: int, effect: float) -> tuple[Array, Array]:
    """Return values and times of rows whose days differ by a normal effect of the given size."""
    day = np.repeat(np.arange(days), a_day)
    values = effect * rng.standard_normal(days)[day] + rng.standard_normal(len(day))
    return values.astype(np.float32), np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D")


def inflate(values: Array, times: Array, days: int) -> dict[str, Any]:
    bins = compute_baseline({"x": values})["x"]
    return measure_excess(bins, values, times, np.timedelta64(days, "D"))


def test_independent_rows_have_no_excess_and_days_have() -> None:
    rng = np.random.default_rng(3)
    plain = inflate(*draw_days(rng, 280, 50, 0.0), days=28)
    assert plain["windows"] == 10
    # The index of 1,400 rows against 12,600 is (1/1400 + 1/12600) · 9 = .0071 on average.
    assert 0.0 <= plain["excess"] < 0.4 * 0.0071
    different = inflate(*draw_days(rng, 280, 50, 0.5), days=28)
    # The mean of a window varies by 1 + 50 · .25 / 1.25 = 11 times as much, and most of what else is in a bin does not.
    assert 0.5 * 0.0071 < different["excess"] < 10 * 0.0071


def test_missing_values_have_an_excess_of_their_own() -> None:
    rng = np.random.default_rng(4)
    values, times = draw_days(rng, 112, 50, 0.0)
    # The sensor is broken for whole days.
    broken = np.repeat(rng.random(112) < 0.2, 50)
    found = inflate(np.where(broken, np.nan, values).astype(np.float32), times, days=14)
    # Of independent rows the index is (1/700 + 1/4900) · 1 = .0016 on average.
    assert found["missing_excess"] > 4 * 0.0016
    assert found["excess"] < 9 * 0.0016


def test_fewer_than_three_windows_tell_nothing() -> None:
    values, times = draw_days(np.random.default_rng(5), 80, 20, 0.5)
    assert inflate(values, times, days=28) == {"windows": 2, "excess": 0.0, "missing_excess": 0.0}


@pytest.mark.parametrize("served", [50, 500])
def test_the_excess_holds_for_more_rows_than_training_had(served: int) -> None:
    """Days move a column by the same amount, however many of its rows are served."""
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(150):
        effects = 0.7 * rng.standard_normal(61)
        day = np.repeat(np.arange(60), 50)
        values = (effects[day] + rng.standard_normal(3000)).astype(np.float32)
        bins = compute_baseline({"x": values})["x"]
        times = np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D")
        bins |= measure_excess(bins, values, times, np.timedelta64(1, "D"))
        now = (effects[60] + rng.standard_normal(served)).astype(np.float32)
        alarms += max(shift.ratio for shift in measure_shifts(bins, now, tests=1, effect=0.01)) > 1
    # A day's effect is known from sixty days.
    assert alarms <= stats.binom.ppf(0.99, 150, 3 * FALSE_ALARMS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["A"] * 1980 + ["B"] * 20, ["A"] * 160 + ["B"] * 240),
        (["A"] * 1980 + ["B"] * 20, ["B"] * 200),
        ([0.0] * 3996 + [1.0] * 4, [0.0] * 500 + [1.0] * 500),
        (["A"] * 1000 + ["B"] * 990 + ["C"] * 10, ["A"] * 200 + ["C"] * 200),
    ],
)
def test_a_rare_value_that_becomes_common_is_drift(before: list[Any], after: list[Any]) -> None:
    kind = object if isinstance(before[0], str) else np.float32
    bins = compute_baseline({"x": np.array(before, dtype=kind)})["x"]
    found = {each.kind: each for each in measure_shifts(bins, np.array(after, dtype=kind), tests=76, effect=EFFECT)}
    assert found["rare"].ratio > 1
    # Without a change it is not.
    same = np.random.default_rng(9).choice(np.array(before, dtype=kind), 400)
    assert max(each.ratio for each in measure_shifts(bins, same, tests=76, effect=EFFECT)) < 1


# -- error rates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "trained", "rows", "windows"), [
    (5, 200, 200, 300), (5, 200, 5000, 200), (25, 2000, 200, 60), (25, 2000, 2000, 60), (7, 20_000, 20_000, 20),
])  # fmt: skip
def test_a_window_without_drift_hardly_ever_alarms(columns: int, trained: int, rows: int, windows: int) -> None:
    rng = np.random.default_rng(columns + trained + rows)
    found = [draw_window(rng, columns, trained, rows) for _ in range(windows)]
    alarms, warnings = (sum(each) for each in zip(*found, strict=True))
    assert alarms <= stats.binom.ppf(0.99, windows, FALSE_ALARMS)
    assert warnings <= stats.binom.ppf(0.99, windows, FALSE_WARNINGS)


@pytest.mark.parametrize(("shift", "tier", "share"), [(0.5, "warning", 0.99), (0.7, "threshold", 0.95)])
def test_a_shifted_column_among_twenty_five_is_found(shift: float, tier: str, share: float) -> None:
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(100):
        bins = compute_baseline({"x": rng.standard_normal(5000).astype(np.float32)})["x"]
        now = (rng.standard_normal(2000) + shift).astype(np.float32)
        values = next(each for each in measure_shifts(bins, now, tests=76, effect=EFFECT) if each.kind == VALUES)
        found += values.value > getattr(values, tier)
    assert found >= stats.binom.ppf(0.01, 100, share)


def test_windows_of_a_period_whose_days_differ_hardly_ever_alarm() -> None:
    """Without the excess, a third of these windows would alarm at the same effect size."""
    rng = np.random.default_rng(7)
    alarms, plain = 0, 0
    for _ in range(60):
        values, times = draw_days(rng, 280 + 28, 50, 0.7)
        trained = times < times[0] + np.timedelta64(280, "D")
        bins = compute_baseline({"x": values[trained]})["x"]
        bins |= measure_excess(bins, values[trained], times[trained], np.timedelta64(28, "D"))
        for excess in (bins["excess"], 0.0):
            (found, *_) = measure_shifts({**bins, "excess": excess}, values[~trained], tests=1, effect=0.01)
            alarms += found.ratio > 1 and excess == bins["excess"]
            plain += found.ratio > 1 and excess == 0.0
    assert alarms <= stats.binom.ppf(0.99, 60, FALSE_ALARMS)
    assert plain > 20
