"""The training set: only labelled rows, split by time, with the newest held out to judge by."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace import Champion, MillraceError
from tests.training import synthetic
from training import columns as c
from training.data.dataset import FIT, HOLDOUT, Dataset, assign_folds, find_judging_start, join_labelled_events
from training.data.ingest import collect_snapshot
from training.data.snapshot import Snapshot

AS_OF = np.datetime64("2024-04-01T00:00", "us")
HOUR = np.timedelta64(1, "h")
CASE = synthetic.use_case(champion=Champion(judged_on=timedelta(days=7)), holdout=0.25)


def make_hourly_times(days: int) -> np.ndarray:
    return np.arange(AS_OF - np.timedelta64(days, "D"), AS_OF, HOUR).astype("datetime64[us]")


def find_start(times: np.ndarray, unseen: np.ndarray, **changes: Any) -> Any:
    """Return from when rows judge, with a positive in every fifth row unless ``target`` says otherwise."""
    case = synthetic.use_case(champion=Champion(**{"judged_on": timedelta(days=365), **changes.pop("champion", {})}))
    target = changes.pop("target", (np.arange(len(times)) % 5 == 0).astype(np.float64))
    return find_judging_start(case, times, target, unseen)


def test_without_a_champion_the_newest_share_is_held_out() -> None:
    fold = assign_folds(CASE, make_hourly_times(10), None)
    assert fold.tolist() == [FIT] * 180 + [HOLDOUT] * 60


def test_with_a_champion_the_newer_half_of_what_it_has_not_seen_is_held_out() -> None:
    times = make_hourly_times(30)
    start = find_start(times, AS_OF - np.timedelta64(20, "D"))
    assert start == AS_OF - np.timedelta64(10, "D")
    assert assign_folds(CASE, times, start).tolist() == [FIT] * 480 + [HOLDOUT] * 240


def test_whole_blocks_judge() -> None:
    """Rows of a day resemble each other: a challenger that was fitted on its morning knows its evening."""
    times = make_hourly_times(30)
    unseen = AS_OF - np.timedelta64(21, "D") + 5 * HOUR
    assert find_start(times, unseen) == AS_OF - np.timedelta64(10, "D")
    # Blocks are counted from 1970-01-01: 2024-03-24 is day 19,806, the next one that three divides.
    assert find_start(times, unseen, champion={"block": timedelta(days=3)}) == np.datetime64("2024-03-24")


def test_only_the_declared_span_judges() -> None:
    times = make_hourly_times(30)
    unseen = AS_OF - np.timedelta64(28, "D")
    assert find_start(times, unseen, champion={"judged_on": timedelta(days=7)}) == AS_OF - np.timedelta64(7, "D")


def test_late_labels_judge_as_early_ones_do() -> None:
    """Of the newest 45 days no label is known yet: the span that judges ends with the newest known one."""
    times = make_hourly_times(120)[: 75 * 24]
    unseen = AS_OF - np.timedelta64(105, "D")
    assert find_start(times, unseen, champion={"judged_on": timedelta(days=7)}) == AS_OF - np.timedelta64(52, "D")


def test_a_column_that_millrace_adds_itself_is_refused(tmp_path: Path) -> None:
    case = synthetic.use_case(name="toy-fold")
    source = (
        synthetic.data(case)
        .replace('"band": np.where', '"fold": np.zeros(n), "band": np.where')
        .replace('"kind", "band")', '"kind", "band", "fold")')
    )
    pyz = synthetic.build(tmp_path, case, source)
    synthetic.run_step(pyz, tmp_path / "job", "ingest", "--as-of", synthetic.AS_OF)
    synthetic.hand_over(tmp_path / "job/processing/output/snapshot", tmp_path / "job/processing/input/snapshot")
    done = synthetic.run_step(pyz, tmp_path / "job", "dataset", "--champion", "none", check=False)
    assert done.returncode == 1
    assert "events() returned a column 'fold', a name of Millrace's own; rename it" in done.stderr


def test_too_few_rows_or_outcomes_judge_nothing() -> None:
    times, unseen = make_hourly_times(30), AS_OF - np.timedelta64(20, "D")
    assert find_start(times, times[-1]) is None
    # Two days give one to judge by, with 24 rows; four give two.
    assert find_start(times, AS_OF - np.timedelta64(2, "D"), target=np.tile([0.0, 1.0], 360)) is None
    assert find_start(times, AS_OF - np.timedelta64(4, "D"), target=np.tile([0.0, 1.0], 360)) is not None
    # Without 30 rows to fit the judged model there is none.
    assert find_start(times[-480:], AS_OF - np.timedelta64(30, "D"), champion={"block": timedelta(days=365)}) is None
    for positives, expected in ((19, None), (20, AS_OF - np.timedelta64(10, "D"))):
        target = np.zeros(len(times))
        target[-positives:] = 1
        assert find_start(times, unseen, target=target) == expected
        assert find_start(times, unseen, target=1 - target) == expected


def test_rows_of_one_instant_stay_together() -> None:
    times = np.repeat(make_hourly_times(4), 7)
    fold = assign_folds(CASE, times, None)
    for time in np.unique(times):
        assert len(set(fold[times == time])) == 1
    assert list(fold) == sorted(fold)


def test_too_few_rows_are_refused_with_the_fix() -> None:
    text = r"100 rows with labels leave 75 to fit and 25 to hold out; expected at least 30 of each: widen history"
    with pytest.raises(MillraceError, match=text):
        assign_folds(CASE, make_hourly_times(5)[-100:], None)


def test_only_labelled_events_become_rows() -> None:
    case = synthetic.use_case()
    snapshot = collect_snapshot(synthetic.functions(case), AS_OF)
    rows = join_labelled_events(case, snapshot)
    events, labels = snapshot.data["events"], snapshot.data["labels"]
    # A label is known two hours later; the orders of 10:30, 11:00 and 11:30 pm have none yet.
    assert c.count_rows(rows) == c.count_rows(events) - 3
    assert rows["order_id"].tolist() == events["order_id"][:-3].tolist()
    late = dict(zip(labels["order_id"], labels["late"], strict=True))
    assert rows["late"].tolist() == [late[key] for key in rows["order_id"]]
    assert {"station_reports_wind", "station_reports_sky", "queues_queue"} < set(rows)


def test_the_dataset_step_writes_rows_and_prints_their_counts(tmp_path: Path) -> None:
    case = synthetic.use_case()
    pyz = synthetic.build(tmp_path, case)
    snapshot = collect_snapshot(synthetic.functions(case), AS_OF)
    manifest = snapshot.write(tmp_path / "job/processing/input/snapshot")
    done = synthetic.run_step(pyz, tmp_path / "job", "dataset", "--champion", "none")
    dataset = Dataset.read(tmp_path / "job/processing/output/dataset")
    assert dataset.manifest["snapshot"] == manifest["sha256"]
    assert dataset.manifest["folds"] == {"fit": 2302, "holdout": 575}
    assert dataset.manifest["unlabelled"] == 3
    assert dataset.manifest["sha256"] == c.hash_columns(dataset.rows)
    assert "training set as of 2024-04-01T00:00:00Z: 2302 fit, 575 holdout" in done.stdout
    assert np.max(dataset.select_folds(FIT)["placed_at"]) < np.min(dataset.select_folds(HOLDOUT)["placed_at"])


def test_a_snapshot_contains_nothing_later_than_its_time() -> None:
    case = synthetic.use_case()
    functions = synthetic.functions(case)
    snapshot = collect_snapshot(functions, AS_OF)
    for name, column in [("events", "placed_at"), ("labels", "known_at"), ("station_reports", "known_at"),
                         ("queues", "counted_at")]:  # fmt: skip
        times = snapshot.data[name][column]
        assert times.max() <= AS_OF
        assert times.max() > AS_OF - np.timedelta64(5, "h")
    assert snapshot.data["events"]["placed_at"].min() == AS_OF - np.timedelta64(60, "D")
    assert "late" not in snapshot.data["events"]


def test_a_snapshot_round_trips(tmp_path: Path) -> None:
    snapshot = collect_snapshot(synthetic.functions(synthetic.use_case()), AS_OF)
    written = snapshot.write(tmp_path)
    again, manifest = Snapshot.read(tmp_path)
    assert manifest == written
    assert (again.as_of, again.since) == (snapshot.as_of, snapshot.since)
    for name, rows in snapshot.data.items():
        assert c.hash_columns(again.data[name]) == c.hash_columns(rows)
