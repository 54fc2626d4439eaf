"""The cloud's only HTTP entry point, which passes a signed request to the service that answers it.

Every request takes the same path: host and origin → signature → service → operation → validation against botocore's
model → handler (or moto) → response in the service's wire format. An unsigned request is refused, except the health
check, which only proves that the cloud has the same credentials as the caller.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from botocore.model import OperationModel

from local.client import compute_health_proof
from local.core import forms, payload, protocol, validation
from local.core.context import Call, Cloud, Handler
from local.core.errors import AwsError
from local.core.identity import PARTITION
from local.core.origin import check_origin
from local.core.protocol import Request, Response
from local.core.serialise import serialise, serialise_error
from local.core.server import pop_preserved_names
from local.core.signature import Scope, SignatureError, Signed, read_scope, verify_signature
from local.regions import known_regions
from local.services.logs.metric_filters import MetricFilters
from local.services.moto.mount import SERVICES, MotoMount, MotoService
from local.services.moto.refusals import S3_ABSENT
from local.services.moto.requests import ACCOUNT_HEADER, REGION, find_operation_of_s3

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

HEALTH = "/_local/health"

#: The cloud's own services: botocore's names of those of a credential scope; those identified by path come last.
OWN: Mapping[str, tuple[str, ...]] = {
    "sagemaker": ("sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime"),
    "codebuild": ("codebuild",),
}
#: Their error code for an invalid parameter.
_INVALID = {
    "sagemaker": "ValidationException",
    "sagemaker-runtime": "ValidationError",
    "sagemaker-featurestore-runtime": "ValidationError",
    "codebuild": "InvalidInputException",
}

#: The paths of the SageMaker services that are identified by path.
_SAGEMAKER_PATHS = ("/endpoints/", "/FeatureGroup/", "/BatchGetRecord", "/BatchWriteRecord")

Tables = Mapping[str, Mapping[str, Handler]]


class Gateway:
    """The WSGI application.

    Args:
        tables: Handlers by botocore's service name and operation name.
    """

    def __init__(self, cloud: Cloud, moto: MotoMount, tables: Tables) -> None:
        self._cloud = cloud
        self._moto = moto
        self._tables = tables

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one WSGI request."""
        request_id = str(uuid.uuid4())
        response = self._respond(environ, request_id)
        # A bucket's rules may add CORS headers, but requests of web pages are always refused here.
        response.headers = {
            name: value for name, value in response.headers.items() if not name.lower().startswith("access-control-")
        }
        response.headers["x-amzn-RequestId"] = request_id
        body = [response.body] if isinstance(response.body, bytes) else response.body
        head = environ["REQUEST_METHOD"] == "HEAD"
        names = {name.lower() for name in response.headers}
        if "content-length" not in names and isinstance(response.body, bytes):
            response.headers["Content-Length"] = str(len(response.body))
        start_response(f"{response.status} {_phrase(response.status)}", list(response.headers.items()))
        return [b""] if head else body

    def _respond(self, environ: WSGIEnvironment, request_id: str) -> Response:
        wire = _first_guess(environ)
        try:
            bucket = self._admitted(environ)
            if environ["PATH_INFO"] == HEALTH:
                return self._prove(environ)
            if forms.is_form(environ) and not environ.get("HTTP_AUTHORIZATION"):
                wire = "rest-xml"
                return self._form(environ, bucket)
            scope = read_scope(environ)
            wire = _wire_of(scope, environ)
            signed = verify_signature(environ, scope, self._cloud.keys.find, bucket)
            _check_region(scope)
            if bucket and scope.service != "s3":
                raise AwsError("AccessDenied", f"Host '{environ['HTTP_HOST']}' is S3's, not {scope.service}'s.", 403)
            return self._serve(environ, signed, bucket, request_id)
        except SignatureError as error:
            return serialise_error(wire, error.to_service_error(wire), request_id)
        except AwsError as error:
            return serialise_error(wire, error, request_id)
        except RecursionError:
            deep = AwsError("SerializationException", "The request is nested too deeply to be read.")
            return serialise_error(wire, deep, request_id)
        except Exception:
            log.exception("request %s: %s %s", request_id, environ["REQUEST_METHOD"], environ["PATH_INFO"])
            message = f"A bug in the local cloud: see daemon.log for request {request_id}."
            return serialise_error(wire, AwsError("InternalFailure", message, 500), request_id)

    def _admitted(self, environ: WSGIEnvironment) -> str:
        """Return the bucket in the host name; log and refuse a request that a web page may have caused."""
        try:
            return check_origin(environ)
        except AwsError as error:
            # Logged so that an attempt by a web page can be found.
            log.warning("refused %s %s: %s", environ["REQUEST_METHOD"], environ["PATH_INFO"], error.message)
            raise

    def _prove(self, environ: WSGIEnvironment) -> Response:
        """Answer the health check with a proof, by which a holder of the credentials can identify this process."""
        nonce = parse_qs(environ.get("QUERY_STRING", "")).get("nonce", [""])[0]
        proof = compute_health_proof(self._cloud.keys.user.secret_access_key, nonce, os.getpid()) if nonce else None
        return Response(200, {"Content-Type": "application/json"}, json.dumps({"proof": proof}).encode())

    def _serve(self, environ: WSGIEnvironment, signed: Signed, bucket: str, request_id: str) -> Response:
        scope = signed.scope
        if scope.service == "s3":
            payload.check_object_body(environ, signed)
            if bucket:
                _address_by_path(environ, bucket)
        else:
            payload.check_hash(environ)
        if scope.service in OWN:
            return self._own(scope, _request(environ), request_id)
        if scope.service in SERVICES:
            return self._other(SERVICES[scope.service], scope, environ, _wire(SERVICES[scope.service], environ))
        raise AwsError(
            "UnknownServiceException",
            f"The service '{scope.service}' is not available in the local cloud; available: "
            f"{', '.join(sorted({*SERVICES, *(name for names in OWN.values() for name in names)}))}.",
            501,
        )

    def _form(self, environ: WSGIEnvironment, bucket: str) -> Response:
        """Answer an upload by S3's form POST by performing the equivalent PutObject."""
        bucket = bucket or environ["PATH_INFO"].strip("/")
        form = forms.read_form(environ, bucket, self._cloud.keys.find)
        meant = forms.convert_to_put(form, environ)
        payload.check_digests(meant)
        put = self._other(SERVICES["s3"], form.scope, meant, "rest-xml")
        return forms.build_form_response(form, put, self._cloud.endpoint_url)

    # -- our own -----------------------------------------------------------------------------------------------------

    def _own(self, scope: Scope, request: Request, request_id: str) -> Response:
        service, operation, labels = self._route(OWN[scope.service], request)
        handler = self._tables[service].get(operation.name)
        if handler is None:
            raise _unknown(service, operation.name, self._tables[service])
        try:
            params = protocol.parse_parameters(operation, request, labels)
            validation.validate_parameters(operation, params)
        except AwsError as error:
            if error.code != "ValidationException":
                raise
            raise AwsError(_INVALID[service], error.message, error.status) from error
        if where := next(_infinite(params, ""), None):
            raise AwsError(
                _INVALID[service],
                f"1 validation error detected: Value at '{where}' failed to satisfy constraint: "
                "Member must be a finite number",
            )
        call = Call(self._cloud, service, operation.name, scope.region, request_id, request.headers)
        return serialise(operation, handler(call, params))

    def _route(self, services: tuple[str, ...], request: Request) -> tuple[str, OperationModel, dict[str, str]]:
        if target := request.headers.get("x-amz-target"):
            among, asked = services[:1], target.rpartition(".")[2]
        else:
            among, asked = services[1:], f"{request.method} {request.path}"
        for service in among:
            if found := protocol.find_operation(service, request):
                return (service, *found)
        raise _unknown(services[0], asked, [name for service in among for name in self._tables[service]])

    # -- moto --------------------------------------------------------------------------------------------------------

    def _other(self, service: MotoService, scope: Scope, environ: WSGIEnvironment, wire: str) -> Response:
        # moto matches the path as it was sent; WSGI servers decode it in PATH_INFO.
        environ["RAW_URI"] = environ.get("REQUEST_URI", environ["PATH_INFO"])
        environ[REGION] = scope.region
        environ.pop(ACCOUNT_HEADER, None)
        if service.model == "s3":
            if environ["PATH_INFO"].startswith("/v20180820/"):
                raise AwsError("UnknownServiceException", "The service 's3control' is not available here.", 501)
            environ["moto.preserved_header_names"] = pop_preserved_names(environ)
            name = find_operation_of_s3(environ)
            if name in S3_ABSENT:
                raise AwsError("NotImplemented", f"s3: {name} is not available in the local cloud.", 501)
            return self._moto.call(service, environ, name, {})
        request = _request(environ)
        name, params = _checked(service, wire, request)
        environ.pop("HTTP_CONTENT_ENCODING", None)
        environ["wsgi.input"] = io.BytesIO(request.body)
        environ["CONTENT_LENGTH"] = str(len(request.body))
        response = self._moto.call(service, environ, name, params)
        if service.model == "events" and name == "PutEvents" and response.status == 200:
            self._publish(params, response, scope.region)
        if service.model == "logs" and name == "PutLogEvents" and response.status == 200:
            self._cloud.get_part(MetricFilters).count_events(scope.region, params["logGroupName"], params["logEvents"])
        return response

    def _publish(self, params: Mapping[str, Any], response: Response, region: str) -> None:
        """Publish the accepted entries of ``PutEvents`` to this cloud's rules; moto itself starts no targets."""
        if not isinstance(response.body, bytes):
            return
        answers = json.loads(response.body)["Entries"]
        asked = zip(params["Entries"], answers, strict=True)
        taken = [{**entry, "EventId": answer["EventId"]} for entry, answer in asked if "EventId" in answer]
        self._cloud.events.publish(taken, region)


