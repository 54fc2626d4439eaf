"""Snoozes: alarms of which people do not want to be told for a time, in an SSM parameter that the monitor reads.

A snoozed alarm fires, is shown and starts retraining as ever; it only notifies nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError, field_validator

from millrace.documents import Document
from millrace.errors import MillraceError
from queries.parameters import find_parameter


class UnreadableSnoozeError(MillraceError):
    """A parameter that `millrace alarms` did not write; nothing counts as snoozed."""

    def __init__(self, parameter: str, value: str) -> None:
        super().__init__(
            f"SSM parameter {parameter}",
            f"is {value[:200]!r}",
            expected="JSON with version and alarms",
            fix="`millrace alarms unsnooze` deletes it",
        )


class Until(StrEnum):
    """What ends a snooze before it expires."""

    EXPIRY = "expiry"
    OK = "ok"
    """The alarm's return to OK: it was acknowledged."""


class Snooze(Document):
    """A person's wish not to be told of one alarm.

    Attributes:
        since: When it was made.
        expires: When it ends at the latest.
        by: Who made it.
        reason: Why.
        until: What else ends it.
    """

    since: AwareDatetime
    expires: AwareDatetime
    by: str
    reason: str
    until: Until = Until.EXPIRY

    @field_validator("since", "expires")
    @classmethod
    def _convert_to_utc(cls, value: datetime) -> datetime:
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("is beyond the year 9999 in UTC") from error

    def describe(self) -> str:
        """Describe it in words.

        Returns:
            A phrase, e.g. `snoozed until 2026-05-01T00:00:00Z by anna: the season changes`.
        """
        word = "snoozed" if self.until is Until.EXPIRY else "acknowledged, at the latest"
        return f"{word} until {format_time(self.expires)} by {self.by}: {self.reason}"


class Snoozes(Document):
    """The value of the parameter: the snoozes by alarm; some may be over."""

    version: Literal[1] = 1
    alarms: dict[str, Snooze] = Field(default_factory=dict)


def format_time(value: datetime) -> str:
    """Return a time in ISO 8601, UTC, to the second.

    Args:
        value: A time with its zone.
    """
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def find_snoozes(ssm: Any, parameter: str) -> dict[str, Snooze]:
    """Read a stack's snoozes, including those that are over.

    Args:
        ssm: A boto3 client.
        parameter: The parameter's name.

    Returns:
        Alarm → snooze; empty where nothing is snoozed.

    Raises:
        UnreadableSnoozeError: The parameter's value cannot be understood.
    """
    value = find_parameter(ssm, parameter)
    return {} if value is None else parse_snoozes(parameter, value)


def parse_snoozes(parameter: str, value: str) -> dict[str, Snooze]:
    """Parse a parameter's value.

    Args:
        parameter: The parameter's name, for the error's message.
        value: The JSON of :class:`Snoozes`.

    Returns:
        Alarm → snooze, including those that are over.

    Raises:
        UnreadableSnoozeError: It cannot be understood.
    """
    try:
        return Snoozes.model_validate_json(value).alarms
    except ValidationError as error:
        raise UnreadableSnoozeError(parameter, value) from error


def list_active(
    snoozes: Mapping[str, Snooze], now: datetime, firing_since: Mapping[str, datetime | None]
) -> dict[str, Snooze]:
    """Return the snoozes that are not over.

    Args:
        snoozes: The snoozes by alarm.
        now: The wall-clock time.
        firing_since: The alarms that are in ALARM → since when, None where it is unknown; an acknowledgement ends with
            the state that was acknowledged.
    """
    return {
        alarm: snooze
        for alarm, snooze in snoozes.items()
        if now < snooze.expires and (snooze.until is Until.EXPIRY or _is_same_state(snooze, alarm, firing_since))
    }


def _is_same_state(snooze: Snooze, alarm: str, firing_since: Mapping[str, datetime | None]) -> bool:
    """Tell whether the alarm is in the state of ALARM in which it was acknowledged."""
    if alarm not in firing_since:
        return False
    since = firing_since[alarm]
    return since is None or since <= snooze.since
