"""The one HTTP door of the cloud: from a signed request to the service that answers it.

Every request goes the same way: credential scope → service → operation → validation against botocore's model →
handler (or moto) → response in the service's wire format. Unsigned requests are refused, but for the health check.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import math
import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from botocore.model import OperationModel

from local.cloud import protocol, validation
from local.cloud.context import Call, Cloud, Handler
from local.cloud.errors import AwsError
from local.cloud.moto_mount import SERVICES, MotoMount, MotoService, is_read
from local.cloud.protocol import Request, Response
from local.cloud.server import preserved_names

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

HEALTH = "/_local/health"

#: botocore's names of the services that share the credential scope ``sagemaker``, those by path last.
SAGEMAKER = ("sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime")

_SCOPE = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request")

Tables = Mapping[str, Mapping[str, Handler]]


@dataclass(frozen=True)
class Scope:
    """What a signature is for."""

    region: str
    service: str


class Gateway:
    """The WSGI application.

    Args:
        tables: Handlers by botocore's service name and operation name.
        health: What the health check answers, asked each time.
    """

    def __init__(self, cloud: Cloud, moto: MotoMount, tables: Tables, health: Callable[[], dict[str, Any]]) -> None:
        self._cloud = cloud
        self._moto = moto
        self._tables = tables
        self._health = health

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_id = str(uuid.uuid4())
        response = self._respond(environ, request_id)
        response.headers["x-amzn-RequestId"] = request_id
        body = [response.body] if isinstance(response.body, bytes) else response.body
        head = environ["REQUEST_METHOD"] == "HEAD"
        names = {name.lower() for name in response.headers}
        if "content-length" not in names and isinstance(response.body, bytes):
            response.headers["Content-Length"] = str(len(response.body))
        start_response(f"{response.status} {_phrase(response.status)}", list(response.headers.items()))
        return [b""] if head else body

    def _respond(self, environ: WSGIEnvironment, request_id: str) -> Response:
        if environ["PATH_INFO"] == HEALTH:
            return Response(200, {"Content-Type": "application/json"}, json.dumps(self._health()).encode())
        wire = "json" if environ.get("HTTP_X_AMZ_TARGET") else "rest-json"
        try:
            scope = _scope(environ)
            if scope.service == "sagemaker":
                return self._sagemaker(scope, _request(environ), request_id)
            if scope.service in SERVICES:
                service = SERVICES[scope.service]
                wire = _wire(service, environ)
                return self._other(service, scope, environ, wire)
            raise AwsError(
                "UnknownServiceException",
                f"The service '{scope.service}' is not available in the local cloud; available: "
                f"{', '.join(sorted({*SERVICES, *SAGEMAKER}))}.",
                501,
            )
        except AwsError as error:
            return protocol.serialise_error(wire, error, request_id)
        except Exception:
            log.exception("request %s: %s %s", request_id, environ["REQUEST_METHOD"], environ["PATH_INFO"])
            message = f"A bug in the local cloud: see daemon.log for request {request_id}."
            return protocol.serialise_error(wire, AwsError("InternalFailure", message, 500), request_id)

    # -- SageMaker ---------------------------------------------------------------------------------------------------

    def _sagemaker(self, scope: Scope, request: Request, request_id: str) -> Response:
        service, operation, labels = self._route(request)
        handler = self._tables[service].get(operation.name)
        if handler is None:
            raise _unknown(service, operation.name, self._tables[service])
        params = protocol.parse(operation, request, labels)
        validation.check(operation, params)
        if where := next(_infinite(params, ""), None):
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value at '{where}' failed to satisfy constraint: "
                "Member must be a finite number",
            )
        call = Call(self._cloud, service, operation.name, scope.region, request_id, request.headers)
        return protocol.serialise(operation, handler(call, params))

    def _route(self, request: Request) -> tuple[str, OperationModel, dict[str, str]]:
        if target := request.headers.get("x-amz-target"):
            services: tuple[str, ...] = ("sagemaker",)
            asked = target.rpartition(".")[2]
        else:
            services, asked = SAGEMAKER[1:], f"{request.method} {request.path}"
        for service in services:
            if found := protocol.find_operation(service, request):
                return (service, *found)
        raise _unknown("sagemaker", asked, [name for service in services for name in self._tables[service]])

    # -- moto --------------------------------------------------------------------------------------------------------

    def _other(self, service: MotoService, scope: Scope, environ: WSGIEnvironment, wire: str) -> Response:
        # moto matches the path as it arrived, which WSGI servers decode.
        environ["RAW_URI"] = environ.get("REQUEST_URI", environ["PATH_INFO"])
        if service.model == "s3":
            if environ["PATH_INFO"].startswith("/v20180820/"):
                raise AwsError("UnknownServiceException", "The service 's3control' is not available here.", 501)
            environ["moto.preserved_header_names"] = preserved_names(environ)
            read = environ["REQUEST_METHOD"] in ("GET", "HEAD")
            name = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
            return self._moto.call(service, environ, name, read=read)
        request = _request(environ)
        name, params = _checked(service, wire, request)
        environ.pop("HTTP_CONTENT_ENCODING", None)
        environ["wsgi.input"] = io.BytesIO(request.body)
        environ["CONTENT_LENGTH"] = str(len(request.body))
        response = self._moto.call(service, environ, name, read=is_read(name))
        if service.model == "events" and name == "PutEvents" and response.status == 200:
            self._publish(params, response, scope.region)
        return response

    def _publish(self, params: Mapping[str, Any], response: Response, region: str) -> None:
        """Events that a client put reach the rules of this cloud, which moto would not start anything for."""
        publish = getattr(self._cloud.events, "publish", None)
        if publish is None or not isinstance(response.body, bytes):
            return
        answers = json.loads(response.body)["Entries"]
        asked = zip(params["Entries"], answers, strict=True)
        taken = [{**entry, "EventId": answer["EventId"]} for entry, answer in asked if "EventId" in answer]
        publish(taken, region)


def _infinite(value: Any, where: str) -> Iterator[str]:
    """The places of numbers that are none, which nothing here could count or keep."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _infinite(item, f"{where}.{key[:1].lower()}{key[1:]}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value, 1):
            yield from _infinite(item, f"{where}.{index}.member")


