"""Checks of a resource's inputs before anything is created: names, defaults, types, constraints.

Every failure names the property, its value and what is expected; all of them are found at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from local.provider.documents import is_same_json, is_same_policy
from local.provider.errors import Failure, ProviderError
from local.provider.naming import make_name, make_unique_digits
from local.provider.resources import Resource
from local.provider.shapes import Kind, Property
from local.provider.values import UNKNOWN, Asset, Values, is_known
from local.regions import describe_invalid_region, is_region

#: The member of checked inputs that lists the properties which the program left out and the checks filled in.
DEFAULTS = "__defaults"


@dataclass(frozen=True)
class Naming:
    """The engine's settings for the name of the resource being checked."""

    resource: str
    seed: bytes = b""
    proposed: str = ""
    mode: Literal["propose", "enforce", "disable"] = "propose"


def check_inputs(resource: Resource, old: Values, new: Values, naming: Naming) -> tuple[Values, list[Failure]]:
    """Return the inputs with names and defaults filled in, and what is wrong with them.

    Args:
        resource: The type.
        old: The checked inputs of the last run: an automatic name in them is kept.
        new: The inputs that the program declares.
        naming: The engine's settings for the resource's name.
    """
    declared = {name: value for name, value in new.items() if not name.startswith("__")}
    failures = list(_unknown_names(resource.token, resource.properties, declared))
    known = {name: value for name, value in declared.items() if name in resource.properties}
    coerced = {name: coerce(resource.properties[name], value) for name, value in known.items()}
    inputs = fill_defaults(resource.properties, coerced)
    made = {name: value for name, value in inputs.items() if value is not None and coerced.get(name) is None}
    try:
        made |= _name(resource, old, inputs, naming)
    except ProviderError as error:
        assert resource.auto_name is not None
        failures.append(Failure(resource.auto_name[0], str(error)))
        made[resource.auto_name[0]] = UNKNOWN
    failures += check_region(inputs)
    failures += _constraints(resource.properties, {**inputs, **made}, "")
    failures += _groups(resource, {**inputs, **made})
    return {**inputs, **made, DEFAULTS: sorted(made)}, failures


def check_region(inputs: Values) -> list[Failure]:
    """Return the failure of a region that a resource or a function names for itself, if any."""
    region = inputs.get("region")
    fits = region in (None, UNKNOWN) or is_region(region)
    return [] if fits else [Failure("region", f"region {describe_invalid_region(region)}")]


def _unknown_names(
    token: str, properties: Mapping[str, Property], values: Values, prefix: str = ""
) -> Iterator[Failure]:
    for name in values:
        if name not in properties:
            names = ", ".join(sorted(properties)) or "none"
            yield Failure(prefix + name, f"{token} has no such property on this machine; its properties are: {names}")


def coerce(declared: Property, value: Any) -> Any:
    """Return a value converted to the property's type, if the text or number has only one meaning."""
    if declared.kind is Kind.OBJECT and isinstance(value, Mapping):
        inner = declared.properties
        return {name: coerce(inner[name], item) if name in inner else item for name, item in value.items()}
    if declared.kind is Kind.LIST and declared.element is not None and isinstance(value, list):
        return [coerce(declared.element, item) for item in value]
    if declared.kind is Kind.MAP and declared.element is not None and isinstance(value, Mapping):
        return {name: coerce(declared.element, item) for name, item in value.items()}
    if declared.same in (is_same_json, is_same_policy) and isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":")) if is_known(value) else UNKNOWN
    if declared.kind is Kind.STRING and isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if declared.kind is Kind.INTEGER and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if declared.kind is Kind.NUMBER and isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return float(value)
    if declared.kind is Kind.BOOLEAN and value in ("true", "false"):
        return value == "true"
    return value


def fill_defaults(properties: Mapping[str, Property], values: Values) -> Values:
    """Return a copy of the values with the defaults of what they leave out, also inside objects."""
    filled = {
        name: _fill_inner_defaults(properties[name], value) if name in properties else value
        for name, value in values.items()
    }
    return filled | {
        name: declared.default
        for name, declared in properties.items()
        if declared.default is not None and values.get(name) is None
    }


def _fill_inner_defaults(declared: Property, value: Any) -> Any:
    if declared.kind is Kind.OBJECT and isinstance(value, dict):
        return fill_defaults(declared.properties, value)
    if declared.kind is Kind.LIST and declared.element is not None and isinstance(value, list):
        return [_fill_inner_defaults(declared.element, item) for item in value]
    return value


