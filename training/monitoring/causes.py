"""Which features explain a move of the score or of the quality, and how much of it, each by itself.

The rows of the window are weighted so that one feature is distributed as in training; what of the move is gone then is
what this feature explains. Features that move together explain the same part, so that shares need not add up to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from millrace.monitor_report import Explanation
from training.columns import Array, Columns
from training.drift import assign_bins

#: Features that are explained, those that drift most first.
MOST = 10
#: The largest weight of a row: a bin that training had and the window hardly has says little.
LARGEST = 20.0
#: Draws of days for the interval, and its confidence.
DRAWS, CONFIDENCE = 200, 0.9
#: A share whose interval reaches below this is not named: the rows of training differ by chance, too.
LEAST = 0.05
#: How many standard errors a move must have to be explained.
_CLEAR = 2.0


def explain_move(
    what: str,
    values: Array,
    reference: float,
    features: Columns,
    baseline: Mapping[str, Any],
    days: Array,
    names: Sequence[str],
    seed: int,
) -> list[Explanation]:
    """Return how much of a move each feature explains, the largest share first; none where nothing moved clearly.

    Args:
        what: What moved: `score` or `loss`.
        values: Its value in each of n rows.
        reference: Its mean in training.
        features: The features of the n rows.
        baseline: The bins of each feature in training.
        days: The number of each row's day, 0, 1, …
        names: The features that may explain it.
        seed: The seed of the draws.
    """
    count = int(days.max()) + 1 if len(days) else 0
    sums, rows = (np.bincount(days, weights=each, minlength=count) for each in (values, np.ones(len(values))))
    if count < 3 or not _is_clear(sums, rows, reference):
        return []
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=DRAWS).astype(np.float64)
    found = []
    for name in names:
        weights = _find_weights(features[name], baseline[name])
        weighted = [np.bincount(days, weights=each, minlength=count) for each in (weights * values, weights)]
        share = _explain(sums.sum(), rows.sum(), weighted[0].sum(), weighted[1].sum(), reference)
        draws = _explain(drawn @ sums, drawn @ rows, drawn @ weighted[0], drawn @ weighted[1], reference)
        low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        found.append(Explanation(of=what, feature=name, share=float(share), lower=float(low), upper=float(high)))
    return sorted((each for each in found if each.lower > LEAST), key=lambda each: -each.share)


def _is_clear(sums: Array, rows: Array, reference: float) -> bool:
    mean = sums.sum() / rows.sum()
    present = rows > 0
    residuals = (sums - mean * rows)[present]
    count = int(present.sum())
    error = np.sqrt(count / max(count - 1, 1) * np.sum(residuals**2)) / rows.sum()
    return bool(abs(mean - reference) > _CLEAR * error)


def _explain(total: Any, rows: Any, weighted: Any, weights: Any, reference: float) -> Any:
    """Return the share of a move that is gone once rows are weighted."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, corrected = total / rows, weighted / weights
        return np.nan_to_num((mean - corrected) / (mean - reference))


def _find_weights(values: Array, bins: Mapping[str, Any]) -> Array:
    """Return the weight of each row that gives a feature the distribution of training."""
    place = assign_bins(bins, values)
    then = np.array(bins["shares"])
    now = np.bincount(place, minlength=len(then)) / len(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(now > 0, then / now, 0.0)
    return np.asarray(np.minimum(ratio, LARGEST)[place])
