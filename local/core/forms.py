"""S3's form POST: an upload that a signed policy allows, converted to the equivalent PutObject.

A form is parsed only once, here, so that the values checked against the policy are the values that are stored.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from local.core.errors import AwsError
from local.core.protocol import Response, load_service_model
from local.core.signature import (
    ALGORITHM,
    Scope,
    SignatureError,
    find_key,
    sign_policy,
    sign_version_2,
)
from local.core.signature_text import is_whole_number

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from local.core.signature import Find

#: The most bytes of a form's fields together, without its file, and the most parts of a form.
_FIELDS = 2**20
_PARTS = 1000

_CREDENTIAL = re.compile(r"([^/]+)/(\d{8})/([a-z0-9-]+)/(s3)/aws4_request")

#: Fields that a policy need not mention.
_FREE = {"x-amz-signature", "signature", "awsaccesskeyid", "policy", "file"}
#: Fields about the signature.
_SIGNING = {"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature"}
#: Fields that become headers of the object under the same name.
_HEADERS = ("cache-control", "content-disposition", "content-encoding", "content-type", "expires")


@dataclass(frozen=True)
class Form:
    """An upload whose policy was verified.

    Attributes:
        fields: The form's fields by lower-case name.
    """

    scope: Scope
    bucket: str
    key: str
    fields: Mapping[str, str]
    file: IO[bytes]
    length: int


def is_form(environ: WSGIEnvironment) -> bool:
    """Return True if a request is a POST of a multipart form.

    Args:
        environ: The WSGI environment of the request.
    """
    return environ["REQUEST_METHOD"] == "POST" and str(environ.get("CONTENT_TYPE", "")).startswith(
        "multipart/form-data"
    )


def read_form(environ: WSGIEnvironment, bucket: str, find: Find) -> Form:
    """Parse a form and return its upload.

    Args:
        environ: The WSGI environment of the form's request, whose body is consumed.
        bucket: The bucket to which the form was sent.
        find: Returns the key with an id, or None.

    Returns:
        The upload, whose policy is verified; its file is at the first byte.

    Raises:
        SignatureError: If the form has no policy, or the policy is not signed by a key of this cloud.
        AwsError: If the form or its policy is malformed, or the policy has expired or forbids the upload.
    """
    fields, file, name = _parsed(environ)
    policy = fields.get("policy")
    if not policy:
        raise SignatureError("missing", "The form has no policy: POST without a signed policy is refused.")
    scope = _verified(fields, policy, find)
    if "key" not in fields:
        raise AwsError("InvalidArgument", "Bucket POST must contain a field named 'key'.")
    fields["key"] = fields["key"].replace("${filename}", name)
    # PutObject without a key would create a bucket.
    if not fields["key"]:
        raise AwsError("InvalidArgument", "User key must have a length greater than 0.")
    if not fields["key"].isprintable():
        raise AwsError("NotImplemented", "A key with control characters is not available in the local cloud.", 501)
    file.seek(0, 2)
    length = file.tell()
    file.seek(0)
    _check_policy(policy, fields, bucket, length)
    return Form(scope, bucket, fields["key"], fields, file, length)


def convert_to_put(form: Form, environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return the WSGI environment of the PutObject that is equivalent to a form.

    Args:
        form: The verified upload.
        environ: The WSGI environment of the form's request, which is not changed.

    Raises:
        AwsError: If the form has a field that is not available in the local cloud, or malformed tags.
    """
    path = f"/{form.bucket}/{form.key}"
    kept = {name: value for name, value in environ.items() if not name.startswith("HTTP_") or name == "HTTP_HOST"}
    headers = _headers(form.fields)
    kept["CONTENT_TYPE"] = headers.pop("content-type", "binary/octet-stream")
    kept |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {
        **kept,
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": path.encode().decode("latin-1"),
        "REQUEST_URI": quote(path),
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(form.length),
        "wsgi.input": form.file,
        # moto treats a request without this header as anonymous.
        "HTTP_AUTHORIZATION": f"{ALGORITHM} Credential={form.scope.access_key_id}/{form.scope.text}",
    }


