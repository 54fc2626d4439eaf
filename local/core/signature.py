"""Verification of request signatures: AWS Signature Version 4, and Version 2 in presigned S3 URLs.

Version 4 is verified in the header, the query and chunked bodies. A request that is not signed by a key of this cloud
is refused. The canonical forms are those of AWS's documentation, "Create a signed AWS API request" and
"Authenticating requests (AWS Signature Version 4)". Dates are compared with the wall clock, not the cloud's clock.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus, unquote_to_bytes, urlsplit

from local.core import protocol
from local.core.errors import AwsError
from local.core.keys import Key
from local.core.signature_text import (
    SAFE,
    compute_sha256,
    find_query_value,
    format_seconds,
    has_header,
    hash_body,
    is_whole_number,
    list_query_pairs,
    normalise_path,
    read_header,
    sign_text,
)

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"

#: Seconds by which a request's date may differ from this machine's clock, and the longest validity of a presigned URL.
SKEW = 900
_LONGEST = 604_800

#: The region of a request that names none, as with Signature Version 2.
_REGION = "us-east-1"

_CREDENTIAL = re.compile(
    r"(?P<key>[^=/,\s]+)/(?P<date>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request"
)
_PART = re.compile(r"\s*(Credential|SignedHeaders|Signature)\s*=\s*([^,]+?)\s*(?:,|$)")


Find = Callable[[str], Key | None]


@dataclass(frozen=True)
class Scope:
    """The scope of a signature: region, service, the key's id and the date."""

    region: str
    service: str
    access_key_id: str = ""
    date: str = ""

    @property
    def text(self) -> str:
        """The scope as it is signed."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Signed:
    """A request with a valid signature.

    Attributes:
        arn: The ARN of the signer; None if IAM or STS determine it.
        signature, signing_key, time: The inputs for the signatures of a body's chunks.
    """

    scope: Scope
    arn: str | None
    signature: str = ""
    signing_key: bytes = b""
    time: str = ""


class SignatureError(AwsError):
    """A request with a missing or invalid signature; :meth:`to_service_error` gives it the code of a service."""

    _CODES: Mapping[str, tuple[str, str, str]] = {
        # The kind of failure: the codes of S3, of the query services and of all other services.
        "missing": ("AccessDenied", "MissingAuthenticationToken", "MissingAuthenticationTokenException"),
        "malformed": ("AuthorizationHeaderMalformed", "IncompleteSignature", "IncompleteSignatureException"),
        "unknown": ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
        "wrong": ("SignatureDoesNotMatch", "SignatureDoesNotMatch", "InvalidSignatureException"),
        "late": ("RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"),
        "expired": ("AccessDenied", "SignatureDoesNotMatch", "InvalidSignatureException"),
        "scope": ("AuthorizationHeaderMalformed", "SignatureDoesNotMatch", "InvalidSignatureException"),
        "token": ("InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"),
    }

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(self._CODES[kind][2], message, 400 if kind == "malformed" else 403)
        self.kind = kind

    def to_service_error(self, wire: str) -> AwsError:
        """Return the error with the code of the services that use the protocol ``wire``.

        Args:
            wire: The protocol's name in botocore; ``rest-xml`` is S3's.
        """
        codes = self._CODES[self.kind]
        code = codes[0] if wire == "rest-xml" else codes[1] if wire == "query" else codes[2]
        return AwsError(code, self.message, self.status)


def read_scope(environ: WSGIEnvironment) -> Scope:
    """Return the scope that a request claims to be signed for, without verifying it.

    Args:
        environ: The WSGI environment of the request.

    Raises:
        SignatureError: If the request is not signed, or its credential cannot be read.
    """
    query = environ.get("QUERY_STRING", "")
    header = environ.get("HTTP_AUTHORIZATION", "")
    if header:
        match = _CREDENTIAL.search(header)
    elif "X-Amz-Credential" in query:
        match = _CREDENTIAL.fullmatch(find_query_value(query, "X-Amz-Credential"))
        header = "X-Amz-Credential"
    elif "AWSAccessKeyId" in query and "Signature" in query:
        return Scope(_REGION, "s3", find_query_value(query, "AWSAccessKeyId"))
    else:
        raise SignatureError(
            "missing",
            "The request is not signed: Missing Authentication Token. Use an AWS SDK or the AWS CLI with the "
            "credentials of this local cloud, which `millrace local env` prints.",
        )
    if match is None:
        raise SignatureError(
            "malformed",
            f"Authorization '{header[:60]}' has no 'Credential=<key>/<date>/<region>/<service>/aws4_request': "
            "sign with AWS Signature Version 4.",
        )
    return Scope(match["region"], match["service"], match["key"], match["date"])


def find_key(find: Find, scope: Scope) -> Key:
    """Return the key that a request claims to be signed with.

    Args:
        find: Returns the key with an id, or None.
        scope: The scope that the request claims.

    Raises:
        SignatureError: If no key has this id.
    """
    key = find(scope.access_key_id)
    if key is None:
        raise SignatureError(
            "unknown",
            f"The security token included in the request is invalid: this local cloud has no access key "
            f"'{scope.access_key_id[:40]}'. `millrace local env` prints its credentials.",
        )
    return key


def verify_signature(environ: WSGIEnvironment, scope: Scope, find: Find, bucket: str = "") -> Signed:
    """Verify a request's signature.

    Args:
        environ: The WSGI environment of the request.
        scope: The scope that :func:`read_scope` returned.
        find: Returns the key with an id, or None.
        bucket: The bucket in the host name of a virtual-hosted request.

    Returns:
        The verified scope and its signer; for Version 4 also the inputs for the signatures of chunks.

    Raises:
        SignatureError: If the key is unknown, the signature is wrong, or the date is too far from now.
    """
    key = find_key(find, scope)
    query = environ.get("QUERY_STRING", "")
    if environ.get("HTTP_AUTHORIZATION"):
        return _verify_header(environ, scope, key)
    if "X-Amz-Credential" in query:
        return _verify_query(environ, scope, key)
    return _verify_version_2(environ, scope, key, bucket)


# -- Version 4 ---------------------------------------------------------------------------------------------------------


def _verify_header(environ: WSGIEnvironment, scope: Scope, key: Key) -> Signed:
    header = environ["HTTP_AUTHORIZATION"]
    algorithm, _, rest = header.partition(" ")
    parts = dict(_PART.findall(rest))
    if algorithm != ALGORITHM or parts.keys() != {"Credential", "SignedHeaders", "Signature"}:
        raise SignatureError(
            "malformed",
            f"Authorization '{header[:40]}…' is not '{ALGORITHM} Credential=…, SignedHeaders=…, Signature=…'.",
        )
    moment = environ.get("HTTP_X_AMZ_DATE") or _from_http_date(environ.get("HTTP_DATE", ""))
    _check_clock(moment, scope, SKEW, SKEW)
    _check_token(key, environ.get("HTTP_X_AMZ_SECURITY_TOKEN", ""))
    names = parts["SignedHeaders"].split(";")
    _check_headers(environ, names, scope)
    payload = environ.get("HTTP_X_AMZ_CONTENT_SHA256") or hash_body(environ)
    return _compare(environ, scope, key, moment, names, payload, parts["Signature"])


def _verify_query(environ: WSGIEnvironment, scope: Scope, key: Key) -> Signed:
    query = environ["QUERY_STRING"]
    values = {
        name: find_query_value(query, f"X-Amz-{name}") for name in ("Algorithm", "Date", "Expires", "SignedHeaders")
    }
    signature = find_query_value(query, "X-Amz-Signature")
    if values["Algorithm"] != ALGORITHM or not signature or not values["SignedHeaders"]:
        raise SignatureError(
            "malformed", f"Query-string authentication needs X-Amz-Algorithm={ALGORITHM}, SignedHeaders and Signature."
        )
    expires = values["Expires"] or str(SKEW)
    if not is_whole_number(expires) or not 0 < int(expires) <= _LONGEST:
        raise SignatureError("malformed", f"X-Amz-Expires is {expires[:20]!r}; expected 1 to {_LONGEST} seconds.")
    _check_clock(values["Date"], scope, SKEW, int(expires), kind="expired")
    _check_token(key, find_query_value(query, "X-Amz-Security-Token"))
    names = values["SignedHeaders"].split(";")
    _check_headers(environ, names, scope)
    payload = UNSIGNED if scope.service == "s3" else hash_body(environ)
    return _compare(environ, scope, key, values["Date"], names, payload, signature)


def _compare(
    environ: WSGIEnvironment, scope: Scope, key: Key, moment: str, names: list[str], payload: str, signature: str
) -> Signed:
    request = build_canonical_request(environ, scope.service, names, payload)
    signing = derive_signing_key(key.secret, scope)
    text = f"{ALGORITHM}\n{moment}\n{scope.text}\n{compute_sha256(request)}"
    if not hmac.compare_digest(sign_text(signing, text).encode(), signature.encode()):
        raise SignatureError(
            "wrong",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method: `millrace local env` prints the credentials of this local cloud.",
        )
    return Signed(scope, key.arn, signature, signing, moment)


def build_canonical_request(environ: WSGIEnvironment, service: str, names: list[str], payload: str) -> bytes:
    """Return the canonical form of a request, whose hash is signed.

    Args:
        environ: The WSGI environment of the request.
        service: The service in the signature's scope.
        names: The signed headers in lower case, in the order of the signature.
        payload: The hash of the body, or the constant used instead of it.
    """
    target = str(environ.get("REQUEST_URI") or quote(environ["PATH_INFO"], safe="/" + SAFE))
    if "://" in target.split("?", 1)[0]:
        split = urlsplit(target)
        target = split.path or "/"
    path = target.partition("?")[0]
    # S3 signs the path encoded once, every other service the path encoded twice.
    plain, safe = (unquote_to_bytes(path), "/" + SAFE) if service == "s3" else (normalise_path(path), "/~")
    path = quote(plain, safe=safe)
    headers = "".join(f"{name}:{read_header(environ, name)}\n" for name in names)
    query = "&".join(f"{name}={value}" for name, value in sorted(list_query_pairs(environ.get("QUERY_STRING", ""))))
    text = "\n".join([environ["REQUEST_METHOD"], path, query, headers, ";".join(names), payload])
    # WSGI gives a header's bytes as Latin-1; signers sign those bytes.
    return text.encode("latin-1", "replace")


def derive_signing_key(secret: str, scope: Scope) -> bytes:
    """Return the key that signs for one day, region and service."""
    made = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        made = hmac.digest(made, part.encode(), "sha256")
    return made


def sign_chunk(signed: Signed, previous: str, chunk: bytes) -> str:
    """Return the expected signature of one chunk of a chunked body."""
    empty = compute_sha256(b"")
    text = f"{ALGORITHM}-PAYLOAD\n{signed.time}\n{signed.scope.text}\n{previous}\n{empty}\n{compute_sha256(chunk)}"
    return sign_text(signed.signing_key, text)


def sign_trailer(signed: Signed, previous: str, trailer: bytes) -> str:
    """Return the expected signature of a chunked body's trailing headers, each ``name:value`` and a line feed."""
    text = f"{ALGORITHM}-TRAILER\n{signed.time}\n{signed.scope.text}\n{previous}\n{compute_sha256(trailer)}"
    return sign_text(signed.signing_key, text)


