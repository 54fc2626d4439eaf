"""Removal of arguments from a call, or of keys from a literal dict, without changing the code around them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import libcst as cst

Item = TypeVar("Item", cst.Arg, cst.BaseDictElement)

_Space = cst.BaseParenthesizableWhitespace


def remove_items(items: Sequence[Item], dropped: Collection[int], before: _Space) -> tuple[list[Item], _Space]:
    """Return the items that are not dropped, and the whitespace before the first.

    A comment on the line of a dropped item is dropped with it; comments on lines of their own are kept.
    """
    kept: list[Item] = []
    for place, item in enumerate(items):
        if place not in dropped:
            kept.append(item)
            continue
        comma = item.comma
        if isinstance(comma, cst.Comma):
            if kept:
                kept[-1] = _set_whitespace_after(
                    kept[-1], _join_whitespace(_get_whitespace_after(kept[-1]), comma.whitespace_after)
                )
            else:
                before = _join_whitespace(before, comma.whitespace_after)
        elif kept:
            kept[-1] = _end_with(kept[-1], item)
        elif isinstance(item, cst.Arg):
            before = _join_whitespace(before, item.whitespace_after_arg)
    return kept, before


def _join_whitespace(before: _Space, after: _Space) -> _Space:
    """Merge the whitespace before and after a dropped item."""
    if isinstance(before, cst.ParenthesizedWhitespace) and isinstance(after, cst.ParenthesizedWhitespace):
        return after.with_changes(first_line=before.first_line, empty_lines=[*before.empty_lines, *after.empty_lines])
    return after if isinstance(after, cst.ParenthesizedWhitespace) else before


def _get_whitespace_after(item: cst.Arg | cst.BaseDictElement) -> _Space:
    return item.comma.whitespace_after if isinstance(item.comma, cst.Comma) else cst.SimpleWhitespace("")


def _set_whitespace_after(item: Item, space: _Space) -> Item:
    comma = item.comma if isinstance(item.comma, cst.Comma) else cst.Comma()
    return item.with_changes(comma=comma.with_changes(whitespace_after=space))


def _end_with(item: Item, last: Item) -> Item:
    """Return the item as the new last one, without its comma unless a comment follows that."""
    space, tail = (
        _get_whitespace_after(item),
        last.whitespace_after_arg if isinstance(last, cst.Arg) else cst.SimpleWhitespace(""),
    )
    if isinstance(space, cst.ParenthesizedWhitespace) and (space.first_line.comment or _has_comments(space)):
        return _set_whitespace_after(
            item, _join_whitespace(space, tail) if isinstance(tail, cst.ParenthesizedWhitespace) else space
        )
    if isinstance(tail, cst.ParenthesizedWhitespace):
        tail = tail.with_changes(first_line=cst.TrailingWhitespace())
    changed = item.with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return changed.with_changes(whitespace_after_arg=tail) if isinstance(changed, cst.Arg) else changed


def _has_comments(space: cst.ParenthesizedWhitespace) -> bool:
    return any(line.comment for line in space.empty_lines)
