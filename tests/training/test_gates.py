"""The gates: bounds with intervals, references, holdouts that cannot judge, and scores that are too good."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from benchmarks import simulated
from benchmarks.simulated import Array
from millrace import Champion, Gate, UseCase
from tests.training import synthetic
from training.intervals import Bootstrap
from training.modeling.gates import describe_interval, find_failures, make_references, measure_gates


def draw(rows: int = 900, days: int = 30) -> tuple[simulated.Rows, Array]:
    rng = np.random.default_rng(9)
    drawn = simulated.draw_rows(rng, rows, days)
    return drawn, drawn.probability


def make_case(*gates: Gate, **changes: Any) -> UseCase:
    return synthetic.use_case(gates=gates, slices=[], **changes)


def find(case: UseCase, y: Array, p: Array, times: Array, references: dict[str, float] | None = None) -> list[str]:
    return find_failures(case, measure_gates(case, y, p, times), {}, y, p, references or {})


def test_a_gate_has_an_interval_of_days() -> None:
    rows, p = draw()
    (found,) = measure_gates(make_case(Gate("roc_auc", at_least=0.6)), rows.y, p, rows.times)
    expected = Bootstrap(rows.y, p, rows.day, 0).find_interval("roc_auc", 0.9)
    assert (found.lower, found.upper) == expected
    assert found.lower is not None
    assert found.upper is not None
    assert found.value is not None
    assert found.lower < found.value < found.upper
    assert found.passed
    assert describe_interval(found) == {"roc_auc_lower": f"{found.lower:.5f}", "roc_auc_upper": f"{found.upper:.5f}"}


def test_a_gate_with_confidence_asks_it_of_the_whole_interval() -> None:
    rows, p = draw()
    (shown,) = measure_gates(make_case(Gate("brier", at_most=1)), rows.y, p, rows.times)
    assert shown.value is not None
    assert shown.upper is not None
    between = (shown.value + shown.upper) / 2
    assert find(make_case(Gate("brier", at_most=between)), rows.y, p, rows.times) == []
    assert find(make_case(Gate("brier", at_most=between, confidence=0.9)), rows.y, p, rows.times) == [
        f"brier is {shown.value:.4f}, {shown.lower:.4f} to {shown.upper:.4f} with 90% confidence; expected at most "
        f"{between:g}, the whole interval"
    ]
    assert find(make_case(Gate("brier", at_most=shown.upper, confidence=0.9)), rows.y, p, rows.times) == []
    # A narrower interval meets the bound that a wider one does not.
    assert find(make_case(Gate("brier", at_most=between, confidence=0.5)), rows.y, p, rows.times) == []


def test_a_bound_with_confidence_fails_where_there_is_no_interval() -> None:
    rows, p = draw()
    block = Champion(block=timedelta(days=10_000))
    (failure,) = find(make_case(Gate("brier", at_most=0.9, confidence=0.9), champion=block), rows.y, p, rows.times)
    assert "without an interval because its rows are of too few days, or too few of an outcome; expected" in failure
    assert find(make_case(Gate("brier", at_most=0.9), champion=block), rows.y, p, rows.times) == []


@pytest.mark.parametrize(("bound", "failed"), [
    (Gate("brier", at_most=0.25), []),
    (Gate("brier", at_most=0.2499), ["brier is 0.2500; expected at most 0.2499"]),
    (Gate("roc_auc", at_least=0.5), []),
    (Gate("roc_auc", at_least=0.51), ["roc_auc is 0.5000; expected at least 0.51"]),
])  # fmt: skip
def test_a_bound_is_met_by_its_own_value(bound: Gate, failed: list[str]) -> None:
    """Always predicting one half has a Brier score of a quarter and tells no two rows apart."""
    rows, _ = draw()
    y = np.tile([0.0, 1.0], 450)
    assert find(make_case(bound), y, np.full(900, 0.5), rows.times) == failed


def test_a_holdout_with_too_few_of_an_outcome_is_refused_by_name() -> None:
    rows, p = draw()
    for positives, failed in ((20, []), (19, ["the holdout has 19 of 900 rows with late = 1; expected at least 20"])):
        y = np.zeros(900)
        y[np.argsort(-p)[:positives]] = 1
        assert find(make_case(near_perfect="made so"), y, p, rows.times) == failed
    failures = find(make_case(Gate("roc_auc", at_least=0.6)), np.ones(900), p, rows.times)
    assert failures == [
        "the holdout has 0 of 900 rows with late = 0; expected at least 20",
        "roc_auc is undefined on the holdout, whose outcomes are all the same",
    ]
    # A regression has no outcomes to count.
    assert find(synthetic.use_case("regression", gates=[], slices=[]), np.ones(900) + p, p, rows.times) == []


def test_a_model_must_beat_predictions_that_need_none() -> None:
    rows, p = draw()
    references = make_references(synthetic.use_case().problem, rows.y)
    assert references == {"base_rate": pytest.approx(rows.y.mean())}
    assert find(make_case(), rows.y, p, rows.times, references) == []
    noise = np.random.default_rng(1).permutation(p)
    (failure,) = find(make_case(), rows.y, noise, rows.times, references)
    mine, theirs = np.mean((noise - rows.y) ** 2), rows.y.var()
    assert failure == (
        f"brier is {mine:.5f}, no better than {theirs:.5f} of predicting the base_rate {rows.y.mean():g}"
    )


def test_a_regression_must_beat_the_median_and_the_last_value() -> None:
    rows, p = draw()
    case = synthetic.use_case("regression", gates=[], slices=[])
    y = p + np.random.default_rng(1).normal(0, 0.01, 900)
    references = make_references(case.problem, y)
    assert references == {"median": pytest.approx(np.median(y)), "last": y[-1]}
    assert find(case, y, p, rows.times, references) == []
    failures = find(case, y, np.full(900, 2.0), rows.times, references)
    assert [failure.split(" of predicting the ")[1].split()[0] for failure in failures] == ["median", "last"]


def test_a_score_near_perfect_needs_a_reason() -> None:
    rows, _ = draw()
    almost = np.where(rows.y == 1, 0.9, 0.1)
    assert find(make_case(), rows.y, almost, rows.times) == [
        "roc_auc is 1.00000, above 0.995: too good to be true unless the use case says why, in near_perfect"
    ]
    assert find(make_case(near_perfect="the sensor measures the outcome itself"), rows.y, almost, rows.times) == []
    (failure,) = find(synthetic.use_case("regression", gates=[], slices=[]), rows.y, rows.y, rows.times)
    assert failure.startswith("r2 is 1.00000, above 0.999")
