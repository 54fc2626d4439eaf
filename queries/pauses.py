"""Pauses: the triggers of a stack that a person has switched off, in an SSM parameter that deployments read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from millrace.errors import MillraceError
from millrace.names import PAUSABLE
from queries.parameters import find_parameter


class UnreadablePauseError(MillraceError):
    """A parameter that `millrace pause` did not write; it is not treated as if nothing were paused."""

    def __init__(self, parameter: str, value: str, fix: str = "") -> None:
        self.parameter, self.value = parameter, value
        super().__init__(
            f"SSM parameter {parameter}",
            f"is {value!r}",
            expected=f"JSON with since, by, reason and optionally only, of {', '.join(PAUSABLE)}",
            fix=fix or "`millrace resume` deletes it, `millrace pause` writes a new one",
        )


@dataclass(frozen=True)
class Pause:
    """A pause of a stack's triggers: who set it, when and why."""

    since: datetime | None
    by: str
    reason: str
    only: tuple[str, ...] = PAUSABLE
    """The triggers that are paused, of :data:`millrace.names.PAUSABLE`."""

    @property
    def is_complete(self) -> bool:
        """True if everything that can be paused is paused."""
        return set(self.only) == set(PAUSABLE)

    @property
    def since_iso(self) -> str | None:
        """The time in ISO 8601, to the second; None where it is unknown."""
        return self.since.isoformat(timespec="seconds").replace("+00:00", "Z") if self.since else None

    def dump(self) -> str:
        """Return the parameter's value."""
        document: dict[str, Any] = {
            "since": self.since_iso,
            "by": self.by,
            "reason": self.reason,
        }
        if not self.is_complete:
            document["only"] = list(self.only)
        return json.dumps(document)


def find_pause(ssm: Any, parameter: str) -> Pause | None:
    """Read a stack's pause.

    Args:
        ssm: A boto3 client.
        parameter: The parameter's name.

    Returns:
        The pause; None where nothing is paused.

    Raises:
        UnreadablePauseError: The parameter's value cannot be understood.
    """
    value = find_parameter(ssm, parameter)
    return None if value is None else parse_pause(parameter, value)


def parse_pause(parameter: str, value: str) -> Pause:
    """Parse a parameter's value.

    Args:
        parameter: The parameter's name, for the error's message.
        value: The JSON that :meth:`Pause.dump` made.

    Returns:
        The pause; of everything that can be paused, where the value does not say what.

    Raises:
        UnreadablePauseError: It cannot be understood.
    """
    try:
        document = json.loads(value)
        only = tuple(document.get("only") or PAUSABLE)
        if not set(only) <= set(PAUSABLE):
            raise ValueError(only)
        since = datetime.fromisoformat(document["since"])
        return Pause(since, str(document["by"]), str(document.get("reason", "")), only)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadablePauseError(parameter, value) from error
