"""Leaks: honest columns are never refused, trusted ones are only reported; tests/faults plants seven kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from millrace.errors import DataError
from tests.training import synthetic
from training.metrics import find_auc_error
from training.modeling.leaks import find_leaks, refuse_leaks

CASE = synthetic.use_case()


def make_columns(rng: np.random.Generator, rows: int) -> dict[str, Any]:
    """Return columns that know nothing of any outcome."""
    return {
        **{f"x{number}": rng.standard_normal(rows).astype(np.float32) for number in range(12)},
        "kind": rng.choice(["a", "b", None], rows).astype(object),
        "many": np.char.add("t", rng.integers(0, 400, rows).astype(str)).astype(object),
    }


@pytest.mark.parametrize(("rows", "positives"), [(500, 3), (500, 50), (3000, 900)])
def test_honest_columns_are_not_refused(rows: int, positives: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng((rows, seed))
        y = rng.permutation(np.arange(rows) < positives).astype(float)
        assert find_leaks(CASE, make_columns(rng, rows), y) == []


def test_a_strong_column_is_no_leak() -> None:
    rng = np.random.default_rng(4)
    y = (rng.random(4000) < 0.3).astype(float)
    strong = (y + rng.normal(0, 0.5, 4000)).astype(np.float32)
    assert 0.9 < roc_auc_score(y, strong) < 0.95
    assert find_leaks(CASE, {**make_columns(rng, 4000), "strong": strong}, y) == []


def test_a_leak_is_refused_unless_a_person_has_checked_it(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)
    y = (rng.random(2000) < 0.3).astype(float)
    features = {**make_columns(rng, 2000), "told": (y + rng.normal(0, 0.1, 2000)).astype(np.float32)}
    with pytest.raises(
        DataError, match=r"features\(\) told \(AUC 1\.0000, at least .*alone knows late.*name it in trusted"
    ):
        refuse_leaks(CASE, {}, features, y)
    refuse_leaks(synthetic.use_case(trusted=("told",)), {}, features, y)
    refuse_leaks(synthetic.use_case(near_perfect="made of the outcome"), {}, features, y)
    assert capsys.readouterr().out.count("features() told (AUC 1.0000, at least") == 2


def test_the_error_of_an_auc_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(6)
    found = []
    for _ in range(400):
        y = (rng.random(300) < 0.2).astype(float)
        found.append(roc_auc_score(y, y + rng.normal(0, 0.8, 300)))
    y = (np.arange(300) < 60).astype(float)
    assert find_auc_error(float(np.mean(found)), y) == pytest.approx(np.std(found), rel=0.2)
    # Three positives that happen to come first prove little.
    assert find_auc_error(1.0, (np.arange(300) < 3).astype(float)) > 0.005
    assert find_auc_error(0.5, np.ones(5)) == np.inf
