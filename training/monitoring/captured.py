"""Requests and answers of an endpoint, read from its data capture.

A line of a capture file holds one request and its answer as text. Each row of a request is paired with the prediction
at the same position; what cannot be read is counted by reason, row by row where possible.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from millrace.errors import MillraceError
from millrace.missing import DEFAULT, is_missing_text
from millrace.names import CAPTURE, VARIANT
from training.columns import Array
from training.io import parse_time
from training.job import Job
from training.modeling.train import SCORE
from training.serving import requests
from training.serving.answer import META, PREDICTIONS, read_fingerprint, read_version
from training.serving.requests import Refusal

#: Files that are fetched concurrently.
AT_ONCE = 16

Record = Mapping[str, Any]


class UnreadableCaptureError(MillraceError, ValueError):
    """A line of a capture file, or a row of it, that cannot be read; the text is the reason."""


@dataclass
class Served:
    """The served rows, each key once: the last answer counts."""

    rows: dict[str, Array]
    """Key, event time, the model's inputs and `score`."""
    complete: Array
    """Mask of the rows whose inputs are all known: an answer in CSV does not hold what was looked up."""
    versions: Array
    """The version of the package that answered each row; 0 where the answer does not say."""
    fingerprints: Array
    """The fingerprint of the features that each row was scored with; NaN where the answer has none."""
    requests: int
    duplicates: int
    unreadable: dict[str, dict[str, Any]]
    """Reason → `count` and the first `example`."""
    by_minute: Mapping[str, int] = field(default_factory=dict)
    """Minute of wall-clock time, `2026-11-02T09:05` → requests that were answered in it."""

    def count_since(self, since: datetime) -> int:
        """Return how many requests were answered since a wall-clock time, in whole minutes."""
        first = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
        return sum(count for minute, count in self.by_minute.items() if minute >= first)


@dataclass
class Reader:
    """A reader that collects rows from capture files.

    ``kinds`` are the model's inputs and their kinds, ``missing`` the texts that mean a missing value in them; key and
    event time are always read, too.
    """

    key: str
    event_time: str
    kinds: Mapping[str, str]
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    requests: int = 0
    unreadable: dict[str, dict[str, Any]] = field(default_factory=dict)
    _rows: list[tuple[str, list[Any], bool, int, float]] = field(default_factory=list)
    _by_minute: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._kinds = {self.key: "text", self.event_time: "time"}
        self._kinds |= {name: kind for name, kind in self.kinds.items() if name not in self._kinds}

    def read_file(self, file: str, body: bytes) -> None:
        """Read one capture file."""
        for number, line in enumerate(body.split(b"\n"), start=1):
            if line.strip():
                self._line(f"{file} line {number}", line)

    def collect_rows(self) -> Served:
        """Return all rows so far; of those with one key, the one that was answered last."""
        self._rows.sort(key=lambda row: row[0])
        last = {values[0]: (values, complete, version, mark) for _, values, complete, version, mark in self._rows}
        names = [*self._kinds, SCORE]
        kinds = [*self._kinds.values(), "score"]
        found = [values for values, *_ in last.values()]
        rows = {
            name: _column([values[place] for values in found], kind)
            for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
        }
        complete = np.array([complete for _, complete, *_ in last.values()], dtype=bool)
        versions = np.array([version for *_, version, _ in last.values()], dtype=np.int64)
        fingerprints = np.array([mark for *_, mark in last.values()], dtype=np.float64)
        repeated = len(self._rows) - len(last)
        return Served(rows, complete, versions, fingerprints, self.requests, repeated, self.unreadable, self._by_minute)

    def _line(self, where: str, line: bytes) -> None:
        self.requests += 1
        try:
            document = _object(line, "the line")
            answered_at = str(document.get("eventMetadata", {}).get("inferenceTime", ""))
            self._by_minute[answered_at[:16]] += 1
            captured = document.get("captureData", {})
            asked = requests.read_payload(*_payload(captured, "endpointInput")).records
            answered = parse_predictions(*_payload(captured, "endpointOutput"))
            if len(asked) != len(answered):
                raise UnreadableCaptureError(
                    "the answer", "has a different number of predictions than the request has rows"
                )
        except Refusal as error:
            self._count("the payload does not match its content type", f"{where}: {error}")
            return
        except UnreadableCaptureError as error:
            self._count(str(error), where)
            return
        for place, (record, prediction) in enumerate(zip(asked, answered, strict=True), start=1):
            try:
                row = self._row(record, prediction)
                self._rows.append((answered_at, *row, read_version(prediction), read_fingerprint(prediction)))
            except UnreadableCaptureError as error:
                self._count(str(error), f"{where} row {place}")

    def _row(self, record: Record, prediction: Record) -> tuple[list[Any], bool]:
        """Return a row's values in the order of the kinds, then its score; and whether all of them are known."""
        looked_up = prediction.get("columns") or {}
        values: list[Any] = []
        complete = True
        for name, kind in self._kinds.items():
            if name in record:
                value = record[name]
            else:
                complete &= name in looked_up
                value = looked_up.get(name)
            values.append(_value(name, kind, value, self.missing.get(name, DEFAULT)))
        if values[0] is None or values[1] is None:
            raise UnreadableCaptureError("the row", f"has no {self.key if values[0] is None else self.event_time}")
        if _key(prediction.get(self.key)) != values[0]:
            raise UnreadableCaptureError("the prediction", f"has a different {self.key} than the row")
        score = _value("score", "number", prediction.get("score"))
        if not math.isfinite(score):
            found = "has no score" if math.isnan(score) else "has an infinite score"
            raise UnreadableCaptureError("the prediction", found)
        return [*values, score], complete

    def _count(self, reason: str, where: str) -> None:
        found = self.unreadable.setdefault(reason, {"count": 0, "example": where})
        found["count"] += 1


