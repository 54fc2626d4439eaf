"""The values of a pipeline definition: ``Get``, ``Std:Join``, ``Std:JsonGet`` and conditions, found and resolved.

A path is a list of names and indices: ``Steps.S.ProcessingOutputConfig.Outputs['o'].S3Output.S3Uri`` has seven parts.
A list whose entries have names, such as outputs and channels, can also be indexed by name.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from local.errors import LocalError

#: Functions whose calls may replace any value.
FUNCTIONS = ("Get", "Std:Join", "Std:JsonGet")

Path = list[str | int]

_PART = re.compile(r"\.?(?P<name>[^.\[\]'\"]+)|\[(?P<index>\d+)\]|\[(?P<quote>['\"])(?P<key>.*?)(?P=quote)\]")


class ResolveError(LocalError):
    """A value that cannot be resolved while the pipeline runs; the message names it and the reason."""


@dataclass(frozen=True)
class Reference:
    """One ``Get`` in a definition.

    Attributes:
        file: Whether it names a property file, inside ``Std:JsonGet``.
    """

    text: str
    path: tuple[str | int, ...]
    file: bool = False

    @property
    def step(self) -> str | None:
        """The name of the step that it refers to; None for a parameter or a property of the execution."""
        return str(self.path[1]) if self.path[0] == "Steps" and len(self.path) > 1 else None


class Scope(Protocol):
    """The source of referenced values while a pipeline runs; each method raises :class:`ResolveError`."""

    def get_parameter(self, name: str) -> Any:
        """Return the value of a pipeline parameter.

        Args:
            name: The part after ``Parameters.``.
        """
        ...

    def get_execution_property(self, name: str) -> Any:
        """Return a property of the execution.

        Args:
            name: The part after ``Execution.``.
        """
        ...

    def describe_step(self, name: str) -> Any:
        """Return the description of the resource that the step created.

        Args:
            name: The name of the step.
        """

    def read_property_file(self, step: str, name: str) -> tuple[str, Any]:
        """Return the URL and the parsed JSON of a step's property file.

        Args:
            step: The name of the step.
            name: The name under which the step declares the file.
        """

    def read_json_object(self, url: str) -> Any:
        """Return the parsed JSON of an S3 object.

        Args:
            url: Its URL, ``s3://bucket/key``.
        """


def find_function_name(value: Any) -> str | None:
    """Return the name of the function that the value calls, or None if it is not a function call.

    Args:
        value: Any value of a definition, as parsed from JSON.
    """
    if isinstance(value, dict) and len(value) == 1:
        (name,) = value
        return name if name in FUNCTIONS else None
    return None


def parse_path(text: str) -> Path:
    """Return the parts of a path.

    Args:
        text: The path, such as ``Steps.S.Outputs['o'].S3Uri`` or ``metrics[0].value``.

    Returns:
        At least one part: names as text, indices as integers.

    Raises:
        ValueError: The text is not a path.
    """
    parts: Path = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(f"'{text}' is not a path: unexpected '{text[position:]}'")
        if match["index"] is not None:
            parts.append(int(match["index"]))
        else:
            parts.append(match["name"] if match["name"] is not None else match["key"])
        position = match.end()
    if not parts:
        raise ValueError("the path is empty")
    return parts


def find_references(value: Any) -> Iterator[Reference]:
    """Yield all references within a value.

    Args:
        value: Any value of a definition, as parsed from JSON.

    Raises:
        ValueError: A function call is malformed.
    """
    name = find_function_name(value)
    if name == "Get":
        yield _reference(value["Get"])
    elif name == "Std:Join":
        _check_join(value[name])
        for part in value[name]["Values"]:
            yield from find_references(part)
    elif name == "Std:JsonGet":
        call = value[name]
        _check_json_get(call)
        if "PropertyFile" in call:
            yield _reference(call["PropertyFile"]["Get"], file=True)
        yield from find_references(call.get("S3Uri"))
        yield from find_references(call["Path"])
    elif isinstance(value, dict):
        for item in value.values():
            yield from find_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from find_references(item)


def _reference(text: Any, *, file: bool = False) -> Reference:
    if not isinstance(text, str):
        raise ValueError(f"Get {text!r}: expected a path such as 'Parameters.Name'")
    return Reference(text, tuple(parse_path(text)), file)


def _check_join(call: Any) -> None:
    if (
        not isinstance(call, dict)
        or set(call) != {"On", "Values"}
        or not isinstance(call["On"], str)
        or not isinstance(call["Values"], list)
    ):
        raise ValueError(f"Std:Join {call!r}: expected {{'On': text, 'Values': list}}")


def _check_json_get(call: Any) -> None:
    if not isinstance(call, dict) or set(call) not in ({"PropertyFile", "Path"}, {"S3Uri", "Path"}):
        raise ValueError(f"Std:JsonGet {call!r}: expected Path with either PropertyFile or S3Uri")
    if "PropertyFile" in call and find_function_name(call["PropertyFile"]) != "Get":
        raise ValueError(f"PropertyFile {call['PropertyFile']!r}: expected {{'Get': 'Steps.Name.PropertyFiles.File'}}")


# -- while a pipeline runs -------------------------------------------------------------------------------------------


def resolve(value: Any, scope: Scope) -> Any:
    """Return the value with every function call replaced by its result.

    Args:
        value: A value of a definition that was checked; it is not changed.
        scope: The source of the values that it refers to.

    Raises:
        ResolveError: A referenced value does not exist.
    """
    name = find_function_name(value)
    if name == "Get":
        return _get(value["Get"], scope)
    if name == "Std:Join":
        call = value[name]
        return call["On"].join(as_text(resolve(part, scope)) for part in call["Values"])
    if name == "Std:JsonGet":
        return _json_get(value[name], scope)
    if isinstance(value, dict):
        return {key: resolve(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    return value


def as_text(value: Any) -> str:
    """Return a value as ``Std:Join`` writes it.

    Args:
        value: The value; booleans become ``true`` and ``false``, others are written as Python does.
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def _get(text: str, scope: Scope) -> Any:
    head, *rest = parse_path(text)
    if head == "Parameters":
        return scope.get_parameter(str(rest[0]))
    if head == "Execution":
        return scope.get_execution_property(str(rest[0]))
    return follow_path(scope.describe_step(str(rest[0])), rest[1:], text)


