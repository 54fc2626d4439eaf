"""Counts over the values of a column."""

from __future__ import annotations

from typing import Any


def count_true(mask: Any) -> int:
    """Return the number of true values."""
    import pyarrow.compute as pc

    return int(pc.sum(mask).as_py() or 0)


def count_matching(values: Any, pattern: str) -> int:
    """Return the number of texts that match a regular expression."""
    import pyarrow.compute as pc

    return count_true(pc.match_substring_regex(values, pattern))
