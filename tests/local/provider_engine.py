"""A minimal Pulumi engine for tests: it drives a provider over gRPC as the real one does, and keeps no state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

from engine import relay
from local.provider.values import marshal, unmarshal

Values = dict[str, Any]


class RefusedInputsError(Exception):
    """Inputs that the provider's check refused."""

    def __init__(self, failures: dict[str, str]) -> None:
        super().__init__(failures)
        self.failures = failures


class UnfinishedError(Exception):
    """A resource that the provider made and could not finish."""

    def __init__(self, id: str, state: Values, reasons: list[str]) -> None:
        super().__init__(reasons)
        self.id, self.state, self.reasons = id, state, reasons


@dataclass
class Made:
    """A resource as an engine's state holds it."""

    token: str
    name: str
    id: str
    inputs: Values
    outputs: Values
    secrets: frozenset[str] = frozenset()


@dataclass
class Engine:
    """One connection to a provider, configured.

    Attributes:
        socket: Where the provider listens; the engine reaches it through the plugin that it starts.
        environment: Variables that the user of the engine has set.
    """

    socket: Path
    region: str = "eu-west-1"
    config: Values = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The plugin looks at the file as long as it runs: a cloud without it is gone.
        self._facts = tempfile.NamedTemporaryFile("w", suffix=".json")  # noqa: SIM115
        json.dump({"pid": os.getpid(), "provider_socket": str(self.socket)}, self._facts)
        self._facts.flush()
        command = [sys.executable, "-I", "-S", relay.__file__, self._facts.name]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.plugin = subprocess.Popen(command, stdout=subprocess.PIPE, env={**kept, **self.environment})
        assert self.plugin.stdout is not None
        port = int(self.plugin.stdout.readline())
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub: Any = ResourceProviderStub(self.channel)
        config = {"region": self.region, **self.config}
        checked = self.stub.CheckConfig(provider_pb2.CheckRequest(news=marshal(config)))
        if checked.failures:
            raise RefusedInputsError({failure.property: failure.reason for failure in checked.failures})
        self.stub.Configure(provider_pb2.ConfigureRequest(args=checked.inputs, acceptSecrets=True))

    def close(self) -> None:
        self.channel.close()
        self.plugin.kill()
        self.plugin.wait()
        self._facts.close()

    def check(self, token: str, name: str, news: Any, old: Values | None = None, **more: Any) -> Any:
        """Return the checked inputs in wire format."""
        request = provider_pb2.CheckRequest(
            urn=f"urn:pulumi:test::project::{token}::{name}",
            type=token,
            name=name,
            news=news if not isinstance(news, dict) else marshal(news),
            olds=marshal(old) if old is not None else None,
            **more,
        )
        answer = self.stub.Check(request)
        if answer.failures:
            raise RefusedInputsError({failure.property: failure.reason for failure in answer.failures})
        return answer.inputs

    def create(self, token: str, name: str, news: Any) -> Made:
        wire = self.check(token, name, news)
        try:
            answer = self.stub.Create(provider_pb2.CreateRequest(type=token, name=name, properties=wire))
        except grpc.RpcError as error:
            raise_unfinished(error)
            raise
        outputs, secrets = unmarshal(answer.properties)
        return Made(token, name, answer.id, unmarshal(wire)[0], outputs, secrets)

    def preview(self, token: str, name: str, news: Values) -> Values:
        wire = self.check(token, name, news)
        answer = self.stub.Create(provider_pb2.CreateRequest(type=token, name=name, properties=wire, preview=True))
        return unmarshal(answer.properties)[0]

    def diff(self, made: Made, news: Values) -> Any:
        wire = self.check(made.token, made.name, news, made.inputs)
        return self.stub.Diff(
            provider_pb2.DiffRequest(
                type=made.token,
                id=made.id,
                olds=marshal(made.outputs),
                old_inputs=marshal(made.inputs),
                news=wire,
            )
        )

    def update(self, made: Made, news: Values, preview: bool = False) -> Made:
        wire = self.check(made.token, made.name, news, made.inputs)
        answer = self.stub.Update(
            provider_pb2.UpdateRequest(
                type=made.token,
                id=made.id,
                olds=marshal(made.outputs),
                old_inputs=marshal(made.inputs),
                news=wire,
                preview=preview,
            )
        )
        return Made(made.token, made.name, made.id, unmarshal(wire)[0], unmarshal(answer.properties)[0])

    def refresh(self, made: Made) -> Made | None:
        answer = self.stub.Read(
            provider_pb2.ReadRequest(
                type=made.token, id=made.id, properties=marshal(made.outputs), inputs=marshal(made.inputs)
            )
        )
        if not answer.id:
            return None
        inputs, outputs = unmarshal(answer.inputs)[0], unmarshal(answer.properties)[0]
        return Made(made.token, made.name, answer.id, inputs, outputs)

    def bring_in(self, token: str, name: str, id: str) -> Made | None:
        """Import a resource; return None if it does not exist."""
        answer = self.stub.Read(provider_pb2.ReadRequest(type=token, id=id))
        if not answer.id:
            return None
        return Made(token, name, answer.id, unmarshal(answer.inputs)[0], unmarshal(answer.properties)[0])

    def delete(self, made: Made) -> None:
        request = provider_pb2.DeleteRequest(type=made.token, id=made.id, properties=marshal(made.outputs))
        self.stub.Delete(request)

    def invoke(self, token: str, args: Values) -> Values:
        answer = self.stub.Invoke(provider_pb2.InvokeRequest(tok=token, args=marshal(args)))
        return unmarshal(getattr(answer, "return"))[0]

    def cancel(self) -> None:
        self.stub.Cancel(empty_pb2.Empty())


def raise_unfinished(error: grpc.RpcError) -> None:
    """Raise :class:`UnfinishedError` when the error carries a resource."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            detail = provider_pb2.ErrorResourceInitFailed()
            if status.details and status.details[0].Unpack(detail):
                raise UnfinishedError(detail.id, unmarshal(detail.properties)[0], list(detail.reasons)) from error
