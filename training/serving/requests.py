"""Requests of the model server: bodies of JSON, JSON Lines or CSV, converted to typed columns or refused.

In JSON a missing value is `null`, in CSV it is an empty cell. Whole numbers are accepted as keys and entities, as in
the use case's own functions; booleans count as 1 and 0. A refusal names field and row.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from millrace import FeatureTable, UseCase
from millrace.errors import DataError, MillraceError, RequestError
from millrace.missing import DEFAULT, is_missing_text
from training.columns import DTYPES, Array, make_feature_name
from training.io import parse_time

JSON, JSON_LINES, CSV = "application/json", "application/jsonlines", "text/csv"
TYPES = (JSON, JSON_LINES, CSV)
#: The one field of a JSON body with many records.
INSTANCES = "instances"
#: SageMaker's bound for an identifier of the feature store.
ENTITY_BYTES = 2048

#: Charsets by the names that callers give them.
_CHARSETS = {"utf-8": "utf-8-sig", "utf8": "utf-8-sig", "us-ascii": "ascii", "iso-8859-1": "latin-1"}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST = float(np.finfo(np.float32).max)
#: Characters of a value that an error shows.
_SHOWN = 100


class Refusal(RequestError):
    """A request that is answered with an error.

    Args:
        subject: The part of the request that is wrong.
        found: What is wrong with it.
        expected: What would be right.
        fix: The next step.
        status: The HTTP status.
        field: The field that is wrong, where it is one.
        row: The record that is wrong, counted from 0, where it is one.
    """

    def __init__(
        self,
        subject: str,
        found: str = "",
        *,
        expected: str = "",
        fix: str = "",
        status: int = 400,
        field: str | None = None,
        row: int | None = None,
    ) -> None:
        super().__init__(subject, found, expected=expected, fix=fix)
        self.status = status
        self.field = field
        self.row = row

    @property
    def document(self) -> dict[str, Any]:
        """The answer's body."""
        where = {"field": self.field, "row": self.row}
        return {"error": str(self), **{name: value for name, value in where.items() if value is not None}}


@dataclass(frozen=True)
class Payload:
    """The records of a body."""

    records: Sequence[Mapping[str, Any]]
    single: bool = False
    """True if the body is one bare JSON record; the answer is then a bare one, too."""
    texts: bool = False
    """True if all values are texts, as in CSV."""


@dataclass(frozen=True)
class Batch:
    """Records as columns."""

    keys: list[str]
    columns: dict[str, Array]
    """All columns that the records give, without the key."""
    given: dict[str, Array]
    """Table that the model uses → mask of the rows that give its columns; the others are looked up."""


