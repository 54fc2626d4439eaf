"""What happens to one resource at each verb of the engine, in values; the server puts it on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.provider.api import Context
from local.provider.checks import DEFAULTS, with_defaults
from local.provider.diff import Change, compare, restrict
from local.provider.errors import ProviderError
from local.provider.resources import Resource
from local.provider.values import UNKNOWN, Values, known

_ARN, _TAGS_ALL = "arn", "tagsAll"


class UnfinishedError(ProviderError):
    """A resource is there, but not as it should be; the engine keeps its state and mends it with the next update."""

    def __init__(self, reason: str, id: str, state: Values, inputs: Values) -> None:
        super().__init__(reason)
        self.id = id
        self.state = state
        self.inputs = inputs


@dataclass(frozen=True)
class Difference:
    """What a program changes of a resource."""

    changes: tuple[Change, ...]
    delete_before_replace: bool

    @property
    def replaces(self) -> bool:
        return any(change.replaces for change in self.changes)


def difference(resource: Resource, context: Context, state: Values, old: Values, new: Values) -> Difference:
    """What ``new`` inputs change: against the state as far as the old inputs declared it, so that drift shows."""
    before = restrict(resource.properties, state, old)
    changes = list(compare(resource.properties, before, new))
    if resource.tagging is not None and all(change.property != "tags" for change in changes):
        tags = resource.tags_all(new, context.default_tags)
        if tags is UNKNOWN or not known(tags) or tags != state.get(_TAGS_ALL, {}):
            changes.append(Change(_TAGS_ALL, "update", replaces=False))
    replaces = any(change.replaces for change in changes)
    return Difference(tuple(changes), replaces and _needs_the_name(resource, old, new))


def _needs_the_name(resource: Resource, old: Values, new: Values) -> bool:
    """Whether a replacement cannot stand beside what it replaces: it keeps a name that the program gave."""
    if resource.delete_before_replace or resource.auto_name is None:
        return resource.delete_before_replace
    name = resource.auto_name[0]
    return name not in new.get(DEFAULTS, ()) and old.get(name) == new.get(name)


def planned(resource: Resource, context: Context, inputs: Values, state: Values | None = None) -> Values:
    """The outputs of a create or update that a preview shows: unknown where only making it can tell."""
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
        outputs[_TAGS_ALL] = resource.tags_all(inputs, context.default_tags)
    return outputs


def create(resource: Resource, context: Context, inputs: Values) -> tuple[str, Values]:
    """Make the resource; its id and state.

    Raises:
        UnfinishedError: It was made, but what had to follow failed.
    """
    tags = resource.tags_all(inputs, context.default_tags)
    made = {**inputs, **resource.create(context, inputs, tags)}
    id = resource.identify(made)
    try:
        resource.complete(context, made, tags)
        return id, _state(resource, context, made, inputs)
    except Exception as error:
        if resource.forgotten_if_unready:
            raise
        state = {name: value for name, value in made.items() if not name.startswith("__")}
        raise UnfinishedError(str(error), id, state, inputs) from error


def update(resource: Resource, context: Context, id: str, state: Values, old: Values, new: Values) -> Values:
    """Bring the resource to the new inputs; its state."""
    tags = resource.tags_all(new, context.default_tags)
    wanted = {**_outputs(resource, state), **_identity(resource, id, state), **new, _TAGS_ALL: tags}
    found = difference(resource, context, state, old, new)
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
    """State and inputs as they are now, or None when the resource is gone. Without a state it is an import."""
    live = resource.read(context, {**state, **_identity(resource, id, state)})
    if live is None:
        return None
    declared, defaults = inputs, inputs.get(DEFAULTS, ())
    if not inputs:
        declared = resource.importable(live)
        filled = with_defaults(resource.properties, declared)
        declared, defaults = {**declared, **filled}, sorted(filled)
    current = resource.state(declared, live, context.default_tags)
    refreshed = restrict(resource.properties, current, declared)
    if current.get("tags"):
        refreshed["tags"] = current["tags"]
    return {**current, "id": id}, {**refreshed, DEFAULTS: [name for name in defaults if name in refreshed]}


def delete(resource: Resource, context: Context, id: str, state: Values) -> None:
    """Remove the resource; gone already is fine."""
    resource.delete(context, {**state, **_identity(resource, id, state)})


def _identity(resource: Resource, id: str, state: Values) -> Values:
    """What the id is made of: of a state that has it, else taken from the id."""
    names = resource.id_names()
    return {name: state[name] for name in names} if all(name in state for name in names) else resource.parse(id)


def _outputs(resource: Resource, state: Values) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in resource.properties}


def _state(resource: Resource, context: Context, known_values: Values, inputs: Values) -> Values:
    live = resource.read(context, known_values)
    if live is None:
        raise ProviderError(
            f"{resource.token} {resource.identify(known_values)}", "was not found right after it was created"
        )
    return resource.state(inputs, live, context.default_tags)
