"""The base class of resource types, which turns a table entry into API calls.

Each type is a subclass of :class:`Resource` whose class attributes are its table entry. Nothing else is needed if each
operation takes one API call; types that AWS spreads over several calls override a method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from local.provider.api import Context
from local.provider.errors import ApiError, ProviderError
from local.provider.schema import Schema
from local.provider.shapes import convert_from_api, convert_scalar, convert_to_api, find_value, load_service_model
from local.provider.values import Values

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


class Resource(Schema):
    """One resource type: its schema, and the API calls that create, read, update and delete a resource of it.

    Paths below are property paths without list indices, e.g. ``target.roleArn``.

    Attributes:
        read_by, update_by, delete_by: Operations; empty if the type has none or overrides the method.
        answer: The path of the resource in the read operation's response.
        places: Paths of properties in the read operation's response, where they differ from the parameters.
        outputs: Paths in the read operation's response of values that the service computes; empty if code sets them.
        created: Paths in the create operation's response of the values in the id.
        identity: Members that name the resource in other operations, and the property or output they hold.
        volatile: Outputs that an update changes.
        secret: Outputs that are always secret.
        waits: The status that a create waits for; with ``forgotten_if_unready``, a resource that does not reach it is
            not recorded in the state.
    """

    read_by: ClassVar[str] = ""
    update_by: ClassVar[str] = ""
    delete_by: ClassVar[str] = ""
    answer: ClassVar[str] = ""
    places: ClassVar[Mapping[str, str]] = {}
    outputs: ClassVar[Mapping[str, str]] = {}
    created: ClassVar[Mapping[str, str]] = {}
    identity: ClassVar[Mapping[str, str]] = {}
    volatile: ClassVar[frozenset[str]] = frozenset()
    secret: ClassVar[frozenset[str]] = frozenset()
    waits: ClassVar[Wait | None] = None
    forgotten_if_unready: ClassVar[bool] = False

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
