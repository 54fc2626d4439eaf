"""The bias audit: differences between groups, each with its interval, by a table for each problem type.

The differences are named as Fairlearn names them: demographic parity (the share that is selected), equal opportunity
(the true positive rate), equalised odds (the larger of the differences of true and false positive rates) and predictive
parity (the share of selected ones that are right). Groups differ by chance, the more of them there are; a bound counts
as exceeded only where the lower end of the interval, for all pairs of groups together, exceeds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from millrace.documents import Gap
from millrace.metrics import Problem
from training.columns import Array
from training.quality import compute_ratio

#: The share of audits of equal groups whose interval may miss the difference of zero.
LEVEL = 0.05
#: A rate of fewer rows says nothing about a group: positives for true positive rates, and so on.
FEWEST = 20


@dataclass(frozen=True)
class Rate:
    """A rate of a group: the mean of ``hits`` over its rows in ``members``.

    Attributes:
        find: Returns members and hits of n rows from outcomes, predictions and threshold.
        is_share: Whether hits are 0 or 1, so that the rate is a share.
    """

    find: Callable[[Array, Array, float], tuple[Array, Array]]
    is_share: bool = True


def _relate_errors(errors: Array) -> Array:
    """Return errors relative to the mean absolute error of all rows."""
    scale = float(np.mean(np.abs(errors)))
    return np.asarray(errors / scale if scale else errors)


#: The rates whose differences are audited, by problem type and by the name of their bound in a slice.
RATES: Mapping[Problem, Mapping[str, Rate]] = {
    Problem.BINARY: {
        "tpr": Rate(lambda y, p, at: (y == 1, p >= at)),
        "fpr": Rate(lambda y, p, at: (y != 1, p >= at)),
        "selection": Rate(lambda y, p, at: (np.ones(len(y), dtype=bool), p >= at)),
        "precision": Rate(lambda y, p, at: (p >= at, y == 1)),
    },
    Problem.REGRESSION: {
        "error": Rate(lambda y, p, _: (np.ones(len(y), dtype=bool), np.abs(_relate_errors(p - y))), is_share=False),
        "bias": Rate(lambda y, p, _: (np.ones(len(y), dtype=bool), _relate_errors(p - y)), is_share=False),
    },
}


def audit_groups(
    problem: Problem,
    y: Array,
    p: Array,
    groups: Array,
    days: Array,
    *,
    threshold: float,
    min_rows: int,
    bounds: Mapping[str, float | None],
) -> dict[str, Gap]:
    """Return the largest difference between groups of each rate of a problem type.

    Args:
        problem: The problem type.
        y: The outcomes of n rows.
        p: The n predictions.
        groups: The name of each row's group.
        days: The number of each row's day, 0, 1, …
        threshold: The probability from which a prediction counts as positive.
        min_rows: The fewest rows of a group that is judged.
        bounds: Rate → the declared bound of its difference.

    Returns:
        Rate → its difference; without a value where fewer than two groups can be judged.
    """
    found = {}
    for name, rate in RATES[problem].items():
        members, hits = rate.find(y, p, threshold)
        known: dict[str, tuple[float, float]] = {}
        unclear = []
        for group in np.unique(groups):
            rows = (groups == group) & members
            if (groups == group).sum() < min_rows or rows.sum() < FEWEST:
                unclear.append(str(group))
                continue
            known[str(group)] = _measure_rate(hits[rows].astype(np.float64), days[rows], is_share=rate.is_share)
        found[name] = _find_gap(known, unclear, bounds.get(name))
    return found


def _measure_rate(hits: Array, days: Array, *, is_share: bool) -> tuple[float, float]:
    """Return a rate and its standard error; rows of a day are not independent."""
    rate = compute_ratio(hits, np.ones(len(hits)), days)
    if not is_share:
        return rate.value, rate.error
    # A share of 0 or 1 in few rows is not known exactly.
    near = (hits.sum() + 1.0) / (len(hits) + 2.0)
    return rate.value, max(rate.error, math.sqrt(near * (1.0 - near) / len(hits)))


def _find_gap(known: Mapping[str, tuple[float, float]], unclear: list[str], bound: float | None) -> Gap:
    from scipy.special import ndtri

    pairs = list(combinations(known, 2))
    if not pairs:
        return Gap(bound=bound, unclear=unclear)
    reach = float(ndtri(1.0 - LEVEL / (2.0 * len(pairs))))
    differences = [abs(known[a][0] - known[b][0]) for a, b in pairs]
    errors = [reach * math.hypot(known[a][1], known[b][1]) for a, b in pairs]
    widest = int(np.argmax(differences))
    lower = max(difference - error for difference, error in zip(differences, errors, strict=True))
    return Gap(
        value=differences[widest],
        lower=max(0.0, lower),
        upper=max(difference + error for difference, error in zip(differences, errors, strict=True)),
        bound=bound,
        between=sorted(pairs[widest]),
        unclear=unclear,
    )
