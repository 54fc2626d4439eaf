"""The schema of a resource type: its properties, its id, and the state that the engine keeps.

It is the part of a type's table entry that needs no API call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from local.provider.diff import build_state
from local.provider.errors import ProviderError
from local.provider.naming import AutoName
from local.provider.shapes import Builder, Property, Same, load_service_model, string_map_property, string_property
from local.provider.values import Values

#: Means every property in :attr:`Schema.replaces`.
ALL = "*"


@dataclass(frozen=True)
class Tagging:
    """The operations that tag a service's existing resources.

    Attributes:
        add, remove, show: The operations.
        resource: The member that names the resource in all three.
        by: The property or output that holds the member's value.
    """

    add: str
    remove: str
    show: str
    resource: str
    by: str = "arn"


class Schema:
    """The schema of one resource type. Paths below are property paths without list indices, e.g. ``target.roleArn``.

    Attributes:
        token: The Pulumi type, e.g. ``aws:sagemaker/model:Model``.
        service: The botocore service.
        create_by: The create operation; empty if the type has none or overrides the method.
        shape: A path in the create operation's input whose structure declares the properties; empty for the input.
        id: The template of the id over properties and outputs, e.g. ``{role}:{name}``.
        members: Member expressions of properties whose name differs from that of their API member (see ``shapes``).
        own: Properties that the create operation does not declare.
        omit: Properties of the operation that Pulumi's type does not have; ``only`` lists those it has, if few.
        auto_name: The property that gets an automatic name, and the rule for it.
        name_prefix: Whether the type also has a property ``namePrefix``.
        replaces: Paths whose change requires a replacement (``ALL`` for every one, ``path!`` for the path alone
            without what is inside it), except for those in ``in_place``.
        defaults, required, computed, unread, unordered, same: The attributes of ``Property`` with these names, by path.
        conflicts, exactly_one, at_least_one: Groups of paths; a group counts where its parent is given.
        requires: Paths that are only valid together with another path.
        tagging: How its resources are tagged; None for a type without tags.
        regional: Whether its resources belong to a region.
    """

    token: ClassVar[str]
    service: ClassVar[str]
    create_by: ClassVar[str] = ""
    shape: ClassVar[str] = ""
    id: ClassVar[str] = "{name}"
    members: ClassVar[Mapping[str, str]] = {}
    own: ClassVar[Mapping[str, Property]] = {}
    omit: ClassVar[frozenset[str]] = frozenset()
    only: ClassVar[frozenset[str]] = frozenset()
    auto_name: ClassVar[tuple[str, AutoName] | None] = None
    name_prefix: ClassVar[bool] = False
    delete_before_replace: ClassVar[bool] = False
    replaces: ClassVar[frozenset[str]] = frozenset()
    in_place: ClassVar[frozenset[str]] = frozenset()
    defaults: ClassVar[Mapping[str, Any]] = {}
    required: ClassVar[frozenset[str]] = frozenset()
    computed: ClassVar[frozenset[str]] = frozenset()
    unread: ClassVar[frozenset[str]] = frozenset()
    unordered: ClassVar[frozenset[str]] = frozenset()
    same: ClassVar[Mapping[str, Same]] = {}
    conflicts: ClassVar[tuple[tuple[str, ...], ...]] = ()
    exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    at_least_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    requires: ClassVar[Mapping[str, str]] = {}
    tagging: ClassVar[Tagging | None] = None
    regional: ClassVar[bool] = True

    # ---- properties and ids

    @cached_property
    def properties(self) -> dict[str, Property]:
        """The inputs of the type, by name."""
        found: dict[str, Property] = {}
        if self.create_by:
            found = Builder(self.members, self.omit).build_properties(self._input_shape(), within=())
            found = {name: kind for name, kind in found.items() if name.lower() != "tags"}
            found = {name: kind for name, kind in found.items() if not self.only or name in self.only}
        found |= self.own
        if self.tagging is not None:
            found["tags"] = string_map_property()
        if self.regional:
            found["region"] = string_property(replaces=True, computed=True)
        if self.name_prefix:
            found["namePrefix"] = string_property(replaces=True, unread=True)
        self._mark(found, "", inherited=ALL in self.replaces)
        if self.auto_name is not None:
            found[self.auto_name[0]].required = True
        return found

    def _input_shape(self) -> Any:
        shape = load_service_model(self.service).operation_model(self.create_by).input_shape
        for step in self.shape.split(".") if self.shape else ():
            shape = shape.members[step]
        return shape.member if shape.type_name == "list" else shape

    def _mark(self, properties: Mapping[str, Property], prefix: str, inherited: bool) -> None:
        for name, kind in properties.items():
            path = prefix + name
            deep = path in self.replaces or (inherited and path not in self.in_place)
            if name == "tags" and not prefix:
                deep = False
            self._mark_one(kind, path, deep)
            # The settings of a list's path apply to its items too.
            inner: Property | None = kind
            while inner is not None:
                if inner is not kind:
                    self._mark_one(inner, path, deep)
                    inner.same, inner.default, inner.unordered = self.same.get(path), None, False
                self._mark(inner.properties, f"{path}.", deep)
                inner = inner.element

    def _mark_one(self, kind: Property, path: str, replaces: bool) -> None:
        kind.replaces = kind.replaces or replaces or f"{path}!" in self.replaces
        kind.required = kind.required or path in self.required
        kind.computed = kind.computed or path in self.computed
        kind.unread = kind.unread or path in self.unread
        kind.unordered = kind.unordered or path in self.unordered
        kind.default = self.defaults.get(path, kind.default)
        kind.same = self.same.get(path, kind.same)

    def build_id(self, known: Mapping[str, Any]) -> str:
        """Return the id, from properties and outputs.

        Args:
            known: The properties and outputs by name, at least those in the id.
        """
        return self.id.format(**known)

    def parse_id(self, id: str) -> Values:
        """Return the properties and outputs that an id holds.

        Args:
            id: The id that the engine has recorded, or that a user imports.

        Raises:
            ProviderError: If the id does not have the type's form.
        """
        names = self.list_id_names()
        *literals, last = re.split(r"\{\w+\}", self.id)
        pattern = "".join(f"{re.escape(literal)}(.+?)" for literal in literals) + re.escape(last)
        parsed = re.fullmatch(pattern, id)
        if parsed is None:
            raise ProviderError(f"{self.token}: id {id!r}", f"is not of the form {self.id!r}")
        return dict(zip(names, parsed.groups(), strict=True))

    def list_id_names(self) -> list[str]:
        """Return the names of the properties and outputs in the id."""
        return re.findall(r"\{(\w+)\}", self.id)

    # ---- state

    def build_state(self, inputs: Values, live: Values, default_tags: Mapping[str, str]) -> Values:
        """Return the outputs that the engine keeps: the live values, spelled as declared where both are equivalent."""
        state = build_state(self.properties, inputs, live)
        state |= {name: value for name, value in live.items() if name not in self.properties}
        if self.tagging is not None:
            declared, every = inputs.get("tags", {}), live.get("tagsAll", {})
            own = {k: v for k, v in every.items() if k in declared or default_tags.get(k) != v}
            state["tags"] = {
                k: own[k] for k in [*(k for k in declared if k in own), *(k for k in own if k not in declared)]
            }
        return state

    def merge_tags(self, inputs: Values, default_tags: Mapping[str, str]) -> Any:
        """Return all tags of a resource with these inputs, including the default tags.

        Args:
            inputs: The inputs, whose ``tags`` override default tags; unknown tags are returned as they are.
            default_tags: The tags that the provider's configuration gives all resources.
        """
        tags = inputs.get("tags", {})
        return {**default_tags, **tags} if isinstance(tags, Mapping) else tags

    def list_importable_inputs(self, live: Values) -> Values:
        """Return the inputs of a program that declares the resource as it is, without computed values."""
        return {
            name: value
            for name, value in live.items()
            if name in self.properties
            and name != "region"
            and not self.properties[name].computed
            and value not in ("", [], {}, None)
        }
