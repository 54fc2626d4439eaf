"""Baselines: the bins of a column and the shares of rows in them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from training.drift import compute_baseline, compute_shares


def make_numbers(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_bins_are_deciles() -> None:
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    found = compute_baseline({"x": values})["x"]
    assert found["mode"] is None
    assert found["edges"] == pytest.approx(np.quantile(values.astype(float), np.linspace(0.1, 0.9, 9)))
    assert found["shares"][:10] == pytest.approx([0.1] * 10, abs=1e-3)


def test_a_frequent_value_is_a_bin_of_its_own() -> None:
    rain = np.where(np.arange(1000) % 20 == 0, np.linspace(0.1, 1, 1000), 0).astype(np.float32)
    found = compute_baseline({"precip": rain})["precip"]
    assert found["mode"] == 0.0
    assert len(found["edges"]) == 4
    # Dry rows follow the five bins of wet rows and precede the missing values.
    assert found["shares"] == pytest.approx([0.01] * 5 + [0.95, 0.0])


def test_new_categories_share_a_bin() -> None:
    then = compute_baseline({"x": np.array(["a"] * 60 + ["b"] * 30 + [None] * 10, dtype=object)})["x"]
    assert then["categories"] == ["a", "b"]
    assert then["shares"] == [0.6, 0.3, 0.0, 0.1]
    now = np.array(["a"] * 60 + ["c"] * 20 + ["d"] * 10 + [None] * 10, dtype=object)
    assert compute_shares(then, now) == [0.6, 0.0, 0.3, 0.1]


def test_a_column_without_values_has_a_baseline() -> None:
    found = compute_baseline({"x": make_numbers(math.nan, math.nan)})["x"]
    assert (found["edges"], found["missing"], found["low"]) == ([], 1.0, None)
    assert compute_shares(found, make_numbers(1.0)) == [1.0, 0.0, 0.0]


def test_a_baseline_round_trips_through_json() -> None:
    values = {"x": make_numbers(1, 2, 2, 2, math.nan), "t": np.array(["a", None, "b", "b", "c"], dtype=object)}
    again = json.loads(json.dumps(compute_baseline(values), allow_nan=False))
    assert {name: compute_shares(again[name], column) for name, column in values.items()} == {
        name: bins["shares"] for name, bins in again.items()
    }


def test_what_is_new_can_be_told() -> None:
    values = {"x": make_numbers(1, 2, 2, 7), "t": np.array(["a", None, "b", "b", "c"], dtype=object)}
    found = compute_baseline(values)
    assert (found["x"]["rows"], found["x"]["low"], found["x"]["high"], found["x"]["singles"]) == (4, 1.0, 7.0, 2)
    assert (found["t"]["rows"], found["t"]["levels"], found["t"]["singles"]) == (5, ["a", "b", "c"], 2)
    many = compute_baseline({"t": np.array([f"t{row}" for row in range(1001)], dtype=object)})["t"]
    assert (many["singles"], "levels" in many, len(many["categories"])) == (None, False, 50)
