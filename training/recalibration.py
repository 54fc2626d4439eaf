"""How far the probabilities of a model are from right by the day that it is registered, and how well that is known.

A model that is sharper than the outcomes allow, as many are that were fitted on few rows, is not broken in production
by being as sharp as it was registered. So the hypothesis of the monitor is not that each outcome is 1 with the
probability p that was given, but with the one of a logistic curve, a + b·logit(p), that rows show which the fit had not
seen (Cox 1958). Both numbers are known with an error, which is part of the hypothesis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.columns import Array

#: Probabilities of 0 and 1 count as this far from them: their logits are infinite.
_NEAREST = 1e-6
#: The weight, in rows, of the belief that the probabilities are right; few or separated rows have no other answer.
_PRIOR = 1.0
_ROUNDS = 50
#: Changes of the curve that do not matter.
_ENOUGH = 1e-9


@dataclass(frozen=True)
class Recalibration:
    """A curve a + b·logit(p) and how well it is known.

    Attributes:
        intercept: a; 0 where the probabilities are right.
        slope: b; 1 where they are right, less where they are too sharp.
        covariance: The variance of a, the covariance, the variance of b.
    """

    intercept: float = 0.0
    slope: float = 1.0
    covariance: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def apply(self, p: Array) -> Array:
        """Return what the outcomes of probabilities are expected to be.

        Args:
            p: The probabilities.
        """
        if (self.intercept, self.slope) == (0.0, 1.0):
            return p
        return to_probability(self.intercept + self.slope * to_logit(p))

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Return draws of what is not known of the curve: changes of intercept and slope.

        Args:
            rng: The generator of random numbers.
            count: How many draws.

        Returns:
            Draws × 2.
        """
        intercepts, both, slopes = self.covariance
        first = math.sqrt(intercepts)
        shared = both / first if first else 0.0
        rest = math.sqrt(max(0.0, slopes - shared**2))
        return np.asarray(rng.standard_normal((count, 2)) @ np.array([[first, shared], [0.0, rest]]))

    def measure_variance(self, p: Array, weights: Array) -> float:
        """Return the variance of a sum of outcomes that the uncertainty of the curve makes.

        Args:
            p: The probabilities of the rows.
            weights: q(1 - q) of what they mean, q.
        """
        intercepts, both, slopes = self.covariance
        by_intercept, by_slope = float(weights.sum()), float(np.sum(weights * to_logit(p)))
        return intercepts * by_intercept**2 + 2.0 * both * by_intercept * by_slope + slopes * by_slope**2

    def dump(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)

    @classmethod
    def load(cls, document: Mapping[str, Any] | None) -> Recalibration:
        """Return it from JSON data; the probabilities of models without one count as right.

        Args:
            document: What :meth:`dump` returned, or None.
        """
        if document is None:
            return cls()
        return cls(document["intercept"], document["slope"], tuple(document["covariance"]))


#: Probabilities that mean what they say.
AS_GIVEN = Recalibration()


def to_logit(p: Array) -> Array:
    """Return the log-odds of probabilities; those of 0 and 1 are finite.

    Args:
        p: The probabilities.
    """
    inside = np.clip(p.astype(np.float64), _NEAREST, 1.0 - _NEAREST)
    return np.asarray(np.log(inside / (1.0 - inside)))


def to_probability(logits: Array) -> Array:
    """Return the probabilities of log-odds.

    Args:
        logits: The log-odds.
    """
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def fit_recalibration(y: Array, p: Array, days: Array) -> Recalibration:
    """Return the curve that fits outcomes best, with days as independent units.

    Args:
        y: The outcomes of n rows, 0 or 1, that the fit had not seen.
        p: The n probabilities.
        days: The number of each row's day, 0, 1, …
    """
    logits, target = to_logit(p), y.astype(np.float64)
    inputs = np.stack([np.ones(len(y)), logits])
    belief, curve = _PRIOR * np.eye(2), np.array([0.0, 1.0])
    prior = curve.copy()
    for _ in range(_ROUNDS):
        q = to_probability(curve @ inputs)
        slope = inputs @ (target - q) - belief @ (curve - prior)
        hessian = (inputs * (q * (1.0 - q))) @ inputs.T + belief
        step = np.linalg.solve(hessian, slope)
        # A step may be too long where outcomes are nearly separated.
        curve = curve + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < _ENOUGH:
            break
    residuals = inputs * (target - to_probability(curve @ inputs))
    by_day = np.stack([np.bincount(days, weights=row) for row in residuals])
    count = max(2, int(np.sum(np.bincount(days) > 0)))
    # Whichever is larger: what days show, or independent rows.
    inverse = np.linalg.inv(hessian)
    robust = inverse @ (by_day @ by_day.T * count / (count - 1)) @ inverse
    found = np.where(np.diag(robust).sum() > np.diag(inverse).sum(), robust, inverse)
    return Recalibration(float(curve[0]), float(curve[1]), (found[0, 0], found[0, 1], found[1, 1]))
