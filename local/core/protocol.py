"""Parsing of requests to the services that this cloud implements itself, based on botocore's service models.

It finds a request's operation and reads its parameters as Python values, for the ``json`` and ``rest-json``
protocols. It refuses a body that is not JSON, a value of another type than the model's, and a member that the model
does not have.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import email.utils
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast
from urllib.parse import unquote

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape

from local.core.errors import AwsError

JSON_PROTOCOLS = ("json", "rest-json")

#: The deepest nesting of lists and objects in a body; no operation's input is nearly as deep.
LEVELS = 200

_loading = threading.Lock()


@dataclass(frozen=True)
class Request:
    """One HTTP request with its complete body.

    Attributes:
        path: The path as it was sent, percent-encoded.
        query: The query's values by name, decoded.
        headers: Header values by lower-case name.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Response:
    """One HTTP response; ``body`` may be an iterator of chunks."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Iterator[bytes] = b""


@cache
def _session() -> botocore.session.Session:
    return botocore.session.Session()


@cache
def load_service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service.

    Args:
        service: The service's name in botocore, e.g. ``sagemaker-runtime``.

    Raises:
        UnknownServiceError: If botocore has no such service.
    """
    with _loading:
        return cast(ServiceModel, _session().get_service_model(service))


@cache
def _operation(service: str, name: str) -> OperationModel:
    # Cached, because a model resolves its shapes lazily and every request would resolve them again.
    return cast(OperationModel, load_service_model(service).operation_model(name))


def find_protocol(service: str) -> str:
    """Return the protocol that the clients of the installed botocore use for the service.

    Args:
        service: The service's name in botocore.

    Raises:
        UnknownServiceError: If botocore has no such service.
    """
    return str(load_service_model(service).resolved_protocol)


#: Characters that XML 1.0 does not allow.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: botocore's names of services by their name in signatures, where the two differ.
_SIGNING_NAMES = {"elasticloadbalancing": "elbv2", "email": "ses", "execute-api": "apigateway", "es": "opensearch"}


def find_protocol_by_signing_name(scope: str) -> str | None:
    """Return the protocol of the service with this name in signatures, available here or not; None if unknown.

    Args:
        scope: The service's name in the scope of a signature, e.g. ``elasticloadbalancing``.
    """
    from botocore.exceptions import UnknownServiceError

    try:
        return find_protocol(_SIGNING_NAMES.get(scope, scope))
    except UnknownServiceError:
        return None


# -- operations ------------------------------------------------------------------------------------------------------


@cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], str]]:
    """Return (method, path pattern, operation) of a rest-json service's operations, longest literal path first."""
    routes = []
    model = load_service_model(service)
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = http["requestUri"].partition("?")[0]
        parts = re.split(r"\{([^}]+)\}", path)
        pattern = ""
        for index, part in enumerate(parts):
            if index % 2 == 0:
                pattern += re.escape(part)
            else:
                pattern += f"(?P<{part.rstrip('+')}>{'.+' if part.endswith('+') else '[^/]+'})"
        routes.append((len(re.sub(r"\{[^}]+\}", "", path)), http["method"], re.compile(f"{pattern}/?"), name))
    routes.sort(key=lambda route: -route[0])
    return [route[1:] for route in routes]


def find_operation(service: str, request: Request) -> tuple[OperationModel, dict[str, str]] | None:
    """Return the operation and its path labels, or None if the service's model has none for this request.

    Args:
        service: The service's name in botocore.
        request: The request.

    Returns:
        The operation's model, and the decoded values of the labels in its path by name; the ``json`` protocol has none.
    """
    model = load_service_model(service)
    if find_protocol(service) == "json":
        name = request.headers.get("x-amz-target", "").rpartition(".")[2]
        return (_operation(service, name), {}) if name in model.operation_names else None
    for method, pattern, name in _routes(service):
        if method == request.method and (match := pattern.fullmatch(request.path)):
            return _operation(service, name), {key: unquote(value) for key, value in match.groupdict().items()}
    return None


# -- parse -----------------------------------------------------------------------------------------------------------