def _headers(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of PutObject for the fields of a form."""
    known = {
        member.serialization["name"].lower()
        for member in load_service_model("s3").operation_model("PutObject").input_shape.members.values()
        if member.serialization.get("location") == "header"
    }
    headers = {}
    for name, value in fields.items():
        if name in _HEADERS or name.startswith("x-amz-meta-") or (name in known and name.startswith("x-amz-")):
            headers[name] = value
        elif name.startswith("x-amz-") and name not in _SIGNING:
            raise AwsError("NotImplemented", f"The form field '{name}' is not available in the local cloud.", 501)
    if acl := fields.get("acl"):
        headers["x-amz-acl"] = acl
    if tagging := fields.get("tagging"):
        headers["x-amz-tagging"] = _tags(tagging)
    return headers


def _tags(text: str) -> str:
    """Return a form's XML of tags as the query string in the header of PutObject."""
    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise AwsError("MalformedXML", f"The tagging field is no XML: {error}.") from error
    tags = [[each.findtext(f"{{*}}{name}") for name in ("Key", "Value")] for each in tree.findall(".//{*}Tag")]
    if any(key is None or value is None for key, value in tags):
        raise AwsError("MalformedXML", "The tagging field has a Tag without Key or Value.")
    return urlencode([(str(key), str(value)) for key, value in tags])


def build_form_response(form: Form, put: Response, endpoint_url: str) -> Response:
    """Return S3's response to a form.

    Args:
        form: The verified upload.
        put: The response to its PutObject; if its status is not 200, it is the response to the form, too.
        endpoint_url: The cloud's URL, with which the object's URL in the response begins.
    """
    if put.status != 200:
        return put
    tag = next((value for name, value in put.headers.items() if name.lower() == "etag"), "")
    location = f"{endpoint_url}/{form.bucket}/{quote(form.key)}"
    headers = {"ETag": tag, "Location": location}
    if redirect := _build_redirect(form, tag):
        return Response(303, {**headers, "Location": redirect}, b"")
    status = form.fields.get("success_action_status")
    if status == "201":
        body = (
            f"<PostResponse><Location>{escape(location)}</Location><Bucket>{escape(form.bucket)}</Bucket>"
            f"<Key>{escape(form.key)}</Key><ETag>{escape(tag)}</ETag></PostResponse>"
        )
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'
        return Response(201, {**headers, "Content-Type": "application/xml"}, xml.encode())
    return Response(200 if status == "200" else 204, headers, b"")


def _build_redirect(form: Form, tag: str) -> str | None:
    """Return the URL that the form redirects to, or None; as in S3, a URL that cannot be used is ignored."""
    redirect = form.fields.get("success_action_redirect", "")
    # Other characters do not fit into a header, and line breaks would begin another one.
    if not (redirect and redirect.isascii() and redirect.isprintable()):
        return None
    try:
        joint = "&" if urlsplit(redirect).query else "?"
    except ValueError:
        return None
    query = urlencode({"bucket": form.bucket, "key": form.key, "etag": tag})
    return f"{redirect}{joint}{query}"


def _parsed(environ: WSGIEnvironment) -> tuple[dict[str, str], IO[bytes], str]:
    from werkzeug.exceptions import RequestEntityTooLarge
    from werkzeug.formparser import parse_form_data

    try:
        _, form, files = parse_form_data(environ, max_form_memory_size=_FIELDS, max_form_parts=_PARTS, silent=False)
    except RequestEntityTooLarge as error:
        raise AwsError(
            "MaxPostPreDataLengthExceeded", f"The fields of a form have at most {_FIELDS:,} bytes."
        ) from error
    except ValueError as error:
        raise AwsError("MalformedPOSTRequest", f"The body is not well-formed multipart/form-data: {error}") from error
    fields: dict[str, str] = {}
    if any(name is None for name in (*form.keys(), *files.keys())):
        raise AwsError("MalformedPOSTRequest", "A part of the form has no name.")
    for name, values in form.lists():
        if len(values) > 1 or name.lower() in fields:
            raise AwsError("InvalidArgument", f"The form has the field '{name}' more than once.")
        fields[name.lower()] = values[0]
    if len(files.getlist("file")) != 1 or len(list(files.values())) != 1:
        raise AwsError("IncorrectNumberOfFilesInPostRequest", "POST requires exactly one file upload per request.")
    file = files["file"]
    return fields, file.stream, (file.filename or "").rpartition("/")[2]


def _verified(fields: Mapping[str, str], policy: str, find: Find) -> Scope:
    if "x-amz-signature" in fields:
        match = _CREDENTIAL.fullmatch(fields.get("x-amz-credential", ""))
        if match is None or fields.get("x-amz-algorithm") != ALGORITHM:
            raise SignatureError("malformed", f"The form needs x-amz-algorithm={ALGORITHM} and x-amz-credential.")
        scope = Scope(match[3], "s3", match[1], match[2])
        given = fields["x-amz-signature"]
    else:
        scope = Scope("us-east-1", "s3", fields.get("awsaccesskeyid", ""))
        given = fields.get("signature", "")
    key = find_key(find, scope)
    if not hmac.compare_digest((key.token or "").encode(), fields.get("x-amz-security-token", "").encode()):
        raise SignatureError("token", "The provided token is malformed or otherwise invalid.")
    signed = sign_policy(key.secret, scope, policy) if scope.date else sign_version_2(key.secret, policy)
    if not hmac.compare_digest(signed.encode(), given.encode()):
        raise SignatureError("wrong", "The signature of the form's policy does not match what was calculated.")
    return scope


def _check_policy(policy: str, fields: Mapping[str, str], bucket: str, length: int) -> None:
    """Refuse an upload that its policy does not allow."""
    try:
        document = json.loads(base64.b64decode(policy, validate=True))
        expires = datetime.fromisoformat(document["expiration"])
        conditions = list(document["conditions"])
    except (binascii.Error, ValueError, TypeError, KeyError, RecursionError) as error:
        raise AwsError("InvalidPolicyDocument", f"The content of the form does not meet the policy: {error}") from error
    if expires.tzinfo is None or expires < datetime.now(UTC):
        raise AwsError("AccessDenied", "Invalid according to Policy: Policy expired.", 403)
    covered: set[str] = set()
    values = {**fields, "bucket": bucket}
    for condition in conditions:
        covered.add(_check_condition(condition, values, length))
    extra = sorted(name for name in set(fields) - covered - _FREE if not name.startswith("x-ignore-"))
    if extra:
        raise AwsError("AccessDenied", f"Invalid according to Policy: Extra input fields: {', '.join(extra)}", 403)


def _check_condition(condition: Any, values: Mapping[str, str], length: int) -> str:
    """Check one condition of a policy and return the field that it covers."""
    if isinstance(condition, dict) and len(condition) == 1:
        ((name, wanted),) = condition.items()
        kind, name = "eq", str(name).lower()
    elif isinstance(condition, list) and len(condition) == 3 and condition[0] == "content-length-range":
        low, high = condition[1], condition[2]
        if not (is_whole_number(str(low)) and is_whole_number(str(high))):
            raise AwsError("InvalidPolicyDocument", "Invalid Policy: content-length-range takes two whole numbers.")
        if length < int(low):
            raise AwsError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size.")
        if length > int(high):
            raise AwsError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
        return "file"
    elif isinstance(condition, list) and len(condition) == 3 and condition[0] in ("eq", "starts-with"):
        kind, wanted = condition[0], condition[2]
        name = str(condition[1]).removeprefix("$").lower()
    else:
        raise AwsError("InvalidPolicyDocument", f"Invalid Policy: Invalid condition {json.dumps(condition)[:200]}.")
    value = values.get(name)
    holds = value is not None and (value == wanted if kind == "eq" else value.startswith(str(wanted)))
    if not holds:
        shown = json.dumps([kind, f"${name}", wanted])
        raise AwsError("AccessDenied", f"Invalid according to Policy: Policy Condition failed: {shown}", 403)
    return name
