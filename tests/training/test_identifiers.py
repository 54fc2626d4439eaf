"""Exact keys and entities, distinguishable numbers, and missing values that are recognised everywhere alike."""

from __future__ import annotations

import datetime as dt
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from millrace import FeatureTable, UseCase
from millrace.errors import DataError
from training.columns import convert_identifiers, is_missing, normalise
from training.data import dataset, ingest
from training.data.snapshot import LABELS
from training.functions import KNOWN_AT, Functions
from training.modeling import model
from training.monitoring.captured import _value
from training.serving.requests import Payload, Schema, read_payload

BIG = 2**63 - 1
HOUR = np.datetime64("2030-01-01T00", "h")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([123456789, 123456790]), ["123456789", "123456790"]),
        (np.array([BIG, -BIG - 1]), [str(BIG), str(-BIG - 1)]),
        (np.array([2**64 - 1], dtype=np.uint64), [str(2**64 - 1)]),
        ([2**63, 1], [str(2**63), "1"]),
        (np.array([2**53, 1.0]), [str(2**53), "1"]),
        (["00123", "1E5", " a ", ""], ["00123", "1E5", " a ", ""]),
        (np.array(["a", 5, None, float("nan")], dtype=object), ["a", "5", None, None]),
        (np.array([1.0, np.nan]), ["1", None]),
    ],
)
def test_identifiers_are_exact(values: Any, expected: list[str | None]) -> None:
    assert convert_identifiers(values, "events() column 'id'").tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1.5]), "row 0 is 1.5"),
        (np.array([2.0, 2.0**53 + 2]), "row 1 is 9007199254740994.0"),
        (np.array([16777217.0 * 3], dtype=np.float32), "row 0 is"),
        (np.array([1.0, np.inf]), "row 1 is inf"),
        (np.array([True]), "has dtype bool"),
        (np.array([["a"]]), "has 2 dimensions"),
        ([True], "row 0 is True"),
    ],
)
def test_inexact_values_are_refused_as_identifiers(values: Any, message: str) -> None:
    with pytest.raises(DataError) as refused:
        convert_identifiers(values, "events() column 'id'")
    assert message in str(refused.value)
    assert "events() column 'id'" in str(refused.value)


@pytest.mark.parametrize(
    ("values", "is_refused"),
    [
        (np.array([123456789, 123456790]), True),
        (np.array([1_700_000_000, 1_700_000_001]), True),
        (np.array([1.7e9, 1.7e9 + 1]), True),
        (np.array([2**24, 2**24 - 1]), False),
        (np.array([10_000_000_000, 20_000_000_000]), False),
        (np.array([0.1, 0.1 + 1e-12]), False),
        (np.array([1e30, -1e30]), False),
    ],
)
def test_numbers_that_float32_cannot_distinguish_are_refused(values: Any, is_refused: bool) -> None:
    if not is_refused:
        assert normalise(values, "x").dtype == np.float32
        return
    with pytest.raises(DataError, match="events\\(\\) column 'ts' contains whole numbers that a 32-bit float cannot"):
        normalise(values, "events() column 'ts'")


def functions(case: UseCase, **named: Any) -> Functions:
    module = ModuleType("data")
    vars(module).update(named)
    return Functions(case, [module])


CASE = UseCase(
    name="toy", target="y", key="id", event_time="at",
    tables=[FeatureTable("shop", entity="place", columns={"country": "text", "area": "number"}, event_time="known")],
    missing={"kind": ("", "\\N"), "shop_country": ("", "none")},
)  # fmt: skip