def read_capture(
    job: Job, kinds: Mapping[str, str], missing: Mapping[str, Sequence[str]], since: np.datetime64
) -> Served:
    """Return what the endpoint has captured since a wall-clock time, rounded down to the hour."""
    reader = Reader(job.use_case.key, job.use_case.event_time, kinds, missing)
    s3, bucket = job.make_client("s3"), job.names.lake

    def fetch(key: str) -> bytes:
        return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    with ThreadPoolExecutor(AT_ONCE) as pool:
        keys = list(_keys(s3, bucket, f"{job.names.key(CAPTURE, job.names.endpoint, VARIANT)}/", since))
        for key, body in zip(keys, pool.map(fetch, keys), strict=True):
            reader.read_file(key, body)
    return reader.collect_rows()


def _keys(s3: Any, bucket: str, prefix: str, since: np.datetime64) -> Iterator[str]:
    """Yield the capture files since an hour; their names (yyyy/mm/dd/hh/…) rise with time."""
    hour = str(since.astype("datetime64[h]")).replace("-", "/").replace("T", "/")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, StartAfter=f"{prefix}{hour}")
    for page in pages:
        for found in page.get("Contents", []):
            if found["Key"].endswith(".jsonl"):
                yield str(found["Key"])


def parse_predictions(body: bytes, content_type: str) -> Sequence[Record]:
    """Return the predictions of an answer."""
    if content_type.split(";")[0].strip().lower() != requests.JSON:
        return requests.read_payload(body, content_type).records
    document = _object(body, "the answer")
    if "error" in document:
        raise UnreadableCaptureError("the request", "was answered with an error")
    if PREDICTIONS not in document:
        return [document]
    if not isinstance(document[PREDICTIONS], list):
        raise UnreadableCaptureError("the answer's predictions", "are not a list")
    meta = {META: document[META]} if META in document else {}
    return [{**_is_object(prediction, "a prediction"), **meta} for prediction in document[PREDICTIONS]]


def _payload(captured: Mapping[str, Any], side: str) -> tuple[bytes, str]:
    """Return body and content type of one side: request or answer."""
    if side not in captured:
        raise UnreadableCaptureError(f"the {side}", "is missing: the endpoint captures one side only")
    payload = captured[side]
    content_type, data = str(payload.get("observedContentType") or requests.JSON), str(payload.get("data", ""))
    if payload.get("encoding") == "BASE64":
        try:
            return base64.b64decode(data, validate=True), content_type
        except ValueError as error:
            raise UnreadableCaptureError(side, "is not valid base 64, although declared as such") from error
    # Text is captured already decoded: the charset of the content type no longer applies.
    return data.encode(), content_type.split(";")[0]


def _object(text: bytes, what: str) -> Record:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UnreadableCaptureError(what, "is not JSON") from error
    return _is_object(document, what)


def _is_object(value: Any, what: str) -> Record:
    if not isinstance(value, dict):
        raise UnreadableCaptureError(what, "is not a JSON object")
    return value


def _value(name: str, kind: str, value: Any, missing: Collection[str] = DEFAULT) -> Any:
    """Convert a value to its kind; null and the texts that mean missing become NaN for a number, else None."""
    if value is None or (isinstance(value, str) and is_missing_text(value, missing)):
        return math.nan if kind == "number" else None
    try:
        if kind == "number":
            return float(value)
        if kind == "time":
            return parse_time(value, name)
    except (TypeError, ValueError) as error:
        raise UnreadableCaptureError(name, f"holds no {kind}") from error
    text = _key(value)
    if text is None:
        raise UnreadableCaptureError(name, "holds no text")
    return text


def _key(value: Any) -> str | None:
    """Return a key as text, or None if the value cannot be a key.

    Whole numbers count as texts, as they do in keys that a use case returns. A float cannot be a key: it may have been
    rounded, and requests with one are refused.
    """
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _column(values: list[Any], kind: str) -> Array:
    if kind == "time":
        return np.array([np.datetime64("NaT") if value is None else value for value in values], dtype="datetime64[us]")
    if kind == "text":
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
    return np.array(values, dtype=np.float64 if kind == "score" else np.float32)
