"""Signatures of requests: AWS Signature Version 4 in the header and the query, chunked bodies included, and Version 2
in the query of presigned S3 URLs. A request that is not signed by a key of this cloud does not pass.

The canonical forms are those of AWS's documentation, "Create a signed AWS API request" and "Authenticating requests
(AWS Signature Version 4)". Dates count by the wall clock, whatever the cloud's own clock says.
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
    find_first,
    format_seconds,
    hash_of_body,
    is_sent,
    is_whole,
    list_query_pairs,
    normalise_path,
    read_header,
    sha256_of,
    sign_text,
)

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"

#: Seconds by which a request's date may differ from this machine's clock, and the longest life of a presigned URL.
SKEW = 900
_LONGEST = 604_800

#: Where a request that names no region is made; Signature Version 2 knows none.
_REGION = "us-east-1"

_CREDENTIAL = re.compile(
    r"(?P<key>[^=/,\s]+)/(?P<date>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request"
)
_PART = re.compile(r"\s*(Credential|SignedHeaders|Signature)\s*=\s*([^,]+?)\s*(?:,|$)")


Find = Callable[[str], Key | None]


@dataclass(frozen=True)
class Scope:
    """What a signature is for: the key's id, the region and the service."""

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
    """A request whose signature is right.

    Attributes:
        arn: Who signed it; None when IAM or STS know better.
        signature, signing_key, time: From which the signatures of a body's chunks follow.
    """

    scope: Scope
    arn: str | None
    signature: str = ""
    signing_key: bytes = b""
    time: str = ""


