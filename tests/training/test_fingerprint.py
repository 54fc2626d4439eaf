"""The fingerprint of feature vectors: rounding does not move it, and a change that could matter does."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from training.columns import Columns
from training.modeling.fingerprint import TOLERANCE, compute_fingerprints, measure_scales

COUNT = 100


def draw_features(seed: int, rows: int = 2000) -> dict[str, np.ndarray]:
    """Return numbers of all sizes and places, and missing ones."""
    rng, found = np.random.default_rng(seed), {}
    sizes = np.random.default_rng(0).integers(-7, 9, COUNT)
    for number in range(COUNT):
        values = rng.standard_normal(rows) * 10.0 ** sizes[number] + (number % 3) * 10.0 ** sizes[number]
        values[rng.random(rows) < 0.05] = np.nan
        found[f"feature_{number}"] = values.astype(np.float32)
    return found


SCALES = measure_scales(draw_features(9))


def hash_text(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


def test_it_is_the_weighted_sum_of_the_scaled_values() -> None:
    features: Columns = {
        "b": np.array(["x", None, "y"], dtype=object),
        "a": np.array([3.5, np.nan, 1.0], dtype=np.float32),
    }
    scales = measure_scales({"a": np.array([0.0, 2.0, np.nan], dtype=np.float32)})
    assert scales == {"a": [1.0, 1.0]}
    a, b = 1 + hash_text("a"), 1 + hash_text("b")
    expected = [
        a * math.asinh(2.5) + b * 50 * (2 * hash_text("x") - 1),
        -128 * a - 128 * b,
        b * 50 * (2 * hash_text("y") - 1),
    ]
    assert compute_fingerprints(features, scales).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_row_alone_has_the_fingerprint_that_it_has_among_others() -> None:
    features = draw_features(1)
    together = compute_fingerprints(features, SCALES)
    for row in range(100):
        alone = compute_fingerprints({name: values[row : row + 1] for name, values in features.items()}, SCALES)
        assert alone[0] == pytest.approx(together[row], abs=2e-6)
    assert np.isfinite(together).all()


def test_rounding_of_the_last_digit_does_not_move_it() -> None:
    features = draw_features(2)
    before = compute_fingerprints(features, SCALES)
    for direction in (-np.inf, np.inf):
        near = {name: np.nextafter(values, np.float32(direction)) for name, values in features.items()}
        assert np.abs(compute_fingerprints(near, SCALES) - before).max() < TOLERANCE


def test_a_change_of_one_feature_by_a_hundredth_of_its_spread_moves_it() -> None:
    features = draw_features(3)
    before = compute_fingerprints(features, SCALES)
    for name, (mean, spread) in SCALES.items():
        values = features[name]
        typical = np.abs(values - mean) < 3 * spread
        changed = {**features, name: (values + np.float32(0.01 * spread)).astype(np.float32)}
        moved = np.abs(compute_fingerprints(changed, SCALES) - before)
        assert typical.sum() > 1500
        assert moved[typical].min() > TOLERANCE
        assert moved[np.isnan(values)].max() == 0


def test_texts_that_are_near_in_the_alphabet_are_far_apart() -> None:
    texts = np.array([f"level-{number}" for number in range(50_000)], dtype=object)
    found = compute_fingerprints({"kind": texts}, {})
    assert np.mean(np.abs(np.diff(found)) > TOLERANCE) > 0.9999


def test_a_value_that_is_lost_moves_it_and_an_infinite_one_has_one() -> None:
    def compute(*values: float) -> float:
        features = {name: np.array([value], dtype=np.float32) for name, value in zip("ab", values, strict=True)}
        return float(compute_fingerprints(features, {})[0])

    assert abs(compute(math.nan, 0) - compute(0, 0)) > 100
    assert math.isfinite(compute(math.inf, -math.inf))
    # The same values of other features are another vector.
    assert abs(compute(1, 2) - compute(2, 1)) > TOLERANCE
