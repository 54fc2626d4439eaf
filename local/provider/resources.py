"""The base class of resource types, which turns a table entry into API calls.

Each type is a subclass of :class:`Resource` whose class attributes are its table entry. Nothing else is needed if each
operation takes one API call; types that AWS spreads over several calls override a method.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from local.provider.api import Context
from local.provider.diff import build_state
from local.provider.errors import ApiError, ProviderError
from local.provider.naming import AutoName
from local.provider.shapes import (
    Builder,
    Property,
    Same,
    convert_from_api,
    convert_scalar,
    convert_to_api,
    find_value,
    load_service_model,
    string_map_property,
    string_property,
)
from local.provider.values import Values

#: Means every property in :attr:`Resource.replaces`.
ALL = "*"

#: Error codes that mean that a resource does not exist.
_GONE = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchBucketPolicy",
        "NoSuchEntity",
        "NoSuchKey",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NotFound",
        "NotFoundException",
        "ObjectNotFoundException",
        "OwnershipControlsNotFoundError",
        "ParameterNotFound",
        "QueueDoesNotExist",
        "RepositoryNotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)


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


@dataclass(frozen=True)
class Wait:
    """A status to wait for: where it is read, and which value ends the wait.

    Attributes:
        status, reason: Paths in the read operation's response.
        pending: The statuses to wait through; any status but these and ``target`` is a failure.
        seconds: The longest wait.
    """

    status: str
    target: str
    pending: tuple[str, ...]
    reason: str = "FailureReason"
    seconds: float = 600.0


class Resource:
    """One resource type. Paths below are property paths without list indices, e.g. ``target.roleArn``.

    Attributes:
        token: The Pulumi type, e.g. ``aws:sagemaker/model:Model``.
        service: The botocore service.
        create_by, read_by, update_by, delete_by: Operations; empty if the type has none or overrides the method.
        shape: A path in the create operation's input whose structure declares the properties; empty for the input.
        answer: The path of the resource in the read operation's response.
        id: The template of the id over properties and outputs, e.g. ``{role}:{name}``.
        members: Member expressions of properties whose name differs from that of their API member (see ``shapes``).
        places: Paths of properties in the read operation's response, where they differ from the parameters.
        own: Properties that the create operation does not declare.
        omit: Properties of the operation that Pulumi's type does not have; ``only`` lists those it has, if few.
        outputs: Paths in the read operation's response of values that the service computes; empty if code sets them.
        created: Paths in the create operation's response of the values in the id.
        identity: Members that name the resource in other operations, and the property or output they hold.
        auto_name: The property that gets an automatic name, and the rule for it.
        name_prefix: Whether the type also has a property ``namePrefix``.
        replaces: Paths whose change requires a replacement (``ALL`` for every one, ``path!`` for the path alone
            without what is inside it), except for those in ``in_place``.
        defaults, required, computed, unread, unordered, same: The attributes of ``Property`` with these names, by path.
        volatile: Outputs that an update changes.
        secret: Outputs that are always secret.
        conflicts, exactly_one, at_least_one: Groups of paths; a group counts where its parent is given.
        requires: Paths that are only valid together with another path.
        tagging: How its resources are tagged; None for a type without tags.
        regional: Whether its resources belong to a region.
        waits: The status that a create waits for; with ``forgotten_if_unready``, a resource that does not reach it is
            not recorded in the state.
    """

    token: ClassVar[str]
    service: ClassVar[str]
    create_by: ClassVar[str] = ""
    read_by: ClassVar[str] = ""
    update_by: ClassVar[str] = ""
    delete_by: ClassVar[str] = ""
    shape: ClassVar[str] = ""
    answer: ClassVar[str] = ""
    id: ClassVar[str] = "{name}"
    members: ClassVar[Mapping[str, str]] = {}
    places: ClassVar[Mapping[str, str]] = {}
    own: ClassVar[Mapping[str, Property]] = {}
    omit: ClassVar[frozenset[str]] = frozenset()
    only: ClassVar[frozenset[str]] = frozenset()
    outputs: ClassVar[Mapping[str, str]] = {}
    created: ClassVar[Mapping[str, str]] = {}
    identity: ClassVar[Mapping[str, str]] = {}
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
    volatile: ClassVar[frozenset[str]] = frozenset()
    secret: ClassVar[frozenset[str]] = frozenset()
    conflicts: ClassVar[tuple[tuple[str, ...], ...]] = ()
    exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    at_least_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    requires: ClassVar[Mapping[str, str]] = {}
    tagging: ClassVar[Tagging | None] = None
    regional: ClassVar[bool] = True
    waits: ClassVar[Wait | None] = None
    forgotten_if_unready: ClassVar[bool] = False

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

    # ---- operations

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:
        """Create the resource.

        Args:
            context: The context of the engine's request.
            inputs: The checked inputs.
            tags: All tags of the resource, including the default tags.

        Returns:
            The outputs in its id, by name.
        """
        params = self.build_params(context, self.create_by, inputs)
        answer = self.call(context, self.create_by, {**params, **self._tags_on_create(tags)})
        return {name: find_value(answer, path.split(".")) for name, path in self.created.items()}

    def complete(self, context: Context, known: Values, tags: dict[str, str]) -> None:
        """Finish a created resource: apply settings that need separate calls, set tags, wait.

        Args:
            context: The context of the engine's request.
            known: The checked inputs, and the outputs in the id.
            tags: All tags of the resource, including the default tags.
        """
        if tags and self.tagging is not None and not self._tags_on_create(tags):
            self.add_tags(context, known, tags)
        self.await_ready(context, known)

    def read(self, context: Context, known: Values) -> Values | None:
        """Return the current properties and outputs, including ``tagsAll``; None if the resource does not exist.

        Args:
            context: The context of the engine's request.
            known: The known properties and outputs, at least those in the id.
        """
        try:
            root = self.describe(context, known)
            if root is None:
                return None
            # A response may omit the names given in the request.
            asked = {name: known[name] for name in self.list_id_names() if name in self.properties}
            values = asked | convert_from_api(self.properties, root, self.places)
            values |= self.compute_outputs(context, {**known, **values}, root)
            if self.tagging is not None:
                values["tagsAll"] = self.show_tags(context, {**known, **values})
        except ApiError as error:
            if self.is_not_found(error):
                return None
            raise
        if self.regional:
            values["region"] = context.region
        return values

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the API's description of the resource, or None.

        Args:
            context: The context of the engine's request.
            known: The known properties and outputs, at least those in the id.
        """
        answer = self.call(context, self.read_by, self.build_params(context, self.read_by, known))
        found = find_value(answer, self.answer.split(".")) if self.answer else answer
        return found if found is None else dict(found)

    def compute_outputs(self, context: Context, known: Values, root: dict[str, Any]) -> Values:  # noqa: ARG002
        """Return the outputs that are not inputs.

        Args:
            context: The context of the engine's request.
            known: The properties and outputs of the resource.
            root: The API's description, as :meth:`describe` returns it.
        """
        found = {name: find_value(root, path.split(".")) for name, path in self.outputs.items() if path}
        return {name: convert_scalar(value) for name, value in found.items() if value is not None}

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:  # noqa: ARG002
        """Update the resource to ``known``, which differs from the existing one in the properties ``changed``.

        Args:
            context: The context of the engine's request.
            known: The new properties, and the outputs of the existing resource.
            changed: The names of top-level properties; ``tags`` and ``tagsAll`` may be among them.
        """
        if self.update_by:
            self.call(context, self.update_by, self.build_params(context, self.update_by, known))

    def delete(self, context: Context, known: Values) -> None:
        """Delete the resource; it is no error if it no longer exists.

        Args:
            context: The context of the engine's request.
            known: The properties and outputs of the resource.
        """
        if self.delete_by:
            self.ignore_not_found(
                lambda: self.call(context, self.delete_by, self.build_params(context, self.delete_by, known))
            )

    # ---- helpers

    def build_params(self, context: Context, operation: str, values: Values) -> dict[str, Any]:
        """Return the parameters for an operation, without those that it does not accept.

        Args:
            context: The context of the engine's request.
            operation: The name of an operation of the type's service.
            values: The properties and outputs by name.
        """
        params = convert_to_api(self.properties, values)
        params |= {member: values[name] for member, name in self.identity.items() if values.get(name) is not None}
        return context.filter_accepted(self.service, operation, params)

    def call(self, context: Context, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Call an operation of the type's service.

        Args:
            context: The context of the engine's request.
            operation: The operation's name.
            params: The parameters by member name.

        Returns:
            The members of the response.

        Raises:
            ApiError: If the API returned an error.
        """
        return context.call(self.service, operation, params)

    def is_not_found(self, error: ApiError) -> bool:
        """Return True if an error means that the resource does not exist.

        Args:
            error: The error that the API returned.
        """
        return error.code in _GONE

    def ignore_not_found(self, act: Callable[[], object]) -> None:
        """Call ``act`` and ignore an error that means that the resource does not exist.

        Args:
            act: Makes the calls; its result is ignored.
        """
        try:
            act()
        except ApiError as error:
            if not self.is_not_found(error):
                raise

    def await_ready(self, context: Context, known: Values) -> None:
        """Wait for the status in :attr:`waits`.

        Args:
            context: The context of the engine's request.
            known: The properties and outputs of the resource.

        Raises:
            ProviderError: If the resource reached another status, or did not reach this one in time.
        """
        wait = self.waits
        if wait is None:
            return
        name = f"{self.token.rsplit(':', 1)[-1]} {self.build_id(known)}"

        def ready() -> bool:
            root = self.describe(context, known) or {}
            status = find_value(root, wait.status.split("."))
            if status not in (wait.target, *wait.pending):
                reason = find_value(root, wait.reason.split(".")) or "the API returned no reason"
                raise ProviderError(name, f"is {status}, not {wait.target}: {reason}")
            return bool(status == wait.target)

        context.wait(f"{name} becoming {wait.target}", ready, wait.seconds)

    def await_deleted(self, context: Context, known: Values, seconds: float) -> None:
        """Wait until the API no longer finds the resource.

        Args:
            context: The context of the engine's request.
            known: The properties and outputs of the resource.
            seconds: The longest wait, unless the user has set a limit.

        Raises:
            ProviderError: If the resource still exists after that time, or the engine cancelled.
        """

        def gone() -> bool:
            try:
                return self.describe(context, known) is None
            except ApiError as error:
                if self.is_not_found(error):
                    return True
                raise

        context.wait(f"{self.token.rsplit(':', 1)[-1]} {self.build_id(known)} being deleted", gone, seconds)

    # ---- tags

    def _tags_on_create(self, tags: dict[str, str]) -> dict[str, Any]:
        return self._tag_params(self.create_by, tags) if tags and self.create_by and self.tagging is not None else {}

    def _tag_params(self, operation: str, tags: dict[str, str]) -> dict[str, Any]:
        """Return the tags in an operation's form: a map, or a list of pairs with the service's own member names."""
        shape = load_service_model(self.service).operation_model(operation).input_shape
        for member, inner in shape.members.items():
            if member.lower() == "tags" and inner.type_name == "map":
                return {member: tags}
            if member.lower() == "tags":
                key, value = sorted(inner.member.members, key=lambda name: not name.lower().endswith("key"))[:2]
                return {member: [{key: name, value: item} for name, item in tags.items()]}
        return {}

    def add_tags(self, context: Context, known: Values, tags: dict[str, str]) -> None:
        """Set these tags."""
        assert self.tagging is not None
        operation = self.tagging.add
        self.call(context, operation, {**self._tagged(known), **self._tag_params(operation, tags)})

    def remove_tags(self, context: Context, known: Values, names: list[str]) -> None:
        """Remove the tags of these names."""
        assert self.tagging is not None
        shape = load_service_model(self.service).operation_model(self.tagging.remove).input_shape
        member = next(name for name in shape.members if name.lower() == "tagkeys")
        self.call(context, self.tagging.remove, {**self._tagged(known), member: names})

    def show_tags(self, context: Context, known: Values) -> dict[str, str]:
        """Return the tags of the resource.

        Args:
            context: The context of the engine's request.
            known: The properties and outputs of the resource.
        """
        assert self.tagging is not None
        answer = self.call(context, self.tagging.show, self._tagged(known))
        found: Any = next((value for name, value in answer.items() if name.lower().startswith("tag")), {})
        if isinstance(found, Mapping):
            return dict(found)
        pairs = [{member.lower().removeprefix("tag"): value for member, value in item.items()} for item in found]
        return {pair["key"]: pair["value"] for pair in pairs if not pair["key"].startswith("aws:")}

    def _tagged(self, known: Values) -> dict[str, str]:
        assert self.tagging is not None
        return {self.tagging.resource: known[self.tagging.by]}

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
