"""The error that the commands raise: shown without a trace, exit code 1."""

from __future__ import annotations

import errno
import os

from millrace.errors import MillraceError

#: What the system says when there is no room left.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class CliError(MillraceError):
    """A command that could not be done: what, where, and what to do about it."""


class DeclinedError(CliError):
    """A question that was answered with no, so that the command did nothing.

    Args:
        done: What was not done, e.g. `deleted`.
        but: What was done before the question, if anything.
    """

    def __init__(self, done: str = "changed", but: str = "") -> None:
        super().__init__("nothing", f"was {done}{f', except that {but}' if but else ''}")


def map_error(error: Exception) -> Exception:
    """Return an error whose message alone says what is wrong, where the error has such a message.

    Errors of AWS's SDK, of the local cloud and of the engine are mapped to ours here, at the boundary. Any other error
    is a defect, and is returned as it is.

    Args:
        error: What a command raised.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from engine.errors import EngineError
    from local.errors import LocalError

    if isinstance(error, BotoCoreError | ClientError | LocalError | EngineError):
        clear = CliError(str(error), fix=_find_hint(error))
        clear.__cause__ = error
        return clear
    if isinstance(error, OSError) and error.errno in _FULL:
        clear = CliError(str(error.filename or "the output"), f"cannot be written: {error.strerror}", fix="make room")
        clear.__cause__ = error
        return clear
    return error


def _find_hint(error: Exception) -> str:
    """Return the next step, where a library's message lacks it."""
    from botocore.exceptions import (
        EndpointConnectionError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
    )

    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "set AWS_PROFILE, or aws:profile in the stack's file"
    if isinstance(error, ProfileNotFound):
        return "correct AWS_PROFILE, or aws:profile in the stack's file"
    if isinstance(error, EndpointConnectionError) and os.environ.get("AWS_ENDPOINT_URL"):
        return (
            "AWS_ENDPOINT_URL is set, perhaps to a local cloud that has stopped or moved: "
            'start it with `millrace local start`, run eval "$(millrace local env)" again, or unset it'
        )
    return ""
