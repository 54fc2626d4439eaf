"""Lines of data capture that go wrong: each is counted by its reason, and the others are read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from training.monitoring.captured import Reader

KINDS = {"placed_at": "time", "size": "number", "kind": "text"}
ASKED = {"order_id": "o-1", "placed_at": "2024-04-01T06:00:00Z", "size": 2.5, "kind": "a"}


def make_line(asked: Any, answered: Any, content_type: str = "application/json") -> bytes:
    """Return a captured line; texts are given as they are, other values as JSON."""
    sides = {
        side: {"observedContentType": content_type, "mode": mode, "encoding": "JSON",
               "data": data if isinstance(data, str) else json.dumps(data)}
        for side, mode, data in (("endpointInput", "INPUT", asked), ("endpointOutput", "OUTPUT", answered))
    }  # fmt: skip
    metadata = {"eventId": "e", "inferenceTime": "2024-04-01T05:00:00Z"}
    return json.dumps({"captureData": sides, "eventMetadata": metadata, "eventVersion": "0"}).encode()


def read(*lines: bytes) -> tuple[Any, dict[str, int]]:
    reader = Reader("order_id", "placed_at", KINDS)
    reader.read_file("a.jsonl", b"\n".join(lines))
    served = reader.collect_rows()
    return served, {reason: found["count"] for reason, found in served.unreadable.items()}


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ({"order_id": "o-1", "score": 0.25, "meta": {"schema": 2, "model_version": 17, "request_id": "r"}}, 17),
        ({"predictions": [{"order_id": "o-1", "score": 0.25}], "meta": {"schema": 2, "model_version": 17}}, 17),
        # The first schema had no `meta`, and a model of no package has no version.
        ({"order_id": "o-1", "score": 0.25}, 0),
        ({"order_id": "o-1", "score": 0.25, "meta": {"schema": 2, "model_version": None}}, 0),
        ({"order_id": "o-1", "score": 0.25, "meta": "odd"}, 0),
    ],
)
def test_the_version_is_read_from_each_schema(answer: Any, version: int) -> None:
    asked = {"instances": [ASKED]} if "predictions" in answer else ASKED
    served, unreadable = read(make_line(asked, answer))
    assert (served.versions.tolist(), served.rows["score"].tolist(), unreadable) == ([version], [0.25], {})


def test_the_version_is_read_from_csv() -> None:
    asked = "order_id,placed_at,size,kind\no-1,2024-04-01T06:00:00Z,2.5,a\n"
    answered = "order_id,score,meta_model_version,meta_request_id\no-1,0.25,9,r\n"
    served, unreadable = read(make_line(asked, answered, "text/csv"))
    assert (served.versions.tolist(), unreadable) == ([9], {})


@pytest.mark.parametrize(
    ("given", "read_as"), [(12.5, 12.5), (0.0, 0.0), (None, None), ("odd", None), (True, None), ([1], None)]
)
def test_the_fingerprint_is_read_where_there_is_one(given: Any, read_as: float | None) -> None:
    served, unreadable = read(make_line(ASKED, {"order_id": "o-1", "score": 0.25, "fingerprint": given}))
    (found,) = served.fingerprints.tolist()
    assert (None if np.isnan(found) else found, unreadable) == (read_as, {})
    (none,) = read(make_line(ASKED, {"order_id": "o-1", "score": 0.25}))[0].fingerprints.tolist()
    assert np.isnan(none)
    asked = "order_id,placed_at,size,kind\no-1,2024-04-01T06:00:00Z,2.5,a\n"
    answered = "order_id,score,fingerprint,meta_model_version,meta_request_id\no-1,0.25,-7.5,9,r\n"
    assert read(make_line(asked, answered, "text/csv"))[0].fingerprints.tolist() == [-7.5]


@pytest.mark.parametrize(
    ("score", "reason"),
    [("inf", "the prediction has an infinite score"), (None, "the prediction has no score"),
     ("high", "score holds no number")],
)  # fmt: skip
def test_a_score_that_is_no_number_is_counted(score: Any, reason: str) -> None:
    good, bad = ({"order_id": f"o-{number}", "score": value} for number, value in ((1, 0.5), (2, score)))
    served, unreadable = read(
        make_line({"instances": [ASKED, {**ASKED, "order_id": "o-2"}]}, {"predictions": [good, bad]})
    )
    assert served.rows["order_id"].tolist() == ["o-1"]
    assert unreadable == {reason: 1}


def test_a_file_that_is_cut_in_the_middle_loses_one_line() -> None:
    keys = [{"order_id": f"o-{number}"} for number in range(3)]
    lines = [make_line({**ASKED, **key}, {**key, "score": 0.5}) for key in keys]
    served, unreadable = read(*lines[:2], lines[2][: len(lines[2]) // 2])
    assert served.rows["order_id"].tolist() == ["o-0", "o-1"]
    assert unreadable == {"the line is not JSON": 1}
    assert served.requests == 3
