"""The metrics, compared with scikit-learn and calculations by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy import stats

from millrace.metrics import METRICS, Problem
from training.metrics import (
    compute_calibration_bins,
    compute_metrics,
    compute_rates,
    ece,
    round_floats,
    single_feature_auc,
)


def make_binary_data(seed: int, ties: bool) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    p = rng.random(500)
    y = (rng.random(500) < p).astype(float)
    return y, np.round(p, 1) if ties else p


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", range(4))
def test_binary_metrics_match_scikit_learn(seed: int, ties: bool) -> None:
    y, p = make_binary_data(seed, ties)
    base = y.mean()
    expected = {
        "roc_auc": sk.roc_auc_score(y, p),
        "average_precision": sk.average_precision_score(y, p),
        "brier": sk.brier_score_loss(y, p),
        "brier_skill": 1 - sk.brier_score_loss(y, p) / sk.brier_score_loss(y, np.full(len(y), base)),
        "log_loss": sk.log_loss(y, p),
    }
    found = compute_metrics(Problem.BINARY, y, p)
    assert set(found) == set(METRICS[Problem.BINARY])
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_regression_metrics_match_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(10, 3, 300)
    p = y + rng.normal(0.5, 1, 300)
    assert compute_metrics(Problem.REGRESSION, y, p) == pytest.approx(
        {
            "mae": sk.mean_absolute_error(y, p),
            "rmse": sk.root_mean_squared_error(y, p),
            "r2": sk.r2_score(y, p),
            "bias": abs(np.mean(p - y)),
        },
        rel=1e-12,
    )


def test_bias_is_absolute() -> None:
    y = np.array([1.0, 2.0, 3.0])
    assert (
        compute_metrics(Problem.REGRESSION, y, y - 2)["bias"]
        == compute_metrics(Problem.REGRESSION, y, y + 2)["bias"]
        == 2.0
    )


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_metrics_undefined_for_one_class_are_omitted(outcome: float) -> None:
    y, p = np.full(20, outcome), np.linspace(0.1, 0.9, 20)
    found = compute_metrics(Problem.BINARY, y, p)
    undefined = {"roc_auc", "brier_skill"} | (set() if outcome else {"average_precision"})
    assert set(METRICS[Problem.BINARY]) - set(found) == undefined
    assert all(math.isfinite(value) for value in found.values())
    assert "r2" not in compute_metrics(Problem.REGRESSION, y, p)


def test_log_loss_is_finite_for_certain_wrong_predictions() -> None:
    y, p = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert compute_metrics(Problem.BINARY, y, p)["log_loss"] == pytest.approx(sk.log_loss(y, p))


def test_calibration_error_matches_a_calculation_by_hand() -> None:
    # Two bins of two: predicted .15 against observed .5, predicted .85 against observed 1.
    y, p = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.9, 0.1, 0.8, 0.2])
    # Chance makes gaps, too: what the mean of a folded normal distribution around a gap has beyond it is subtracted.
    errors = [np.sqrt(0.1 * 0.9 + 0.2 * 0.8) / 2, np.sqrt(0.9 * 0.1 + 0.8 * 0.2) / 2]
    expected = [2 * gap - stats.foldnorm.mean(gap / s, scale=s) for gap, s in zip((0.35, 0.15), errors, strict=True)]
    assert ece(y, p, bins=2) == pytest.approx(np.mean(expected))
    assert compute_calibration_bins(y, p, bins=2) == [
        {"rows": 2, "predicted": pytest.approx(0.15), "observed": 0.5},
        {"rows": 2, "predicted": pytest.approx(0.85), "observed": 1.0},
    ]


def test_calibration_with_fewer_rows_than_bins() -> None:
    # One row in a bin of certain predictions has no noise, and its gap counts in full.
    assert ece(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
    assert ece(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.0


def test_the_calibration_error_of_a_perfect_model_is_mostly_chance() -> None:
    rng = np.random.default_rng(5)
    found, plain = [], []
    for _ in range(30):
        p = rng.beta(2, 5, 2000)
        y = (rng.random(2000) < p).astype(float)
        found.append(ece(y, p))
        plain.append(np.mean([abs(y[part].mean() - p[part].mean()) for part in np.array_split(np.argsort(p), 10)]))
    assert np.mean(found) < 0.65 * np.mean(plain)
    # A shift of all probabilities stays, whatever chance does.
    assert ece(y, np.clip(p - 0.1, 0, 1)) == pytest.approx(0.1, abs=0.015)


def test_rates_match_the_confusion_matrix() -> None:
    y, p = make_binary_data(0, ties=True)
    (tn, fp), (fn, tp) = sk.confusion_matrix(y, p >= 0.4)
    found = compute_rates(y, p, 0.4)
    assert found["tpr"] == pytest.approx(tp / (tp + fn))
    assert found["fpr"] == pytest.approx(fp / (fp + tn))
    assert found["rows"] == 500
    assert compute_rates(y[:0], p[:0], 0.4) == {"rows": 0, "base_rate": None, "tpr": None, "fpr": None, "roc_auc": None}


def test_single_feature_auc_finds_leaks_in_numbers_and_texts() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(4000) < 0.3).astype(float)
    noise = rng.random(4000)
    assert single_feature_auc(y, (noise - y).astype(np.float32)) > 0.99
    assert single_feature_auc(y, noise.astype(np.float32)) < 0.53
    # A value that is missing for one class only is as much a leak as any other.
    assert single_feature_auc(y, np.where(y == 1, np.nan, noise)) == 1.0
    told = np.array(["late" if late else None for late in y], dtype=object)
    assert single_feature_auc(y, told) == 1.0


def test_single_feature_auc_does_not_mistake_rare_texts_for_a_leak() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.3).astype(float)
    names = np.array([f"n{i}" for i in rng.integers(0, 1500, 2000)], dtype=object)
    assert single_feature_auc(y, names) < 0.55


def test_round_floats_returns_only_values_that_json_can_represent() -> None:
    document = {"a": np.float64(1 / 3), "b": [math.nan, math.inf], "c": (np.int64(4), True, "text", None)}
    assert round_floats(document) == {"a": 0.333333, "b": [None, None], "c": [4, True, "text", None]}
