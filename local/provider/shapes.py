"""Properties of a resource type, derived from botocore's model of the operation that creates it.

A :class:`Property` has its type, its constraints and the place of its value in the operation's parameters. The tables
name only what differs: a member expression is ``Member`` (another name), ``Outer.Inner`` (a nested member),
``Member[]`` (a list property of one item where the API has the item itself), ``Member[0]`` (the reverse: a property
that is the one item of the API's list) or ``Member{Name:Value}`` (a map property where the API has a list of pairs).
An object property without a member groups parameters that the API has side by side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name

from local.provider.values import UNKNOWN, Values

Same = Callable[[Any, Any], bool]


class Kind(Enum):
    """The type of a property in a Pulumi program."""

    STRING = "a string"
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    LIST = "a list"
    MAP = "a map"
    OBJECT = "an object"
    ASSET = "an asset or archive"


_KINDS = {
    "string": Kind.STRING,
    "character": Kind.STRING,
    "timestamp": Kind.STRING,
    "blob": Kind.STRING,
    "integer": Kind.INTEGER,
    "long": Kind.INTEGER,
    "float": Kind.NUMBER,
    "double": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "list": Kind.LIST,
    "map": Kind.MAP,
    "structure": Kind.OBJECT,
}


@dataclass
class Property:
    """One property of a resource type, or one member of an object property.

    Attributes:
        member: The path of its value in the API's parameters; empty if no parameter takes it.
        single: The API has one item where the property is a list; ``listed`` is the reverse.
        pair: The API has a list of structures with these two members where the property is a map.
        text: The API takes and returns the scalar as text (attribute maps).
        default: The value of an omitted property; None for no default.
        replaces: Changing, adding or removing it requires a replacement.
        computed: The service fills it in, so leaving it out of a program is no change.
        unread: The API may not return it; its state is then what was declared last.
        unordered: The order of the list does not matter.
        same: Returns True if two values are equivalent.
        minimum, maximum: Bounds of a number, or of the length of anything else.
    """

    kind: Kind
    member: tuple[str, ...] = ()
    single: bool = False
    listed: bool = False
    pair: tuple[str, str] | None = None
    text: bool = False
    required: bool = False
    default: Any = None
    replaces: bool = False
    computed: bool = False
    unread: bool = False
    unordered: bool = False
    same: Same | None = None
    enum: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    element: Property | None = None
    properties: dict[str, Property] = field(default_factory=dict)


def string_property(member: str = "", **settings: Any) -> Property:
    """Return a string property that the create operation's model does not declare as one.

    Args:
        member: The path of its value in the API's parameters, with dots; empty if no parameter takes it.
        **settings: Other attributes of :class:`Property`.
    """
    return Property(Kind.STRING, tuple(member.split(".")) if member else (), **settings)


def integer_property(member: str = "", **settings: Any) -> Property:
    """Return an integer property that the create operation's model does not declare as one.

    Args:
        member: The path of its value in the API's parameters, with dots; empty if no parameter takes it.
        **settings: Other attributes of :class:`Property`.
    """
    return Property(Kind.INTEGER, tuple(member.split(".")) if member else (), **settings)


def boolean_property(member: str = "", **settings: Any) -> Property:
    """Return a boolean property that the create operation's model does not declare as one.

    Args:
        member: The path of its value in the API's parameters, with dots; empty if no parameter takes it.
        **settings: Other attributes of :class:`Property`.
    """
    return Property(Kind.BOOLEAN, tuple(member.split(".")) if member else (), **settings)


def string_map_property(member: str = "", **settings: Any) -> Property:
    """Return a property for a map of strings that the create operation's model does not declare as one."""
    return Property(Kind.MAP, tuple(member.split(".")) if member else (), element=Property(Kind.STRING), **settings)


@cache
def load_service_model(service: str) -> Any:
    """Return botocore's model of a service.

    Args:
        service: The service's name in botocore.
    """
    return botocore.session.get_session().get_service_model(service)


