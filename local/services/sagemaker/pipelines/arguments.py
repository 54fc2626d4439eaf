"""Checks of a step's arguments against botocore's shape of the resulting request.

A function call may replace any value; only the type of its result is checked. The messages are worded like AWS's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from local.core.protocol import load_service_model
from local.core.validation import matches_pattern
from local.services.sagemaker import values

#: Returns botocore's name for the type of a function's result, or None if only the run can tell.
TypeOf = Callable[[Any], str | None]

_NUMBERS = {"integer", "long", "float", "double"}
_PYTHON: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "list": list,
    "map": dict,
    "structure": dict,
    "timestamp": (int, float, str),
}


def get_shape(operation: str, *, output: bool = False) -> Any:
    """Return botocore's shape of an operation's request, or of its output."""
    model = load_service_model("sagemaker").operation_model(operation)
    return model.output_shape if output else model.input_shape


def find_violations(
    shape: Any, value: Any, where: str, type_of: TypeOf, *, without: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yield a message for every violation of the shape.

    Args:
        shape: Botocore's shape.
        value: The value to check.
        where: The place of the value, for messages.
        type_of: Returns the type of a function's result.
        without: Members of the outermost structure that must not be given.
    """
    if values.find_function_name(value):
        yield from _check_function(shape, value, where, type_of)
        return
    kind = shape.type_name
    expected = _PYTHON.get(kind)
    if expected is not None and (not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean")):
        yield f"Value '{value}' at '{where}' is of another type than {kind} ('{shape.name}')"
    elif kind == "structure":
        yield from _check_structure(shape, value, where, type_of, without)
    elif kind == "list":
        yield from _check_limits(shape, len(value), value, where)
        for index, item in enumerate(value):
            yield from find_violations(shape.member, item, f"{where}[{index}]", type_of)
    elif kind == "map":
        yield from _check_limits(shape, len(value), value, where)
        for key, item in value.items():
            yield from find_violations(shape.value, item, f"{where}['{key}']", type_of)
    else:
        yield from _check_scalar(shape, value, where)


def _check_structure(
    shape: Any, value: dict[str, Any], where: str, type_of: TypeOf, without: frozenset[str]
) -> Iterator[str]:
    given = {name for name, item in value.items() if item is not None}
    for name in sorted(set(shape.required_members) - given - without):
        yield f"Member '{name}' of '{shape.name}' at '{where}' must not be null"
    for name, item in value.items():
        if name not in shape.members or name in without:
            yield f"Unknown member '{name}' of '{shape.name}' at '{where}'"
        elif item is not None:
            yield from find_violations(shape.members[name], item, f"{where}.{name}", type_of)


def _check_scalar(shape: Any, value: Any, where: str) -> Iterator[str]:
    if shape.type_name != "string":
        if isinstance(value, int | float):
            yield from _check_limits(shape, value, value, where)
        bits = {"integer": 31, "long": 63}.get(shape.type_name)
        if bits and not -(2**bits) <= value < 2**bits:
            yield f"Value '{str(value)[:200]}' at '{where}' is no {shape.type_name} of {bits + 1} bits ('{shape.name}')"
        return
    yield from _check_limits(shape, len(value), value, where)
    enum = shape.metadata.get("enum")
    if enum and value not in enum:
        yield f"Value '{value}' for '{shape.name}' failed to satisfy enum value set: [{', '.join(enum)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not matches_pattern(pattern, value):
        yield f"Value '{value}' at '{where}' failed to satisfy regular expression pattern: {pattern}"


def _check_limits(shape: Any, size: float, value: Any, where: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    shown = value if len(str(value)) < 200 else f"{str(value)[:200]}…"
    if low is not None and size < low:
        yield f"Value '{shown}' at '{where}' is below the minimum of {low} of '{shape.name}'"
    if high is not None and size > high:
        yield f"Value '{shown}' at '{where}' is above the maximum of {high} of '{shape.name}'"


def _check_function(shape: Any, value: Any, where: str, type_of: TypeOf) -> Iterator[str]:
    given, expected = type_of(value), shape.type_name
    if given is None or given == expected or (given in _NUMBERS and expected in ("float", "double")):
        return
    if given in ("integer", "long") and expected in ("integer", "long"):
        return
    fix = "; Std:Join turns it into a string" if expected == "string" else ""
    yield f"Value {value} at '{where}' is of type {given}, expected {expected}{fix}"


def find_property_shape(shape: Any, path: values.Path) -> Any | None:
    """Return the shape of a property of an output, or None if the output has no such property."""
    for part in path:
        if shape.type_name == "structure":
            shape = shape.members.get(part) if isinstance(part, str) else None
        elif shape.type_name == "map":
            shape = shape.value if isinstance(part, str) else None
        elif shape.type_name == "list":
            item = shape.member
            by_name = item.type_name == "structure" and values.list_entry_names(item.members)
            shape = item if isinstance(part, int) or by_name else None
        else:
            shape = None
        if shape is None:
            return None
    return shape
