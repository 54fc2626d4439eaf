"""How jobs read and write times, URIs and JSON, and report progress."""

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
    """A time in UTC.

    Raises:
        DataError: When it is not ISO 8601.
    """
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise DataError(where, f"is {text!r}", expected="an ISO time such as 2013-04-01T00:00:00Z") from error
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, "us")


def format_time(time: np.datetime64) -> str:
    """ISO 8601 in UTC with a Z; milliseconds or microseconds only where there are any."""
    text = str(time.astype("datetime64[us]"))
    return re.sub(r"(\.\d{3})000$", r"\1", text.removesuffix(".000000")) + "Z"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise DataError(f"{uri!r}", "is not an S3 URI", expected="s3://<bucket>/<key>")
    return bucket, key


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        DataError: When it is not there or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}", "does not exist", expected="the file that the step before writes") from error
    except ValueError as error:
        raise DataError(f"{path}", f"is not JSON: {error}") from error


def write_json(path: Path, document: Any) -> None:
    """Canonical JSON, one byte sequence for one content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n")


def sha256_of(document: Any) -> str:
    """The hash of a document's canonical JSON."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def say(text: str) -> None:
    """A line of progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
