"""Differences between two values, property by property; in long documents, line by line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cli.diff.preview import Resource
from cli.diff.values import Mark, parse_document

ABSENT = Mark("absent")

#: A text longer than this is compared line by line, characters.
_LONG = 120


@dataclass(frozen=True)
class Difference:
    """A property that differs; `ABSENT` on the side where it does not exist."""

    path: str
    before: Any
    after: Any


def compare_values(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """Yield the differences, in the order of their paths; objects and lists are compared recursively."""
    if before == after and type(before) is type(after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            below = f"{path}.{key}" if path else str(key)
            yield from compare_values(before.get(key, ABSENT), after.get(key, ABSENT), below)
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            old = before[place] if place < len(before) else ABSENT
            new = after[place] if place < len(after) else ABSENT
            yield from compare_values(old, new, f"{path}[{place}]")
    elif before != after:
        yield Difference(path, before, after)


def list_differences(resource: Resource) -> list[Difference]:
    """Return the differences of a resource; for a secret, only that it differs."""
    if resource.old is None or resource.new is None:
        return []
    found = list(compare_values(resource.old, resource.new))
    shown = {each.path.partition(".")[0].partition("[")[0] for each in found}
    for name in resource.changed:
        top = name.partition(".")[0].partition("[")[0]
        if top not in shown:
            # Pulumi hides both sides, or the difference is in what AWS reports, not in the program.
            found.append(Difference(name, resource.old.get(top, ABSENT), resource.new.get(top, ABSENT)))
            shown.add(top)
    return sorted(found, key=lambda each: each.path)


def make_line_diff(before: Any, after: Any) -> list[str] | None:
    """Return the unified diff of two long texts; None when they are better shown whole."""
    texts = [_lines(each) for each in (before, after)]
    if any(each is None for each in texts):
        return None
    old, new = texts
    assert old is not None
    assert new is not None
    return list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]


def _lines(value: Any) -> list[str] | None:
    if not isinstance(value, str) or isinstance(value, Mark):
        return None
    if (parsed := parse_document(value)) is not None:
        return json.dumps(parsed, indent=1, sort_keys=True, ensure_ascii=False).splitlines()
    return value.splitlines() if len(value) > _LONG and "\n" in value else None
