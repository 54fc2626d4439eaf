"""Components under Pulumi's mocks: requested resources, their parents and options, but never their behaviour."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor

ACCOUNT = "123456789012"


@dataclass
class Registered:
    """Resource that a program registered.

    Attributes:
        type: Its token.
        parent: The key of its parent in the result of :func:`run`; None directly below the stack.
        ignore_changes: As given, in the spelling of the program.
        dependencies: The keys of the resources that it depends on, sorted.
        hooks: The names of the hooks, by the event that runs them.
        options: Other options: protect and retainOnDelete where given, and options that nothing should set.
        outputs: The outputs that a component registered at its end.
    """

    type: str
    name: str
    parent: str | None
    inputs: dict[str, Any]
    ignore_changes: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    hooks: dict[str, list[str]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """Return the unique key: the name, for a component preceded by its kind."""
        return _key(self.type, self.name)

    @property
    def kind(self) -> str:
        """Return the last part of the token, e.g. `Bucket`."""
        return self.type.rpartition(":")[2]


def _key(kind: str, name: str) -> str:
    return f"{kind.rpartition(':')[2]}:{name}" if kind.startswith("millrace:") else name


def _key_of_urn(urn: str) -> str:
    chain, name = urn.split("::", 3)[2:]
    return _key(chain.rpartition("$")[2], name)


def _parent(urn: str) -> str | None:
    return None if not urn or urn.split("::")[2] == "pulumi:pulumi:Stack" else _key_of_urn(urn)


class _Mocks(pulumi.runtime.Mocks):
    """Mocks that answer like a cloud, with an id, an ARN and the inputs; function calls fail."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        kind = args.typ.rpartition(":")[2]
        named = {"name": f"{args.name}-1a2b3c4", "url": f"https://queue/{args.name}", "keyId": f"id-of-{args.name}"}
        return f"id-of-{args.name}", {**named, **args.inputs, "arn": f"arn:of:{kind}:{args.name}"}

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        raise AssertionError(f"a component called {args.token}")


class _Monitor(MockMonitor):
    """Monitor that records the parts of every request that mocks do not receive."""

    def __init__(self, mocks: pulumi.runtime.Mocks) -> None:
        super().__init__(mocks)
        self.registered: list[Registered] = []

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self.registered.append(_parse_request(request))
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:
        key = _key_of_urn(request.urn)
        for resource in self.registered:
            if resource.key == key:
                assert resource.outputs is None, f"{key} registered its outputs twice"
                resource.outputs = rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _parse_request(request: Any) -> Registered:
    said = {
        "protect": request.protect if request.HasField("protect") else None,
        "retainOnDelete": request.retainOnDelete if request.HasField("retainOnDelete") else None,
        "deleteBeforeReplace": request.deleteBeforeReplace or None,
        # pulumi_aws sets aliases for former types of its own resources.
        "aliases": [each for each in request.aliases if not each.spec.type.startswith("aws:")] or None,
        "replaceOnChanges": list(request.replaceOnChanges) or None,
        "import": request.importId or None,
    }
    hooks = {each.name: list(names) for each, names in request.hooks.ListFields()}
    return Registered(
        type=request.type,
        name=request.name,
        parent=_parent(request.parent),
        inputs=rpc.deserialize_properties(request.object),
        ignore_changes=tuple(request.ignoreChanges),
        dependencies=tuple(sorted({_key_of_urn(urn) for urn in request.dependencies})),
        hooks=hooks,
        options={name: value for name, value in said.items() if value is not None},
    )


def run(program: Callable[[], object]) -> dict[str, Registered]:
    """Return all resources that the program registers, by :attr:`Registered.key`."""
    mocks = _Mocks()
    monitor = _Monitor(mocks)
    pulumi.runtime.set_mocks(mocks, project="millrace", stack="test", preview=False, monitor=monitor)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def body() -> None:
        program()

    body()
    found: dict[str, Registered] = {}
    for resource in monitor.registered:
        assert resource.key not in found, f"two resources are named {resource.key}"
        found[resource.key] = resource
    for resource in found.values():
        if resource.type.startswith("millrace:"):
            assert resource.outputs is not None, f"{resource.key} never called register_outputs"
    return found


def tree(found: dict[str, Registered]) -> set[tuple[str, str, str | None]]:
    """Return name, kind and parent of all resources."""
    return {(resource.name, resource.kind, resource.parent) for resource in found.values()}


def find_by_kind(found: dict[str, Registered], kind: str) -> list[Registered]:
    """Return all resources of a kind."""
    return [resource for resource in found.values() if resource.kind == kind]


def document(found: dict[str, Registered], name: str, field: str) -> Any:
    """Return an input that is a JSON text, parsed."""
    return json.loads(found[name].inputs[field])


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a nested value, including keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)
