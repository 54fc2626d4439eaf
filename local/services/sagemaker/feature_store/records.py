"""Records of feature groups: put, get, delete, list, and batches of them.

In the online store, the record with the newest event time wins; of equal event times, the last one written. Values are
checked against their feature's type; a feature without a value is omitted, since neither null nor NaN exists.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime as dt
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from local.core.context import Call, Handler
from local.core.errors import AwsError
from local.core.store import Document
from local.services.sagemaker.feature_store import groups
from local.services.sagemaker.feature_store.record_store import LATEST, Record, RecordStore, Row

#: The epoch second of the earliest date, 0001-01-01.
_EARLIEST = -62135596800.0
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_RECORD_BYTES = 350 * 1024
_PAGE = 100


def _make_validation_error(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def _require_created_group(call: Call, name: str, *, reading: bool = False) -> Document:
    """Return the group; if it does not exist, raise a 404 for readers and a validation error for writers."""
    try:
        group = groups.require_group(call, name)
    except AwsError as error:
        if error.code != "ResourceNotFound":
            raise
        if reading:
            raise AwsError("ResourceNotFound", error.message, 404) from error
        raise _make_validation_error(error.message) from error
    if group["FeatureGroupStatus"] != "Created":
        raise _make_validation_error(
            f"FeatureGroup {group['FeatureGroupName']} is {group['FeatureGroupStatus']}, not Created."
        )
    return group


def _select_stores(group: Document, asked: Sequence[str] | None) -> set[str]:
    """Return the stores that a write goes to."""
    there = set()
    if _is_online(group):
        there.add("OnlineStore")
    if "OfflineStoreConfig" in group:
        there.add("OfflineStore")
    if missing := set(asked or ()) - there:
        raise _make_validation_error(f"FeatureGroup {group['FeatureGroupName']} has no {', '.join(sorted(missing))}.")
    return set(asked) if asked else there


def _is_online(group: Document) -> bool:
    return bool((group.get("OnlineStoreConfig") or {}).get("EnableOnlineStore"))


def _require_online(group: Document) -> None:
    if not _is_online(group):
        raise _make_validation_error(f"FeatureGroup {group['FeatureGroupName']} has no OnlineStore.")


# -- values ----------------------------------------------------------------------------------------------------------


def _parse_value(name: str, kind: str, text: str) -> Any:
    value: Any = text
    if kind == "Integral":
        value = int(text) if _INTEGER.fullmatch(text) else None
        if value is not None and not -(2**63) <= value < 2**63:
            value = None
    elif kind == "Fractional":
        value = float(text) if _NUMBER.fullmatch(text) else None
        if value is not None and not math.isfinite(value):
            value = None
    if value is None:
        bounds = (
            "a 64-bit integer" if kind == "Integral" else "a finite number; leave the feature out where it has none"
        )
        raise _make_validation_error(
            f"Attempted to parse the feature value for the feature named [{name}] into a FeatureValue of type {kind}. "
            f"The provided value is '{text[:100]}'; expected {bounds}."
        )
    return value


def _parse_event_time(name: str, kind: str, text: str) -> float:
    if kind == "Fractional":
        seconds = float(_parse_value(name, kind, text))
        if _EARLIEST <= seconds <= LATEST:
            return seconds
        raise _make_validation_error(
            f"The event time feature [{name}] has the value '{text[:100]}'; expected Unix seconds of a date in the "
            f"years 1 to 9999, {_EARLIEST:.0f} to {LATEST:.0f}: are these milliseconds?"
        )
    with contextlib.suppress(ValueError):
        if _ISO.fullmatch(text):
            return dt.datetime.fromisoformat(text).timestamp()
    raise _make_validation_error(
        f"The event time feature [{name}] has the value '{text[:100]}'; expected yyyy-MM-dd'T'HH:mm:ssZ or "
        "yyyy-MM-dd'T'HH:mm:ss.SSSZ in UTC, such as 2026-11-02T09:27:57Z."
    )


def _check_record(group: Document, record: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Check a record's features and return their values as text, by name."""
    known = {each["FeatureName"] for each in group["FeatureDefinitions"]}
    name = group["FeatureGroupName"]
    texts: dict[str, str] = {}
    for feature in record:
        key = feature["FeatureName"]
        if key not in known:
            raise _make_validation_error(f"FeatureName [{key}] is not a feature of FeatureGroup {name}.")
        if key in texts:
            raise _make_validation_error(f"FeatureName [{key}] is in the record twice.")
        if "ValueAsStringList" in feature:
            raise _make_validation_error(f"ValueAsStringList of feature [{key}] is not available in the local cloud.")
        if "ValueAsString" not in feature:
            raise _make_validation_error(
                f"Feature [{key}] has no ValueAsString: leave out a feature that has no value."
            )
        texts[key] = feature["ValueAsString"]
    for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
        if not texts.get(group[member]):
            raise _make_validation_error(
                f"The record lacks a value of [{group[member]}], the {member} of FeatureGroup {name}."
            )
    size = sum(len(key.encode()) + len(text.encode()) for key, text in texts.items())
    if size > _RECORD_BYTES:
        raise _make_validation_error(f"The record has {size} bytes; at most {_RECORD_BYTES} are possible.")
    if len(texts[group["RecordIdentifierFeatureName"]].encode()) > 2048:
        raise _make_validation_error("The record identifier is longer than 2048 bytes.")
    return texts