def parse_parameters(operation: OperationModel, request: Request, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the request's parameters by member name: times as aware ``datetime``, blobs as ``bytes``.

    Args:
        operation: The model of the operation.
        request: The request, with an uncompressed body.
        labels: The labels in the path, as :func:`find_operation` returns them.

    Raises:
        AwsError: ``SerializationException`` naming the member, its value and the type in the model.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    members = cast(dict[str, Shape], shape.members)
    params: dict[str, Any] = {}
    for name, member in members.items():
        value = _located(member, name, request, labels)
        if value is not None:
            params[name] = value
    payload = shape.serialization.get("payload")
    if payload is None:
        body = _json_body(request.body)
        located = {name for name, member in members.items() if "location" in member.serialization}
        params |= _read_structure(shape, body, "", skip=located)
    elif members[payload].type_name in ("blob", "string"):
        text = members[payload].type_name == "string"
        params[payload] = _text(request.body) if text else request.body
    elif request.body:
        params[payload] = _read(members[payload], _json_body(request.body), payload)
    return params


def _json_body(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        parsed = json.loads(body)
    except ValueError as error:
        raise AwsError("SerializationException", f"The request's body is not JSON: {error}") from error
    except RecursionError as error:
        raise _too_deep() from error
    if body.count(b"{") + body.count(b"[") > LEVELS and is_nested_deeper_than(parsed, LEVELS):
        raise _too_deep()
    if not isinstance(parsed, dict):
        raise AwsError("SerializationException", f"The request's body is {_kind(parsed)}, expected a JSON object")
    return parsed


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise AwsError("SerializationException", f"The request's body is not UTF-8: {error}") from error


def _too_deep() -> AwsError:
    return AwsError("SerializationException", f"The request's body is nested deeper than {LEVELS} levels.")


def is_nested_deeper_than(value: Any, levels: int) -> bool:
    """Return True if a JSON value nests more than ``levels`` lists and objects.

    Args:
        value: The parsed value.
        levels: The most levels that are allowed; a list of scalars has one.
    """
    layer = [value]
    for _ in range(levels + 1):
        layer = [item for item in layer if isinstance(item, dict | list)]
        if not layer:
            return False
        layer = [inner for item in layer for inner in (item.values() if isinstance(item, dict) else item)]
    return True


def _located(shape: Shape, name: str, request: Request, labels: Mapping[str, str]) -> Any:
    """Return a member that is sent in the path, the query or a header; None if it is missing."""
    location = shape.serialization.get("location")
    key = shape.serialization.get("name", name)
    if location == "uri":
        return _from_text(shape, labels[key], name) if key in labels else None
    if location == "header":
        value = request.headers.get(key.lower())
        return None if value is None else _from_text(shape, value, name)
    if location == "headers":
        found = {k[len(key) :]: v for k, v in request.headers.items() if k.startswith(key.lower())}
        return found or None
    if location == "querystring" and key in request.query:
        values = request.query[key]
        if shape.type_name == "list":
            return [_from_text(shape.member, value, name) for value in values]
        return _from_text(shape, values[-1], name)
    return None


def _from_text(shape: Shape, text: str, where: str) -> Any:
    """Parse a scalar from the path, the query or a header."""
    kind = shape.type_name
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise _mismatch(shape, text, where)
        return text.lower() == "true"
    if kind in ("integer", "long", "float", "double"):
        try:
            return float(text) if kind in ("float", "double") else int(text)
        except ValueError:
            raise _mismatch(shape, text, where) from None
    return _read(shape, text, where)


def _read(shape: Shape, value: Any, where: str) -> Any:
    reader = _READERS.get(shape.type_name)
    if reader is None:
        raise AwsError("SerializationException", f"'{where}': no reader for the type {shape.type_name}", 500)
    return reader(shape, value, where)


def _read_structure(shape: Any, value: Any, where: str, skip: set[str] | frozenset[str] = frozenset()) -> Any:
    if getattr(shape, "is_document_type", False):
        return value
    if not isinstance(value, dict):
        raise _mismatch(shape, value, where)
    names = {member.serialization.get("name", name): name for name, member in shape.members.items() if name not in skip}
    if unknown := sorted(set(value) - set(names) - {"__type"}):
        raise AwsError(
            "SerializationException",
            f"Unknown member '{unknown[0]}' {f'in {where!r}' if where else 'at the top level'}:"
            f" {shape.name} has {', '.join(sorted(names))}",
        )
    return {
        names[key]: _read(shape.members[names[key]], item, f"{where}.{key}" if where else key)
        for key, item in value.items()
        if item is not None and key in names
    }


def _read_list(shape: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list):
        raise _mismatch(shape, value, where)
    return [_read(shape.member, item, f"{where}[{index}]") for index, item in enumerate(value)]


def _read_map(shape: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _mismatch(shape, value, where)
    return {key: _read(shape.value, item, f"{where}.{key}") for key, item in value.items() if item is not None}


def _read_number(shape: Shape, value: Any, where: str) -> Any:
    real = shape.type_name in ("float", "double")
    if real and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(shape, value, where)
    try:
        number = float(value) if real else int(value)
    except (ValueError, OverflowError):
        raise _mismatch(shape, value, where) from None
    if not real and (number != value or not -(2**63) <= number < 2**63):
        raise _mismatch(shape, value, where)
    return number


def _read_plain(shape: Shape, value: Any, where: str) -> Any:
    if not isinstance(value, bool if shape.type_name == "boolean" else str):
        raise _mismatch(shape, value, where)
    try:
        # JSON can hold half of a surrogate pair, which is not valid text.
        if isinstance(value, str) and not value.isascii():
            value.encode()
    except UnicodeEncodeError:
        raise _mismatch(shape, value, where) from None
    return value


def _read_timestamp(shape: Shape, value: Any, where: str) -> dt.datetime:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return dt.datetime.fromtimestamp(value, dt.UTC)
        text = str(value)
        if re.match(r"[A-Z][a-z]{2}, ", text):
            return email.utils.parsedate_to_datetime(text)
        parsed = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise _mismatch(shape, value, where) from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)


def _read_blob(shape: Shape, value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise _mismatch(shape, value, where) from None


_READERS: dict[str, Callable[[Any, Any, str], Any]] = {
    "structure": _read_structure,
    "list": _read_list,
    "map": _read_map,
    "string": _read_plain,
    "character": _read_plain,
    "boolean": _read_plain,
    "integer": _read_number,
    "long": _read_number,
    "float": _read_number,
    "double": _read_number,
    "timestamp": _read_timestamp,
    "blob": _read_blob,
}


def _kind(value: Any) -> str:
    names = {bool: "BOOLEAN", int: "NUMBER", float: "NUMBER", str: "STRING", list: "LIST", dict: "OBJECT"}
    return names.get(type(value), "NULL")


def _mismatch(shape: Shape, value: Any, where: str) -> AwsError:
    shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
    return AwsError(
        "SerializationException",
        f"{_kind(value)}_VALUE can not be converted to {shape.type_name} at '{where}': {shown}",
    )
