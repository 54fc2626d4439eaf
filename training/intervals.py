"""Intervals of metrics by a bootstrap of whole blocks of time, because rows of one block are not independent.

Each draw takes as many blocks as there are, with replacement. A metric of a draw is the metric of rows with weights:
how often their block was drawn. Rows are sorted once for all draws.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from training.columns import Array
from training.metrics import BINS, compute_log_losses, debias_gaps

#: Draws of an interval; its ends are known to about a twentieth of its width.
DRAWS = 400
#: With fewer blocks there is no interval: drawing two of two days says nothing about other days.
FEWEST_BLOCKS = 3
#: The share of draws in which a metric may be undefined: rows of a single outcome.
_UNDEFINED = 0.05


class Bootstrap:
    """Rows whose blocks of time are drawn again and again."""

    def __init__(self, y: Array, p: Array, blocks: Array, seed: int) -> None:
        """Draw the blocks.

        Args:
            y: The outcomes of n rows.
            p: The predictions of n rows.
            blocks: The number of each row's block, 0, 1, …
            seed: The seed of the draws.
        """
        self._y, self._p, self._blocks = y.astype(np.float64), p.astype(np.float64), blocks
        count = int(blocks.max()) + 1
        rng = np.random.default_rng(seed)
        #: How often each block was drawn: draws × blocks.
        self.weights = rng.multinomial(count, np.full(count, 1.0 / count), size=DRAWS).astype(np.float64)

    def find_interval(self, metric: str, confidence: float) -> tuple[float, float] | None:
        """Return the ends of a metric's interval; None where there are too few blocks, or the metric is undefined.

        Args:
            metric: The metric's name in :data:`millrace.metrics.METRICS`.
            confidence: The share of intervals that contain the true value, e.g. 0.9.
        """
        if self.weights.shape[1] < FEWEST_BLOCKS:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            values = self._compute(metric)
        known = values[np.isfinite(values)]
        if len(known) < (1 - _UNDEFINED) * len(values):
            return None
        low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    def _compute(self, metric: str) -> Array:
        """Return the metric of each draw; NaN where it is undefined."""
        if metric in ("roc_auc", "average_precision", "ece"):
            draw: Callable[[Array], float] = getattr(self, f"_draw_{metric}")
            return np.array([draw(weights[self._blocks[self._order]]) for weights in self.weights])
        y, p, n = self._y, self._p, self._sum(np.ones(len(self._y)))
        if metric in ("brier", "rmse", "brier_skill", "r2"):
            squares = self._sum((p - y) ** 2)
        if metric == "brier":
            return squares / n
        if metric == "rmse":
            return np.sqrt(squares / n)
        if metric in ("brier_skill", "r2"):
            # The variance of a 0/1 outcome is base rate · (1 - base rate).
            # Around the mean, because a difference of large sums would lose its digits.
            near = y - y.mean()
            return 1.0 - squares / (self._sum(near**2) - self._sum(near) ** 2 / n)
        losses = {"log_loss": compute_log_losses(y, p), "mae": np.abs(p - y), "bias": p - y}
        return np.abs(self._sum(losses[metric]) / n)

    def _sum(self, values: Array) -> Array:
        """Return the weighted sum of a value per row, for each draw."""
        return np.asarray(self.weights @ np.bincount(self._blocks, weights=values, minlength=self.weights.shape[1]))

    @cached_property
    def _order(self) -> Array:
        return np.argsort(self._p, kind="stable")

    @cached_property
    def _ties(self) -> Array:
        """The first place of each distinct prediction, in ascending order."""
        return np.flatnonzero(np.diff(self._p[self._order], prepend=-np.inf))

    def _draw_roc_auc(self, weights: Array) -> float:
        positive = self._y[self._order] == 1
        positives, negatives = (np.add.reduceat(weights * mask, self._ties) for mask in (positive, ~positive))
        below = np.cumsum(negatives) - negatives / 2
        return float(np.sum(positives * below) / (positives.sum() * negatives.sum()))

    def _draw_average_precision(self, weights: Array) -> float:
        hits = np.add.reduceat(weights * self._y[self._order], self._ties)[::-1]
        rows = np.add.reduceat(weights, self._ties)[::-1]
        drawn = rows > 0
        precision = np.cumsum(hits)[drawn] / np.cumsum(rows)[drawn]
        return float(np.sum(hits[drawn] * precision) / hits.sum())

    def _draw_ece(self, weights: Array) -> float:
        before = np.cumsum(weights) - weights
        bins = np.minimum((before * BINS / weights.sum()).astype(int), BINS - 1)
        y, p = self._y[self._order], self._p[self._order]
        sums, rows, variances = (
            np.bincount(bins, weights=weights * values, minlength=BINS)
            for values in (y - p, np.ones(len(y)), p * (1.0 - p))
        )
        drawn = rows > 0
        # A draw has the chance of the outcomes and that of the draw in its gaps.
        return float(debias_gaps(sums[None, drawn], rows[drawn], 2.0 * variances[drawn])[0])
