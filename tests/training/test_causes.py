"""Which features explain a move: shares against a world in which the true share is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.drift import compute_baseline
from training.monitoring.causes import explain_move

ROWS, DAYS = 6000, 30


def draw(rng: np.random.Generator, shift: float, other: float = 0.0) -> dict[str, Any]:
    return {
        "moves": (rng.standard_normal(ROWS) + shift).astype(np.float32),
        "also": (rng.standard_normal(ROWS) + other).astype(np.float32),
        "stays": rng.standard_normal(ROWS).astype(np.float32),
        "kind": rng.choice(["a", "b"], ROWS, p=[0.5 + 0.2 * bool(shift), 0.5 - 0.2 * bool(shift)]).astype(object),
    }


def score(rows: dict[str, Any]) -> Any:
    return 0.3 * rows["moves"] + 0.3 * rows["also"] + 0.3 * rows["stays"]


def explain(now: dict[str, Any], then: dict[str, Any], values: Any, reference: float) -> dict[str, Any]:
    days = np.repeat(np.arange(DAYS), ROWS // DAYS)
    found = explain_move("score", values, reference, now, compute_baseline(then), days, list(now), seed=1)
    return {each.feature: each for each in found}


def test_a_feature_that_alone_moves_the_score_explains_it() -> None:
    rng = np.random.default_rng(1)
    then, now = draw(rng, 0.0), draw(rng, 0.5)
    found = explain(now, then, score(now), float(score(then).mean()))
    # Bins of a tenth of the rows leave a little of the move inside them.
    assert set(found) == {"moves"}
    assert found["moves"].share == pytest.approx(1.0, abs=0.12)
    assert found["moves"].lower < found["moves"].share < found["moves"].upper


def test_two_features_share_a_move_as_they_made_it() -> None:
    rng = np.random.default_rng(2)
    then, now = draw(rng, 0.0), draw(rng, 0.6, other=0.3)
    found = explain(now, then, score(now), float(score(then).mean()))
    assert list(found) == ["moves", "also"]
    assert found["moves"].share == pytest.approx(2 / 3, abs=0.12)
    assert found["also"].share == pytest.approx(1 / 3, abs=0.12)


def test_what_has_not_moved_is_not_explained() -> None:
    rng = np.random.default_rng(3)
    then, now = draw(rng, 0.0), draw(rng, 0.0)
    assert explain(now, then, score(now), float(score(now).mean())) == {}


def test_two_days_are_too_few_to_explain_anything() -> None:
    rng = np.random.default_rng(4)
    then, now = draw(rng, 0.0), draw(rng, 1.0)
    days = np.arange(ROWS) % 2
    assert explain_move("score", score(now), 0.0, now, compute_baseline(then), days, list(now), seed=1) == []
