"""How far a window may differ from its baseline by chance alone: the thresholds of drift.

Without drift the population stability index of a window of n rows against a baseline of m rows is distributed like
(1/n + 1/m) · χ² with one degree of freedom fewer than bins (Yurdakul & Naranjo 2020). Rows of one day resemble each
other, which makes it larger: how much larger its mean is, the excess, is measured on windows of the training period,
and counts as a χ² of one degree of freedom. All tests of a window share its rate of false alarms. A threshold is never
below the declared effect size: with many rows everything is significant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.monitor_report import Shift
from training.columns import Array, is_missing
from training.drift import compute_shares, find_places

#: The share of windows without drift in which any test of a use case may alarm, and in which any may warn: of warnings
#: at most 5 %, of which texts of many levels, learned from few rows, take more than their share.
FALSE_ALARMS, FALSE_WARNINGS = 0.01, 0.03
#: The index from which a shift matters at all for a warning, and the shares of new or missing values for both tiers.
WARNING_EFFECT = 0.1
SHARE_EFFECT, SHARE_WARNING_EFFECT = 0.05, 0.02
#: Bins with a lower expected count are merged: the index is not distributed like χ² with fewer.
_FEWEST_EXPECTED = 5.0
#: With fewer windows in the training period, the excess is unknown and counts as none.
FEWEST_WINDOWS = 3
#: Rows that a bin has at least on average, so that an empty one does not make the index infinite.
_SMOOTHING = 0.5

VALUES, RARE, MISSING, NEW = "values", "rare", "missing", "new"
#: What is tested about a column.
KINDS = (VALUES, RARE, MISSING, NEW)


def measure_shifts(then: Mapping[str, Any], values: Array, *, tests: int, effect: float) -> list[Shift]:
    """Test a column's window against its baseline.

    Args:
        then: The column's baseline, from :func:`training.drift.compute_baseline`.
        values: The column in the window.
        tests: How many tests share the rate of false alarms.
        effect: The index below which nothing is drift.

    Returns:
        The tests that the rows are enough for, at most one of each kind.
    """
    if not len(values) or not then.get("rows"):
        return []
    shares = np.array(compute_shares(then, values))
    found = [
        _test_values(then, shares * len(values), tests, effect),
        _test_rare(then, shares * len(values), tests),
        _test_missing(then, shares[-1] * len(values), len(values), tests, effect),
        _test_new(then, values, tests),
    ]
    return [shift for shift in found if shift is not None]


def _test_values(then: Mapping[str, Any], counts: Array, tests: int, effect: float) -> Shift | None:
    expected = np.array(then["shares"][:-1]) * then["rows"]
    index = compare_counts(then["kind"] == "number", expected, counts[:-1])
    return None if index is None else _judge_index(VALUES, index, _find_excess(then, "inflation", index), tests, effect)


def _test_rare(then: Mapping[str, Any], counts: Array, tests: int) -> Shift | None:
    """Test the share of values that training had seen too seldom for the index, where they are merged with others."""
    expected = np.array(then["shares"][:-1]) * then["rows"]
    trained, served = expected.sum(), counts[:-1].sum()
    if min(trained, served) < 2 * _FEWEST_EXPECTED:
        return None
    rare = expected * min(trained, served) / trained < _FEWEST_EXPECTED
    if not rare.any() or rare.all():
        return None
    seen, found = float(expected[rare].sum()), float(counts[:-1][rare].sum())
    return _judge_share(RARE, found / served, round(served), round(seen), round(trained), tests)


def _test_missing(then: Mapping[str, Any], count: float, rows: int, tests: int, effect: float) -> Shift | None:
    before = then["missing"] * then["rows"]
    expected = np.array([before, then["rows"] - before])
    index = compare_counts(True, expected, np.array([count, rows - count]))
    if index is not None:
        return _judge_index(MISSING, index, _find_excess(then, "missing_inflation", index), tests, effect)
    # So rare that a share is tested instead: of missing values, or of present ones where nearly all were missing.
    rare = min(before, then["rows"] - before)
    now = count if before <= then["rows"] - before else rows - count
    return _judge_share(MISSING, now / rows, rows, round(rare), then["rows"], tests)


def _test_new(then: Mapping[str, Any], values: Array, tests: int) -> Shift | None:
    missing = is_missing(values)
    present = len(values) - int(missing.sum())
    if not present or then.get("singles") is None:
        return None
    if then["kind"] == "text":
        new = find_places(values, then["levels"]) == len(then["levels"])
    elif then.get("low") is None:
        new = np.ones(len(values), dtype=bool)
    else:
        numbers = values.astype(np.float64)
        new = (numbers < then["low"]) | (numbers > then["high"])
    rows = round(then["rows"] * (1 - then["missing"]))
    return _judge_share(NEW, float(np.sum(new & ~missing)) / present, present, then["singles"], rows, tests)


@dataclass(frozen=True)
class Index:
    """A population stability index with what its distribution without drift depends on.

    Attributes:
        value: The index.
        scale: 1/n + 1/m of the two groups of rows.
        bins: How many bins were left after merging, at least two.
    """

    value: float
    scale: float
    bins: int


def compare_counts(ordered: bool, expected: Array, counts: Array) -> Index | None:
    """Return the index of counts against expected ones; None where fewer than two bins have enough rows.

    Args:
        ordered: Whether neighbouring bins are merged; otherwise the rarest are.
        expected: The counts of the baseline's m rows.
        counts: The counts of the n other rows.
    """
    trained, served = expected.sum(), counts.sum()
    if min(trained, served) < 2 * _FEWEST_EXPECTED:
        return None
    group = _merge_bins(ordered, expected * min(trained, served) / trained)
    before, after = (np.bincount(group, weights=each) for each in (expected, counts))
    bins = len(before)
    if bins < 2:
        return None
    then, now = ((each + _SMOOTHING) / (each.sum() + _SMOOTHING * bins) for each in (before, after))
    return Index(float(np.sum((now - then) * np.log(now / then))), 1 / served + 1 / trained, bins)


def _merge_bins(ordered: bool, expected: Array) -> Array:
    """Return the group of each bin, so that each group has at least the fewest expected rows.

    Without an order all rare bins are one group: several groups of rare bins, each chosen by its own count, would hold
    fewer rows elsewhere than the counts that they were chosen by.
    """
    if not ordered:
        rare = expected < _FEWEST_EXPECTED
        if rare.any() and expected[rare].sum() < _FEWEST_EXPECTED and not rare.all():
            rare[np.argmin(np.where(rare, np.inf, expected))] = True
        return np.where(rare, 0, np.cumsum(~rare) - (0 if rare.any() else 1))
    group, current, held = np.zeros(len(expected), dtype=int), 0, 0.0
    for place in range(len(expected)):
        group[place] = current
        held += expected[place]
        if held >= _FEWEST_EXPECTED:
            current, held = current + 1, 0.0
    # What is left at the end joins the group before it.
    group[group == current] = max(current - 1, 0) if held < _FEWEST_EXPECTED else current
    return group


def _find_excess(then: Mapping[str, Any], name: str, index: Index) -> float:
    """Return the excess of a baseline; that of the previous version is a multiple of what independent rows would do."""
    if (excess := then.get(_EXCESS[name])) is not None:
        return float(excess)
    return float((then.get(name, 1.0) - 1.0) * index.scale * (index.bins - 1))


#: The fields of a baseline with the excess, by what the previous version called its inflation.
_EXCESS = {"inflation": "excess", "missing_inflation": "missing_excess"}


def _judge_index(kind: str, index: Index, excess: float, tests: int, effect: float) -> Shift:
    from scipy.special import chdtri

    # Days move a column as a whole, along one degree of freedom, not along each: that has the longer tail. By how much
    # does not depend on how many rows there are.
    noise = [
        index.scale * float(chdtri(index.bins - 1, rate / tests)) + excess * float(chdtri(1, rate / tests))
        for rate in (FALSE_WARNINGS, FALSE_ALARMS)
    ]
    return Shift(
        kind=kind,
        value=index.value,
        warning=max(min(WARNING_EFFECT, effect), noise[0]),
        threshold=max(effect, noise[1]),
    )


def _judge_share(kind: str, share: float, rows: int, seen: int, of: int, tests: int) -> Shift:
    """Judge a share of rare values, of which the baseline had ``seen`` in ``of`` rows."""
    noise = [_bound_share(rate / tests, rows, seen, of) for rate in (FALSE_WARNINGS, FALSE_ALARMS)]
    return Shift(
        kind=kind, value=share, warning=max(SHARE_WARNING_EFFECT, noise[0]), threshold=max(SHARE_EFFECT, noise[1])
    )


def _bound_share(rate: float, rows: int, seen: int, of: int) -> float:
    """Return the share that rows of an unchanged population exceed with at most a given probability.

    The population's own share is at most that of a beta distribution's quantile, and the rows' count at most that of a
    binomial one's: each may be exceeded with half of the probability.
    """
    from scipy.special import betainc, betaincinv

    highest = float(betaincinv(seen + 1, max(of - seen, 1), 1 - rate / 2))
    low, high = 0, rows
    while low < high:
        middle = (low + high) // 2
        # The probability of more than `middle` rows.
        if betainc(middle + 1, rows - middle, highest) <= rate / 2:
            high = middle
        else:
            low = middle + 1
    return low / rows


def measure_excess(bins: Mapping[str, Any], values: Array, times: Array, window: np.timedelta64) -> dict[str, Any]:
    """Return by how much windows of the training period differ more than independent rows would.

    Args:
        bins: The column's bins, from :func:`training.drift.compute_baseline`.
        values: The column.
        times: The event time of each row.
        window: The length of the monitor's window; whole days are compared.

    Returns:
        `windows`, and `excess` and `missing_excess`: by how much the index of such a window is larger on average than
        that of independent rows; 0 where there are too few windows.
    """
    days = (times - np.datetime64(0, "us")).astype("timedelta64[us]") // np.timedelta64(1, "D")
    length = max(int(window / np.timedelta64(1, "D")), 1)
    place = (days.max() - days) // length
    # The oldest window may be incomplete.
    complete = int((days.max() - days.min() + 1) // length)
    counts = np.array([_count(bins, values[place == each]) for each in range(complete)])
    found: dict[str, Any] = {"windows": complete, "excess": 0.0, "missing_excess": 0.0}
    if complete < FEWEST_WINDOWS:
        return found
    whole = _count(bins, values)
    missing, present = counts[:, -1:], counts[:, :-1]
    both = np.hstack([missing, present.sum(axis=1, keepdims=True)])
    total = np.array([whole[-1], whole[:-1].sum()])
    return {
        **found,
        "excess": _average_excess(bins["kind"] == "number", whole[:-1], present),
        "missing_excess": _average_excess(True, total, both),
    }


def _count(bins: Mapping[str, Any], values: Array) -> Array:
    return np.array(compute_shares(bins, values)) * len(values)


def _average_excess(ordered: bool, whole: Array, windows: Array) -> float:
    """Return the mean index of windows, each against the other rows, beyond its mean without differences of days."""
    indexes = [compare_counts(ordered, whole - each, each) for each in windows]
    known = [index for index in indexes if index is not None]
    if len(known) < FEWEST_WINDOWS:
        return 0.0
    return max(0.0, float(np.mean([index.value - index.scale * (index.bins - 1) for index in known])))