def _name(resource: Resource, old: Values, inputs: Values, naming: Naming) -> Values:
    if resource.auto_name is None:
        return {}
    name, rule = resource.auto_name
    if inputs.get(name) is not None:
        return {}
    if (
        name in old.get(DEFAULTS, ())
        and old.get(name) is not None
        and old.get("namePrefix") == inputs.get("namePrefix")
    ):
        return {name: old[name]}
    prefix = inputs.get("namePrefix")
    if prefix is UNKNOWN:
        return {name: UNKNOWN}
    if prefix is not None:
        return {name: prefix + make_unique_digits(26, naming.seed)}
    if naming.mode == "disable":
        raise ProviderError("names", "are not generated in this project", fix="give the resource a name")
    if naming.proposed:
        return {name: naming.proposed}
    suffix = ".fifo" if rule.fifo and inputs.get(rule.fifo) is True else ""
    return {name: make_name(rule, naming.resource, naming.seed, suffix)}


def _constraints(properties: Mapping[str, Property], values: Values, prefix: str) -> Iterator[Failure]:
    for name, declared in properties.items():
        path, value = prefix + name, values.get(name)
        if value is not None:
            yield from _value(declared, value, path)
        elif declared.required and not declared.computed:
            yield Failure(path, f"required: give {declared.kind.value}{_allowed(declared)}")


def _value(declared: Property, value: Any, path: str) -> Iterator[Failure]:
    if value is UNKNOWN:
        return
    if not _fits(declared.kind, value):
        yield Failure(path, f"{_shown(value)} is not {declared.kind.value}")
        return
    size = value if declared.kind in (Kind.INTEGER, Kind.NUMBER) else len(value) if hasattr(value, "__len__") else None
    what = "value" if size is value else "length"
    if size is not None and declared.minimum is not None and size < declared.minimum:
        yield Failure(path, f"{_shown(value)}: its {what} {size} is below the minimum, {declared.minimum}")
    if size is not None and declared.maximum is not None and size > declared.maximum:
        yield Failure(path, f"{_shown(value)}: its {what} {size} is above the maximum, {declared.maximum}")
    if declared.kind is Kind.STRING:
        if declared.enum and value not in declared.enum:
            yield Failure(path, f"{_shown(value)} is not allowed{_allowed(declared)}")
        if declared.pattern is not None and not declared.pattern.fullmatch(value):
            yield Failure(path, f"{_shown(value)} does not match {declared.pattern.pattern}")
    elif declared.kind is Kind.OBJECT:
        yield from _unknown_names(path, declared.properties, value, f"{path}.")
        yield from _constraints(declared.properties, value, f"{path}.")
    elif declared.element is not None:
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _value(declared.element, item, f"{path}[{key!r}]".replace("'", '"'))


def _fits(kind: Kind, value: Any) -> bool:
    if kind is Kind.STRING:
        return isinstance(value, str)
    if kind is Kind.BOOLEAN:
        return isinstance(value, bool)
    if kind is Kind.INTEGER:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is Kind.NUMBER:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is Kind.LIST:
        return isinstance(value, list)
    if kind is Kind.ASSET:
        return isinstance(value, Asset)
    return isinstance(value, Mapping)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _allowed(declared: Property) -> str:
    if not declared.enum:
        return ""
    shown = ", ".join(declared.enum[:12])
    return f"; expected one of {shown}" + (f" and {len(declared.enum) - 12} more" if len(declared.enum) > 12 else "")


def _groups(resource: Resource, values: Values) -> Iterator[Failure]:
    for group in resource.conflicts:
        given = _given(values, group)
        if len(given) > 1:
            yield Failure(given[0], f"conflicts with {', '.join(given[1:])}: give only one of them")
    for group in resource.exactly_one:
        if _parent(values, group[0]) and len(given := _given(values, group)) != 1:
            found = ", ".join(given) or "none"
            yield Failure(group[0], f"exactly one of {', '.join(group)} is required; given: {found}")
    for group in resource.at_least_one:
        if not _given(values, group):
            yield Failure(group[0], f"at least one of {', '.join(group)} is required")
    for path, needed in resource.requires.items():
        if _given(values, (path,)) and not _given(values, (needed,)):
            yield Failure(path, f"also requires {needed}")


def _given(values: Values, group: tuple[str, ...]) -> list[str]:
    return [path for path in group if _at(values, path) is not None]


def _parent(values: Values, path: str) -> bool:
    parent = path.rpartition(".")[0]
    return not parent or isinstance(_at(values, parent), Mapping)


def _at(values: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(values, Mapping):
            return None
        values = values.get(name)
    return values
