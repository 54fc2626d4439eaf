"""Baselines and the population stability index, compared with calculations by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import chi2

from training.drift import compute_baseline, compute_psi, compute_shares

#: The share of an empty bin: one row in ten thousand.
FLOOR = 1e-4


def make_numbers(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_psi_matches_a_calculation_by_hand() -> None:
    then = {"kind": "number", "mode": None, "edges": [0.0, 1.0], "shares": [0.25, 0.5, 0.25, 0.0, 0.0]}
    # -1 | 0 and 0.5: an edge belongs to the bin above it | 1 to 3.
    now = make_numbers(-1, 0, 0.5, 1, 1, 2, 3, 3, 3, 3)
    assert compute_shares(then, now) == [0.1, 0.2, 0.7, 0.0, 0.0]
    expected = (0.1 - 0.25) * math.log(0.1 / 0.25) + (0.2 - 0.5) * math.log(0.2 / 0.5) + (0.7 - 0.25) * math.log(2.8)
    assert compute_psi(then, now) == pytest.approx(expected)


def test_an_empty_bin_counts_as_the_floor() -> None:
    then = compute_baseline({"x": np.array(["a", "b"] * 50, dtype=object)})["x"]
    gone = np.array(["a"] * 100, dtype=object)
    expected = 0.5 * math.log(1 / 0.5) + (FLOOR - 0.5) * math.log(FLOOR / 0.5)
    assert compute_psi(then, gone) == pytest.approx(expected)


def test_bins_are_deciles() -> None:
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    found = compute_baseline({"x": values})["x"]
    assert found["mode"] is None
    assert found["edges"] == pytest.approx(np.quantile(values.astype(float), np.linspace(0.1, 0.9, 9)))
    assert found["shares"][:10] == pytest.approx([0.1] * 10, abs=1e-3)
    assert compute_psi(found, values) == 0.0


def test_a_frequent_value_is_a_bin_of_its_own() -> None:
    rain = np.where(np.arange(1000) % 20 == 0, np.linspace(0.1, 1, 1000), 0).astype(np.float32)
    found = compute_baseline({"precip": rain})["precip"]
    assert found["mode"] == 0.0
    assert len(found["edges"]) == 4
    # Dry rows follow the five bins of wet rows and precede the missing values.
    assert found["shares"] == pytest.approx([0.01] * 5 + [0.95, 0.0])
    wetter = np.where(np.arange(1000) % 5 == 0, np.linspace(0.1, 1, 1000), 0).astype(np.float32)
    assert compute_psi(found, wetter) > 0.2


def test_missing_values_drift_too() -> None:
    values = np.linspace(0, 1, 1000).astype(np.float32)
    found = compute_baseline({"x": values})["x"]
    assert found["missing"] == 0.0
    gaps = values.copy()
    gaps[::2] = np.nan
    expected = (0.5 - FLOOR) * math.log(0.5 / FLOOR) + 10 * (0.05 - 0.1) * math.log(0.5)
    assert compute_psi(found, gaps) == pytest.approx(expected, rel=1e-3)


def test_new_categories_share_a_bin() -> None:
    then = compute_baseline({"x": np.array(["a"] * 60 + ["b"] * 30 + [None] * 10, dtype=object)})["x"]
    assert then["categories"] == ["a", "b"]
    assert then["shares"] == [0.6, 0.3, 0.0, 0.1]
    now = np.array(["a"] * 60 + ["c"] * 20 + ["d"] * 10 + [None] * 10, dtype=object)
    assert compute_shares(then, now) == [0.6, 0.0, 0.3, 0.1]


def test_a_column_without_values_has_a_baseline() -> None:
    found = compute_baseline({"x": make_numbers(math.nan, math.nan)})["x"]
    assert (found["edges"], found["missing"], compute_psi(found, make_numbers(math.nan))) == ([], 1.0, 0.0)
    assert compute_psi(found, make_numbers(1.0)) > 5


def test_a_constant_column_drifts_when_it_moves() -> None:
    found = compute_baseline({"x": make_numbers(*[3.0] * 50)})["x"]
    assert compute_psi(found, make_numbers(*[3.0] * 7)) == 0.0
    assert compute_psi(found, make_numbers(*[4.0] * 7)) > 5


def test_two_halves_of_one_population_differ_as_chi_square_says() -> None:
    rng = np.random.default_rng(0)
    n, found = 1000, []
    for _ in range(300):
        then = compute_baseline({"x": rng.random(n).astype(np.float32)})["x"]
        found.append(compute_psi(then, rng.random(n).astype(np.float32)))
    assert np.quantile(found, 0.95) == pytest.approx(chi2.ppf(0.95, 9) * 2 / n, rel=0.15)


def test_a_baseline_round_trips_through_json() -> None:
    values = {"x": make_numbers(1, 2, 2, 2, math.nan), "t": np.array(["a", None, "b", "b", "c"], dtype=object)}
    again = json.loads(json.dumps(compute_baseline(values), allow_nan=False))
    assert {name: compute_psi(again[name], column) for name, column in values.items()} == {"x": 0.0, "t": 0.0}
