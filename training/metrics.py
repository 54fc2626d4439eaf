"""The metrics named in `millrace/metrics.py` and those of audits; `y` is the outcome, `p` the prediction.

They use NumPy alone: a monitor of a few thousand rows should not wait for larger libraries to load.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.metrics import METRICS, Problem, get_direction
from training.columns import Array, is_missing

#: Bins of equal mass in the expected calibration error.
BINS = 10
#: Probabilities are kept this far from 0 and 1 in the log loss, as scikit-learn does in double precision.
EPSILON = float(np.finfo(np.float64).eps)


def compute_metrics(problem: Problem, y: Array, p: Array) -> dict[str, float]:
    """Return all metrics of a problem type, except those that are undefined on these rows (a single class).

    Args:
        problem: The problem type.
        y: The outcomes, one per row: 0 or 1 in a binary problem.
        p: The predictions, one per row: probabilities of the outcome 1 in a binary problem.

    Returns:
        Metric → value, by the names in :data:`millrace.metrics.METRICS`.
    """
    found = {name: compute_metric(problem, name, y, p) for name in METRICS[problem]}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def compute_metric(problem: Problem, name: str, y: Array, p: Array) -> float:
    """Return one metric; NaN where it is undefined on these rows.

    Args:
        problem: The problem type.
        name: The metric's name in :data:`millrace.metrics.METRICS`.
        y: The outcomes, one per row, as in :func:`compute_metrics`.
        p: The predictions, one per row.
    """
    return _FORMULAS[problem][name](y, p)


def compute_loss(problem: Problem, name: str, y: Array, p: Array) -> float:
    """Return a metric as a loss: itself, or 1 - metric where higher values are better; NaN where it is undefined.

    Args:
        problem: The problem type.
        name: The metric's name in :data:`millrace.metrics.METRICS`.
        y: The outcomes, one per row, as in :func:`compute_metrics`.
        p: The predictions, one per row.
    """
    return convert_to_loss(problem, name, compute_metric(problem, name, y, p))


def convert_to_loss(problem: Problem, name: str, value: float) -> float:
    """Return a metric's value as a loss, as :func:`compute_loss` does.

    Args:
        problem: The problem type.
        name: The metric's name in :data:`millrace.metrics.METRICS`.
        value: Its value.
    """
    return 1.0 - value if get_direction(problem, name) == "higher" else value


def roc_auc(y: Array, p: Array) -> float:
    """Return the probability that a positive scores above a negative, ties counting half (Mann-Whitney).

    Args:
        y: The outcomes, 0 or 1, one per row.
        p: The scores, one per row.

    Returns:
        0 to 1; NaN where there is only one outcome.
    """
    positives = int(np.sum(y == 1))
    negatives = len(y) - positives
    if not positives or not negatives:
        return math.nan
    _, index, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((np.sum(ranks[index][y == 1]) - positives * (positives + 1) / 2) / (positives * negatives))


def find_auc_error(auc: float, y: Array) -> float:
    """Return the standard error of an AUC (Hanley & McNeil 1982).

    Args:
        auc: The AUC.
        y: The outcomes that it was measured on, 0 or 1.
    """
    positives = int(np.sum(y == 1))
    negatives = len(y) - positives
    if not positives or not negatives:
        return math.inf
    # Not exactly 1 or 0, of which the formula says that there is no error, however few outcomes there are.
    value = min(max(auc, 0.5 / (positives * negatives)), 1.0 - 0.5 / (positives * negatives))
    same, other = value / (2.0 - value), 2.0 * value**2 / (1.0 + value)
    spread = (positives - 1) * (same - value**2) + (negatives - 1) * (other - value**2)
    return math.sqrt(max(0.0, value * (1.0 - value) + spread) / (positives * negatives))


def average_precision(y: Array, p: Array) -> float:
    """Return the sum over thresholds of the gain in recall times the precision."""
    positives = float(np.sum(y == 1))
    if not positives:
        return math.nan
    order = np.argsort(-np.asarray(p), kind="stable")
    scores, hits = np.asarray(p)[order], np.cumsum(np.asarray(y)[order] == 1)
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    precision, recall = hits[last] / (last + 1), hits[last] / positives
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def brier(y: Array, p: Array) -> float:
    """Return the mean squared error of the probability."""
    return float(np.mean((np.asarray(p, float) - y) ** 2))


def brier_skill(y: Array, p: Array) -> float:
    """Return 1 - Brier / (base rate · (1 - base rate)): the gain over always predicting the base rate."""
    base = float(np.mean(y))
    return 1.0 - brier(y, p) / (base * (1.0 - base)) if 0.0 < base < 1.0 else math.nan


def log_loss(y: Array, p: Array) -> float:
    """Return the mean negative log-likelihood in nats."""
    return float(np.mean(compute_log_losses(y, p)))


def compute_log_losses(y: Array, p: Array) -> Array:
    """Return the negative log-likelihood of each row in nats.

    Args:
        y: The outcomes, 0 or 1, one per row.
        p: The probabilities, one per row.
    """
    q = np.clip(np.asarray(p, float), EPSILON, 1.0 - EPSILON)
    return np.asarray(-(y * np.log(q) + (1.0 - y) * np.log1p(-q)))


def mae(y: Array, p: Array) -> float:
    """Return the mean absolute error."""
    return float(np.mean(np.abs(np.asarray(p, float) - y)))


def rmse(y: Array, p: Array) -> float:
    """Return the root of the mean squared error."""
    return math.sqrt(brier(y, p))


def r2(y: Array, p: Array) -> float:
    """Return the share of the target's variance that is explained; NaN where the target does not vary."""
    spread = float(np.sum((y - np.mean(y)) ** 2))
    return 1.0 - float(np.sum((np.asarray(p, float) - y) ** 2)) / spread if spread else math.nan


