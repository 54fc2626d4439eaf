"""Request bodies: hashes and checksums are verified, chunks are joined, and unpacked sizes are limited.

A body that does not match its signature or its checksums is refused before any service sees it.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hmac
import io
import re
import tempfile
import zlib
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any, cast

from local.core.errors import AwsError
from local.core.signature import UNSIGNED, SignatureError, Signed, sign_chunk, sign_trailer
from local.core.signature_text import hash_stream

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

#: The longest body of a service other than S3, in bytes, as sent and as unpacked; AWS's longest is that of
#: InvokeEndpoint, 25 MB.
LARGEST = 64 * 2**20

#: The largest chunk, in bytes; a chunk is kept in memory while its signature is checked.
_LARGEST_CHUNK = 64 * 2**20
#: Bodies above this size, in bytes, are kept on disk while their chunks are joined.
_IN_MEMORY = 8 * 2**20
_LONGEST_LINE = 16_384

_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_STREAMS = {_SIGNED, f"{_SIGNED}-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}

#: Bytes of a body that are hashed at a time.
_BLOCK = 2**20


def check_hash(environ: WSGIEnvironment) -> None:
    """Refuse a body whose hash differs from the signed one, for any service except S3.

    Args:
        environ: The WSGI environment of the request; its body is rewound after it was read.

    Raises:
        SignatureError: If the hash differs.
        AwsError: If the body is longer than :data:`LARGEST`.
    """
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > LARGEST:
        raise body_too_large_error(length)
    claimed = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
    if claimed is not None and not hmac.compare_digest(
        claimed.encode(), hash_stream(environ["wsgi.input"], length).encode()
    ):
        raise SignatureError("wrong", "The value of x-amz-content-sha256 is not the hash of the request's body.")


def body_too_large_error(length: int) -> AwsError:
    """Return the error for a body longer than :data:`LARGEST`."""
    return AwsError("RequestEntityTooLargeException", f"The body has {length:,} bytes; at most {LARGEST:,}.", 413)


def unpack_gzip(body: bytes) -> bytes:
    """Return the uncompressed content of a body.

    Args:
        body: The compressed body.

    Raises:
        AwsError: If the body is not gzip, or unpacks to more than :data:`LARGEST`.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            found = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise AwsError("SerializationException", f"The request's body is not gzip: {error}") from error
    if len(found) > LARGEST:
        raise AwsError(
            "RequestEntityTooLargeException", f"The body unpacks to more than {LARGEST:,} bytes, the most.", 413
        )
    return found


# -- S3 ----------------------------------------------------------------------------------------------------------------


def check_object_body(environ: WSGIEnvironment, signed: Signed | None) -> None:
    """Check the body of an S3 request and leave it joined in ``environ``.

    Args:
        environ: The WSGI environment of the request.
        signed: The verified signature, from which the signatures of chunks follow.

    Raises:
        AwsError: If the body does not match its hash, its chunks' signatures or its checksums.
    """
    claimed = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
    if claimed in _STREAMS:
        _join(environ, claimed, signed)
    elif claimed is not None and claimed != UNSIGNED:
        if not re.fullmatch(r"[0-9a-f]{64}", claimed):
            raise AwsError(
                "InvalidArgument",
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "
                f"{', '.join(sorted(_STREAMS))} or a valid sha256 value.",
            )
        found = hash_stream(environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0))
        if found != claimed:
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                f"The provided 'x-amz-content-sha256' header does not match what was computed: {claimed}, {found}.",
            )
    if environ["REQUEST_METHOD"] == "PUT" or "delete" in environ.get("QUERY_STRING", "").split("&"):
        check_digests(environ)