class SignatureError(AwsError):
    """A request that is not signed as it must be; :meth:`worded` says it as the service would."""

    _CODES: Mapping[str, tuple[str, str, str]] = {
        # What is wrong: S3's code, that of the query services, and that of all others.
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

    def worded(self, wire: str) -> AwsError:
        """Return the refusal with the code of the services that speak ``wire``."""
        codes = self._CODES[self.kind]
        code = codes[0] if wire == "rest-xml" else codes[1] if wire == "query" else codes[2]
        return AwsError(code, self.message, self.status)


def read_scope(environ: WSGIEnvironment) -> Scope:
    """Return what the request claims to be signed for; nothing is verified yet.

    Raises:
        SignatureError: It is not signed, or not in a way that any service reads.
    """
    query = environ.get("QUERY_STRING", "")
    header = environ.get("HTTP_AUTHORIZATION", "")
    if header:
        match = _CREDENTIAL.search(header)
    elif "X-Amz-Credential" in query:
        match = _CREDENTIAL.fullmatch(find_first(query, "X-Amz-Credential"))
        header = "X-Amz-Credential"
    elif "AWSAccessKeyId" in query and "Signature" in query:
        return Scope(_REGION, "s3", find_first(query, "AWSAccessKeyId"))
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
    """The key that a request is said to be signed with.

    Raises:
        SignatureError: There is none of this id.
    """
    key = find(scope.access_key_id)
    if key is None:
        raise SignatureError(
            "unknown",
            f"The security token included in the request is invalid: this local cloud has no access key "
            f"'{scope.access_key_id[:40]}'. `millrace local env` prints its credentials.",
        )
    return key


def verify(environ: WSGIEnvironment, scope: Scope, find: Find, bucket: str = "") -> Signed:
    """Check a request's signature.

    Args:
        scope: What :func:`read_scope` found.
        find: Gives the key of an id.
        bucket: The bucket in the host name of a virtual-hosted request.

    Raises:
        SignatureError: The key is unknown, the signature wrong, or the date too far from now.
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
    payload = environ.get("HTTP_X_AMZ_CONTENT_SHA256") or hash_of_body(environ)
    return _compare(environ, scope, key, moment, names, payload, parts["Signature"])


def _verify_query(environ: WSGIEnvironment, scope: Scope, key: Key) -> Signed:
    query = environ["QUERY_STRING"]
    values = {name: find_first(query, f"X-Amz-{name}") for name in ("Algorithm", "Date", "Expires", "SignedHeaders")}
    signature = find_first(query, "X-Amz-Signature")
    if values["Algorithm"] != ALGORITHM or not signature or not values["SignedHeaders"]:
        raise SignatureError(
            "malformed", f"Query-string authentication needs X-Amz-Algorithm={ALGORITHM}, SignedHeaders and Signature."
        )
    expires = values["Expires"] or str(SKEW)
    if not is_whole(expires) or not 0 < int(expires) <= _LONGEST:
        raise SignatureError("malformed", f"X-Amz-Expires is {expires[:20]!r}; expected 1 to {_LONGEST} seconds.")
    _check_clock(values["Date"], scope, SKEW, int(expires), kind="expired")
    _check_token(key, find_first(query, "X-Amz-Security-Token"))
    names = values["SignedHeaders"].split(";")
    _check_headers(environ, names, scope)
    payload = UNSIGNED if scope.service == "s3" else hash_of_body(environ)
    return _compare(environ, scope, key, values["Date"], names, payload, signature)


def _compare(
    environ: WSGIEnvironment, scope: Scope, key: Key, moment: str, names: list[str], payload: str, signature: str
) -> Signed:
    request = canonical_request(environ, scope.service, names, payload)
    signing = signing_key(key.secret, scope)
    text = f"{ALGORITHM}\n{moment}\n{scope.text}\n{sha256_of(request)}"
    if not hmac.compare_digest(sign_text(signing, text).encode(), signature.encode()):
        raise SignatureError(
            "wrong",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method: `millrace local env` prints the credentials of this local cloud.",
        )
    return Signed(scope, key.arn, signature, signing, moment)


def canonical_request(environ: WSGIEnvironment, service: str, names: list[str], payload: str) -> bytes:
    """Return the canonical form of a request, whose hash is signed.

    Args:
        names: The signed headers in lower case, in the order of the signature.
        payload: The hash of the body, or what stands for it.
    """
    target = str(environ.get("REQUEST_URI") or quote(environ["PATH_INFO"], safe="/" + SAFE))
    if "://" in target.split("?", 1)[0]:
        split = urlsplit(target)
        target = split.path or "/"
    path = target.partition("?")[0]
    # S3 signs a path once encoded, every other service an encoded path encoded once more.
    plain, safe = (unquote_to_bytes(path), "/" + SAFE) if service == "s3" else (normalise_path(path), "/~")
    path = quote(plain, safe=safe)
    headers = "".join(f"{name}:{read_header(environ, name)}\n" for name in names)
    query = "&".join(f"{name}={value}" for name, value in sorted(list_query_pairs(environ.get("QUERY_STRING", ""))))
    text = "\n".join([environ["REQUEST_METHOD"], path, query, headers, ";".join(names), payload])
    # WSGI gives a header's bytes as Latin-1; signers sign those bytes.
    return text.encode("latin-1", "replace")


def signing_key(secret: str, scope: Scope) -> bytes:
    """Return the key that signs for one day, region and service."""
    made = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        made = hmac.digest(made, part.encode(), "sha256")
    return made


def chunk_signature(signed: Signed, previous: str, chunk: bytes) -> str:
    """Return the signature of one chunk of a body that is signed as it is sent."""
    empty = sha256_of(b"")
    text = f"{ALGORITHM}-PAYLOAD\n{signed.time}\n{signed.scope.text}\n{previous}\n{empty}\n{sha256_of(chunk)}"
    return sign_text(signed.signing_key, text)


def trailer_signature(signed: Signed, previous: str, trailer: bytes) -> str:
    """Return the signature of the trailing headers of such a body, each ``name:value`` and a line feed."""
    text = f"{ALGORITHM}-TRAILER\n{signed.time}\n{signed.scope.text}\n{previous}\n{sha256_of(trailer)}"
    return sign_text(signed.signing_key, text)


def policy_signature(secret: str, scope: Scope, policy: str) -> str:
    """Return the Version 4 signature of a form's policy."""
    return sign_text(signing_key(secret, scope), policy)


def _check_headers(environ: WSGIEnvironment, names: list[str], scope: Scope) -> None:
    """Refuse a signature that leaves open where the request goes, or what S3 is to do."""
    if "host" not in names:
        raise SignatureError("wrong", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if names != sorted(names) or any(name != name.lower() for name in names):
        raise SignatureError("malformed", "SignedHeaders must be in lower case and sorted.")
    if scope.service != "s3":
        return
    sent = {key[5:].replace("_", "-").lower() for key in environ if key.startswith("HTTP_X_AMZ_")}
    plain = {name.replace("_", "-") for name in names}
    # A presigned request's body is not signed, so neither is the header that says so.
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
    expires, signature = find_first(query, "Expires"), find_first(query, "Signature")
    if not is_whole(expires):
        raise SignatureError("malformed", f"Expires is {expires[:20]!r}; expected seconds since 1970.")
    if time.time() > int(expires):
        raise SignatureError("expired", f"Request has expired: it was valid until {format_seconds(int(expires))}.")
    _check_token(key, find_first(query, "x-amz-security-token"))
    text = _version_2_text(environ, expires, bucket)
    if not hmac.compare_digest(version_2_signature(key.secret, text).encode(), signature.encode()):
        raise SignatureError(
            "wrong",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
        )
    return Signed(scope, key.arn)


def _version_2_text(environ: WSGIEnvironment, expires: str, bucket: str) -> str:
    """What a Version 2 signature signs; headers may stand in the query of a presigned URL."""
    from botocore.auth import HmacV1Auth

    path, _, query = str(environ.get("REQUEST_URI") or environ["PATH_INFO"]).partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    # A request for a part of a bucket or object is another one, and Version 2 signs a list of these alone.
    if unsigned := sorted(
        {unquote_plus(name) for name, _, _ in pairs} & _subresources() - set(HmacV1Auth.QSAOfInterest)
    ):
        raise SignatureError("malformed", f"Signature Version 2 does not sign {', '.join(unsigned)}: use Version 4.")
    headers = {name.lower(): unquote_plus(value) for name, _, value in pairs}
    headers |= {name: read_header(environ, name) for name in ("content-md5", "content-type") if is_sent(environ, name)}
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
    """The words in the query of an S3 request that say which operation it is."""
    model = protocol.service_model("s3")
    queries = (model.operation_model(name).http["requestUri"].partition("?")[2] for name in model.operation_names)
    return frozenset(pair.partition("=")[0] for query in queries for pair in query.split("&")) - {
        "",
        "x-id",
        "list-type",
    }


def version_2_signature(secret: str, text: str) -> str:
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
