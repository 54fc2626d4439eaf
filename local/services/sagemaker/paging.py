"""What every ``List…`` operation does alike: filter by name and time, sort, cut into pages."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from local.core.context import Call
from local.core.errors import validation_error

Item = dict[str, Any]

_PAGE = ("NextToken", "MaxResults")


def page(
    call: Call,
    params: Mapping[str, Any],
    items: Iterable[Item],
    *,
    key: str,
    sort: Mapping[str, str],
    by: str = "CreationTime",
    order: str = "Descending",
    size: int = 10,
) -> dict[str, Any]:
    """One page of a listing.

    Honours ``NameContains`` (of the member ``sort["Name"]``), ``CreationTimeBefore|After``,
    ``LastModifiedTimeBefore|After``, ``SortBy``, ``SortOrder``, ``MaxResults`` and ``NextToken``; filters that only
    one operation has, such as a status, are the caller's.

    Args:
        items: The summaries that a client sees, all of them.
        key: The output member that holds them.
        sort: ``SortBy`` values to members of an item; ``Name`` is the member that tells items apart.
        by: ``SortBy`` when not given.
        order: ``SortOrder`` when not given.
        size: ``MaxResults`` when not given.
    """
    chosen = params.get("SortBy", by)
    if chosen not in sort:
        raise validation_error(f"SortBy '{chosen}' of {call.operation}: expected one of {', '.join(sort)}.")
    descending = params.get("SortOrder", order) == "Descending"
    name = sort.get("Name", next(iter(sort.values())))

    def place(item: Item) -> list[Any]:
        return [item[sort[chosen]], item[name]]

    kept = sorted((item for item in items if _kept(item, params, name)), key=place, reverse=descending)
    query = _digest(params)
    start = 0
    if token := params.get("NextToken"):
        last = _position(token, query, place(kept[0]) if kept else None)
        start = sum(place(item) >= last if descending else place(item) <= last for item in kept)
    end = start + params.get("MaxResults", size)
    answer: dict[str, Any] = {key: kept[start:end]}
    if end < len(kept):
        answer["NextToken"] = base64.urlsafe_b64encode(json.dumps([query, place(kept[end - 1])]).encode()).decode()
    return answer


def _kept(item: Item, params: Mapping[str, Any], name: str) -> bool:
    if params.get("NameContains", "").lower() not in str(item[name]).lower():
        return False
    for member in ("CreationTime", "LastModifiedTime"):
        before, after = params.get(f"{member}Before"), params.get(f"{member}After")
        if before is not None and not item[member] < before.timestamp():
            return False
        if after is not None and not item[member] > after.timestamp():
            return False
    return True


def _digest(params: Mapping[str, Any]) -> str:
    """What a token is good for: the same question."""
    asked = {key: str(value) for key, value in params.items() if key not in _PAGE}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def _position(token: str, query: str, like: list[Any] | None) -> list[Any]:
    """Where the page before ended.

    Args:
        like: The place of an item, whose parts those of a token can be compared with; None when there is no item.
    """
    try:
        asked, last = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError) as error:
        raise validation_error(f"Invalid NextToken '{token}': pass the one of the page before, unchanged.") from error
    if asked != query:
        raise validation_error("Invalid NextToken: it belongs to a listing with other filters or another order.")
    if not isinstance(last, list) or not (like is None or _is_alike(last, like)):
        raise validation_error(f"Invalid NextToken '{token}': pass the one of the page before, unchanged.")
    return list(last)


def _is_alike(one: Any, other: Any) -> bool:
    """Whether two values can be put in an order."""
    if isinstance(other, list):
        return isinstance(one, list) and len(one) == len(other) and all(map(_is_alike, one, other))
    kind = str if isinstance(other, str) else (int, float)
    return isinstance(one, kind) and not isinstance(one, bool)
