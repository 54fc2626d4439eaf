"""Baselines: the bins of a column and the shares of rows in them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.faults.world import SINCE, UNTIL, declare
from training.data.maturity import Maturity
from training.drift import compute_baseline, compute_shares
from training.modeling.model import BASELINE
from training.modeling.train import SCORE
from training.monitoring.drifts import measure_drift
from training.monitoring.window import Window
from training.registry import Package


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


def test_a_move_that_is_no_alarm_is_worth_a_look(tmp_path: Path) -> None:
    """An index between the two tiers, .1 and .25, is a warning of the report and no check beyond its threshold."""
    rng, count = np.random.default_rng(3), 5000
    then = rng.standard_normal(20_000)
    (tmp_path / BASELINE).write_text(json.dumps(compute_baseline({"x": then, SCORE: then})))
    (tmp_path / "model.json").write_text(json.dumps({"rows": 20_000}))
    rows = {"placed_at": np.full(count, SINCE), SCORE: rng.standard_normal(count)}
    window = Window(
        declare(), SINCE, UNTIL, rows, np.ones(count, bool), np.full(count, 7), np.full(count, np.nan),
        np.full(count, np.nan), 7,
        Maturity(np.timedelta64(0, "us")),
    )  # fmt: skip
    for size, warned, beyond in ((0.0, False, False), (0.38, True, False), (0.8, False, True)):
        window.checks.clear()
        moved = {"x": (rng.standard_normal(count) + size).astype(np.float32)}
        found = measure_drift(window, Package("arn", 7, "", tmp_path), moved)
        said = [text for text in found["warned"] if text.startswith("x: its population stability index is")]
        assert len(said) == warned
        assert any(check.ratio > 1 for check in window.checks) is beyond
