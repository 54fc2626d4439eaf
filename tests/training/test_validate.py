"""The rules of the validation: each refuses, warns or sets aside, and names table, rule, count and rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace import Expect, Slice, UseCase
from tests.training import synthetic
from training import columns as c
from training.data.ingest import collect_snapshot
from training.data.snapshot import Snapshot
from training.data.validate import check_snapshot

AS_OF = np.datetime64("2024-04-01T00:00", "us")
Data = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def whole() -> Snapshot:
    return collect_snapshot(synthetic.functions(synthetic.use_case()), AS_OF)


def change_snapshot(snapshot: Snapshot, change: Callable[[Data], None]) -> Snapshot:
    """Return a copy of the snapshot with one change."""
    data: Data = {
        name: {column: values.copy() for column, values in rows.items()} for name, rows in snapshot.data.items()
    }
    change(data)
    return Snapshot(snapshot.as_of, snapshot.since, data)


def put(table: str, column: str, value: Any, *rows: int) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        data[table][column][list(rows)] = value

    return change


def find_rules(case: UseCase, snapshot: Snapshot, level: str = "refuse") -> list[str]:
    _, findings, _ = check_snapshot(case, snapshot)
    return [finding.rule for finding in findings.all if finding.level == level]


def test_good_data_pass_unchanged(whole: Snapshot) -> None:
    accepted, findings, aside = check_snapshot(synthetic.use_case(), whole)
    assert findings.refused == []
    assert aside == {}
    assert {name: c.hash_columns(rows) for name, rows in accepted.data.items()} == {
        name: c.hash_columns(rows) for name, rows in whole.data.items()
    }


NAT = np.datetime64("NaT")


@pytest.mark.parametrize(("change", "refusal"), [
    (put("events", "order_id", None, 3),
     "events: order_id is missing; expected it in every row in 1 row(s): order_id=None"),
    (put("events", "placed_at", NAT, 3),
     "events: placed_at is missing; expected it in every row in 1 row(s): order_id=o1491, placed_at=None"),
    (put("events", "order_id", "o1488", 5),
     "events: order_id occurs in several rows; expected it once in 1 row(s): order_id=o1488"),
    (put("labels", "order_id", "o1488", 5),
     "labels: order_id occurs in several rows; expected it once in "),
    (put("labels", "late", np.nan, 7), "labels: late is missing; expected it in every row in 1 row(s)"),
    (put("labels", "known_at", NAT, 7), "labels: known_at is missing; expected it in every row in 1 row(s)"),
    (put("labels", "late", np.inf, 7), "labels: late is infinite in 1 row(s): order_id="),
    (put("labels", "late", 2.0, 7), "labels: late is neither 0 nor 1 in 1 row(s): order_id="),
    (lambda data: data["labels"]["late"].fill(1.0), "labels: every late is 1; a model needs both outcomes"),
    (put("station_reports", "station", None, 2), "station_reports: station is missing; expected it in every row"),
    (put("queues", "counted_at", NAT, 0, 1), "queues: counted_at is missing; expected it in every row in 2 row(s)"),
    (lambda data: data.pop("queues"), "queues: the table is missing from the snapshot"),
    (lambda data: data["queues"].pop("queue"), "queues: column 'queue' does not exist; existing: ['counted_at',"),
    (lambda data: data["queues"].update(queue=data["queues"]["shop"]),
     "queues: column 'queue' holds text; expected number"),
    (lambda data: data.update(labels=c.select_rows(data["labels"], np.arange(0))),
     "labels: no rows found; expected at least one"),
    (lambda data: data["labels"].update(order_id="x" + data["labels"]["order_id"]),
     "labels: no label's order_id matches an event; compare the two"),
    (lambda data: data.update(
        events=c.select_rows(data["events"], data["events"]["placed_at"] < AS_OF - np.timedelta64(15, "D"))),
     "events: the newest placed_at is 2024-03-16T23:30:00Z; expected one within 336 h of as_of"),
])  # fmt: skip
def test_invalid_data_are_refused(whole: Snapshot, change: Callable[[Data], None], refusal: str) -> None:
    _, findings, _ = check_snapshot(synthetic.use_case(), change_snapshot(whole, change))
    assert len([text for text in findings.refused if text.startswith(refusal)]) == 1, findings.refused


@pytest.mark.parametrize(("change", "warning"), [
    (lambda data: data.update(queues=c.concatenate([data["queues"], c.select_rows(data["queues"], np.arange(2))])),
     "several rows of one shop became known at the same time; the last one counts"),
    (put("labels", "order_id", "stranger", 5), "the order_id matches no event"),
    (lambda data: data.update(station_reports=c.select_rows(
        data["station_reports"], data["station_reports"]["known_at"] < AS_OF - np.timedelta64(5, "h"))),
     "expected one within 2 h of as_of"),
])  # fmt: skip
def test_harmless_oddities_are_warnings(whole: Snapshot, change: Callable[[Data], None], warning: str) -> None:
    snapshot = change_snapshot(whole, change)
    assert find_rules(synthetic.use_case(), snapshot) == []
    assert [text for text in find_rules(synthetic.use_case(), snapshot, "warn") if warning in text]


@pytest.mark.parametrize(("rule", "refusal"), [
    (Expect("size", at_least=0), "events: size breaks the rule: at least 0 (at most 0.00% of rows may) in 2 row(s): "
     "order_id=o1491, size=-1.0; order_id=o1492, size=-1.0"),
    (Expect("size", at_most=-5), "events: size breaks the rule: at most -5"),
    (Expect("wind", table="station_reports", at_most=0.001),
     "station_reports: wind breaks the rule: at most 0.001 (at most 0.00% of rows may) in "),
    (Expect("kind", one_of=("a", "b")), "events: kind breaks the rule: one of a, b (at most 0.00% of rows may)"),
    (Expect("size", max_missing=0.01), "events: 4.4% of size is missing; expected at most 1.0% in 127 row(s): "),
    (Expect("kind", at_least=0), "events: kind holds text; a bound needs numbers"),
    (Expect("colour", at_least=0), "events: column 'colour' does not exist"),
])  # fmt: skip
def test_a_broken_expectation_names_rule_and_rows(whole: Snapshot, rule: Expect, refusal: str) -> None:
    case = synthetic.use_case(expectations=[rule])
    _, findings, aside = check_snapshot(case, change_snapshot(whole, put("events", "size", -1.0, 3, 4)))
    assert len(findings.refused) == 1
    assert findings.refused[0].startswith(refusal)
    assert aside == {}


@pytest.mark.parametrize(("changes", "refusal"), [
    ({"slices": [Slice("bnad")]}, "column 'bnad' does not exist; existing: ['band', 'kind', "),
    ({"slices": [Slice("station_reports_wnd")]}, "column 'station_reports_wnd' does not exist; existing: ["),
    ({"slices": [Slice("late")]}, "column 'late' does not exist; existing: ["),
    ({"slices": [Slice("placed_at")]}, "column 'placed_at' holds time; a slice needs text or numbers"),
    ({"trusted": ["szie"]}, "column 'szie' does not exist; existing: ['band', 'kind', "),
    ({"trusted": ["queues_queue"]}, "column 'queues_queue' does not exist; existing: ["),
])  # fmt: skip
def test_invalid_columns_of_slices_and_trust_are_refused(
    whole: Snapshot, changes: dict[str, Any], refusal: str
) -> None:
    (found,) = find_rules(synthetic.use_case(**changes), whole)
    assert found.startswith(refusal)


def test_slices_may_group_by_request_time_and_joined_columns(whole: Snapshot) -> None:
    slices = [Slice("band"), Slice("size"), Slice("station"), Slice("station_reports_sky"), Slice("queues_queue")]
    assert find_rules(synthetic.use_case(slices=slices), whole) == []


def test_few_bad_rows_are_set_aside_with_their_labels(whole: Snapshot) -> None:
    case = synthetic.use_case(expectations=[Expect("size", at_least=0, max_bad=0.001)])
    snapshot = change_snapshot(whole, put("events", "size", -1.0, 3, 4))
    gone = snapshot.data["events"]["order_id"][[3, 4]].tolist()
    accepted, findings, aside = check_snapshot(case, snapshot)
    assert findings.refused == []
    assert aside["events"]["order_id"].tolist() == gone
    for name in ("events", "labels"):
        kept = accepted.data[name]["order_id"].tolist()
        assert not set(gone) & set(kept)
        assert len(kept) == c.count_rows(snapshot.data[name]) - 2
    more = change_snapshot(whole, put("events", "size", -1.0, *range(4)))
    assert find_rules(case, more) == ["size breaks the rule: at least 0 (at most 0.10% of rows may)"]


def test_missing_values_break_no_bound(whole: Snapshot) -> None:
    assert np.isnan(whole.data["events"]["size"]).any()
    assert find_rules(synthetic.use_case(expectations=[Expect("size", at_least=0)]), whole) == []


@pytest.mark.parametrize(("strength", "level"), [(9.0, "refuse"), (1.0, "warn"), (0.0, None)])
def test_a_column_that_reveals_the_label_is_a_leak(whole: Snapshot, strength: float, level: str | None) -> None:
    late = dict(zip(whole.data["labels"]["order_id"], whole.data["labels"]["late"], strict=True))
    outcome = np.array([late.get(key, 0.0) for key in whole.data["events"]["order_id"]])
    noise = np.random.default_rng(0).normal(size=len(outcome))

    def leak(data: Data) -> None:
        data["events"]["arrived_after"] = (strength * outcome + noise).astype(np.float32)

    _, findings, _ = check_snapshot(synthetic.use_case(), change_snapshot(whole, leak))
    found = [finding for finding in findings.all if finding.column == "arrived_after"]
    assert [finding.level for finding in found] == ([level] if level else [])
    if level:
        assert "arrived_after alone predicts late with an AUC of" in found[0].rule


def add_leak(snapshot: Snapshot, case: UseCase, noise: float) -> Snapshot:
    """Return the snapshot with an additional event column: the label plus some noise."""
    labels = snapshot.data["labels"]
    outcome = dict(zip(labels["order_id"], labels[case.target], strict=True))
    known = np.array([outcome.get(key, 0.0) for key in snapshot.data["events"]["order_id"]])
    spread = np.random.default_rng(0).normal(size=len(known)) * noise * np.std(known)

    def leak(data: Data) -> None:
        data["events"]["told"] = known + spread

    return change_snapshot(snapshot, leak)


def find_levels(case: UseCase, snapshot: Snapshot) -> list[tuple[str, str]]:
    _, findings, _ = check_snapshot(case, snapshot)
    return [(each.level, each.rule) for each in findings.all if each.column == "told"]


@pytest.mark.parametrize(("share", "is_reported"), [(0.1, True), (0.0, False), (0.005, False)])
def test_events_that_are_the_same_under_other_keys_are_reported(
    whole: Snapshot, share: float, is_reported: bool
) -> None:
    events, labels = whole.data["events"], whole.data["labels"]
    count = round(share * c.count_rows(events))
    rows = np.arange(count)
    again = {name: np.concatenate([values, values[rows]]) for name, values in events.items()}
    again["order_id"][len(again["order_id"]) - count :] = [f"again-{row}" for row in rows]
    snapshot = Snapshot(whole.as_of, whole.since, {**whole.data, "events": again, "labels": labels})
    found = [finding for finding in check_snapshot(synthetic.use_case(), snapshot)[1].all if finding.code == "retried"]
    assert bool(found) is is_reported
    if found:
        assert (found[0].level, found[0].count) == ("warn", count)
        assert found[0].rows[0]["order_id"] == "again-0"
        assert "are the same as another one but for their order_id" in found[0].text


def test_a_trusted_leak_is_a_warning_instead_of_a_refusal(whole: Snapshot) -> None:
    ((level, rule),) = find_levels(synthetic.use_case(), add_leak(whole, synthetic.use_case(), 0.3))
    assert level == "refuse"
    assert rule.endswith(
        "is it known when the prediction is made? If it is, say so in the use case: trusted=('told',); "
        "if not, leave it out of events()"
    )
    case = synthetic.use_case(trusted=["told"])
    accepted, findings, _ = check_snapshot(case, add_leak(whole, case, 0.3))
    assert findings.refused == []
    assert "told" in accepted.data["events"]
    ((level, rule),) = find_levels(case, add_leak(whole, case, 0.3))
    assert level == "warn"
    assert rule.endswith("it is trusted")


@pytest.mark.parametrize(("noise", "level"), [(1.0, "warn"), (0.3, "warn"), (0.0, "refuse"), (9.0, None)])
def test_only_a_perfect_predictor_is_refused_in_a_regression(noise: float, level: str | None) -> None:
    case = synthetic.use_case("regression")
    snapshot = add_leak(collect_snapshot(synthetic.functions(case), AS_OF), case, noise)
    found = find_levels(case, snapshot)
    assert [each[0] for each in found] == ([level] if level else [])
    trusting = synthetic.use_case("regression", trusted=["told"])
    assert [each[0] for each in find_levels(trusting, snapshot)] == (["warn"] if level else [])


def test_the_step_writes_report_and_accepted_snapshot_or_fails(whole: Snapshot, tmp_path: Path) -> None:
    pyz = synthetic.build(tmp_path, synthetic.use_case(expectations=[Expect("size", at_least=0, max_bad=0.001)]))
    base = tmp_path / "good"
    change_snapshot(whole, put("events", "size", -1.0, 3)).write(base / "processing/input/snapshot")
    done = synthetic.run_step(pyz, base, "validate")
    output = base / "processing/output"
    assert "set aside 1 row(s) of events" in done.stdout
    assert json.loads((output / "report/validation.json").read_text())["passed"] == 1
    assert c.read(output / "report/set_aside_events.parquet")["size"].tolist() == [-1.0]
    accepted, _ = Snapshot.read(output / "accepted")
    profile = json.loads((output / "report/profile.json").read_text())
    assert profile["as_of"] == "2024-04-01T00:00:00Z"
    assert profile["tables"]["events"]["rows"] == c.count_rows(accepted.data["events"])
    assert profile["tables"]["events"]["columns"]["kind"]["levels"] == ["a", "b", "c"]
    assert c.count_rows(accepted.data["events"]) == c.count_rows(whole.data["events"]) - 1
    base = tmp_path / "bad"
    change_snapshot(whole, put("events", "size", -1.0, *range(50))).write(base / "processing/input/snapshot")
    refused = synthetic.run_step(pyz, base, "validate", check=False)
    assert refused.returncode == 1
    message = (base / "output/message").read_text()
    assert "events: size breaks the rule: at least 0" in message
    assert "the report could not be copied to the quarantine" in message
    assert not (base / "processing/output/accepted").exists()
    report = base / "processing/output/report"
    found = json.loads((report / "validation.json").read_text())
    assert found["passed"] == 0
    # The rows lie beside the rule that they break.
    broken = next(each for each in found["findings"] if each["code"] == "expectation_broken_too_often")
    assert broken["count"] == 50
    assert c.read(report / broken["file"])["size"].tolist() == [-1.0] * 50
    assert not (report / "profile.json").exists()


def test_a_file_that_contradicts_the_manifest_is_refused(whole: Snapshot, tmp_path: Path) -> None:
    whole.write(tmp_path)
    other = change_snapshot(whole, put("events", "size", 1.0, 0))
    c.write(other.data["events"], tmp_path / "events.parquet")
    with pytest.raises(ValueError, match=r"events.parquet has 2880 rows and does not match manifest.json"):
        Snapshot.read(tmp_path)