def test_keys_stay_exact_in_events_labels_and_tables() -> None:
    keys = np.array([9007199254740993, 9007199254740994])
    events = {"id": keys, "at": [HOUR, HOUR + 1], "place": keys, "x": [1.0, 2.0], "kind": ["a", "b"]}
    labels = {"id": keys, "y": [0.0, 1.0], "known_at": [HOUR, HOUR]}
    rows = {"place": keys, "known": [HOUR, HOUR], "country": ["NA", "none"], "area": [1.0, 2.0]}
    given = functions(
        CASE, events=lambda *_: events, labels=lambda *_: labels, shop=lambda *_: rows, features=lambda c: c
    )
    since, until = np.datetime64("2029-01-01", "us"), np.datetime64("2031-01-01", "us")
    found = given.events(since, until)
    exact = ["9007199254740993", "9007199254740994"]
    assert found["id"].tolist() == found["place"].tolist() == exact
    assert given.labels(since, until, found)["id"].tolist() == exact
    table = given.table(CASE.tables[0], since, until)
    assert table["place"].tolist() == exact
    assert table["country"].tolist() == ["NA", None]


# -- missing -----------------------------------------------------------------------------------------------------------

TEXTS = {"": None, "  ": None, "\\N": None, " \\N ": None, "NA": "NA", "None": "None", "null": "null"}


def test_missing_texts_are_missing_in_functions_requests_and_captures() -> None:
    events = {"id": ["1"], "at": [HOUR], "place": ["p"], "y": [0.0]}
    document = {
        "columns": {"kind": "text", "x": "number"}, "inputs": ["kind", "x"], "missing": {"kind": ["", "\\N"]},
    }  # fmt: skip
    schema = Schema(UseCase(name="toy", target="y", key="id", event_time="at"), document)
    for text, expected in TEXTS.items():
        given = functions(CASE, events=lambda *_, text=text: {**events, "kind": [text]}, shop=lambda *_: {})
        since = np.datetime64("2029-01-01", "us")
        assert given.events(since, np.datetime64("2031-01-01", "us"))["kind"].tolist() == [expected]
        record = {"id": "1", "at": "2030-01-01T00:00:00Z", "kind": text, "x": 1}
        assert schema.convert_batch(Payload([record])).columns["kind"].tolist() == [expected], repr(text)
        body = f'id,at,kind,x\n1,2030-01-01T00:00:00Z,"{text}",1\n'.encode()
        assert schema.convert_batch(read_payload(body, "text/csv")).columns["kind"].tolist() == [expected], repr(text)
        assert _value("kind", "text", text, ["", "\\N"]) == expected


def test_missing_numbers_are_recognised_in_json_and_csv_requests() -> None:
    document = {"columns": {"x": "number"}, "inputs": ["x"], "missing": {"x": ["", "NA"]}}
    schema = Schema(UseCase(name="toy", target="y", key="id", event_time="at"), document)
    for value in (None, "", " ", "NA"):
        record = {"id": "1", "at": "2030-01-01T00:00:00Z", "x": value}
        assert is_missing(schema.convert_batch(Payload([record])).columns["x"]).all()
    body = b"id,at,x\n1,2030-01-01T00:00:00Z, \n2,2030-01-01T00:00:00Z,NA\n3,2030-01-01T00:00:00Z,4\n"
    assert is_missing(schema.convert_batch(read_payload(body, "text/csv")).columns["x"]).tolist() == [True, True, False]


# -- folds, labels, unusable features ----------------------------------------------------------------------------------


def test_events_of_one_instant_are_refused_by_name() -> None:
    case = UseCase(name="toy", target="y", key="id", event_time="asked_at")
    times = np.full(600, np.datetime64("2030-01-01T00:00", "us"))
    with pytest.raises(DataError, match=r"asked_at is 2030-01-01T00:00:00\S* in 600 of 600 rows .* leaves 0 to fit"):
        dataset.assign_folds(case, times, None)
    spread = np.sort(np.concatenate([times[:590], times[:10] - np.arange(1, 11) * np.timedelta64(1, "D")]))
    with pytest.raises(DataError, match=r"in 590 of 600 rows .* leaves 10 to fit"):
        dataset.assign_folds(case, spread, None)


