"""What a text means that stands for a missing value: one rule for files, sources and requests."""

from __future__ import annotations

from collections.abc import Collection

#: The texts of a column that says nothing else: an empty one, or nothing but spaces.
DEFAULT = ("",)


def is_missing_text(value: str, texts: Collection[str]) -> bool:
    """Tell whether a text stands for a missing value; spaces around it do not count.

    Args:
        value: The text of one cell or field.
        texts: Those that do, in the column that it is of.
    """
    return value.strip() in texts
