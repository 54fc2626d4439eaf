"""The window of history that a model is fitted on, chosen by its loss on newer rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from millrace import Champion
from tests.training import synthetic
from training.modeling.windows import Choice, choose_window

Rows = dict[str, Any]
SOURCE = """
from sklearn.linear_model import LogisticRegression


def events(since, until):
    raise AssertionError("not needed")


def features(columns):
    return {"x": columns["x"]}


def model(params):
    return LogisticRegression()
"""


def make_rows(flip: int | None, days: int = 200) -> Rows:
    """Return ten rows a day, whose outcome follows ``x`` and from day ``flip`` on its opposite."""
    rng = np.random.default_rng(4)
    day = np.repeat(np.arange(days), 10)
    x = rng.standard_normal(len(day)).astype(np.float32)
    slope = np.where(day >= (days if flip is None else flip), -2.0, 2.0)
    y = (rng.random(len(day)) < 1 / (1 + np.exp(-slope * x))).astype(np.float64)
    times = np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D")
    return {"order_id": np.array([f"o{row}" for row in range(len(day))], dtype=object), "placed_at": times,
            "x": x, "late": y}  # fmt: skip


def choose(rows: Rows, *windows: timedelta, problem: str = "binary") -> Choice:
    case = synthetic.use_case(problem, tables=[], slices=[], windows=windows)
    return choose_window(synthetic.functions(case, SOURCE), {}, rows)


def test_after_a_change_of_the_world_the_newer_rows_are_fitted() -> None:
    rows = make_rows(flip=100)
    choice = choose(rows, timedelta(days=50), timedelta(days=5))
    assert choice.window == timedelta(days=50)
    assert set(choice.losses) == {"all", "50 days", "5 days"}
    assert choice.losses["50 days"] < choice.losses["all"] - 0.1
    kept = choice.select(rows["placed_at"])
    assert kept.sum() == 500
    assert rows["placed_at"][kept].min() == np.datetime64("2026-01-01") + np.timedelta64(150, "D")


def test_without_a_change_all_history_is_fitted() -> None:
    choice = choose(make_rows(flip=None), timedelta(days=8))
    assert choice.window is None
    assert choice.losses["all"] < choice.losses["8 days"]
    assert choice.select(make_rows(None)["placed_at"]).all()


@pytest.mark.parametrize("window", [
    timedelta(days=1000),  # longer than history
    timedelta(days=150),  # leaves out 10 of the 160 days before the origin: less than a tenth
    timedelta(days=1),  # ten rows, fewer than 20 of each outcome
])  # fmt: skip
def test_a_window_that_cannot_differ_or_be_fitted_does_not_compete(window: timedelta) -> None:
    assert choose(make_rows(flip=None), window) == Choice(None, {})


def test_a_metric_that_is_undefined_on_the_newest_rows_chooses_nothing() -> None:
    """A constant target has no variance to explain."""
    rows = make_rows(flip=None)
    case = synthetic.use_case(
        "regression", tables=[], slices=[], windows=(timedelta(days=50),), champion=Champion(metric="r2")
    )
    rows["minutes"] = np.where(np.arange(2000) < 1500, rows["x"], 1.0).astype(np.float64)
    source = SOURCE.replace("import LogisticRegression", "import LinearRegression").replace(
        "LogisticRegression()", "LinearRegression()"
    )
    assert choose_window(synthetic.functions(case, source), {}, rows) == Choice(None, {})


def test_a_window_whose_features_are_all_missing_does_not_compete(capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_rows(flip=None)
    old = np.isnan(rows["x"]) | (np.arange(2000) < 1000)
    rows["x"] = np.where(old, rows["x"], np.nan)
    source = SOURCE.replace("LogisticRegression()", "HistGradientBoostingClassifier()").replace(
        "linear_model import LogisticRegression", "ensemble import HistGradientBoostingClassifier"
    )
    case = synthetic.use_case(tables=[], slices=[], windows=(timedelta(days=50),))
    choice = choose_window(synthetic.functions(case, source), {}, rows)
    assert choice.window is None
    assert set(choice.losses) == {"all"}
    assert "window 50 days cannot be fitted: feature 'x' is missing in all" in capsys.readouterr().out


def test_history_that_cannot_be_fitted_at_an_earlier_origin_ends_nothing() -> None:
    """The column is known only for the newest rows, on which the real fit learns it."""
    rows = make_rows(flip=None)
    rows["x"][rows["placed_at"] < np.datetime64("2026-01-01") + np.timedelta64(160, "D")] = np.nan
    assert choose(rows, timedelta(days=50)) == Choice(None, {})
