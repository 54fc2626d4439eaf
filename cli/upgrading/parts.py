"""The parts of declarations, and which field holds which part, read from the type annotations of their classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from millrace import Environment, UseCase
from millrace.part import Part

#: The modules that a part may be imported from.
MODULES = ("millrace", "millrace.declaration", "millrace.environment", "millrace.rollout")


def known() -> dict[str, type[Part]]:
    """Return every part, by the name of its class."""
    return {part.__name__: part for root in (UseCase, Environment) for part in _within(root)}


def held(part: type[Part], field: str) -> type[Part] | None:
    """Return the part that a field holds, one or several of it; None if it holds no part."""
    info = part.model_fields.get(field)
    return _inner(info.annotation) if info else None


def _within(part: type[Part]) -> Iterator[type[Part]]:
    yield part
    for field in part.model_fields:
        if (inner := held(part, field)) is not None:
            yield from _within(inner)


def _inner(annotation: Any) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((found for each in get_args(annotation) if (found := _inner(each)) is not None), None)
