"""The point-in-time join, compared with a loop over every row and with a rewritten future."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from millrace import FeatureTable, MillraceError, UseCase
from tests.training import synthetic
from training import columns as c
from training.columns import Columns, make_feature_name
from training.data.ingest import fetch_tables
from training.data.join import compute_prediction_times, is_visible, join

LEAD, AGE = timedelta(minutes=30), timedelta(hours=2)
DAY = np.datetime64("2024-03-01T00:00", "us")
SECOND = np.timedelta64(1, "s").astype("timedelta64[us]")


def use_case() -> UseCase:
    return synthetic.use_case(
        tables=[
            FeatureTable("aged", entity="station", event_time="known_at", max_age=AGE,
                         columns={"wind": "number", "sky": "text"}),
            FeatureTable("ageless", entity="shop", event_time="known_at", columns={"queue": "number"}),
        ],
        lead_time=LEAD,
    )  # fmt: skip


def make_data(seed: int) -> tuple[Columns, dict[str, Columns]]:
    """Return events and rows on a coarse grid of times, so that many coincide; some entities are missing."""
    rng = np.random.default_rng(seed)

    def times(n: int) -> Any:
        return DAY + rng.integers(0, 24 * 4, n) * 900 * SECOND

    def texts(n: int, *names: str | None) -> Any:
        return np.array(names, dtype=object)[rng.integers(0, len(names), n)]

    n = 400
    events = {
        "order_id": np.array([f"o{i}" for i in range(n)], dtype=object),
        "placed_at": np.sort(times(n)),
        "station": texts(n, "a", "b", "nobody", None),
        "shop": texts(n, "1", "2"),
    }
    aged = {"station": texts(150, "a", "b", None), "known_at": times(150), "sky": texts(150, "clear", "rain", None)}
    aged["wind"] = np.where(rng.random(150) < 0.2, np.nan, rng.random(150)).astype(np.float32)
    ageless = {"shop": texts(60, "1", "2"), "known_at": times(60), "queue": rng.random(60).astype(np.float32)}
    return events, {"aged": aged, "ageless": ageless}


def join_by_hand(case: UseCase, events: Columns, tables: dict[str, Columns]) -> dict[str, list[Any]]:
    """Return what each event may see, found by looking at every row of every table."""
    found: dict[str, list[Any]] = {}
    for table in case.tables:
        rows = tables[table.name]
        for column in table.columns:
            values: list[Any] = []
            for moment, entity in zip(events["placed_at"].tolist(), events[table.entity], strict=True):
                at = moment - case.lead_time
                newest, value = None, math.nan if table.columns[column] == "number" else None
                for row, known_at in enumerate(rows["known_at"].tolist()):
                    old = table.max_age is not None and known_at < at - table.max_age
                    if entity is None or rows[table.entity][row] != entity or known_at > at or old:
                        continue
                    if newest is None or known_at >= newest:
                        newest, value = known_at, rows[column][row]
                values.append(value)
            found[make_feature_name(table.name, column)] = values
    return found


def is_same(left: Any, right: Any) -> bool:
    return left == right or (isinstance(left, float | np.floating) and math.isnan(left) and math.isnan(right))


@pytest.mark.parametrize("seed", range(5))
def test_every_event_gets_the_newest_known_row_within_max_age(seed: int) -> None:
    case = use_case()
    events, tables = make_data(seed)
    joined = join(case, events, tables)
    expected = join_by_hand(case, events, tables)
    assert list(joined) == [*events, *expected]
    for name, values in expected.items():
        wrong = [row for row, value in enumerate(values) if not is_same(joined[name][row], value)]
        assert not wrong, f"{name}: rows {wrong[:5]}"
    # The data exercise every rule.
    missing = np.isnan(joined["aged_wind"])
    assert 0.05 < missing.mean() < 0.95
    for name in events:
        assert joined[name].tolist() == events[name].tolist()


@pytest.mark.parametrize(
    ("seconds", "seen"),
    [(0, True), (-1, True), (1, False), (-7200, True), (-7201, False)],
    ids=["known at that instant", "a second before", "a second after", "as old as may be", "a second too old"],
)
def test_rows_at_the_edges_of_visibility(seconds: int, seen: bool) -> None:
    case = use_case()
    at = DAY - np.timedelta64(LEAD)
    events = {"order_id": np.array(["o"], dtype=object), "placed_at": np.array([DAY]),
              "station": np.array(["a"], dtype=object), "shop": np.array(["1"], dtype=object)}  # fmt: skip
    known_at = np.array([at + seconds * SECOND])
    aged = {"station": np.array(["a"], dtype=object), "known_at": known_at, "wind": np.array([7], dtype=np.float32),
            "sky": np.array(["rain"], dtype=object)}  # fmt: skip
    ageless = {"shop": np.array([], dtype=object), "known_at": known_at[:0], "queue": np.array([], dtype=np.float32)}
    joined = join(case, events, {"aged": aged, "ageless": ageless})
    assert joined["aged_sky"].tolist() == (["rain"] if seen else [None])
    assert np.isnan(joined["ageless_queue"]).all()
    # The endpoint applies the same rule to a row that it looked up.
    assert is_visible(case.tables[0], known_at, compute_prediction_times(case, events["placed_at"])).tolist() == [seen]


def test_the_last_of_several_rows_known_at_one_instant_counts() -> None:
    case = use_case()
    events, tables = make_data(0)
    double = {name: np.concatenate([values, values]) for name, values in tables["ageless"].items()}
    n = len(tables["ageless"]["queue"])
    double["queue"][:n] = -1.0
    joined = join(case, events, tables | {"ageless": double})
    assert np.array_equal(joined["ageless_queue"], join(case, events, tables)["ageless_queue"], equal_nan=True)


@pytest.mark.parametrize("seed", range(3))
def test_rewriting_the_future_changes_nothing_in_the_past(seed: int) -> None:
    case = synthetic.use_case()
    functions = synthetic.functions(case)
    since, until = np.datetime64("2024-03-01", "us"), np.datetime64("2024-03-08", "us")
    rng = np.random.default_rng(seed)
    now = since + rng.integers(86_400, 6 * 86_400) * SECOND
    events, tables = functions.events(since, until), fetch_tables(functions, since, until)
    before = join(case, events, tables)
    rewritten: dict[str, Columns] = {}
    for table in case.tables:
        rows = tables[table.name]
        past, future = rows[table.event_time] <= now, rows[table.event_time] > now
        # Later rows: half of them are removed, the others get other entities, times and values.
        later = c.select_rows(rows, np.flatnonzero(future)[rng.random(future.sum()) < 0.5])
        later = {name: rng.permutation(values) for name, values in later.items()}
        later[table.event_time] = now + rng.integers(1, 86_400, c.count_rows(later)) * SECOND
        rewritten[table.name] = c.concatenate([c.select_rows(rows, past), later])
    after = join(case, events, rewritten)
    known = compute_prediction_times(case, events["placed_at"]) <= now
    assert 40 < known.sum() < len(known) - 40
    assert c.hash_columns(c.select_rows(after, known)) == c.hash_columns(c.select_rows(before, known))
    # The future did change, so the comparison is meaningful.
    assert c.hash_columns(c.select_rows(after, ~known)) != c.hash_columns(c.select_rows(before, ~known))


def test_the_first_event_of_a_span_looks_back_as_far_as_any() -> None:
    case = synthetic.use_case()
    functions = synthetic.functions(case)
    since, until = np.datetime64("2024-03-01", "us"), np.datetime64("2024-03-02", "us")
    # One report, of exactly the maximum age when the prediction for the first event is made.
    vars(functions._modules[0])["station_reports"] = lambda *_: {
        "station": np.array(["north", "south", "east"]), "wind": np.arange(3), "sky": np.array(["clear"] * 3),
        "known_at": np.repeat(since - np.timedelta64(LEAD + AGE), 3),
    }  # fmt: skip
    events = functions.events(since, until)
    narrow = join(case, events, fetch_tables(functions, since, until))
    wide = join(case, events, fetch_tables(functions, since - np.timedelta64(7, "D"), until))
    assert c.hash_columns(narrow) == c.hash_columns(wide)
    assert np.flatnonzero(~np.isnan(wide["station_reports_wind"])).tolist() == [0]


def test_an_event_column_named_like_a_joined_one_is_refused() -> None:
    case = use_case()
    events, tables = make_data(0)
    with pytest.raises(MillraceError, match=r"events\(\) has the columns \['aged_sky'\].*rename them"):
        join(case, dict(events) | {"aged_sky": events["shop"]}, tables)