def _json_get(call: dict[str, Any], scope: Scope) -> Any:
    if "PropertyFile" in call:
        text = call["PropertyFile"]["Get"]
        _, step, _, name = parse_path(text)
        url, content = scope.read_property_file(str(step), str(name))
    else:
        url = as_text(resolve(call["S3Uri"], scope))
        content = scope.read_json_object(url)
    path = as_text(resolve(call["Path"], scope))
    try:
        parts = parse_path(path.removeprefix("$"))
    except ValueError as error:
        raise ResolveError(f"Std:JsonGet: {error}") from error
    return follow_path(content, parts, f"{path} of {url}")


def follow_path(value: Any, path: Path, where: str) -> Any:
    """Return the value at a path.

    Raises:
        ResolveError: Nothing exists at the path.
    """
    for part in path:
        found = _enter(value, part)
        if not found:
            has = f"; there is {', '.join(map(str, value))}" if isinstance(value, dict) and value else ""
            raise ResolveError(f"{where}: nothing at '{part}'{has}")
        (value,) = found
    return value


def _enter(value: Any, part: str | int) -> list[Any]:
    if isinstance(value, dict):
        return [value[part]] if part in value else []
    if isinstance(value, list):
        if isinstance(part, int):
            return value[part : part + 1]
        return [item for item in value if isinstance(item, dict) and part in list_entry_names(item)][:1]
    return []


def list_entry_names(item: dict[str, Any]) -> list[Any]:
    """Return the names of a list entry: the values of ``OutputName``, ``ChannelName``, ``MetricName`` and so on.

    Args:
        item: The entry's members; for those of a shape, the shapes of the names are returned.
    """
    return [text for key, text in item.items() if key.endswith("Name")]


# -- conditions ------------------------------------------------------------------------------------------------------

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}

#: The members of each type of condition, other than ``Type``.
CONDITIONS: dict[str, set[str]] = {
    **{name: {"LeftValue", "RightValue"} for name in _COMPARISONS},
    "In": {"QueryValue", "Values"},
    "Not": {"Condition"},
    "Or": {"Conditions"},
}


def is_condition_met(condition: dict[str, Any], scope: Scope) -> bool:
    """Return True if a condition is met.

    Args:
        condition: The condition as in the definition, with ``Type`` and the members of its type in :data:`CONDITIONS`.
        scope: The source of the values that it refers to.

    Raises:
        ResolveError: A value does not exist, or two values of different types are compared.
    """
    kind = condition["Type"]
    if kind == "Not":
        return not is_condition_met(condition["Condition"], scope)
    if kind == "Or":
        # Evaluate every part, so that a missing value is always reported.
        met = [is_condition_met(part, scope) for part in condition["Conditions"]]
        return any(met)
    if kind == "In":
        query = resolve(condition["QueryValue"], scope)
        equal = [_compare("Equals", query, resolve(item, scope)) for item in condition["Values"]]
        return any(equal)
    return _compare(kind, resolve(condition["LeftValue"], scope), resolve(condition["RightValue"], scope))


def _compare(kind: str, left: Any, right: Any) -> bool:
    if _type(left) != _type(right) or (kind != "Equals" and _type(left) not in ("number", "text")):
        raise ResolveError(
            f"Condition {kind} compares {left!r} ({_type(left)}) with {right!r} ({_type(right)}); expected two values "
            "of one type"
        )
    return _COMPARISONS[kind](left, right)


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__
