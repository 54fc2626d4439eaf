"""The bias audit against Fairlearn, and how often equal groups fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fairlearn import metrics as fairness
from scipy import stats
from sklearn import metrics as sk

from millrace.documents import Gap
from millrace.metrics import AUDITED, Problem
from training.bias import LEVEL, RATES, audit_groups


def draw(seed: int, rows: int, groups: int, base: float) -> tuple[Any, Any, Any, Any]:
    """Return outcomes, probabilities, groups and days in which no group differs."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(np.log(base / (1 - base)), 1.5, rows)
    p = 1 / (1 + np.exp(-logits))
    group = np.array([f"g{number}" for number in range(groups)])[np.arange(rows) % groups]
    return (rng.random(rows) < p).astype(float), p, group, np.sort(rng.integers(0, 28, rows))


def audit(seed: int, rows: int = 4000, groups: int = 3, base: float = 0.3, **bounds: float) -> dict[str, Gap]:
    y, p, group, days = draw(seed, rows, groups, base)
    return audit_groups(Problem.BINARY, y, p, group, days, threshold=0.4, min_rows=30, bounds=bounds)


def test_every_problem_type_has_the_rates_that_slices_may_bound() -> None:
    assert {problem: tuple(rates) for problem, rates in RATES.items()} == AUDITED


def test_the_differences_are_those_of_fairlearn() -> None:
    y, p, group, _ = draw(1, 4000, 3, 0.3)
    found = audit(1)
    chosen = (p >= 0.4).astype(float)
    assert found["selection"].value == pytest.approx(
        fairness.demographic_parity_difference(y, chosen, sensitive_features=group)
    )
    assert found["tpr"].value == pytest.approx(
        fairness.equal_opportunity_difference(y, chosen, sensitive_features=group)
    )
    odds = fairness.equalized_odds_difference(y, chosen, sensitive_features=group)
    assert max(found["tpr"].value or 0, found["fpr"].value or 0) == pytest.approx(odds)
    precision = fairness.MetricFrame(
        metrics=sk.precision_score, y_true=y, y_pred=chosen, sensitive_features=group
    ).difference()
    assert found["precision"].value == pytest.approx(precision)
    assert all((gap.lower or 0) <= (gap.value or 0) <= (gap.upper or 0) for gap in found.values())


def test_the_interval_of_two_groups_is_that_of_two_shares() -> None:
    _, p, group, _ = draw(2, 4000, 2, 0.3)
    found = audit(2, groups=2)["selection"]
    shares = [float(np.mean(p[group == name] >= 0.4)) for name in ("g0", "g1")]
    error = np.sqrt(sum(share * (1 - share) / 2000 for share in shares))
    reach = stats.norm.isf(LEVEL / 2) * error
    assert found.upper == pytest.approx(abs(shares[0] - shares[1]) + reach, rel=0.2)


@pytest.mark.parametrize(
    ("groups", "rows", "base", "bound"), [(4, 2000, 0.05, 0.2), (4, 2000, 0.3, 0.02), (2, 400, 0.3, 0.1)]
)
def test_equal_groups_hardly_ever_fail(groups: int, rows: int, base: float, bound: float) -> None:
    """Without the interval, four equal groups of 500 with few outcomes failed a bound of .2 in half of the cases."""
    failed = 0
    for seed in range(150):
        found = audit(seed, rows, groups, base, tpr=bound)["tpr"]
        failed += found.lower is not None and found.lower > bound
    assert failed <= stats.binom.ppf(0.99, 150, LEVEL)


def test_a_group_that_is_found_less_often_fails() -> None:
    y, p, group, days = draw(3, 4000, 3, 0.3)
    p = np.where(group == "g1", 0.5 * p, p)
    found = audit_groups(Problem.BINARY, y, p, group, days, threshold=0.4, min_rows=30, bounds={"tpr": 0.2})["tpr"]
    assert (found.lower or 0) > 0.2
    assert "g1" in found.between


def test_a_group_without_positives_cannot_be_told() -> None:
    y, p, group, days = draw(4, 900, 3, 0.3)
    y[group == "g2"] = 0.0
    found = audit_groups(Problem.BINARY, y, p, group, days, threshold=0.4, min_rows=30, bounds={})
    assert found["tpr"].unclear == ["g2"]
    assert found["tpr"].between == ["g0", "g1"]
    assert found["fpr"].unclear == []
    small = audit_groups(Problem.BINARY, y, p, group, days, threshold=0.4, min_rows=500, bounds={"fpr": 0.1})
    assert small["fpr"] == Gap(bound=0.1, unclear=["g0", "g1", "g2"])


def test_a_regression_is_audited_by_its_errors() -> None:
    rng = np.random.default_rng(5)
    group = np.where(np.arange(2000) % 2, "a", "b")
    y = rng.normal(0, 1, 2000)
    p = y + rng.normal(0, np.where(group == "a", 1.0, 3.0))
    days = np.sort(rng.integers(0, 28, 2000))
    found = audit_groups(Problem.REGRESSION, y, p, group, days, threshold=0.5, min_rows=30, bounds={"error": 0.5})
    errors = {name: sk.mean_absolute_error(y[group == name], p[group == name]) for name in ("a", "b")}
    overall = sk.mean_absolute_error(y, p)
    assert found["error"].value == pytest.approx((errors["b"] - errors["a"]) / overall)
    assert (found["error"].lower or 0) > 0.5
    assert (found["bias"].lower or 0) < 0.2