def sign_policy(secret: str, scope: Scope, policy: str) -> str:
    """Return the Version 4 signature of a form's policy."""
    return sign_text(derive_signing_key(secret, scope), policy)


def _check_headers(environ: WSGIEnvironment, names: list[str], scope: Scope) -> None:
    """Refuse a signature that does not cover the host or, for S3, an ``x-amz-`` header."""
    if "host" not in names:
        raise SignatureError("wrong", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if names != sorted(names) or any(name != name.lower() for name in names):
        raise SignatureError("malformed", "SignedHeaders must be in lower case and sorted.")
    if scope.service != "s3":
        return
    sent = {key[5:].replace("_", "-").lower() for key in environ if key.startswith("HTTP_X_AMZ_")}
    plain = {name.replace("_", "-") for name in names}
    # A presigned request's body is not signed, and neither is the header that states this.
    if unsigned := sorted(sent - plain - {"x-amz-content-sha256"}):
        raise SignatureError(
            "wrong", f"There were headers present in the request which were not signed: {', '.join(unsigned)}."
        )


def _check_clock(moment: str, scope: Scope, early: float, late: float, kind: str = "late") -> None:
    try:
        sent = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureError("malformed", f"The date '{moment[:40]}' is not 'YYYYMMDDTHHMMSSZ'.") from error
    if moment[:8] != scope.date:
        raise SignatureError(
            "wrong", f"Date in Credential scope, {scope.date}, does not match the request's, {moment[:8]}."
        )
    age = time.time() - sent.timestamp()
    if age > late:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        if kind == "expired":
            raise SignatureError(
                kind, f"Request has expired: signed at {moment} for {late:.0f} seconds, and it is {now}."
            )
        raise SignatureError(
            kind,
            "The difference between the request time and the current time is too large. Signature expired: "
            f"{moment} is now earlier than {now} - 15 min.",
        )
    if age < -early:
        raise SignatureError("late", f"Signature not yet current: {moment} is still later than 15 minutes from now.")


def _check_token(key: Key, token: str) -> None:
    if not hmac.compare_digest((key.token or "").encode(), token.encode()):
        raise SignatureError("token", "The security token included in the request is invalid.")


# -- Version 2, in the query of presigned S3 URLs only -----------------------------------------------------------------


def _verify_version_2(environ: WSGIEnvironment, scope: Scope, key: Key, bucket: str) -> Signed:
    query = environ["QUERY_STRING"]
    expires, signature = find_query_value(query, "Expires"), find_query_value(query, "Signature")
    if not is_whole_number(expires):
        raise SignatureError("malformed", f"Expires is {expires[:20]!r}; expected seconds since 1970.")
    if time.time() > int(expires):
        raise SignatureError("expired", f"Request has expired: it was valid until {format_seconds(int(expires))}.")
    _check_token(key, find_query_value(query, "x-amz-security-token"))
    text = _version_2_text(environ, expires, bucket)
    if not hmac.compare_digest(sign_version_2(key.secret, text).encode(), signature.encode()):
        raise SignatureError(
            "wrong",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
        )
    return Signed(scope, key.arn)


def _version_2_text(environ: WSGIEnvironment, expires: str, bucket: str) -> str:
    """Return the text that a Version 2 signature signs; a presigned URL may hold headers in its query."""
    from botocore.auth import HmacV1Auth

    path, _, query = str(environ.get("REQUEST_URI") or environ["PATH_INFO"]).partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    # A subresource selects another operation, and Version 2 signs only a fixed list of subresources.
    if unsigned := sorted(
        {unquote_plus(name) for name, _, _ in pairs} & _subresources() - set(HmacV1Auth.QSAOfInterest)
    ):
        raise SignatureError("malformed", f"Signature Version 2 does not sign {', '.join(unsigned)}: use Version 4.")
    headers = {name.lower(): unquote_plus(value) for name, _, value in pairs}
    headers |= {
        name: read_header(environ, name) for name in ("content-md5", "content-type") if has_header(environ, name)
    }
    headers |= {
        key[5:].replace("_", "-").lower(): read_header(environ, key[5:])
        for key in environ
        if key.startswith("HTTP_X_AMZ_")
    }
    custom = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-amz-"))
    parts = sorted(
        f"{name}{equals}{unquote_plus(value)}" for name, equals, value in pairs if name in HmacV1Auth.QSAOfInterest
    )
    resource = (f"/{bucket}" if bucket else "") + path + ("?" if parts else "") + "&".join(parts)
    standard = [environ["REQUEST_METHOD"], headers.get("content-md5", ""), headers.get("content-type", ""), expires]
    return "\n".join([*standard, custom + resource])


@cache
def _subresources() -> frozenset[str]:
    """Return the parameters in the query of an S3 request that select the operation."""
    model = protocol.load_service_model("s3")
    queries = (model.operation_model(name).http["requestUri"].partition("?")[2] for name in model.operation_names)
    return frozenset(pair.partition("=")[0] for query in queries for pair in query.split("&")) - {
        "",
        "x-id",
        "list-type",
    }


def sign_version_2(secret: str, text: str) -> str:
    """Return the Version 2 signature of a text, in Base64."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def _from_http_date(text: str) -> str:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (TypeError, ValueError) as error:
        raise SignatureError(
            "malformed", "The request has no date: expected X-Amz-Date, 'YYYYMMDDTHHMMSSZ'."
        ) from error