def bias(y: Array, p: Array) -> float:
    """Return the absolute mean error."""
    return abs(float(np.mean(np.asarray(p, float) - y)))


def compute_calibration_bins(y: Array, p: Array, bins: int = BINS) -> list[dict[str, float]]:
    """Return rows, mean prediction and observed rate of bins of equal mass, by ascending prediction.

    Args:
        y: The outcomes, 0 or 1, one per row.
        p: The probabilities, one per row.
        bins: How many bins; there are fewer where there are fewer rows.

    Returns:
        For each bin `rows`, `predicted` and `observed`.
    """
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [
        {"rows": len(part), "predicted": float(np.mean(p[part])), "observed": float(np.mean(y[part]))} for part in parts
    ]


def ece(y: Array, p: Array, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean gap of prediction and outcome over bins of equal mass, debiased.

    Args:
        y: The outcomes, 0 or 1, one per row.
        p: The probabilities, one per row.
        bins: How many bins; there are fewer where there are fewer rows.
    """
    p = np.asarray(p, float)
    parts = [part for part in np.array_split(np.argsort(p, kind="stable"), bins) if len(part)]
    sums = np.array([[np.sum(y[part] - p[part]) for part in parts]])
    variances = np.array([np.sum(p[part] * (1.0 - p[part])) for part in parts])
    return float(debias_gaps(sums, np.array([len(part) for part in parts]), variances)[0])


def debias_gaps(sums: Array, rows: Array, variances: Array) -> Array:
    """Return the expected calibration error of each draw, debiased (Kumar, Liang & Ma 2019).

    Chance adds to a gap of d with standard error s what a normal distribution around d has of its absolute mean beyond
    d; that is subtracted.

    Args:
        sums: Draws × bins: sums of outcome minus probability.
        rows: The rows of each bin.
        variances: The sum of p(1 - p) of each bin.
    """
    from scipy.special import ndtr

    gaps, errors = np.abs(sums) / rows, np.sqrt(variances) / rows
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(errors > 0, gaps / errors, 0.0)
    folded = errors * math.sqrt(2.0 / math.pi) * np.exp(-(ratio**2) / 2.0) + gaps * (1.0 - 2.0 * ndtr(-ratio))
    folded = np.where(errors > 0, folded, gaps)
    return np.asarray(np.maximum(0.0, np.sum((2.0 * gaps - folded) * rows, axis=1) / rows.sum()))


_FORMULAS: dict[Problem, dict[str, Callable[[Array, Array], float]]] = {
    Problem.BINARY: {
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "brier": brier,
        "brier_skill": brier_skill,
        "ece": ece,
        "log_loss": log_loss,
    },
    Problem.REGRESSION: {"mae": mae, "rmse": rmse, "r2": r2, "bias": bias},
}


def compute_rates(y: Array, p: Array, threshold: float) -> dict[str, float | int | None]:
    """Return rows, base rate, true and false positive rate at a threshold, and AUC; None where undefined.

    Args:
        y: The outcomes, 0 or 1, one per row.
        p: The probabilities, one per row.
        threshold: The probability from which a prediction counts as positive.

    Returns:
        `rows`, `base_rate`, `tpr`, `fpr` and `roc_auc`.
    """
    positive = p >= threshold
    late, on_time = y == 1, y != 1
    auc = roc_auc(y, p)
    return {
        "rows": len(y),
        "base_rate": float(np.mean(y)) if len(y) else None,
        "tpr": float(np.mean(positive[late])) if late.any() else None,
        "fpr": float(np.mean(positive[on_time])) if on_time.any() else None,
        "roc_auc": None if math.isnan(auc) else auc,
    }


def single_feature_auc(y: Array, values: Array) -> float:
    """Return the AUC of one column alone, in its better direction; texts score by their rate of the outcome.

    Rates are taken on one half of the rows and used on the other: otherwise many rare values would look like a leak.

    Args:
        y: The outcomes, 0 or 1, one per row.
        values: The column: floats, NaN if missing, or texts, None if missing; one value per row.

    Returns:
        0.5 to 1; NaN where there is only one outcome.
    """
    if values.dtype.kind != "O":
        known = ~np.isnan(values)
        filled = np.where(known, values, np.nanmin(values) - 1.0 if known.any() else 0.0)
        auc = roc_auc(y, filled)
    else:
        _, index = np.unique(np.where(is_missing(values), "", values).astype(str), return_inverse=True)
        scores = np.empty(len(y))
        half = np.arange(len(y)) % 2 == 0
        for fit, use in ((half, ~half), (~half, half)):
            base = float(np.mean(y[fit])) if fit.any() else 0.5
            hits = np.bincount(index[fit], weights=y[fit], minlength=index.max() + 1)
            counts = np.bincount(index[fit], minlength=index.max() + 1)
            scores[use] = ((hits + base) / (counts + 1.0))[index[use]]
        auc = roc_auc(y, scores)
    return math.nan if math.isnan(auc) else max(auc, 1.0 - auc)


def round_floats(document: Any, digits: int = 6) -> Any:
    """Return a JSON document with its floats rounded; NaN and infinity become None.

    Args:
        document: JSON data, with NumPy scalars and tuples allowed.
        digits: Decimal places.
    """
    if isinstance(document, dict):
        return {key: round_floats(value, digits) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [round_floats(value, digits) for value in document]
    if isinstance(document, (float, np.floating)):
        return round(float(document), digits) if math.isfinite(document) else None
    return document.item() if isinstance(document, np.generic) else document
