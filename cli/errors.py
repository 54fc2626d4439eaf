"""The one kind of error that the commands raise, shown as it is without a trace, exit code 1; and what AWS's say."""

from __future__ import annotations

from millrace.errors import MillraceError


class CliError(MillraceError):
    """What could not be done, where, and what to do about it."""


def is_gone(error: Exception) -> bool:
    """Whether AWS says that what was asked about is not there."""
    response = getattr(error, "response", None) or {"Error": {}}
    code, message = response["Error"].get("Code", ""), response["Error"].get("Message", "")
    absent = ("does not exist", "Could not find", "could not be found", "NonExistentQueue")
    return code in ("ResourceNotFound", "ResourceNotFoundException", "NoSuchBucket", "NoSuchKey", "404") or any(
        words in f"{code} {message}" for words in absent
    )