def _join(environ: WSGIEnvironment, claimed: str, signed: Signed | None) -> None:
    """Replace a chunked body by its joined content, verifying the chunks' signatures in order."""
    is_signed = claimed.startswith(_SIGNED)
    if is_signed and (signed is None or not signed.signing_key):
        raise SignatureError("wrong", f"{claimed} needs a signature in the Authorization header.")
    stream = cast("IO[bytes]", environ["wsgi.input"])
    joined: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it is the request's body
    previous = signed.signature if signed else ""
    while True:
        size, signature = _chunk_head(stream)
        chunk = stream.read(size)
        if len(chunk) != size:
            raise AwsError("IncompleteBody", f"A chunk of {size} bytes ends after {len(chunk)}.")
        if is_signed:
            assert signed is not None
            if not hmac.compare_digest(sign_chunk(signed, previous, chunk).encode(), signature.encode()):
                raise SignatureError("wrong", "The signature of a chunk does not match what was calculated.")
            previous = signature
        joined.write(chunk)
        if size == 0:
            break
        if stream.read(2) != b"\r\n":
            raise AwsError("InvalidRequest", "A chunk does not end with a line feed.")
    trailer = _trailer(stream)
    if is_signed and (claimed.endswith("-TRAILER") or trailer):
        assert signed is not None
        given = trailer.pop("x-amz-trailer-signature", "")
        text = "".join(f"{name}:{value}\n" for name, value in trailer.items())
        if not hmac.compare_digest(sign_trailer(signed, previous, text.encode()).encode(), given.encode()):
            raise SignatureError("wrong", "The signature of the trailing headers does not match what was calculated.")
    length = joined.tell()
    decoded = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH", "")
    if decoded != str(length):
        raise AwsError("IncompleteBody", f"x-amz-decoded-content-length is {decoded or 'absent'}; {length} bytes came.")
    joined.seek(0)
    for name, value in trailer.items():
        if name.startswith("x-amz-checksum-"):
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    codings = [each.strip() for each in environ.get("HTTP_CONTENT_ENCODING", "").split(",")]
    left = [each for each in codings if each not in ("", "aws-chunked")]
    for name in ("HTTP_CONTENT_ENCODING", "HTTP_X_AMZ_DECODED_CONTENT_LENGTH", "HTTP_X_AMZ_TRAILER"):
        environ.pop(name, None)
    if left:
        environ["HTTP_CONTENT_ENCODING"] = ",".join(left)
    environ.update({"wsgi.input": joined, "CONTENT_LENGTH": str(length), "HTTP_X_AMZ_CONTENT_SHA256": UNSIGNED})


def _chunk_head(stream: IO[bytes]) -> tuple[int, str]:
    line = stream.readline(_LONGEST_LINE)
    match = re.fullmatch(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?\r\n", line)
    if match is None or int(match[1], 16) > _LARGEST_CHUNK:
        raise AwsError("InvalidRequest", f"The body is not in chunks: {line[:40]!r} is not a chunk's size.")
    return int(match[1], 16), (match[2] or b"").decode()


def _trailer(stream: IO[bytes]) -> dict[str, str]:
    """Read the headers after the last chunk, in the order they were sent."""
    found: dict[str, str] = {}
    while line := stream.readline(_LONGEST_LINE).strip():
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise AwsError("MalformedTrailerError", f"A trailing header is not 'name:value': {name[:40]!r}.")
        found[name.strip().lower()] = value.strip()
    return found


# -- checksums ---------------------------------------------------------------------------------------------------------


def check_digests(environ: WSGIEnvironment) -> None:
    """Check a body against the MD5 and the checksums in its headers.

    Args:
        environ: The WSGI environment of the request; a header with the verified checksum's algorithm is added to it.

    Raises:
        AwsError: If one of them does not match.
    """
    given = environ.get("HTTP_CONTENT_MD5")
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if given is not None:
        if len(_decoded(given)) != 16:
            raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.")
        if _decoded(given).hex() != hash_stream(environ["wsgi.input"], length, "md5"):
            raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.")
    if "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return
    for algorithm, compute in _CHECKSUMS.items():
        key = f"HTTP_X_AMZ_CHECKSUM_{algorithm}"
        if key not in environ:
            continue
        if base64.b64encode(compute(environ["wsgi.input"], length)).decode() != environ[key].strip():
            raise AwsError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
        # moto looks for a checksum only where this header names it.
        environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = algorithm


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _rolling(step: Callable[[bytes, int], int], width: int) -> Callable[[Any, int], bytes]:
    """Return a function that computes a checksum block by block."""

    def compute(stream: Any, length: int) -> bytes:
        value, start = 0, stream.tell()
        while length > 0 and (block := stream.read(min(length, _BLOCK))):
            value, length = step(block, value), length - len(block)
        stream.seek(start)
        return value.to_bytes(width, "big")

    return compute


def _crc32c(block: bytes, value: int) -> int:
    from awscrt import checksums

    return int(checksums.crc32c(block, value))


def _crc64nvme(block: bytes, value: int) -> int:
    from awscrt import checksums

    return int(checksums.crc64nvme(block, value))


def _hashed(algorithm: str) -> Callable[[Any, int], bytes]:
    return lambda stream, length: bytes.fromhex(hash_stream(stream, length, algorithm))


#: Checksum functions by the suffix of their header.
_CHECKSUMS: Mapping[str, Callable[[Any, int], bytes]] = {
    "CRC32": _rolling(zlib.crc32, 4),
    "CRC32C": _rolling(_crc32c, 4),
    "CRC64NVME": _rolling(_crc64nvme, 8),
    "SHA1": _hashed("sha1"),
    "SHA256": _hashed("sha256"),
}
