"""The parts of declarations, and which field holds which part, read from the type annotations of their classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from millrace import Environment, UseCase
from millrace.part import Part

#: The modules that a part may be imported from.
MODULES = ("millrace", "millrace.declaration", "millrace.environment", "millrace.rollout", "millrace.rules")


def list_parts() -> dict[str, type[Part]]:
    """Return every part, by the name of its class."""
    return {part.__name__: part for root in (UseCase, Environment) for part in _iterate_parts(root)}


def find_held_part(part: type[Part], field: str) -> type[Part] | None:
    """Return the part that a field holds, one or several of it; None if it holds no part."""
    info = part.model_fields.get(field)
    return _find_part(info.annotation) if info else None


def _iterate_parts(part: type[Part]) -> Iterator[type[Part]]:
    yield part
    for field in part.model_fields:
        if (inner := find_held_part(part, field)) is not None:
            yield from _iterate_parts(inner)


def _find_part(annotation: Any) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((found for each in get_args(annotation) if (found := _find_part(each)) is not None), None)
