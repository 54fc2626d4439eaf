"""Baselines: what a model's inputs and scores looked like in training, as the shares of bins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from training.columns import Array, Columns, find_kind, is_missing

#: Quantile bins of a number.
BINS = 10
#: From this share on the most frequent value gets its own bin, and quintiles split the rest: precipitation is nearly
#: always 0, and quantiles alone would put all of it into one bin.
MODE_SHARE = 0.2
#: Categories with a bin of their own; the rarer ones share one.
CATEGORIES = 50
#: More levels than this are not kept, so that a level that training has not seen cannot be told.
LEVELS = 1000


def compute_baseline(columns: Columns) -> dict[str, dict[str, Any]]:
    """Return the bins, their shares and the missing rate of each column.

    Args:
        columns: Features and scores of the training rows; numbers or texts.

    Returns:
        Column → `rows`, `kind`, its bins (`categories`, or `mode` and `edges`), `missing` (a share from 0 to 1) and
        `shares`; for what is new, `levels` or `low` and `high`, and `singles`: how many values were seen only once, and
        the two extremes of numbers; None where there are too many levels.
    """
    return {name: _bins_of(values) for name, values in columns.items()}


def _bins_of(values: Array) -> dict[str, Any]:
    missing = is_missing(values)
    bins: dict[str, Any]
    if find_kind(values) == "text":
        counts = Counter(values[~missing].tolist())
        frequent = sorted(counts, key=lambda text: (-counts[text], text))[:CATEGORIES]
        bins = {"kind": "text", "categories": sorted(frequent), "singles": None}
        if len(counts) <= LEVELS:
            bins |= {"levels": sorted(counts), "singles": sum(count == 1 for count in counts.values())}
    else:
        numbers = values[~missing].astype(np.float64)
        low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        bins = {"kind": "number", **_edges(numbers), "low": low, "high": high, "singles": 2 * (low != high)}
    share = float(np.mean(missing)) if len(values) else 0.0
    return {**bins, "rows": len(values), "missing": share, "shares": compute_shares(bins, values)}


def _edges(values: Array) -> dict[str, Any]:
    if not len(values):
        return {"mode": None, "edges": []}
    distinct, counts = np.unique(values, return_counts=True)
    top = int(np.argmax(counts))
    mode = float(distinct[top]) if counts[top] / len(values) >= MODE_SHARE else None
    rest, bins = (values, BINS) if mode is None else (values[values != mode], BINS // 2)
    edges = np.quantile(rest, np.linspace(0, 1, bins + 1)[1:-1]) if len(rest) else np.array([])
    return {"mode": mode, "edges": np.unique(edges).tolist()}


def compute_shares(bins: Mapping[str, Any], values: Array) -> list[float]:
    """Return the share of rows in each bin; the last bin holds the missing values.

    Args:
        bins: A column's `kind` and bins, from :func:`compute_baseline`.
        values: The column's values.

    Returns:
        Shares of all rows, from 0 to 1: of the categories and of all other texts, or of the intervals between edges and
        of the mode; then of missing values.
    """
    count = len(bins["categories"]) + 2 if bins["kind"] == "text" else len(bins["edges"]) + 3
    counts = np.bincount(assign_bins(bins, values), minlength=count)
    return [float(count) / max(len(values), 1) for count in counts.tolist()]


def assign_bins(bins: Mapping[str, Any], values: Array) -> Array:
    """Return the bin of each row, in the order of :func:`compute_shares`.

    Args:
        bins: A column's `kind` and bins, from :func:`compute_baseline`.
        values: The column's values.
    """
    missing = is_missing(values)
    if bins["kind"] == "text":
        index, last = find_places(values, bins["categories"]), len(bins["categories"]) + 1
    else:
        numbers, last = values.astype(np.float64), len(bins["edges"]) + 2
        index = np.searchsorted(np.array(bins["edges"]), numbers, side="right")
        if bins["mode"] is not None:
            index[numbers == bins["mode"]] = len(bins["edges"]) + 1
    index[missing] = last
    return index


def find_places(texts: Array, known: Sequence[str]) -> Array:
    """Return the place of each text among known ones; their number where it is not one of them.

    Args:
        texts: A column of texts; a missing one is not known.
        known: The known texts, each once.
    """
    # Comparing texts in NumPy's arrays of fixed width takes many times as long.
    places = {text: place for place, text in enumerate(known)}
    return np.fromiter(map(places.get, texts.tolist(), repeat(len(known))), dtype=np.int64, count=len(texts))
