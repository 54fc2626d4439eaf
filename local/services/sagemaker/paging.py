"""The common part of all ``List…`` operations: filter by name and time, sort, split into pages."""

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


def build_page(
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
    """Return one page of a listing as the operation's output.

    Honours ``NameContains`` (of the member ``sort["Name"]``), ``CreationTimeBefore|After``,
    ``LastModifiedTimeBefore|After``, ``SortBy``, ``SortOrder``, ``MaxResults`` and ``NextToken``. Filters that only one
    operation has, such as a status, must be applied by the caller.

    Args:
        call: The request, whose operation is named in errors.
        params: The parameters of the request.
        items: All summaries, as a client sees them.
        key: The output member that holds the summaries.
        sort: The member of an item for each ``SortBy`` value; ``Name`` is the member that identifies an item.
        by: The default of ``SortBy``.
        order: The default of ``SortOrder``.
        size: The default of ``MaxResults``.
    """
    chosen = params.get("SortBy", by)
    if chosen not in sort:
        raise validation_error(f"SortBy '{chosen}' of {call.operation}: expected one of {', '.join(sort)}.")
    descending = params.get("SortOrder", order) == "Descending"
    name = sort.get("Name", next(iter(sort.values())))

    def place(item: Item) -> list[Any]:
        return [item[sort[chosen]], item[name]]

    kept = sorted((item for item in items if _matches_filters(item, params, name)), key=place, reverse=descending)
    query = _hash_query(params)
    start = 0
    if token := params.get("NextToken"):
        last = _parse_token(token, query, place(kept[0]) if kept else None)
        start = sum(place(item) >= last if descending else place(item) <= last for item in kept)
    end = start + params.get("MaxResults", size)
    answer: dict[str, Any] = {key: kept[start:end]}
    if end < len(kept):
        answer["NextToken"] = base64.urlsafe_b64encode(json.dumps([query, place(kept[end - 1])]).encode()).decode()
    return answer


def _matches_filters(item: Item, params: Mapping[str, Any], name: str) -> bool:
    if params.get("NameContains", "").lower() not in str(item[name]).lower():
        return False
    for member in ("CreationTime", "LastModifiedTime"):
        before, after = params.get(f"{member}Before"), params.get(f"{member}After")
        if before is not None and not item[member] < before.timestamp():
            return False
        if after is not None and not item[member] > after.timestamp():
            return False
    return True


def _hash_query(params: Mapping[str, Any]) -> str:
    """Return a hash of the request without its page members, to recognize tokens of other requests."""
    asked = {key: str(value) for key, value in params.items() if key not in _PAGE}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def _parse_token(token: str, query: str, like: list[Any] | None) -> list[Any]:
    """Return the sort key of the last item on the previous page.

    Args:
        token: The ``NextToken`` of the request.
        query: The hash of the request, which the token must contain.
        like: The sort key of any item, to check that the token's key can be compared with it; None without items.
    """
    try:
        asked, last = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError) as error:
        raise validation_error(f"Invalid NextToken '{token}': pass the one of the page before, unchanged.") from error
    if asked != query:
        raise validation_error("Invalid NextToken: it belongs to a listing with other filters or another order.")
    if not isinstance(last, list) or not (like is None or _is_comparable(last, like)):
        raise validation_error(f"Invalid NextToken '{token}': pass the one of the page before, unchanged.")
    return list(last)


def _is_comparable(one: Any, other: Any) -> bool:
    """Return True if two sort keys can be compared."""
    if isinstance(other, list):
        return isinstance(one, list) and len(one) == len(other) and all(map(_is_comparable, one, other))
    kind = str if isinstance(other, str) else (int, float)
    return isinstance(one, kind) and not isinstance(one, bool)
