"""Comparison of equivalent texts: JSON documents, IAM policies, references to KMS keys."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any


def is_same_json(old: Any, new: Any) -> bool:
    """Return True if two JSON texts hold the same document.

    Args:
        old: A JSON text; other text is compared as it is.
        new: The text to compare with it.
    """
    return bool(old == new) or _canonical(old, policy=False) == _canonical(new, policy=False)


def is_same_policy(old: Any, new: Any) -> bool:
    """Return True if two policies are equivalent; order, and a single value as a list, do not matter.

    Args:
        old: The JSON text of a policy; other text is compared as it is.
        new: The text to compare with it.
    """
    return bool(old == new) or _canonical(old, policy=True) == _canonical(new, policy=True)


def is_same_key(old: Any, new: Any) -> bool:
    """Return True if two key ids or ARNs name the same key.

    Args:
        old: The id or ARN of a KMS key.
        new: The id or ARN to compare with it.
    """
    return str(old).rsplit("/", 1)[-1] == str(new).rsplit("/", 1)[-1]


@lru_cache(maxsize=256)
def _canonical(text: str, policy: bool) -> str:
    try:
        document = json.loads(text)
    except (TypeError, ValueError):
        return str(text)
    return json.dumps(_unordered(document) if policy else document, sort_keys=True)


def _unordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unordered(item) for name, item in value.items()}
    if isinstance(value, list):
        items = sorted((_unordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        return items[0] if len(items) == 1 else items
    if isinstance(value, bool):
        return str(value).lower()
    return value