class Schema:
    """The fields that a record may and must hold.

    Args:
        document: The model's `model.json`.
    """

    def __init__(self, use_case: UseCase, document: Mapping[str, Any]) -> None:
        self.key, self.event_time = use_case.key, use_case.event_time
        kinds: Mapping[str, str] = document["columns"]
        self.kinds = {self.key: "text", self.event_time: "time", **kinds}
        inputs = set(document["inputs"])
        columns = {
            table.name: [make_feature_name(table.name, name) for name in table.columns] for table in use_case.tables
        }
        #: The tables of which the model uses a column, and the names of their columns in joined rows.
        self.tables: list[tuple[FeatureTable, list[str]]] = [
            (table, columns[table.name]) for table in use_case.tables if inputs.intersection(columns[table.name])
        ]
        self._inputs = inputs
        #: Texts that mean a missing value, by column; models of earlier versions have none and use the default.
        self._missing: Mapping[str, Sequence[str]] = document.get("missing", {})
        self._of_tables = {name for names in columns.values() for name in names}
        self._entities = {table.entity for table in use_case.tables}

    def convert_batch(self, payload: Payload) -> Batch:
        """Check and convert all records.

        Raises:
            Refusal: When a record is invalid; names field and row.
        """
        records = payload.records
        if not records:
            raise Refusal("the batch", "is empty", expected="at least one record")
        self._refuse_unknown(records)
        given = {
            table.name: np.array([not record.keys().isdisjoint(names) for record in records])
            for table, names in self.tables
        }
        every = np.ones(len(records), dtype=bool)
        for name in [self.key, self.event_time, *sorted(self._inputs - self._of_tables - {self.event_time})]:
            _require(records, name, every, "every record needs it")
        for table, names in self.tables:
            _require(records, table.entity, ~given[table.name], f"{table.name} is looked up by it")
            for name in names:
                if name in self._inputs:
                    reason = f"the record contains other columns of {table.name}: give all of them or none"
                    _require(records, name, given[table.name], reason)
        present = dict.fromkeys(name for record in records for name in record)
        columns = {name: self._column(name, records, payload.texts) for name in present}
        return Batch(columns.pop(self.key).tolist(), columns, given)

    def _refuse_unknown(self, records: Sequence[Mapping[str, Any]]) -> None:
        for row, record in enumerate(records):
            if unknown := record.keys() - self.kinds.keys():
                name = min(unknown)
                hint = get_close_matches(name[:_SHOWN], self.kinds, n=1)
                fix = f"did you mean {hint[0]!r}?" if hint else f"known: {', '.join(sorted(self.kinds))}"
                raise Refusal(
                    f"row {row}: field {_shown(name)}", "does not exist", fix=fix, field=name[:_SHOWN], row=row
                )

    def _column(self, name: str, records: Sequence[Mapping[str, Any]], texts: bool) -> Array:
        kind, is_id = self.kinds[name], name == self.key or name in self._entities
        missing = self._missing.get(name, DEFAULT)
        convert = _converter(kind, is_id, texts)
        needed = is_id or name == self.event_time
        values = [convert(None)] * len(records)
        for row, record in enumerate(records):
            value = record.get(name)
            if value is None or (isinstance(value, str) and is_missing_text(value, ("",) if is_id else missing)):
                if needed and name in record:
                    raise Refusal(
                        f"row {row}: {name}", "is missing", expected="a value in every record", field=name, row=row
                    )
                continue
            try:
                values[row] = convert(value)
            except (ValueError, OverflowError) as error:
                expected = error.args[0] if isinstance(error, _WrongError) else _EXPECTED[kind]
                raise Refusal(
                    f"row {row}: {name}", f"is {_shown(value)}", expected=expected, field=name, row=row
                ) from error
        return np.asarray(values, dtype=DTYPES[kind])


class _WrongError(MillraceError, ValueError):
    """A value that is not of its column's kind; its text is what was expected."""


_EXPECTED = {
    "number": "a number that a 32-bit float can hold",
    "text": "text",
    "time": "an ISO 8601 time in the years 1 to 9999, such as 2013-04-01T06:00:00Z",
}


def _converter(kind: str, is_id: bool, texts: bool) -> Callable[[Any], Any]:
    """Return the function that converts a value to its column's kind; it takes None for a missing value."""
    if kind == "number":
        return _number_of_text if texts else _number
    if kind == "time":
        return _time
    return _id if is_id else _text


def _number(value: Any) -> Any:
    if value is None:
        return np.nan
    if not isinstance(value, (int, float)):
        raise _WrongError("a number, or null where it is missing")
    number = float(value)
    if not abs(number) <= _LARGEST:
        raise _WrongError(_EXPECTED["number"])
    return number


def _number_of_text(value: str | None) -> Any:
    if value is None:
        return np.nan
    if not _NUMBER.fullmatch(value.strip()):
        raise _WrongError("a number, or nothing where it is missing")
    return _number(float(value))