def _scope(environ: WSGIEnvironment) -> Scope:
    """The region and service that the request is signed for.

    Raises:
        AwsError: When it is not signed, or not by Signature Version 4.
    """
    query = environ.get("QUERY_STRING", "")
    signed = environ.get("HTTP_AUTHORIZATION", "")
    if not signed and "X-Amz-Credential" in query:
        signed = f"Credential={parse_qs(query)['X-Amz-Credential'][0]}"
    if match := _SCOPE.search(signed):
        return Scope(match["region"], match["service"])
    if signed:
        raise AwsError(
            "IncompleteSignatureException",
            f"Authorization '{signed[:60]}' has no 'Credential=<key>/<date>/<region>/<service>/aws4_request': "
            "sign with AWS Signature Version 4.",
        )
    raise AwsError(
        "MissingAuthenticationTokenException",
        "The request is not signed: the local cloud reads service and region from the signature. Use an AWS SDK or "
        "the AWS CLI with any credentials.",
        403,
    )


def _request(environ: WSGIEnvironment) -> Request:
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    # SDKs compress large bodies of some operations, such as PutMetricData.
    if headers.get("content-encoding") == "gzip":
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error) as error:
            raise AwsError("SerializationException", f"The request's body is not gzip: {error}") from error
    return Request(
        method=environ["REQUEST_METHOD"],
        path=str(environ.get("REQUEST_URI") or environ["PATH_INFO"]).partition("?")[0],
        query=parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True),
        headers=headers,
        body=body,
    )


def _wire(service: MotoService, environ: WSGIEnvironment) -> str:
    """The protocol a client speaks: some services have two, told apart by the request."""
    if environ.get("HTTP_X_AMZ_TARGET"):
        return "json"
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return "query"
    if "HTTP_SMITHY_PROTOCOL" in environ:
        raise AwsError(
            "UnknownOperationException",
            f"{service.model} speaks JSON and query here, not {environ['HTTP_SMITHY_PROTOCOL']}: "
            "use another protocol in the client's configuration.",
            501,
        )
    return protocol.protocol_of(service.model)


def _checked(service: MotoService, wire: str, request: Request) -> tuple[str, dict[str, Any]]:
    """The operation's name and its parameters, refused where botocore's model would not have them."""
    if wire == "query":
        operation, params = _query(service, request)
    else:
        found = protocol.find_operation(service.model, request)
        if found is None:
            asked = request.headers.get("x-amz-target") or f"{request.method} {request.path}"
            raise _unknown(service.model, asked, protocol.service_model(service.model).operation_names)
        operation, labels = found
        params = protocol.parse(operation, request, labels)
    try:
        validation.check(operation, params)
    except AwsError as error:
        raise AwsError(service.invalid, error.message, error.status) from error
    return operation.name, params


def _query(service: MotoService, request: Request) -> tuple[OperationModel, dict[str, Any]]:
    from moto.core.parse import PROTOCOL_PARSERS
    from moto.core.utils import get_service_model
    from werkzeug.datastructures import MultiDict

    try:
        text = request.body.decode()
    except UnicodeDecodeError as error:
        raise AwsError("MalformedInput", f"{service.model}: the request's body is not UTF-8: {error}") from error
    values = parse_qs(text, keep_blank_values=True) or dict(request.query)
    name = values.get("Action", [""])[0]
    model = get_service_model(service.model)
    if name not in model.operation_names:
        raise _unknown(service.model, name or "a request without Action", model.operation_names)
    operation = model.operation_model(name)
    try:
        # Of the request's parts, its query parser reads the values alone.
        params = PROTOCOL_PARSERS["query"](operation).parse(cast(Any, {"values": MultiDict(values)}))
    except (ValueError, TypeError) as error:
        raise AwsError("MalformedInput", f"{service.model} {name}: {error}") from error
    return operation, params


def _unknown(service: str, asked: str, available: Iterable[str]) -> AwsError:
    known = ", ".join(sorted(available)) or "none"
    message = f"{service}: '{asked}' is not available in the local cloud; available: {known}."
    return AwsError("UnknownOperationException", message, 501)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