@cache
def convert_member_name(member: str) -> str:
    """Return the Pulumi name of an API member: ``volumeSizeInGb`` for ``VolumeSizeInGB``."""
    head, *rest = str(xform_name(member)).split("_")
    return head + "".join(part.capitalize() for part in rest)


@cache
def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    r"""Return a compiled pattern of the API's model, or None if Python's ``re`` cannot read it.

    The models are written for another engine: Unicode classes such as ``\p{L}`` are read as any character.
    """
    readable = re.sub(r"\\[pP]\{\w+\}", r"\\s\\S", pattern)
    readable = re.sub(r"(?<!\[)\\s\\S(?![^\[]*\])", r"[\\s\\S]", readable) if "[" not in readable else readable
    try:
        return re.compile(readable)
    except re.error:
        return None


class Builder:
    """A builder of the properties of one type, from a shape and the differences in the type's table."""

    def __init__(self, members: Mapping[str, str], omit: Iterable[str] = ()) -> None:
        self._members = members
        self._omit = frozenset(omit)

    def build_properties(self, shape: Any, prefix: str = "", within: tuple[str, ...] = ()) -> dict[str, Property]:
        """Return the properties of a structure; ``within`` names the shapes around it, to end recursive ones."""
        declared = self._declared(prefix)
        taken = {re.split(r"[.\[{]", expression)[0] for expression in declared.values()}
        found: dict[str, Property] = {}
        for member, inner in shape.members.items():
            name = convert_member_name(member)
            if member in taken or name in declared or prefix + name in self._omit or inner.name in within:
                continue
            found[name] = self._property(inner, prefix + name, within)
            found[name].member = (member,)
            found[name].required = member in shape.required_members
        for name, expression in declared.items():
            found[name] = self._expressed(shape, expression, prefix + name, within)
        return found

    def _declared(self, prefix: str) -> dict[str, str]:
        own = {path: expression for path, expression in self._members.items() if path.startswith(prefix)}
        return {path[len(prefix) :]: expr for path, expr in own.items() if "." not in path[len(prefix) :]}

    def _expressed(self, shape: Any, expression: str, path: str, within: tuple[str, ...]) -> Property:
        parsed = re.fullmatch(r"([\w.]+)(\[0?\])?(?:\{(\w+):(\w+)\})?", expression)
        assert parsed is not None, f"{path}: {expression} is not a member expression"
        members, brackets, name, value = parsed.groups()
        required = True
        for member in members.split("."):
            required = required and member in shape.required_members
            shape = shape.members[member]
        if name:
            built = Property(Kind.MAP, element=Property(Kind.STRING), pair=(name, value))
        elif brackets == "[0]":
            built = self._property(shape.member, path, within)
            built.listed = True
        else:
            built = self._property(shape, path, within)
        if brackets == "[]":
            built = Property(Kind.LIST, single=True, element=built, maximum=1)
        built.member = tuple(members.split("."))
        built.required = required
        return built

    def _property(self, shape: Any, path: str, within: tuple[str, ...]) -> Property:
        kind = _KINDS[shape.type_name]
        found = Property(kind, minimum=shape.metadata.get("min"), maximum=shape.metadata.get("max"))
        if kind is Kind.STRING:
            found.enum = tuple(getattr(shape, "enum", ()))
            found.pattern = compile_pattern(shape.metadata["pattern"]) if "pattern" in shape.metadata else None
        elif kind is Kind.LIST:
            found.element = self._property(shape.member, path, within)
        elif kind is Kind.MAP:
            found.element = self._property(shape.value, path, within)
        elif kind is Kind.OBJECT:
            found.properties = self.build_properties(shape, f"{path}.", (*within, shape.name))
        return found


