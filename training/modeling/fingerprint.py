"""The fingerprint of a feature vector: a hash of what the estimator was given, as one number.

Unlike a cryptographic hash it moves little where features do: the same code may round its last digit differently for
one row than for a thousand, and that must not look like other features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np

from training.columns import Array, Columns, find_kind, is_missing

#: The largest difference between fingerprints of equal vectors. A number near its mean of training moves a fingerprint
#: by one to two times its change, in units of its spread in training; one that is far away by less.
TOLERANCE: Final = 1e-3
#: What a missing value counts as: no other value counts as that little.
_MISSING: Final = -128.0
#: Texts count as numbers between minus and plus this.
_TEXTS: Final = 50.0
#: The largest value of float32; infinite ones count as it.
_LARGEST: Final = float(np.finfo(np.float32).max)
_DIGITS: Final = 6

#: Mean and spread of a number in training.
Scale = Sequence[float]


def measure_scales(features: Columns) -> dict[str, list[float]]:
    """Return mean and spread of each number.

    Args:
        features: The features of the rows that a model is fitted on.

    Returns:
        Feature → mean and standard deviation of its values, or a thousandth of the mean where that is larger.
    """
    found = {}
    for name, values in features.items():
        if find_kind(values) == "text":
            continue
        known = values[np.isfinite(values)].astype(np.float64)
        mean = float(known.mean()) if len(known) else 0.0
        spread = float(known.std()) if len(known) else 0.0
        found[name] = [mean, max(spread, 1e-3 * abs(mean), 1e-6)]
    return found


def compute_fingerprints(features: Columns, scales: Mapping[str, Scale]) -> Array:
    """Return the fingerprint of each row: float64, finite, rounded to 6 digits.

    Args:
        features: The features of n rows.
        scales: Mean and spread of each number in training; one that is not there counts as it is.
    """
    total = np.zeros(len(next(iter(features.values()))))
    for name in sorted(features):
        total += _find_weight(name) * _scale(features[name], scales.get(name, (0.0, 1.0)))
    return np.asarray(np.round(total, _DIGITS))


def _scale(values: Array, scale: Scale) -> Array:
    if find_kind(values) == "text":
        missing = is_missing(values)
        texts = [0.0 if absent else _place(str(text)) for text, absent in zip(values, missing, strict=True)]
        return np.where(missing, _MISSING, np.array(texts, dtype=np.float64))
    clipped = np.clip(values.astype(np.float64), -_LARGEST, _LARGEST)
    scaled = np.arcsinh((clipped - scale[0]) / scale[1])
    return np.where(np.isnan(scaled), _MISSING, scaled)


@lru_cache(maxsize=65_536)
def _place(text: str) -> float:
    """Return a number that follows from a text."""
    return _TEXTS * (2.0 * _hash(text) - 1.0)


@lru_cache(maxsize=4096)
def _find_weight(name: str) -> float:
    """Return a number in [1, 2) that follows from the name, so that changes of two features hardly ever cancel."""
    return 1.0 + _hash(name)


def _hash(text: str) -> float:
    """Return a number in [0, 1) that follows from a text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big") / 2**48
