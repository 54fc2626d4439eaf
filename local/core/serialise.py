"""Serialisation of responses of the JSON protocols, and of errors of any protocol."""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
import json
from collections.abc import Mapping
from typing import Any

from botocore.model import OperationModel, ServiceModel

from local.core.errors import AwsError
from local.core.protocol import JSON_PROTOCOLS, NOT_XML, Response


def serialise(operation: OperationModel, output: Mapping[str, Any]) -> Response:
    """Return the response for a handler's output members.

    Args:
        operation: The model of the operation.
        output: The members by name: times as epoch seconds or ``datetime``, blobs as ``bytes``; None is left out.

    Raises:
        ValueError: If the handler returned a member that the operation's output does not have.
    """
    model = operation.service_model
    response = Response(int(operation.http.get("responseCode", 200)), {"Content-Type": find_content_type(model)})
    shape = operation.output_shape
    if shape is None:
        return response
    body: dict[str, Any] = {}
    for name, value in output.items():
        if name not in shape.members:
            raise ValueError(f"{operation.name} has no output member {name!r}; it has {', '.join(shape.members)}")
        if value is None:
            continue
        member = shape.members[name]
        key = member.serialization.get("name", name)
        location = member.serialization.get("location")
        if name == shape.serialization.get("payload"):
            response.body = value if member.type_name == "blob" else json.dumps(_written(member, value, name)).encode()
        elif location == "header":
            response.headers[key] = str(value)
        elif location == "headers":
            response.headers |= {f"{key}{k}": v for k, v in value.items()}
        elif location == "statusCode":
            response.status = int(value)
        else:
            body[key] = _written(member, value, name)
    if "payload" not in shape.serialization:
        response.body = json.dumps(body, separators=(",", ":")).encode()
    return response


def find_content_type(model: ServiceModel) -> str:
    """Return the content type of a service's JSON."""
    if model.resolved_protocol == "json":
        return f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.0')}"
    return "application/json"


def _written(shape: Any, value: Any, where: str) -> Any:
    kind = shape.type_name
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        if unknown := sorted(set(value) - set(shape.members)):
            raise ValueError(f"{where}: {shape.name} has no member {unknown[0]!r}; it has {', '.join(shape.members)}")
        return {
            shape.members[key].serialization.get("name", key): _written(shape.members[key], item, f"{where}.{key}")
            for key, item in value.items()
            if item is not None
        }
    if kind == "list":
        return [_written(shape.member, item, f"{where}[{index}]") for index, item in enumerate(value)]
    if kind == "map":
        return {key: _written(shape.value, item, f"{where}.{key}") for key, item in value.items()}
    if kind == "timestamp":
        return _timestamp(value, shape.serialization.get("timestampFormat", "unixTimestamp"))
    if kind == "blob":
        return base64.b64encode(value).decode()
    return value


def _timestamp(value: float | dt.datetime, form: str) -> float | str:
    if not isinstance(value, dt.datetime):
        value = dt.datetime.fromtimestamp(value, dt.UTC)
    if form == "unixTimestamp":
        return round(value.timestamp(), 3)
    if form == "iso8601":
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return email.utils.format_datetime(value.astimezone(dt.UTC), usegmt=True)


def serialise_error(protocol: str, error: AwsError, request_id: str) -> Response:
    """Return the response for an error in the wire format of any protocol that boto3 supports.

    Args:
        protocol: The protocol's name in botocore, e.g. ``rest-xml``.
        error: The error.
        request_id: The id of the request, which XML bodies show.
    """
    if protocol in JSON_PROTOCOLS:
        body = {"__type": error.code, "message": error.message, **error.fields}
        version = "application/json" if protocol == "rest-json" else "application/x-amz-json-1.1"
        headers = {"Content-Type": version, "x-amzn-ErrorType": error.code}
        return Response(error.status, headers, json.dumps(body).encode())
    from xml.sax.saxutils import escape

    message = NOT_XML.sub("\N{REPLACEMENT CHARACTER}", error.message)
    inner = f"<Code>{escape(error.code)}</Code><Message>{escape(message)}</Message>"
    if protocol == "ec2":
        text = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    elif protocol == "rest-xml":
        text = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
    else:
        fault = "Sender" if error.status < 500 else "Receiver"
        text = (
            f"<ErrorResponse><Error><Type>{fault}</Type>{inner}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
    return Response(error.status, {"Content-Type": "text/xml"}, xml.encode())
