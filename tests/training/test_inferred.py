"""Rules that are inferred from the snapshot accepted before: each names what is new, and healthy data break none."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from millrace import Expect, Inferred
from millrace.findings import INFERRED, Code, Finding
from millrace.names import Names
from queries.fake import FakeAccount
from tests.training import synthetic
from tests.training.test_validate import Data, change_snapshot
from training import columns as c
from training.data.ingest import collect_snapshot
from training.data.profile import SnapshotProfile, is_outside_range, profile_snapshot
from training.data.reference import find_reference
from training.data.snapshot import Snapshot
from training.data.validate import check_snapshot
from training.io import format_time

BEFORE, AS_OF = np.datetime64("2024-03-18T00:00", "us"), np.datetime64("2024-04-01T00:00", "us")

TIMES = {"events": "placed_at", "labels": "known_at", "station_reports": "known_at", "queues": "counted_at"}


@pytest.fixture(scope="module")
def reference() -> SnapshotProfile:
    case = synthetic.use_case()
    snapshot = collect_snapshot(synthetic.functions(case), BEFORE)
    profile = profile_snapshot(case, snapshot, format_time(BEFORE))
    return SnapshotProfile.model_validate_json(profile.model_dump_json())


@pytest.fixture(scope="module")
def whole() -> Snapshot:
    return collect_snapshot(synthetic.functions(synthetic.use_case()), AS_OF)


def find(snapshot: Snapshot, reference: SnapshotProfile, **inferred: str) -> list[Finding]:
    case = synthetic.use_case(inferred=Inferred(**inferred))
    found = check_snapshot(case, snapshot, reference)[1].all
    return [each for each in found if each.code in INFERRED]


def new(rows: dict[str, Any], time: str = "placed_at") -> Any:
    return rows[time] >= BEFORE


def change(table: str, column: str, alter: Callable[[Any, Any], Any]) -> Callable[[Data], None]:
    """Return a change of a column, given its values and the mask of the rows since the reference."""

    def apply(data: Data) -> None:
        rows = data[table]
        time = TIMES[table]
        rows[column] = alter(rows[column], rows[time] >= BEFORE)

    return apply


def cut(table: str, keep: Callable[[Any], Any]) -> Callable[[Data], None]:
    """Return a change that keeps the rows of some times only."""

    def apply(data: Data) -> None:
        time = TIMES[table]
        chosen = keep(data[table][time])
        data[table] = {name: values[chosen] for name, values in data[table].items()}

    return apply


def gone(data: Data) -> None:
    del data["events"]["kind"]


def days(text: str) -> Any:
    return np.datetime64(text, "us")


def test_healthy_data_break_no_inferred_rule(whole: Snapshot, reference: SnapshotProfile) -> None:
    assert find(whole, reference) == []


@pytest.mark.parametrize(
    ("planted", "code", "level", "words"),
    [
        (change("events", "size", lambda values, at: np.where(at, values * 1000, values).astype(np.float32)),
         Code.OUTSIDE_RANGE, "warn", "of size in rows since then is above"),
        (change("events", "size", lambda values, _: (values * 1000).astype(np.float32)),
         Code.OUTSIDE_RANGE, "warn", "of size in rows before then is above"),
        (change("events", "kind", lambda values, at: np.where(at & (np.arange(len(at)) % 5 == 0), "z", values)),
         Code.NEW_LEVELS, "warn", "of kind in rows since then has a level"),
        (change("events", "size", lambda values, at: np.where(at & (np.arange(len(at)) % 4 == 0), np.nan, values)
                .astype(np.float32)),
         Code.MORE_MISSING, "warn", "of size is missing in rows since then"),
        (change("events", "kind", lambda values, _: np.arange(len(values)).astype(np.float32)),
         Code.KIND_CHANGED, "refuse", "kind holds number; in the snapshot accepted as of 2024-03-18"),
        (gone, Code.COLUMN_GONE, "refuse", "column 'kind', which the snapshot accepted as of 2024-03-18"),
        (cut("events", lambda times: ~((times >= days("2024-03-28")) & (times < days("2024-03-28T18:00")))),
         Code.ODD_VOLUME, "warn", "2024-03-28 has"),
        (cut("station_reports", lambda times: times < days("2024-03-31T12:00")), Code.LATE, "warn",
         "the newest row is"),
        (cut("labels", lambda times: times < days("2024-03-25")), Code.LABELS_LATE, "warn", "labels have arrived of"),
    ],
)  # fmt: skip
def test_what_changes_is_named(
    whole: Snapshot,
    reference: SnapshotProfile,
    planted: Callable[[Data], None],
    code: Code,
    level: str,
    words: str,
) -> None:
    found = find(change_snapshot(whole, planted), reference)
    assert (code, level) in {(each.code, each.level.value) for each in found}
    assert any(words in each.text for each in found), [each.text for each in found]


def test_a_use_case_sets_what_becomes_of_a_batch(whole: Snapshot, reference: SnapshotProfile) -> None:
    def alter(values: Any, at: Any) -> Any:
        return np.where(at, values * 1000, values).astype(np.float32)

    planted = change_snapshot(whole, change("events", "size", alter))
    assert [each.level.value for each in find(planted, reference, ranges="refuse")] == ["refuse"]
    assert find(planted, reference, ranges="off") == []


def test_a_column_that_always_grows_has_no_range(whole: Snapshot, reference: SnapshotProfile) -> None:
    def number(data: Data) -> None:
        rows = data["events"]
        rows["number"] = (rows["placed_at"].astype(np.int64) / 1e12).astype(np.float32)

    grown = change_snapshot(whole, number)
    before = Snapshot(BEFORE, grown.since, {
        name: c.select_rows(rows, rows[TIMES[name]] < BEFORE)
        for name, rows in grown.data.items()
    })  # fmt: skip
    case = synthetic.use_case()
    profile = profile_snapshot(case, before, format_time(BEFORE))
    assert profile.tables["events"].columns["number"].low is None
    assert profile.tables["events"].columns["size"].low is not None
    assert find(grown, profile) == []
    assert find(grown, reference) == []


def test_new_extremes_are_chance_at_the_stated_rate() -> None:
    """Of rows in random order, a range is wrongly left with a chance of at most one in 100,000, by either side."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(4000):
        reference, values = rng.standard_cauchy(500), rng.standard_cauchy(300)
        wrong += is_outside_range(values, reference.min(), reference.max(), reference.size)
    assert wrong == 0
    # A tenth of the rows a thousand times as large is named nearly always.
    named = 0
    for _ in range(200):
        reference, values = rng.lognormal(size=500), rng.lognormal(size=300)
        values[:30] *= 1000
        named += is_outside_range(values, reference.min(), reference.max(), reference.size)
    assert named == 200


