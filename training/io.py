"""Helpers of jobs: times, URIs, JSON files and progress messages."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from millrace.errors import DataError


def parse_time(text: str, where: str) -> np.datetime64:
    """Parse an ISO 8601 time; without a zone it is taken as UTC.

    Args:
        text: The text.
        where: What holds it, for the error's message.

    Returns:
        The time in UTC, to the microsecond.

    Raises:
        DataError: When it is not ISO 8601.
    """
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise DataError(where, f"is {text!r}", expected="an ISO time such as 2013-04-01T00:00:00Z") from error
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, "us")


def format_time(time: np.datetime64) -> str:
    """Format a time as ISO 8601 in UTC with a Z; fractions of a second are written only if not zero.

    Args:
        time: A time in UTC, not NaT.

    Returns:
        Text such as `2013-04-01T00:00:00Z`.
    """
    text = str(time.astype("datetime64[us]"))
    return re.sub(r"(\.\d{3})000$", r"\1", text.removesuffix(".000000")) + "Z"


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an S3 URI.

    Args:
        uri: `s3://<bucket>/<key>`; the key may be empty.

    Raises:
        DataError: When it is not an S3 URI.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise DataError(f"{uri!r}", "is not an S3 URI", expected="s3://<bucket>/<key>")
    return bucket, key


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Args:
        path: The file.

    Returns:
        The document.

    Raises:
        DataError: When it does not exist or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}", "does not exist", expected="the file that the previous step writes") from error
    except ValueError as error:
        raise DataError(f"{path}", f"is not JSON: {error}") from error


def write_json(path: Path, document: Any) -> None:
    """Write canonical JSON: equal documents give equal bytes.

    Args:
        path: The file; folders above it are created.
        document: JSON data without NaN or infinity.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n")


def hash_document(document: Any) -> str:
    """Return the SHA-256 of a document's canonical JSON.

    Args:
        document: JSON data.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def print_progress(text: str) -> None:
    """Print a line of progress.

    Args:
        text: The line, without its end.
    """
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
