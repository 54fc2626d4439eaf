"""The fingerprint of a feature vector: a hash of what the estimator was given, as one number.

Unlike a cryptographic hash it moves little where features do: the same code may round its last digit differently for
one row than for a thousand, and that must not look like other features.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import numpy as np

from training.columns import Array

#: The largest difference between fingerprints of equal vectors. Rounding in float32 moves one by less than 1e-5 a
#: feature; a feature that changes by 1 % moves it by at least 5e-3, unless its value is below .01.
TOLERANCE: Final = 1e-4
#: Values below it count on a linear scale, larger ones on a logarithmic one.
_LINEAR: Final = 0.01
#: What a missing value counts as: no value of float32 counts as that little.
_MISSING: Final = -128.0
#: The largest value of float32; infinite ones count as it.
_LARGEST: Final = float(np.finfo(np.float32).max)
_DIGITS: Final = 6


def compute_fingerprints(matrix: Array, names: Iterable[str]) -> Array:
    """Return the fingerprint of each row: float64, finite, rounded to 6 digits.

    Args:
        matrix: n rows of float32, one column per feature, as the estimator gets them.
        names: The features, in the order of the columns.
    """
    weights = np.array([_find_weight(name) for name in names])
    scaled = np.arcsinh(np.clip(matrix.astype(np.float64), -_LARGEST, _LARGEST) / _LINEAR)
    values = np.where(np.isnan(scaled), _MISSING, scaled)
    return np.asarray(np.round(values @ weights, _DIGITS))


def _find_weight(name: str) -> float:
    """Return a number in [1, 2) that follows from the name, so that changes of two features hardly ever cancel."""
    return 1.0 + int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") / 2**32