def labels(*rows: tuple[str, float, str]) -> dict[str, Any]:
    return {
        "id": np.array([key for key, _, _ in rows], dtype=object),
        "y": np.array([value for _, value, _ in rows]),
        KNOWN_AT: np.array([known for _, _, known in rows], dtype="datetime64[us]"),
    }


def test_the_newest_version_of_a_label_counts() -> None:
    case = UseCase(name="toy", target="y", key="id", event_time="at")
    given = labels(
        ("a", 0.0, "2030-01-02"), ("b", 1.0, "2030-01-01"), ("a", 1.0, "2030-01-05"), ("a", 0.0, "2030-01-03")
    )
    found = ingest.keep_newest_labels(case, given)
    assert dict(zip(found["id"].tolist(), found["y"].tolist(), strict=True)) == {"a": 1.0, "b": 1.0}
    assert len(found["id"]) == 2
    # Identical labels are merged; two values at the same time are a mistake that the validation reports.
    twice = ingest.keep_newest_labels(case, labels(("a", 1.0, "2030-01-02"), ("a", 1.0, "2030-01-02")))
    assert len(twice["id"]) == 1
    odd = ingest.keep_newest_labels(case, labels(("a", 1.0, "2030-01-02"), ("a", 0.0, "2030-01-02")))
    assert len(odd["id"]) == 2


def test_a_snapshot_takes_the_corrected_label() -> None:
    case = UseCase(name="toy", target="y", key="id", event_time="at")
    given = functions(
        case,
        events=lambda *_: {"id": ["a", "b"], "at": [HOUR, HOUR]},
        labels=lambda *_: labels(("a", 0.0, "2030-01-02"), ("b", 1.0, "2030-01-02"), ("a", 1.0, "2030-01-05")),
    )
    snapshot = ingest.collect_snapshot(given, np.datetime64("2030-01-10", "us"))
    found = snapshot.data[LABELS]
    assert dict(zip(found["id"].tolist(), found["y"].tolist(), strict=True)) == {"a": 1.0, "b": 1.0}
    assert len(found["id"]) == 2
    # As it was known before the correction.
    before = ingest.collect_snapshot(given, np.datetime64("2030-01-04", "us")).data[LABELS]
    assert dict(zip(before["id"].tolist(), before["y"].tolist(), strict=True)) == {"a": 0.0, "b": 1.0}


def test_unusable_features_and_labels_are_refused_by_name() -> None:
    case = UseCase(name="toy", target="y", key="id", event_time="at", history=dt.timedelta(days=30))
    given = functions(case, events=lambda *_: {})
    x, y = np.arange(40, dtype=np.float32), np.tile([0.0, 1.0], 20)
    gone = np.full(40, np.nan, dtype=np.float32)
    with pytest.raises(DataError, match="feature 'gone' is missing in all 40 rows to fit"):
        model.fit_model(given, {}, {"x": x, "gone": gone}, y)
    text = np.full(40, None, dtype=object)
    with pytest.raises(DataError, match="feature 'text' is missing in all 40 rows to fit"):
        model.fit_model(given, {}, {"x": x, "text": text}, y)
    infinite = x.copy()
    infinite[7] = np.inf
    with pytest.raises(DataError, match="feature 'x' is infinite in 1 of 40 rows to fit, first in row 7"):
        model.fit_model(given, {}, {"x": infinite}, y)
    with pytest.raises(DataError, match="all 40 rows to fit have y = 1; a model needs both outcomes"):
        model.fit_model(given, {}, {"x": x}, np.ones(40))


def test_missing_texts_of_an_unknown_column_are_refused() -> None:
    case = UseCase(name="toy", target="y", key="id", event_time="at", missing={"kidn": ("NA",)})
    given = functions(case, events=lambda *_: {"id": ["1"], "at": [HOUR], "kind": ["a"], "y": [0.0]})
    with pytest.raises(DataError, match=r"names missing values of \['kidn'\]"):
        given.events(np.datetime64("2029-01-01", "us"), np.datetime64("2031-01-01", "us"))