def test_the_reference_is_the_newest_snapshot_accepted_as_of_an_earlier_time(reference: SnapshotProfile) -> None:
    account, bodies = FakeAccount(), dict[str, str]()
    job: Any = SimpleNamespace(
        names=Names("toy-orders", "local", synthetic.ACCOUNT, synthetic.REGION), make_client=account.client
    )
    account.answer(
        "s3", "ListObjectsV2",
        lambda params: {"Contents": [{"Key": key} for key in bodies if key.startswith(params["Prefix"])]},
    )  # fmt: skip
    account.answer("s3", "GetObject", lambda params: {"Body": io.BytesIO(bodies[params["Key"]].encode())})
    assert find_reference(job, AS_OF) == (None, "")
    # The newest last: one that knew more, one that failed, one that was skipped.
    for status, as_of in (
        ("Succeeded", "2024-03-01T00:00:00Z"), ("Succeeded", "2024-03-18T00:00:00Z"),
        ("Succeeded", "2024-04-20T00:00:00Z"), ("Failed", "2024-03-25T00:00:00Z"), ("Succeeded", ""),
    ):  # fmt: skip
        arn = account.add_execution("toy-orders-local-training", status)
        if as_of:
            key = job.names.profile_uri(arn).removeprefix(f"s3://{job.names.lake}/")
            bodies[key] = reference.model_copy(update={"as_of": as_of}).model_dump_json()
    found, unread = find_reference(job, AS_OF)
    assert (found.as_of if found else None, unread) == ("2024-03-18T00:00:00Z", "")
    bodies.update(dict.fromkeys(bodies, "{}"))
    found, unread = find_reference(job, AS_OF)
    assert found is None
    assert "as_of" in unread


def test_rows_that_a_declared_rule_sets_aside_are_not_new(whole: Snapshot, reference: SnapshotProfile) -> None:
    def spoil(data: Data) -> None:
        data["events"]["size"][::40] = -1.0
        data["events"]["kind"][5::40] = "z"

    case = synthetic.use_case(
        expectations=[Expect("size", at_least=0, max_bad=0.1), Expect("kind", one_of=("a", "b", "c"), max_bad=0.1)]
    )
    found = check_snapshot(case, change_snapshot(whole, spoil), reference)[1].all
    assert [each.code for each in found if each.code in INFERRED] == []
    assert [each.level.value for each in found] == ["set aside", "set aside"]


def test_infinities_are_named_and_written_as_text(whole: Snapshot, reference: SnapshotProfile) -> None:
    def spoil(data: Data) -> None:
        data["events"]["size"][new(data["events"])] = np.inf

    found = find(change_snapshot(whole, spoil), reference)
    assert [each.code for each in found] == [Code.OUTSIDE_RANGE]
    assert json.loads(json.dumps(found[0].dump(), allow_nan=False))["rows"][0]["size"] == "inf"


def test_a_column_that_is_mostly_missing_is_judged_by_what_is_there() -> None:
    rng = np.random.default_rng(8)
    named = 0
    for _ in range(60):
        values = np.where(rng.random(12_000) < 0.01, rng.standard_normal(12_000), np.nan).astype(np.float32)
        before, after = values[:10_000], values[10_000:]
        known = before[~np.isnan(before)]
        named += is_outside_range(after[~np.isnan(after)], known.min(), known.max(), known.size)
    assert named == 0


def test_a_shorter_history_is_no_missing_volume(whole: Snapshot, reference: SnapshotProfile) -> None:
    since = np.datetime64("2024-03-22T00:00", "us")
    times = {"events": "placed_at", "labels": "known_at", "station_reports": "known_at", "queues": "counted_at"}
    cut_off = Snapshot(AS_OF, since, {
        name: c.select_rows(rows, rows[times[name]] >= since) for name, rows in whole.data.items()
    })  # fmt: skip
    assert Code.ODD_VOLUME not in [each.code for each in find(cut_off, reference)]
