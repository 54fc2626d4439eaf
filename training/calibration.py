"""Whether the outcomes of a window fit the probabilities that a model gave: calibration and expected loss.

The question is answered by the distribution under the hypothesis that each outcome is 1 with the probability that the
model was registered to mean (Bröcker & Smith 2007; `training/recalibration.py`), and not by a fixed number of rows.
Days differ: what the holdout shows of that, in logits, is part of the hypothesis. The expected calibration error is
debiased (Kumar, Liang & Ma 2019), because chance alone makes gaps in every bin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.columns import Array
from training.metrics import debias_gaps
from training.recalibration import AS_GIVEN, Recalibration, to_logit, to_probability

#: The share of windows of a model that is as registered that may raise the alarm of calibration, and that of quality:
#: all alarms of a use case together stay below one in a hundred. Each has three tests: of calibration the error over
#: bins, the mean gap and the groups; of quality two losses and the groups.
FALSE_ALARMS = 0.006
SHARE = FALSE_ALARMS / 3.0
#: Draws of the hypothesis; the quantile of one in five hundred has 32 beyond it.
DRAWS = 16_000
#: Rows of a bin, of which there are at most `MOST_BINS`: with fewer rows the noise of a bin hides its gap.
BIN_ROWS, MOST_BINS = 100, 10
#: With more rows, a bin's count of outcomes is drawn from a normal distribution.
_DRAWN_ONE_BY_ONE = 5_000
#: Rows that are drawn at once.
_AT_ONCE = 500_000
#: The fewest days from which it can be told how much days differ.
FEWEST_DAYS = 3


@dataclass(frozen=True)
class Spread:
    """By how much days differ.

    Attributes:
        size: The standard deviation of a day's shift in logits.
        days: From how many days it is known.
    """

    size: float = 0.0
    days: int = FEWEST_DAYS


@dataclass(frozen=True)
class Judged:
    """A figure of a window, and how large it may be by chance.

    Attributes:
        value: The figure.
        chance: What a model that is as it was registered stays below in all but a stated share of windows.
    """

    value: float
    chance: float


@dataclass(frozen=True)
class Calibration:
    """The calibration of a window.

    Attributes:
        rows: Rows with an outcome.
        ece: The debiased expected calibration error.
        gap: The mean outcome minus the mean probability, whose size is judged.
        observed: How many outcomes are 1.
        expected: The sum of the probabilities.
        excess: By how much the squared error exceeds the one that the probabilities expect, on average.
        expected_loss: The mean squared error that the probabilities expect.
        days: How many days the rows come from.
    """

    rows: int
    ece: Judged
    gap: Judged
    observed: int
    expected: float
    excess: Judged
    expected_loss: float
    days: int


def measure_spread(y: Array, p: Array, days: Array) -> Spread | None:
    """Return by how much days differ; None where the rows are of too few days to tell.

    Args:
        y: The outcomes of n rows, 0 or 1.
        p: The n probabilities.
        days: The number of each row's day, 0, 1, …
    """
    weights = p * (1.0 - p)
    noise = np.bincount(days, weights=weights)
    if len(noise) < FEWEST_DAYS or not noise.sum():
        return None
    residuals = np.bincount(days, weights=y - p)
    # What all days share is the model's own fault, not a difference of days.
    residuals = residuals - noise * (residuals.sum() / noise.sum())
    size = math.sqrt(max(0.0, float(np.sum(residuals**2) - noise.sum()) / float(np.sum(noise**2))))
    return Spread(size, len(noise))


def measure_calibration(
    y: Array, p: Array, days: Array, spread: Spread, seed: int, meant: Recalibration = AS_GIVEN
) -> Calibration:
    """Compare outcomes with probabilities.

    Args:
        y: The outcomes of n rows, 0 or 1; n is at least 1.
        p: The n probabilities.
        days: The number of each row's day, 0, 1, …
        spread: By how much days differ, from :func:`measure_spread`.
        seed: The seed of the draws.
        meant: What the probabilities were registered to mean.

    Returns:
        The figures with what chance makes of them. Those of calibration share their rate of false alarms.
    """
    y, p = y.astype(np.float64), p.astype(np.float64)
    bins = _assign_bins(p)
    count = int(bins.max()) + 1
    # Two sums of each row are drawn: its residual in its bin, and its residual times 1 - 2p, by which the squared
    # error differs from the expected one.
    residual, slope = y - p, 1.0 - 2.0 * p
    sums = np.bincount(bins, weights=residual, minlength=count)
    drawn, drawn_excess = _draw_sums(p, bins, days, spread, np.random.default_rng(seed), meant)
    rows = np.bincount(bins, minlength=count)
    variances = np.bincount(bins, weights=p * (1.0 - p), minlength=count)
    errors = debias_gaps(drawn, rows, variances)
    return Calibration(
        rows=len(y),
        ece=Judged(float(debias_gaps(sums[None, :], rows, variances)[0]), float(np.quantile(errors, 1.0 - SHARE))),
        gap=Judged(float(residual.mean()), float(np.quantile(np.abs(drawn.sum(axis=1)), 1.0 - SHARE)) / len(y)),
        observed=int(y.sum()),
        expected=float(p.sum()),
        excess=Judged(float(np.mean(slope * residual)), float(np.quantile(drawn_excess, 1.0 - SHARE)) / len(y)),
        expected_loss=float(np.mean(p * (1.0 - p))),
        days=len(np.unique(days)),
    )


def _assign_bins(p: Array) -> Array:
    """Return the bin of each row: bins of equal mass, fewer where there are fewer rows; equal scores share a bin."""
    count = min(max(len(p) // BIN_ROWS, 1), MOST_BINS)
    edges = np.quantile(p, np.arange(1, count) / count)
    return np.unique(np.searchsorted(edges, p, side="right"), return_inverse=True)[1]


def _draw_sums(
    p: Array, bins: Array, days: Array, spread: Spread, rng: np.random.Generator, meant: Recalibration
) -> tuple[Array, Array]:
    """Return draws of the sums of residuals by bin, and of the excess of the squared error.

    Args:
        p: The probabilities of n rows.
        bins: The bin of each row.
        days: The day of each row.
        spread: By how much days differ.
        rng: The generator of random numbers.
        meant: What the probabilities were registered to mean.

    Returns:
        Draws × bins, and one excess per draw: sums over the rows.
    """
    q = meant.apply(p)
    count, slope, weights = int(bins.max()) + 1, 1.0 - 2.0 * p, q * (1.0 - q)
    if len(p) <= _DRAWN_ONE_BY_ONE:
        order = np.argsort(bins, kind="stable")
        starts = np.searchsorted(bins[order], np.arange(count))
        sums, excess = np.empty((DRAWS, count)), np.empty(DRAWS)
        logits, sorted_slope = to_logit(p[order]), slope[order]
        curves = meant.draw(rng, DRAWS) + np.array([meant.intercept, meant.slope])
        step = max(1, _AT_ONCE // len(p))
        for first in range(0, DRAWS, step):
            size = min(step, DRAWS - first)
            means: Array = q[order]
            if any(meant.covariance):
                some = curves[first : first + size]
                means = to_probability(some[:, :1] + some[:, 1:] * logits)
            residuals: Array = (rng.random((size, len(p)), dtype=np.float32) < means.astype(np.float32)) - p[order]
            sums[first : first + size] = np.add.reduceat(residuals, starts, axis=1)
            excess[first : first + size] = residuals @ sorted_slope
    else:
        sums = rng.standard_normal((DRAWS, count)) * np.sqrt(np.bincount(bins, weights=weights, minlength=count))
        sums += np.bincount(bins, weights=q - p, minlength=count)
        excess = rng.standard_normal(DRAWS) * math.sqrt(float(np.sum(slope**2 * weights)))
        excess += float(np.sum(slope * (q - p)))
        # A change of the curve moves a probability by about q(1 - q) times the change of its logit.
        moves = np.stack([weights, weights * to_logit(p)])
        changes = meant.draw(rng, DRAWS)
        sums += changes @ np.stack([np.bincount(bins, weights=move, minlength=count) for move in moves])
        excess += changes @ (moves @ slope)
    if spread.size:
        # A day's shift in logits moves a probability by p(1 - p). Few days leave its size uncertain, as in a t-test.
        last, known = int(days.max()) + 1, spread.days - 1
        sizes = spread.size * np.sqrt(known / rng.chisquare(known, (DRAWS, 1)))
        shifts = rng.standard_normal((DRAWS, last)) * sizes
        by_bin = np.bincount(days * count + bins, weights=weights, minlength=last * count).reshape(last, count)
        sums += shifts @ by_bin
        excess += shifts @ np.bincount(days, weights=weights * slope, minlength=last)
    return sums, excess
