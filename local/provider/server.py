"""The provider's gRPC server, which passes the engine's requests to the resource types.

One server handles every provider of every run of the engine. Each connection is a separate provider, so
configuration belongs to the connection that sent it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, status_pb2
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderServicer, add_ResourceProviderServicer_to_server

from local.provider import checks, config, functions, lifecycle
from local.provider.api import Api, Context
from local.provider.errors import Failure, ProviderError
from local.provider.resources import Resource
from local.provider.socket_path import make_socket_path, remove_socket
from local.provider.types import find_resource_type
from local.provider.values import is_known, marshal, unmarshal

log = logging.getLogger(__name__)

#: The version that the provider reports: that of ``pulumi_aws``, whose types it has.
VERSION = "7.51.1"
_THREADS = 64
_SESSIONS = 64
_MESSAGE_SIZE = 400 * 1024 * 1024

_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True)
class Running:
    """A running server."""

    socket: Path
    server: Any

    def stop(self) -> None:
        """Stop the server; requests in progress have a second to finish."""
        self.server.stop(grace=1.0).wait()
        remove_socket(self.socket)


def start(endpoint_url: str, credentials: Mapping[str, str], state: Path, *, directory: Path | None = None) -> Running:
    """Serve the provider on a socket that only this user can open.

    Args:
        endpoint_url: The URL of the API, e.g. ``http://127.0.0.1:4566``.
        credentials: The access key that signs requests, as boto3's arguments.
        state: The folder for the socket.
        directory: The base folder for relative paths of assets; the working directory by default.

    Returns:
        The server, which the caller must stop.
    """
    return serve(Provider(Api(endpoint_url, credentials), directory or Path.cwd()), state)


def serve(provider: Provider, state: Path) -> Running:
    """Start a server for one provider.

    Args:
        provider: The provider that answers the engine's requests.
        state: The folder for the socket; a private folder replaces it if the socket's path would be too long.

    Returns:
        The server, which the caller must stop.
    """
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="provider"),
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_SIZE),
            ("grpc.max_send_message_length", _MESSAGE_SIZE),
            ("grpc.so_reuseport", 0),
        ],
    )
    add_ResourceProviderServicer_to_server(provider, server)
    socket = make_socket_path(state)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    return Running(socket, server)


def report_errors(method: Method) -> Method:
    """Wrap a method so that a failure is reported as the resource type and the reason, without a stack trace.

    Args:
        method: A method of :class:`Provider` that answers one kind of request.

    Returns:
        The wrapped method, which aborts the request where the method raises.
    """

    @wraps(method)
    def answer(self: Provider, request: Any, context: Any) -> Any:
        token = getattr(request, "type", "") or getattr(request, "tok", "")
        try:
            return method(self, request, context)
        except lifecycle.UnfinishedError as error:
            _abort_unfinished(context, f"{token}: {error}", error)
        except ProviderError as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{token}: {error}" if token else str(error))
        except Exception as error:
            log.exception("%s of %s failed", method.__name__, token or "the provider")
            context.abort(grpc.StatusCode.INTERNAL, f"{token}: {type(error).__name__}: {error} (a bug: see the log)")

    return answer  # type: ignore[return-value]


def _abort_unfinished(context: Any, message: str, error: lifecycle.UnfinishedError) -> None:
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.id, properties=marshal(error.state), inputs=marshal(error.inputs), reasons=[message]
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, message)


def _failures(found: Iterable[Failure]) -> list[Any]:
    return [provider_pb2.CheckFailure(property=each.property, reason=each.reason) for each in found]


def find_type(request: Any) -> Resource:
    """Return the resource type of a request.

    Args:
        request: A request about one resource; its type is read from its URN if it has none of its own.

    Raises:
        UnknownTypeError: If the provider does not have this type.
    """
    token = request.type or request.urn.split("::")[2].rsplit("$", 1)[-1]
    return find_resource_type(token)


class Provider(ResourceProviderServicer):
    """The gRPC service that the engine calls; its only state is the configuration of each connection."""

    def __init__(self, api: Api, directory: Path) -> None:
        self._api = api
        self._directory = directory
        self._sessions: dict[str, config.Session] = {}

    # ---- the plugin

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Return the version of the provider."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Acknowledge that the engine attaches to this server."""
        return empty_pb2.Empty()

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Return the features that the provider supports."""
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True,
            accept_resources=False,
            accept_outputs=False,
            supports_autonaming_configuration=True,
        )

    def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Return a schema with only a name and a version."""
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "aws", "version": "{VERSION}"}}')

    def GetMapping(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Return no mapping for converters."""
        return provider_pb2.GetMappingResponse()

    def GetMappings(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Return no mappings for converters."""
        return provider_pb2.GetMappingsResponse()

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Cancel the waits of this connection's requests."""
        session = self._sessions.get(context.peer())
        if session is not None:
            session.cancelled.set()
        return empty_pb2.Empty()

    # ---- configuration

    @report_errors
    def CheckConfig(self, request: Any, context: Any) -> Any:
        """Check the configuration; the default region is that of the engine's environment."""
        news, secrets = unmarshal(request.news)
        around = config.parse_region(context.peer())
        failures = _failures(config.check_config(news, around))
        news = {**news, "region": around} if news.get("region") is None else news
        return provider_pb2.CheckResponse(inputs=marshal(news, secrets), failures=failures)

    @report_errors
    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Return the changed settings; another region requires a replacement."""
        olds, _ = unmarshal(request.old_inputs if request.HasField("old_inputs") else request.olds)
        news, _ = unmarshal(request.news)
        changed = sorted(name for name in {*olds, *news} - {"version"} if olds.get(name) != news.get(name))
        moved = [name for name in changed if name == "region" and is_known(olds.get(name)) and is_known(news.get(name))]
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=moved,
        )

    @report_errors
    def Configure(self, request: Any, context: Any) -> Any:
        """Verify the account and keep the configuration for this connection."""
        args, _ = unmarshal(request.args)
        values = {name.removeprefix("aws:config:"): value for name, value in request.variables.items()} | args
        session = config.create_session(values)
        self._verify_account(session)
        self._sessions[context.peer()] = session
        # Sessions remain after a run of the engine; a few are kept for connections that are reopened.
        while len(self._sessions) > _SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def _verify_account(self, session: config.Session) -> None:
        if session.accounts or session.refused_accounts:
            account = self._api.call("sts", session.region, "GetCallerIdentity", {})["Account"]
            if account in session.refused_accounts or (session.accounts and account not in session.accounts):
                raise ProviderError(
                    f"account {account}", "is not one that this program may change (aws:allowedAccountIds)"
                )

    def _context(self, rpc: Any, inputs: Mapping[str, Any], timeout: float = 0.0) -> Context:
        session = self._session(rpc.peer())
        region = inputs.get("region")
        return Context(
            api=self._api,
            region=region if isinstance(region, str) else session.region,
            directory=self._directory,
            default_tags=session.default_tags,
            cancelled=session.cancelled,
            timeout=timeout,
        )

    def _session(self, peer: str) -> config.Session:
        known_here = self._sessions.get(peer)
        if known_here is not None:
            return known_here
        # A connection that was idle for long is reopened, and its configuration is not sent again.
        sessions = [session for session in list(self._sessions.values()) if not session.cancelled.is_set()]
        if sessions and all(session.settings == sessions[0].settings for session in sessions):
            return sessions[-1]
        raise ProviderError("this connection of the engine", "is not configured", fix="run the command again")

    # ---- resources

    @report_errors
    def Check(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Return a resource's inputs with names and defaults filled in, and the failures."""
        resource = find_type(request)
        olds, _ = unmarshal(request.olds)
        news, secrets = unmarshal(request.news)
        modes = provider_pb2.CheckRequest.AutonamingOptions
        mode = {modes.ENFORCE: "enforce", modes.DISABLE: "disable"}.get(request.autonaming.mode, "propose")
        naming = checks.Naming(
            resource=request.name or request.urn.rsplit("::", 1)[-1],
            seed=request.randomSeed,
            proposed=request.autonaming.proposed_name,
            mode=mode,  # type: ignore[arg-type]
        )
        inputs, failures = checks.check_inputs(resource, olds, news, naming)
        return provider_pb2.CheckResponse(inputs=marshal(inputs, secrets), failures=_failures(failures))

    @report_errors
    def Diff(self, request: Any, context: Any) -> Any:
        """Return the changes that new inputs make to a resource."""
        resource = find_type(request)
        state, _ = unmarshal(request.olds)
        old = unmarshal(request.old_inputs)[0] if request.HasField("old_inputs") else state
        new, _ = unmarshal(request.news)
        found = lifecycle.compute_difference(resource, self._context(context, new), state, old, new)
        response = provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if found.changes else provider_pb2.DiffResponse.DIFF_NONE,
            deleteBeforeReplace=found.delete_before_replace,
            hasDetailedDiff=True,
            diffs=sorted({change.property for change in found.changes}),
            replaces=sorted({change.property for change in found.changes if change.replaces}),
        )
        for change in found.changes:
            detail = response.detailedDiff[change.path]
            detail.kind = _KINDS[change.kind, change.replaces]
            detail.inputDiff = change.property != "tagsAll"
        return response

    @report_errors
    def Create(self, request: Any, context: Any) -> Any:
        """Create a resource, or return its planned outputs in a preview."""
        resource = find_type(request)
        inputs, secrets = unmarshal(request.properties)
        work = self._context(context, inputs, request.timeout)
        secret = secrets | resource.secret
        if request.preview:
            return provider_pb2.CreateResponse(
                properties=marshal(lifecycle.plan_outputs(resource, work, inputs), secret)
            )
        id, state = lifecycle.create(resource, work, inputs)
        return provider_pb2.CreateResponse(id=id, properties=marshal({**state, "id": id}, secret))

    @report_errors
    def Read(self, request: Any, context: Any) -> Any:
        """Return a resource's current state and inputs, or an empty response if it does not exist."""
        resource = find_type(request)
        state, secrets = unmarshal(request.properties)
        inputs, secret_inputs = unmarshal(request.inputs)
        work = self._context(context, {**state, **inputs}, request.timeout)
        found = lifecycle.read(resource, work, request.id, state, inputs)
        if found is None:
            return provider_pb2.ReadResponse()
        current, refreshed = found
        secret = secrets | secret_inputs | resource.secret
        return provider_pb2.ReadResponse(
            id=request.id, properties=marshal(current, secret), inputs=marshal(refreshed, secret & refreshed.keys())
        )

    @report_errors
    def Update(self, request: Any, context: Any) -> Any:
        """Update a resource, or return its planned outputs in a preview."""
        resource = find_type(request)
        state, old_secrets = unmarshal(request.olds)
        old = unmarshal(request.old_inputs)[0] if request.HasField("old_inputs") else state
        new, secrets = unmarshal(request.news)
        work = self._context(context, new, request.timeout)
        secret = secrets | resource.secret | (old_secrets - new.keys())
        if request.preview:
            outputs = lifecycle.plan_outputs(resource, work, new, state)
        else:
            outputs = lifecycle.update(resource, work, request.id, state, old, new)
        return provider_pb2.UpdateResponse(properties=marshal({**outputs, "id": request.id}, secret))

    @report_errors
    def Delete(self, request: Any, context: Any) -> Any:
        """Delete a resource."""
        state, _ = unmarshal(request.properties)
        work = self._context(context, state, request.timeout)
        lifecycle.delete(find_type(request), work, request.id, state)
        return empty_pb2.Empty()

    @report_errors
    def Invoke(self, request: Any, context: Any) -> Any:
        """Call a function of the provider."""
        args, secrets = unmarshal(request.args)
        if wrong := checks.check_region(args):
            return provider_pb2.InvokeResponse(failures=_failures(wrong))
        result = functions.call(request.tok, self._context(context, args), args)
        struct = marshal(result, result.keys() if secrets else ())
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(struct)
        return response

    def Construct(self, request: Any, context: Any) -> Any:
        """Refuse: this provider has no components."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{request.type}: this provider has no components")

    def Call(self, request: Any, context: Any) -> Any:
        """Refuse: this provider has no methods."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{request.tok}: this provider has no methods")