def _infinite(value: Any, where: str) -> Iterator[str]:
    """Yield the paths of numbers that are infinite or not a number, which cannot be counted or stored."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _infinite(item, f"{where}.{key[:1].lower()}{key[1:]}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value, 1):
            yield from _infinite(item, f"{where}.{index}.member")


def _request(environ: WSGIEnvironment) -> Request:
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    # SDKs compress large bodies of some operations, such as PutMetricData.
    if headers.get("content-encoding") == "gzip":
        body = payload.unpack_gzip(body)
    return Request(
        method=environ["REQUEST_METHOD"],
        path=str(environ.get("REQUEST_URI") or environ["PATH_INFO"]).partition("?")[0],
        query=parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True),
        headers=headers,
        body=body,
    )


def _check_region(scope: Scope) -> None:
    if scope.region not in known_regions():
        message = (
            f"Credential should be scoped to a valid region: '{scope.region}' is not one of partition {PARTITION}."
        )
        raise SignatureError("scope", message)


def _address_by_path(environ: WSGIEnvironment, bucket: str) -> None:
    """Move the bucket of a virtual-hosted request from its host to its path, where moto reads it."""
    environ["REQUEST_URI"] = f"/{bucket}{environ.get('REQUEST_URI') or environ['PATH_INFO']}"
    environ["PATH_INFO"] = f"/{bucket}{environ['PATH_INFO']}"


def _first_guess(environ: WSGIEnvironment) -> str:
    """Return the likely wire format of a request that does not name its service."""
    if environ.get("HTTP_X_AMZ_TARGET"):
        return "json"
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return "query"
    return "rest-json" if environ["PATH_INFO"].startswith(_SAGEMAKER_PATHS) else "rest-xml"


def _wire_of(scope: Scope, environ: WSGIEnvironment) -> str:
    """Return the wire format of the service that a request names, whether it is available here or not."""
    if scope.service in OWN:
        return "json" if environ.get("HTTP_X_AMZ_TARGET") else "rest-json"
    if scope.service in SERVICES:
        return _wire(SERVICES[scope.service], environ)
    return protocol.find_protocol_by_signing_name(scope.service) or _first_guess(environ)


def _wire(service: MotoService, environ: WSGIEnvironment) -> str:
    """Return the protocol that the client uses; some services have two, identified by the request."""
    if service.model == "s3":
        return "rest-xml"
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
    return protocol.find_protocol(service.model)


def _checked(service: MotoService, wire: str, request: Request) -> tuple[str, dict[str, Any]]:
    """Return the operation's name and its parameters, validated against botocore's model.

    Raises:
        AwsError: If they are invalid, or hold a character that an XML response cannot represent.
    """
    if wire == "query":
        operation, params = _query(service, request)
    else:
        found = protocol.find_operation(service.model, request)
        if found is None:
            asked = request.headers.get("x-amz-target") or f"{request.method} {request.path}"
            raise _unknown(service.model, asked, protocol.load_service_model(service.model).operation_names)
        operation, labels = found
        params = protocol.parse_parameters(operation, request, labels)
    try:
        validation.validate_parameters(operation, params)
    except AwsError as error:
        raise AwsError(service.invalid, error.message, error.status) from error
    if wire == "query" and (text := next(_unprintable(params), None)):
        raise AwsError(service.invalid, f"{operation.name}: the value {text[:100]!r} has a character that XML has not.")
    return operation.name, params


def _unprintable(value: Any) -> Iterator[str]:
    """Yield the strings with a character that XML 1.0, the format of query responses, does not allow."""
    if isinstance(value, str):
        if protocol.NOT_XML.search(value):
            yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unprintable(key)
            yield from _unprintable(item)
    elif isinstance(value, list):
        for item in value:
            yield from _unprintable(item)


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
        # moto's query parser reads only the request's values.
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
