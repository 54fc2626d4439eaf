"""The rule for texts that mean a missing value, the same for files, sources and requests."""

from __future__ import annotations

from collections.abc import Collection

#: The texts of a column by default: an empty one, which includes one of only spaces.
DEFAULT = ("",)


def is_missing_text(value: str, texts: Collection[str]) -> bool:
    """Return True if a text means a missing value; spaces around it do not count.

    Args:
        value: The text of one cell or field.
        texts: The texts that mean a missing value in its column.
    """
    return value.strip() in texts
