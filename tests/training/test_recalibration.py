"""What probabilities mean: the curve against scikit-learn's, and how often a model that is as registered alarms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from training.calibration import SHARE, Calibration, Spread, measure_calibration
from training.recalibration import AS_GIVEN, Recalibration, fit_recalibration, to_logit


def draw(rng: np.random.Generator, rows: int, sharpness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return outcomes, the probabilities of a model that is too sharp by a factor, and days."""
    logits = rng.normal(-1.3, 0.9, rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-logits))).astype(float)
    return y, 1 / (1 + np.exp(-sharpness * logits)), np.arange(rows) * 28 // rows


def is_alarm(found: Calibration, bound: float = 0.05) -> bool:
    """Tell whether the default alarms of calibration or of the expected loss fire."""
    gaps = (found.ece.value, found.ece.chance), (abs(found.gap.value), found.gap.chance)
    beyond = any(value > max(bound, chance) for value, chance in gaps)
    return beyond or found.excess.value > max(0.1 * found.expected_loss, found.excess.chance)


def test_the_curve_is_that_of_a_logistic_regression() -> None:
    y, p, days = draw(np.random.default_rng(1), 4000, 2.0)
    found = fit_recalibration(y, p, days)
    oracle = LogisticRegression(C=np.inf).fit(to_logit(p)[:, None], y)
    assert found.intercept == pytest.approx(oracle.intercept_[0], abs=0.01)
    assert found.slope == pytest.approx(oracle.coef_[0, 0], abs=0.01)
    assert found.slope == pytest.approx(0.5, abs=0.06)
    np.testing.assert_allclose(found.apply(p), oracle.predict_proba(to_logit(p)[:, None])[:, 1], atol=0.005)


def test_the_errors_are_those_of_repeated_samples() -> None:
    found = [fit_recalibration(*draw(np.random.default_rng(seed), 600, 1.5)) for seed in range(300)]
    for name, place in (("intercept", 0), ("slope", 2)):
        spread = np.std([getattr(each, name) for each in found])
        stated = np.mean([np.sqrt(each.covariance[place]) for each in found])
        assert stated == pytest.approx(spread, rel=0.15)
    draws = found[0].draw(np.random.default_rng(0), 50_000)
    first, both, last = found[0].covariance
    np.testing.assert_allclose(np.cov(draws.T), [[first, both], [both, last]], rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("y", [np.zeros(40), np.ones(40)])
def test_outcomes_of_one_kind_give_a_finite_curve(y: np.ndarray) -> None:
    found = fit_recalibration(y, np.linspace(0.0, 1.0, 40), np.arange(40) // 4)
    assert np.isfinite([found.intercept, found.slope, *found.covariance]).all()


def test_it_is_kept_as_data_and_older_models_mean_what_they_say() -> None:
    found = Recalibration(0.1, 0.8, (0.02, 0.01, 0.03))
    assert Recalibration.load(found.dump()) == found
    assert Recalibration.load(None) == AS_GIVEN
    p = np.array([0.0, 0.3, 1.0])
    assert AS_GIVEN.apply(p) is p


@pytest.mark.parametrize("fitted", [400, 2000])
def test_a_model_that_is_as_sharp_as_registered_does_not_alarm(fitted: int) -> None:
    """Judged as if its probabilities were right, nearly every window would alarm."""
    wrong = naive = 0
    windows = 150
    for seed in range(windows):
        rng = np.random.default_rng((fitted, seed))
        meant = fit_recalibration(*draw(rng, fitted, 2.0))
        y, p, days = draw(rng, 220, 2.0)
        wrong += is_alarm(measure_calibration(y, p, days, Spread(), 0, meant))
        naive += is_alarm(measure_calibration(y, p, days, Spread(), 0))
    # Three tests at their share each; at most as many as chance allows in one of a hundred runs.
    assert wrong <= np.ceil(windows * 3 * SHARE + 2.33 * np.sqrt(windows * 3 * SHARE))
    assert naive > windows * 0.6


def test_a_shift_beyond_what_was_registered_is_seen() -> None:
    seen = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        meant = fit_recalibration(*draw(rng, 2000, 1.5))
        y, p, days = draw(rng, 500, 1.5)
        shifted = np.where((y == 0) & (rng.random(500) < 0.15), 1.0, y)
        seen += is_alarm(measure_calibration(shifted, p, days, Spread(), 0, meant))
    assert seen >= 40
