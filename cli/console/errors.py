"""The one kind of error that the commands raise, shown as it is without a trace, exit code 1."""

from __future__ import annotations

from millrace.errors import MillraceError


class CliError(MillraceError):
    """What could not be done, where, and what to do about it."""
