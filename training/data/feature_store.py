"""Records of the online feature store, the newest of each entity, and the conversion of values from and to text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from millrace import FeatureTable
from millrace.errors import MillraceError
from training.io import parse_time

#: The most identifiers that one BatchGetRecord call accepts.
AT_ONCE = 100
#: Tries for each batch of identifiers; before try n = 1, 2, …, counted from 0, the pause is PAUSE * 2**n seconds.
TRIES, PAUSE = 4, 0.05

#: A record as the store keeps it, without its group: feature name → text.
Record = Mapping[str, str]


class StoreError(MillraceError):
    """The feature store cannot be read; nothing may be predicted without its values."""


def fetch_records(client: Any, wanted: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], Record]:
    """Return the newest records of entities from feature groups.

    Args:
        client: For `sagemaker-featurestore-runtime`.
        wanted: Feature group → identifiers.

    Returns:
        (Group, identifier) → record; identifiers without a record are left out.

    Raises:
        StoreError: When the store did not answer for every identifier.
    """
    found: dict[tuple[str, str], Record] = {}
    pairs = [(group, name) for group, names in wanted.items() for name in names]
    for start in range(0, len(pairs), AT_ONCE):
        left = pairs[start : start + AT_ONCE]
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE * 2**attempt)
            left = _ask(client, left, found)
            if not left:
                break
        else:
            group, name = left[0]
            raise StoreError(
                f"feature group {group}: {len(left)} record(s) such as {name!r}",
                f"were still unprocessed after {TRIES} tries",
                fix="the store is overloaded: try again",
            )
    return found


def _ask(client: Any, pairs: list[tuple[str, str]], found: dict[tuple[str, str], Record]) -> list[tuple[str, str]]:
    """Call BatchGetRecord once, add its records to ``found`` and return the unprocessed pairs."""
    from botocore.exceptions import BotoCoreError, ClientError

    groups: dict[str, list[str]] = {}
    for group, name in pairs:
        groups.setdefault(group, []).append(name)
    identifiers = [
        {"FeatureGroupName": group, "RecordIdentifiersValueAsString": names} for group, names in groups.items()
    ]
    try:
        answer = client.batch_get_record(Identifiers=identifiers)
    except (BotoCoreError, ClientError) as error:
        raise StoreError("the feature store", f"cannot be read ({', '.join(groups)}): {error}") from error
    if errors := answer.get("Errors"):
        first = errors[0]
        raise StoreError(
            f"feature group {first['FeatureGroupName']}",
            (
                f"cannot be read: {first['ErrorCode']}: {first['ErrorMessage']} (identifier "
                f"{first['RecordIdentifierValueAsString']!r})"
            ),
        )
    for each in answer["Records"]:
        values = {feature["FeatureName"]: feature["ValueAsString"] for feature in each["Record"]}
        found[_name_of(each["FeatureGroupName"]), each["RecordIdentifierValueAsString"]] = values
    return [
        (_name_of(each["FeatureGroupName"]), name)
        for each in answer.get("UnprocessedIdentifiers", [])
        for name in each["RecordIdentifiersValueAsString"]
    ]


def _name_of(group: str) -> str:
    """Return a group's name, given its name or its ARN."""
    return group.rpartition("/")[2]


def parse_known_at(table: FeatureTable, group: str, record: Record) -> np.datetime64:
    """Return the time at which a record of a group became known.

    Args:
        table: The declared table.
        group: The feature group's name, for the error's message.
        record: A record of the group.

    Raises:
        StoreError: When the record has no event time.
    """
    if table.event_time not in record:
        raise StoreError(
            f"feature group {group}: a record", f"has no {table.event_time!r}", fix=f"it has {sorted(record)}"
        )
    return parse_time(record[table.event_time], f"{table.event_time} in feature group {group}")


def parse_value(kind: str, text: str | None) -> Any:
    """Parse a value from its text in the store.

    Args:
        kind: `number` or `text`.
        text: The text; None, as for a feature that the record lacks, means missing.

    Returns:
        A float32, NaN if missing, or the text itself, None if missing.
    """
    if kind == "number":
        return np.float32(np.nan) if text is None else np.float32(float(text))
    return text


def format_value(value: Any) -> str | None:
    """Return the text from which :func:`parse_value` makes exactly the same value; None for a missing one.

    Args:
        value: A float32 or a text; NaN or None is a missing one.
    """
    if value is None or value != value:  # only NaN differs from itself
        return None
    if isinstance(value, str):
        return value
    shortest = str(value)
    # Readers parse a double first; the few shortest decimals that would then round differently are written in full.
    return shortest if np.float32(float(shortest)) == value else repr(float(value))