def _text(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _WrongError("text, or null where it is missing")
    if not value.isascii():
        # Raises for half a surrogate pair, which is not a character and cannot be looked up or written.
        value.encode()
    return value


def _id(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        return None
    if not isinstance(value, str) or len(value.encode()) > ENTITY_BYTES:
        raise _WrongError(f"text of at most {ENTITY_BYTES} bytes, or a whole number")
    return value


def _time(value: Any) -> Any:
    if value is None:
        return np.datetime64("NaT", "us")
    try:
        return parse_time(value, "")
    except DataError as error:
        raise _WrongError(_EXPECTED["time"]) from error


def _require(records: Sequence[Mapping[str, Any]], name: str, where: Array, reason: str) -> None:
    for row in np.flatnonzero(where).tolist():
        if name not in records[row]:
            raise Refusal(f"row {row}: the field {name!r}", "is missing", fix=reason, field=name, row=row)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


# -- bodies ----------------------------------------------------------------------------------------------------------


def read_payload(body: bytes, content_type: str) -> Payload:
    """Return the records of a body.

    Args:
        body: The bytes as they came.
        content_type: The request's header; without one it is JSON.

    Raises:
        Refusal: 415 for an unknown type or charset, 400 for a body that does not match its type.
    """
    kind, *parameters = (part.strip() for part in (content_type or JSON).split(";"))
    if kind.lower() not in TYPES:
        raise Refusal("Content-Type", f"is {_shown(kind)}", expected=f"one of {', '.join(TYPES)}", status=415)
    text = _decoded(body, parameters)
    if kind.lower() == CSV:
        return Payload(_csv(text), texts=True)
    if kind.lower() == JSON_LINES:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        return Payload([_record(_json(line, f"line {n}: "), row) for row, (n, line) in enumerate(lines)])
    document = _json(text, "")
    if isinstance(document, dict) and INSTANCES in document:
        instances = document.pop(INSTANCES)
        if document:
            raise Refusal(f"{_shown(min(document))}", f"is given with {INSTANCES!r}", expected=f"{INSTANCES!r} alone")
        if not isinstance(instances, list):
            raise Refusal(f"{INSTANCES!r}", f"is {_shown(instances)}", expected="a list of records", field=INSTANCES)
        return Payload([_record(record, row) for row, record in enumerate(instances)])
    return Payload([_record(document, 0)], single=True)


def _decoded(body: bytes, parameters: Sequence[str]) -> str:
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"')
    codec = _CHARSETS.get(charset.lower())
    if codec is None:
        raise Refusal("charset", f"is {_shown(charset)}", expected=f"one of {', '.join(_CHARSETS)}", status=415)
    try:
        return body.decode(codec)
    except UnicodeDecodeError as error:
        raise Refusal("the body", f"is not {charset}: {error.reason} at byte {error.start}") from error


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except Refusal:
        raise
    except RecursionError as error:
        raise Refusal(f"{where}the body", "is nested too deeply", expected="flat records") from error
    except ValueError as error:
        raise Refusal(f"{where}the body", f"is not JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        double = _first_double(name for name, _ in pairs)
        raise Refusal(f"the field {_shown(double)}", "appears twice in one object", field=double[:_SHOWN])
    return document


def _first_double(names: Iterable[str]) -> str:
    """Return the first name that occurs twice, or the empty text if none does."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def _refuse_constant(name: str) -> Any:
    raise Refusal("the body", f"holds {name}, which is not JSON", fix="write a missing number as null")


def _record(document: Any, row: int) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise Refusal(f"row {row}", f"is {_shown(document)}", expected="an object of field names and values", row=row)
    return document


def _csv(text: str) -> list[dict[str, str | None]]:
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise Refusal("the body", f"is not CSV: {error}") from error
    if not lines:
        raise Refusal("the body", "is empty", expected="a header line of field names, then a line for each record")
    header, *rows = lines
    if len(set(header)) < len(header):
        double = _first_double(header)
        raise Refusal(f"the field {_shown(double)}", "appears twice in the header", field=double[:_SHOWN])
    records: list[dict[str, str | None]] = []
    for row, cells in enumerate(rows):
        if len(cells) != len(header):
            raise Refusal(
                f"row {row}", f"has {len(cells)} cells", expected=f"{len(header)}, as the header has", row=row
            )
        records.append(dict(zip(header, cells, strict=True)))
    return records
