"""The parts of the texts that are signed: paths, queries, headers and hashes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote_to_bytes

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

#: The most digits of a whole number in a request; more would only take time to parse.
_DIGITS = 18
#: The unreserved characters of RFC 3986, which Python's own quoting does not encode either.
SAFE = "-_.~"


def sign_text(key: bytes, text: str) -> str:
    """Return the HMAC-SHA256 of a text, in hexadecimal."""
    return hmac.digest(key, text.encode("latin-1", "replace"), "sha256").hex()


def compute_sha256(data: bytes) -> str:
    """Return the SHA-256 of data, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def find_query_value(query: str, name: str) -> str:
    """Return the first value of a parameter in a query, or an empty string."""
    return parse_qs(query).get(name, [""])[0]


def is_whole_number(text: str) -> bool:
    """Return True if a text is a whole number of at most 18 decimal digits."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS


def format_seconds(seconds: int) -> str:
    """Return seconds since 1970 as a UTC time, or as plain words if they are out of range."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"


def normalise_path(path: str) -> str:
    """Return the path of a URL without ``.``, ``..`` and empty parts."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    end = "/" if path.endswith("/") and parts else ""
    return f"/{'/'.join(parts)}{end}"


def list_query_pairs(query: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a query, encoded as they are signed, without ``X-Amz-Signature``."""
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        name = quote(unquote_to_bytes(name), safe=SAFE)
        if name != "X-Amz-Signature":
            yield name, quote(unquote_to_bytes(value), safe=SAFE)


def find_environ_key(name: str) -> str:
    """Return the key of a header in a WSGI environment."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def has_header(environ: WSGIEnvironment, name: str) -> bool:
    """Return True if the request has the header."""
    return find_environ_key(name) in environ


def read_header(environ: Mapping[str, Any], name: str) -> str:
    """Return a header's value with each run of whitespace as one space; empty if it is missing."""
    return " ".join(str(environ.get(find_environ_key(name), "")).split())


def hash_body(environ: WSGIEnvironment) -> str:
    """Return the SHA-256 of the request's body and rewind the body."""
    return hash_stream(environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0))


def hash_stream(stream: Any, length: int, algorithm: str = "sha256") -> str:
    """Return the hash of the next ``length`` bytes of a stream, in hexadecimal, and rewind the stream."""
    digest, start = hashlib.new(algorithm), stream.tell()
    while length > 0 and (block := stream.read(min(length, 2**20))):
        digest.update(block)
        length -= len(block)
    stream.seek(start)
    return digest.hexdigest()
