"""Comparison of declared inputs with existing resources.

``build_state`` builds a resource's state from the declared inputs and the API's response, keeping the declared
spelling where both are equivalent; ``select_declared`` reduces a state to what a program declared; ``compare`` lists
the changes between two sets of inputs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from local.provider.shapes import Kind, Property
from local.provider.values import UNKNOWN, Values, is_known

ChangeKind = Literal["add", "delete", "update"]
Properties = Mapping[str, Property]


@dataclass(frozen=True)
class Change:
    """One changed value: its property path, the kind of change, and whether it requires a replacement."""

    path: str
    kind: ChangeKind
    replaces: bool

    @property
    def property(self) -> str:
        """The top-level property it belongs to."""
        return re.split(r"[.\[]", self.path, maxsplit=1)[0]


def is_empty(value: Any) -> bool:
    """Return True if a value is empty: for an optional property the API treats it like a missing one.

    Args:
        value: The value of a property; zero is not empty.
    """
    return value is None or value is False or value == "" or (isinstance(value, (list, dict)) and not value)


def is_equivalent(declared: Property, old: Any, new: Any) -> bool:
    """Return True if two known values of a property are equivalent."""
    if declared.same is not None and isinstance(old, str) and isinstance(new, str):
        return declared.same(old, new)
    return bool(old == new)


def compare(properties: Properties, old: Values, new: Values, prefix: str = "") -> Iterator[Change]:
    """Yield the changes from old inputs to new ones, in the order of the properties."""
    for name, declared in properties.items():
        before, after = old.get(name), new.get(name)
        if after is None and declared.computed:
            continue
        yield from _compare(declared, before, after, prefix + name)


def _compare(declared: Property, old: Any, new: Any, path: str) -> Iterator[Change]:
    if new is UNKNOWN or old is UNKNOWN:
        yield Change(path, "add" if old is None else "update", declared.replaces)
    elif is_empty(old) and is_empty(new):
        pass
    elif old is None and new == declared.default:
        # The API need not return a default, e.g. of a resource that was created without Pulumi and then imported.
        pass
    elif is_empty(old):
        yield Change(path, "add", _forces(declared, new))
    elif is_empty(new):
        yield Change(path, "delete" if new is None else "update", _forces(declared, old))
    elif declared.kind is Kind.OBJECT:
        yield from compare(declared.properties, old, new, f"{path}.")
    elif declared.kind is Kind.LIST:
        yield from (_compare_sets if declared.unordered else _compare_lists)(declared, old, new, path)
    elif declared.kind is Kind.MAP:
        yield from _compare_maps(declared, old, new, path)
    elif not is_equivalent(declared, old, new):
        yield Change(path, "update", declared.replaces)


def _compare_lists(declared: Property, old: list[Any], new: list[Any], path: str) -> Iterator[Change]:
    assert declared.element is not None
    for index in range(max(len(old), len(new))):
        here = f"{path}[{index}]"
        if index >= len(old):
            yield Change(here, "add", _forces(declared, [new[index]]))
        elif index >= len(new):
            yield Change(here, "delete", _forces(declared, [old[index]]))
        else:
            yield from _compare(declared.element, old[index], new[index], here)


def _compare_sets(declared: Property, old: list[Any], new: list[Any], path: str) -> Iterator[Change]:
    assert declared.element is not None
    left = list(enumerate(old))
    added = []
    for index, item in enumerate(new):
        match = next((place for place in left if not any(_compare(declared.element, place[1], item, ""))), None)
        if match is not None:
            left.remove(match)
        else:
            added.append((index, item))
    paths = {f"{path}[{index}]": ("delete", item) for index, item in left}
    for index, item in added:
        here = f"{path}[{index}]"
        paths[here] = ("update" if here in paths else "add", item)
    for here, (kind, item) in paths.items():
        yield Change(here, kind, _forces(declared, [item]))  # type: ignore[arg-type]


def _compare_maps(declared: Property, old: Values, new: Values, path: str) -> Iterator[Change]:
    for name in {**old, **new}:
        here = f"{path}.{name}" if re.fullmatch(r"[A-Za-z_]\w*", name) else f"{path}[{json.dumps(name)}]"
        if name not in new:
            yield Change(here, "delete", declared.replaces)
        elif name not in old:
            yield Change(here, "add", declared.replaces)
        elif old[name] != new[name]:
            yield Change(here, "update", declared.replaces)


def _forces(declared: Property, value: Any) -> bool:
    """Return True if adding or removing a value requires a replacement, by itself or by a value inside it."""
    if declared.replaces:
        return True
    if declared.kind is Kind.OBJECT and isinstance(value, Mapping):
        return any(name in value and _forces(inner, value[name]) for name, inner in declared.properties.items())
    if declared.kind is Kind.LIST and declared.element is not None and isinstance(value, list):
        return any(_forces(declared.element, item) for item in value)
    return False


def build_state(properties: Properties, declared: Values, live: Values) -> Values:
    """Return the state: the API's values, spelled as declared wherever both are equivalent."""
    state: Values = {}
    for name, kind in properties.items():
        wanted, found = declared.get(name), live.get(name)
        if found is None:
            if wanted is not None and (kind.unread or is_empty(wanted)):
                state[name] = wanted
        else:
            state[name] = found if wanted is None else _settle(kind, wanted, found)
    return state


def _settle(kind: Property, declared: Any, live: Any) -> Any:
    if kind.kind is Kind.OBJECT and isinstance(live, Mapping):
        return build_state(kind.properties, declared, dict(live))
    if kind.kind is Kind.LIST and kind.element is not None and isinstance(live, list):
        left = list(live)
        settled = []
        for index, item in enumerate(declared):
            match = _match(kind, item, left, index, live)
            if match is None:
                continue
            if kind.unordered:
                left.remove(match)
            settled.append(_settle(kind.element, item, match))
        return settled + (left if kind.unordered else live[len(declared) :])
    return declared if is_equivalent(kind, declared, live) else live


def _match(kind: Property, item: Any, left: list[Any], index: int, live: list[Any]) -> Any:
    """Return the item of the API's response that corresponds to a declared item, or None."""
    assert kind.element is not None
    if not kind.unordered:
        return live[index] if index < len(live) else None
    for candidate in left:
        settled = _restrict(kind.element, _settle(kind.element, item, candidate), item)
        if not any(_compare(kind.element, item, settled, "")):
            return candidate
    return None


def select_declared(properties: Properties, state: Values, declared: Values) -> Values:
    """Return the part of a state that a program declared, without properties it left to the service."""
    return {
        name: _restrict(properties[name], state[name], wanted)
        for name, wanted in declared.items()
        if name in properties and state.get(name) is not None
    }


def _restrict(kind: Property, state: Any, declared: Any) -> Any:
    if not is_known(declared):
        return state
    if kind.kind is Kind.OBJECT and isinstance(state, Mapping):
        return select_declared(kind.properties, dict(state), declared)
    if kind.kind is Kind.LIST and kind.element is not None and isinstance(state, list):
        paired = [_restrict(kind.element, item, wanted) for item, wanted in zip(state, declared, strict=False)]
        return paired + state[len(declared) :]
    return state
