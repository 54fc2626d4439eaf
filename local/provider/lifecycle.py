"""The engine's operations on one resource, in plain values; the server handles the wire format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.provider.api import Context
from local.provider.checks import DEFAULTS, fill_defaults
from local.provider.diff import Change, compare, select_declared
from local.provider.errors import ProviderError
from local.provider.resources import Resource
from local.provider.values import UNKNOWN, Values, is_known

_ARN, _TAGS_ALL = "arn", "tagsAll"


class UnfinishedError(ProviderError):
    """A resource was created but not completed; the engine keeps its state and fixes it with the next update."""

    def __init__(self, reason: str, id: str, state: Values, inputs: Values) -> None:
        super().__init__(reason)
        self.id = id
        self.state = state
        self.inputs = inputs


@dataclass(frozen=True)
class Difference:
    """The changes that a program makes to a resource."""

    changes: tuple[Change, ...]
    delete_before_replace: bool

    @property
    def replaces(self) -> bool:
        """True if a change requires a replacement."""
        return any(change.replaces for change in self.changes)


def compute_difference(resource: Resource, context: Context, state: Values, old: Values, new: Values) -> Difference:
    """Return what the ``new`` inputs change.

    They are compared with the state, as far as the old inputs declared it, so that drift is detected.
    """
    before = select_declared(resource.properties, state, old)
    changes = list(compare(resource.properties, before, new))
    if resource.tagging is not None and all(change.property != "tags" for change in changes):
        tags = resource.merge_tags(new, context.default_tags)
        if tags is UNKNOWN or not is_known(tags) or tags != state.get(_TAGS_ALL, {}):
            changes.append(Change(_TAGS_ALL, "update", replaces=False))
    replaces = any(change.replaces for change in changes)
    return Difference(tuple(changes), replaces and _needs_the_name(resource, old, new))


def _needs_the_name(resource: Resource, old: Values, new: Values) -> bool:
    """Return True if the old resource must be deleted first, e.g. because a given name stays the same."""
    if resource.delete_before_replace or resource.auto_name is None:
        return resource.delete_before_replace
    name = resource.auto_name[0]
    return name not in new.get(DEFAULTS, ()) and old.get(name) == new.get(name)


def plan_outputs(resource: Resource, context: Context, inputs: Values, state: Values | None = None) -> Values:
    """Return the outputs of a create or update in a preview; unknown where only the real operation provides them.

    Args:
        resource: The resource type.
        context: The context of the engine's request.
        inputs: The checked inputs.
        state: The state before an update; None for a create.
    """
    declared = {name: value for name, value in inputs.items() if not name.startswith("__")}
    if state is None:
        outputs: Values = dict.fromkeys((*resource.outputs, *resource.created, *resource.volatile), UNKNOWN)
        outputs |= {name: UNKNOWN for name, kind in resource.properties.items() if kind.computed}
    else:
        kept = {name: value for name, value in state.items() if name not in resource.properties}
        computed = {n: state[n] for n, kind in resource.properties.items() if kind.computed and n in state}
        outputs = {**kept, **computed, **dict.fromkeys(resource.volatile, UNKNOWN)}
    outputs |= declared
    if resource.regional:
        outputs["region"] = declared.get("region", context.region)
    if resource.tagging is not None:
        outputs[_TAGS_ALL] = resource.merge_tags(inputs, context.default_tags)
    return outputs


def create(resource: Resource, context: Context, inputs: Values) -> tuple[str, Values]:
    """Create the resource.

    Args:
        resource: The resource type.
        context: The context of the engine's request.
        inputs: The checked inputs.

    Returns:
        The id, and the state without it.

    Raises:
        UnfinishedError: If it was created, but a later step failed.
        ProviderError: If it was not created, or did not become ready and is of a type that is then not recorded.
    """
    tags = resource.merge_tags(inputs, context.default_tags)
    made = {**inputs, **resource.create(context, inputs, tags)}
    id = resource.build_id(made)
    try:
        resource.complete(context, made, tags)
        return id, _state(resource, context, made, inputs)
    except Exception as error:
        if resource.forgotten_if_unready:
            raise
        state = {name: value for name, value in made.items() if not name.startswith("__")}
        raise UnfinishedError(str(error), id, state, inputs) from error


def update(resource: Resource, context: Context, id: str, state: Values, old: Values, new: Values) -> Values:
    """Update the resource to the new inputs.

    Args:
        resource: The resource type.
        context: The context of the engine's request.
        id: The id of the resource.
        state: The state before the update.
        old: The inputs of the last create or update.
        new: The checked inputs of the program.

    Returns:
        The state after the update, without the id.
    """
    tags = resource.merge_tags(new, context.default_tags)
    wanted = {**_outputs(resource, state), **_identity(resource, id, state), **new, _TAGS_ALL: tags}
    found = compute_difference(resource, context, state, old, new)
    changed = frozenset(change.property for change in found.changes)
    if changed - {"tags", _TAGS_ALL}:
        resource.update(context, wanted, changed)
    if resource.tagging is not None and changed & {"tags", _TAGS_ALL}:
        _retag(resource, context, wanted, tags)
    return _state(resource, context, wanted, new)


def _retag(resource: Resource, context: Context, wanted: Values, tags: dict[str, str]) -> None:
    current = resource.show_tags(context, wanted)
    gone = [name for name in current if name not in tags]
    fresh = {name: value for name, value in tags.items() if current.get(name) != value}
    if gone:
        resource.remove_tags(context, wanted, gone)
    if fresh:
        resource.add_tags(context, wanted, fresh)


def read(resource: Resource, context: Context, id: str, state: Values, inputs: Values) -> tuple[Values, Values] | None:
    """Return the current state and inputs, or None if the resource no longer exists.

    Without inputs it is an import, and the inputs are derived from the resource.

    Args:
        resource: The resource type.
        context: The context of the engine's request.
        id: The id of the resource.
        state: The recorded state; empty for an import.
        inputs: The recorded inputs; empty for an import.
    """
    live = resource.read(context, {**state, **_identity(resource, id, state)})
    if live is None:
        return None
    declared, defaults = inputs, inputs.get(DEFAULTS, ())
    if not inputs:
        importable = resource.list_importable_inputs(live)
        declared = fill_defaults(resource.properties, importable)
        defaults = sorted(name for name in declared if importable.get(name) is None)
    current = resource.build_state(declared, live, context.default_tags)
    refreshed = select_declared(resource.properties, current, declared)
    if current.get("tags"):
        refreshed["tags"] = current["tags"]
    return {**current, "id": id}, {**refreshed, DEFAULTS: [name for name in defaults if name in refreshed]}


def delete(resource: Resource, context: Context, id: str, state: Values) -> None:
    """Delete the resource; it is no error if it no longer exists.

    Args:
        resource: The resource type.
        context: The context of the engine's request.
        id: The id of the resource.
        state: The recorded state.
    """
    resource.delete(context, {**state, **_identity(resource, id, state)})


def _identity(resource: Resource, id: str, state: Values) -> Values:
    """Return the values in the id, from the state if it has all of them, else parsed from the id."""
    names = resource.list_id_names()
    return {name: state[name] for name in names} if all(name in state for name in names) else resource.parse_id(id)


def _outputs(resource: Resource, state: Values) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in resource.properties}


def _state(resource: Resource, context: Context, known_values: Values, inputs: Values) -> Values:
    live = resource.read(context, known_values)
    if live is None:
        raise ProviderError(
            f"{resource.token} {resource.build_id(known_values)}", "was not found right after it was created"
        )
    return resource.build_state(inputs, live, context.default_tags)