def _list_feature_types(group: Document) -> dict[str, str]:
    return {each["FeatureName"]: each["FeatureType"] for each in group["FeatureDefinitions"]}


def _compute_expiry(group: Document, event_time: float, ttl: Mapping[str, Any] | None) -> float | None:
    duration = ttl or (group.get("OnlineStoreConfig") or {}).get("TtlDuration")
    if duration is None:
        return None
    expires = event_time + groups.compute_lifetime(duration)
    if expires > LATEST:
        raise _make_validation_error(
            f"A TtlDuration of {duration['Value']} {duration['Unit']} from the record's event time on ends after the "
            "year 9999: choose a shorter one, or none for a record that never expires."
        )
    return expires


# -- writing ---------------------------------------------------------------------------------------------------------


def put_record(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Write a record, which replaces the old one completely; omitted features are removed.

    Returns:
        An empty output, also if a newer record was kept.

    Raises:
        AwsError: The group does not exist or is not created yet, or the record is not valid.
    """
    _put(call, params, params.get("TtlDuration"))
    return {}


def _put(call: Call, entry: Mapping[str, Any], ttl: Mapping[str, Any] | None) -> None:
    group = _require_created_group(call, entry["FeatureGroupName"])
    stores = _select_stores(group, entry.get("TargetStores"))
    if ttl is not None and "OnlineStore" not in stores:
        raise _make_validation_error("TtlDuration needs the OnlineStore, which this record does not go to.")
    texts = _check_record(group, entry["Record"])
    types = _list_feature_types(group)
    values = {name: _parse_value(name, types[name], text) for name, text in texts.items()}
    key = group["EventTimeFeatureName"]
    event_time = _parse_event_time(key, types[key], texts[key])
    arn = group["FeatureGroupArn"]
    record = Record(
        texts[group["RecordIdentifierFeatureName"]], event_time, texts, _compute_expiry(group, event_time, ttl)
    )
    call.cloud.get_part(RecordStore).put(
        arn,
        record if "OnlineStore" in stores else None,
        Row(arn, event_time, time.time(), {**values, "is_deleted": False}) if "OfflineStore" in stores else None,
    )


def batch_write_record(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Write each entry separately; return those that were refused, with the reason."""
    errors = []
    for entry in params["Entries"]:
        try:
            _put(call, entry, entry.get("TtlDuration") or params.get("TtlDuration"))
        except AwsError as error:
            errors.append({"Entry": entry, "ErrorCode": error.code, "ErrorMessage": error.message[:2048]})
    return {"Errors": errors, "UnprocessedEntries": []}


def delete_record(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a record.

    SoftDelete keeps the event time, so that an older put is ignored; HardDelete keeps nothing.
    """
    group = _require_created_group(call, params["FeatureGroupName"])
    stores = _select_stores(group, params.get("TargetStores"))
    types, arn, name = _list_feature_types(group), group["FeatureGroupArn"], params["RecordIdentifierValueAsString"]
    id_feature, time_feature = group["RecordIdentifierFeatureName"], group["EventTimeFeatureName"]
    text = params["EventTime"]
    event_time = _parse_event_time(time_feature, types[time_feature], text)
    values = {
        id_feature: _parse_value(id_feature, types[id_feature], name),
        time_feature: _parse_value(time_feature, types[time_feature], text),
        "is_deleted": True,
    }
    row = Row(arn, event_time, time.time(), values) if "OfflineStore" in stores else None
    records = call.cloud.get_part(RecordStore)
    if params.get("DeletionMode", "SoftDelete") == "SoftDelete" or "OnlineStore" not in stores:
        tombstone = Record(name, event_time, {}, _compute_expiry(group, event_time, None), deleted=True)
        records.put(arn, tombstone if "OnlineStore" in stores else None, row)
        return {}
    if not records.erase(arn, name, event_time, row):
        raise _make_validation_error(
            f"The record '{name}' has a newer event time than {text}: a HardDelete needs one that is not older."
        )
    return {}


# -- reading ---------------------------------------------------------------------------------------------------------


def get_record(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Return a record; the output has no Record if none exists."""
    group = _require_created_group(call, params["FeatureGroupName"], reading=True)
    _require_online(group)
    names = params.get("FeatureNames")
    _check_names(group, names)
    return _read(call, group, params["RecordIdentifierValueAsString"], names, params.get("ExpirationTimeResponse"))


def _check_names(group: Document, names: Sequence[str] | None) -> None:
    if names and (unknown := sorted(set(names) - _list_feature_types(group).keys())):
        raise _make_validation_error(
            f"FeatureNames {unknown} are not features of FeatureGroup {group['FeatureGroupName']}."
        )


def _read(
    call: Call, group: Document, name: str, names: Sequence[str] | None, expiration: str | None
) -> dict[str, Any]:
    record = call.cloud.get_part(RecordStore).get(group["FeatureGroupArn"], name)
    if record is None or record.deleted:
        return {}
    features = [
        {"FeatureName": key, "ValueAsString": text} for key, text in record.values.items() if not names or key in names
    ]
    answer: dict[str, Any] = {"Record": features} if features else {}
    if expiration == "Enabled" and record.expires is not None:
        expires = dt.datetime.fromtimestamp(min(record.expires, LATEST), dt.UTC)
        answer["ExpiresAt"] = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    return answer


def batch_get_record(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Return records of several groups; identifiers without a record are omitted."""
    records: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for wanted in params["Identifiers"]:
        places = [
            {"FeatureGroupName": wanted["FeatureGroupName"], "RecordIdentifierValueAsString": name}
            for name in wanted["RecordIdentifiersValueAsString"]
        ]
        names = wanted.get("FeatureNames")
        try:
            group = _require_created_group(call, wanted["FeatureGroupName"], reading=True)
            _require_online(group)
            _check_names(group, names)
        except AwsError as error:
            reason = {"ErrorCode": error.code, "ErrorMessage": error.message[:2048]}
            errors += [{**place, **reason} for place in places]
            continue
        for place in places:
            name = place["RecordIdentifierValueAsString"]
            found = _read(call, group, name, names, params.get("ExpirationTimeResponse"))
            if "Record" in found:
                records.append({**place, **found})
    return {"Records": records, "Errors": errors, "UnprocessedIdentifiers": []}


def list_records(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the record identifiers of the online store, in order.

    Returns:
        ``RecordIdentifiers`` of one page, and ``NextToken`` if more exist.

    Raises:
        AwsError: The group does not exist, is not created yet or has no online store, or the NextToken is not valid.
    """
    group = _require_created_group(call, params["FeatureGroupName"], reading=True)
    _require_online(group)
    size = params.get("MaxResults", _PAGE)
    after = ""
    if token := params.get("NextToken"):
        try:
            after = base64.urlsafe_b64decode(token).decode()
        except (binascii.Error, ValueError) as error:
            raise _make_validation_error(
                f"Invalid NextToken '{token[:100]}': pass the one of the page before, unchanged."
            ) from error
    found = call.cloud.get_part(RecordStore).list_ids(
        group["FeatureGroupArn"], after, size + 1, with_deleted=params.get("IncludeSoftDeletedRecords", False)
    )
    answer: dict[str, Any] = {"RecordIdentifiers": found[:size]}
    if len(found) > size:
        answer["NextToken"] = base64.urlsafe_b64encode(found[size - 1].encode()).decode()
    return answer


OPERATIONS: dict[str, Handler] = {
    "PutRecord": put_record,
    "GetRecord": get_record,
    "DeleteRecord": delete_record,
    "BatchGetRecord": batch_get_record,
    "BatchWriteRecord": batch_write_record,
    "ListRecords": list_records,
}
