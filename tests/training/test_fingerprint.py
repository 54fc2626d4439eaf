"""The fingerprint of feature vectors: rounding does not move it, and no other change is small enough to hide."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from training.columns import Array
from training.modeling.fingerprint import TOLERANCE, compute_fingerprints

NAMES = [f"feature_{number}" for number in range(100)]


def draw_matrix(seed: int, rows: int = 2000) -> Array:
    """Return numbers of all sizes, small ones and zeros among them, and missing ones."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, len(NAMES))) * 10.0 ** rng.integers(-4, 9, len(NAMES))
    values[rng.random(values.shape) < 0.05] = np.nan
    values[rng.random(values.shape) < 0.05] = 0.0
    return values.astype(np.float32)


def test_it_is_the_weighted_sum_of_the_scaled_values() -> None:
    weights = [
        1 + int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") / 2**32 for name in ("a", "b")
    ]
    matrix = np.array([[3.5, np.nan], [-0.25, 0.0], [0.0, 0.0]], dtype=np.float32)
    expected = [
        weights[0] * math.asinh(350) - 128 * weights[1],
        weights[0] * math.asinh(-25),
        0.0,
    ]
    assert compute_fingerprints(matrix, ["a", "b"]).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_row_alone_has_the_fingerprint_that_it_has_among_others() -> None:
    matrix = draw_matrix(1)
    together = compute_fingerprints(matrix, NAMES)
    alone = [compute_fingerprints(matrix[row : row + 1], NAMES)[0] for row in range(200)]
    np.testing.assert_allclose(alone, together[:200], atol=2e-6)
    assert np.isfinite(together).all()


def test_rounding_of_the_last_digit_does_not_move_it() -> None:
    matrix = draw_matrix(2)
    for direction in (-np.inf, np.inf):
        near = np.nextafter(matrix, np.float32(direction))
        moved = np.abs(compute_fingerprints(near, NAMES) - compute_fingerprints(matrix, NAMES))
        assert moved.max() < TOLERANCE


def test_a_change_of_one_feature_by_a_percent_moves_it() -> None:
    matrix, rows = draw_matrix(3), np.arange(2000)
    column = rows % len(NAMES)
    before = matrix[rows, column]
    shown = np.abs(before) > 0.01
    matrix[rows, column] = before * np.float32(1.01)
    changed = compute_fingerprints(matrix, NAMES)
    matrix[rows, column] = before
    moved = np.abs(changed - compute_fingerprints(matrix, NAMES))
    assert shown.sum() > 1000
    assert moved[shown].min() > TOLERANCE
    assert moved[np.isnan(before)].max() == 0


def test_a_value_that_is_lost_moves_it_and_an_infinite_one_has_one() -> None:
    zeros = np.zeros((1, 2), dtype=np.float32)
    lost = np.array([[np.nan, 0.0]], dtype=np.float32)
    assert abs(compute_fingerprints(lost, ["a", "b"])[0] - compute_fingerprints(zeros, ["a", "b"])[0]) > 100
    assert np.isfinite(compute_fingerprints(np.array([[np.inf, -np.inf]], dtype=np.float32), ["a", "b"])).all()
    # The same values of other features are another vector.
    swapped = [compute_fingerprints(np.array([pair], dtype=np.float32), ["a", "b"])[0] for pair in ((1, 2), (2, 1))]
    assert abs(swapped[0] - swapped[1]) > TOLERANCE