def convert_to_api(properties: Mapping[str, Property], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the API's parameters for property values; empty lists and maps are left out, as the API expects.

    Args:
        properties: The properties of the type, or of an object property, by name.
        values: The values by property name; None and unknown values are left out.
    """
    params: dict[str, Any] = {}
    for name, declared in properties.items():
        value = values.get(name)
        if value is None or value is UNKNOWN:
            continue
        if not declared.member:
            params |= convert_to_api(declared.properties, value) if declared.kind is Kind.OBJECT else {}
            continue
        if value in ([], {}) and declared.kind is not Kind.OBJECT:
            continue
        place = params
        for member in declared.member[:-1]:
            place = place.setdefault(member, {})
        place[declared.member[-1]] = _value_to_api(declared, value)
    return params


def _value_to_api(declared: Property, value: Any) -> Any:
    return [_item_to_api(declared, value)] if declared.listed else _item_to_api(declared, value)


def _item_to_api(declared: Property, value: Any) -> Any:
    if declared.text:
        return str(value).lower() if isinstance(value, bool) else str(value)
    if declared.pair:
        name_member, value_member = declared.pair
        return [{name_member: name, value_member: item} for name, item in value.items()]
    if declared.single:
        assert declared.element is not None
        return _value_to_api(declared.element, value[0])
    if declared.kind is Kind.OBJECT:
        return convert_to_api(declared.properties, value)
    if declared.kind is Kind.LIST and declared.element is not None:
        return [_value_to_api(declared.element, item) for item in value]
    if declared.kind is Kind.MAP and declared.element is not None:
        return {name: _value_to_api(declared.element, item) for name, item in value.items()}
    return value


def convert_from_api(
    properties: Mapping[str, Property], answer: Mapping[str, Any], places: Mapping[str, str] | None = None
) -> Values:
    """Return the property values in a response; ``places`` gives paths that differ from the parameters."""
    values: Values = {}
    for name, declared in properties.items():
        place = places[name].split(".") if places and name in places else declared.member
        value = find_value(answer, place) if place else None
        if not place and declared.kind is Kind.OBJECT:
            values |= {name: inner} if (inner := convert_from_api(declared.properties, answer)) else {}
        if value is not None and value != "":
            values[name] = _value_from_api(declared, value)
    return values


def _value_from_api(declared: Property, value: Any) -> Any:
    value = value[0] if declared.listed else value
    if declared.pair:
        name_member, value_member = declared.pair
        return {item[name_member]: item[value_member] for item in value}
    if declared.single and declared.element is not None:
        return [_value_from_api(declared.element, value)]
    if declared.kind is Kind.OBJECT:
        return convert_from_api(declared.properties, value)
    if declared.kind is Kind.LIST and declared.element is not None:
        return [_value_from_api(declared.element, item) for item in value]
    if declared.kind is Kind.MAP and declared.element is not None:
        return {name: _value_from_api(declared.element, item) for name, item in value.items()}
    return _scalar_from_api(declared, value)


def _scalar_from_api(declared: Property, value: Any) -> Any:
    if declared.text and isinstance(value, str):
        if declared.kind is Kind.INTEGER:
            return int(value)
        if declared.kind is Kind.BOOLEAN:
            return value.lower() == "true"
    return convert_scalar(value)


def convert_scalar(value: Any) -> Any:
    """Return a scalar of a response as a property holds it: times as RFC 3339, parsed documents as JSON text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Mapping):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, bytes):
        return value.decode()
    return value


def find_value(value: Any, path: Iterable[str]) -> Any:
    """Return the value under a path of members, or None; a number in the path indexes a list.

    Args:
        value: The response, or a part of it.
        path: The steps from the outermost member to the innermost; an empty path is the value itself.
    """
    for step in path:
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        elif isinstance(value, Mapping):
            value = value.get(step)
        else:
            return None
    return value


def select_known_params(params: Mapping[str, Any], shape: Any) -> dict[str, Any]:
    """Return only those parameters that the structure ``shape`` has, inside nested structures too."""
    kept: dict[str, Any] = {}
    for member, value in params.items():
        inner = shape.members.get(member)
        if inner is not None:
            kept[member] = select_known_params(value, inner) if inner.type_name == "structure" else value
    return kept
