"""The groups of a slice: a text is its own group, numbers fall into quartiles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from training.columns import Array, find_kind, is_missing

MISSING = "(missing)"


def find_edges(values: Array) -> tuple[float, ...]:
    """Return the edges between the groups of numbers; none for texts, or where all are missing.

    Args:
        values: A column.
    """
    if find_kind(values) == "text" or is_missing(values).all():
        return ()
    return tuple(map(float, np.nanquantile(values, [0.25, 0.5, 0.75])))


def name_groups(values: Array, edges: tuple[float, ...]) -> Array:
    """Return the name of each row's group.

    Args:
        values: A column.
        edges: The edges between groups of numbers, from :func:`find_edges`.
    """
    if find_kind(values) == "text":
        return np.where(is_missing(values), MISSING, values).astype(str)
    if not edges:
        return np.full(len(values), MISSING)
    names = np.array([f"<{edges[0]:g}", *(f"{a:g}..{b:g}" for a, b in pairwise(edges)), f">={edges[-1]:g}"])
    return np.where(np.isnan(values), MISSING, names[np.searchsorted(edges, values, side="right")])
