"""The profile of an accepted snapshot: what its tables and columns were like. Rules for the next are inferred from it.

A rule is inferred only where the accepted snapshot obeys it by itself: its newest rows, judged by the rows before them.
A column whose values grow with time, or whose levels are mostly new each day, has no range and no levels to keep.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Literal

import numpy as np
from pydantic import Field

from millrace import UseCase
from millrace.documents import Document
from training import columns as c
from training.columns import Array, Columns, find_kind, is_missing
from training.data.maturity import Maturity, learn_maturity
from training.data.snapshot import EVENTS, LABELS, Snapshot
from training.functions import KNOWN_AT
from training.quantiles import compute_binomial_quantile

#: The most levels of a text column that a profile keeps; with more it is an identifier or prose.
MOST_LEVELS = 1000
#: The most characters that these levels have together.
_MOST_CHARACTERS = 100_000
#: The share of a snapshot's rows, the newest, by which it is judged itself.
_NEWEST = 0.1
#: The span of which counts by day are kept, in days.
_COUNTED = 70
_DAY = np.timedelta64(1, "D")


class ColumnProfile(Document):
    """What a column was like.

    Attributes:
        kind: `number`, `text` or `time`.
        missing: The share of missing values.
        missing_by_day: The standard deviation of that share from day to day, beyond that of independent rows.
        low: The smallest number; None where no range is kept.
        high: The largest number.
        levels: The levels of a text; None where they are not kept.
        rare: The share of values whose level occurred once: about the share of new levels to expect.
    """

    kind: Literal["number", "text", "time"]
    missing: float
    missing_by_day: float = 0.0
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] | None = None
    rare: float = 0.0


class TableProfile(Document):
    """What a table was like.

    Attributes:
        rows: Its rows.
        columns: Column → what it was like.
        days: Day → its rows, of the last weeks; whole days only.
        pause: The longest time without a row in these weeks, in seconds; None with fewer than three times of rows.
    """

    rows: int = Field(ge=1)
    columns: dict[str, ColumnProfile]
    days: dict[date, int] = Field(default_factory=dict)
    pause: float | None = None


class SnapshotProfile(Document):
    """What an accepted snapshot was like.

    Attributes:
        as_of: The time of its data, ISO 8601.
        tables: Table → what it was like.
        labels: How labels arrive, as :meth:`Maturity.dump` has it.
    """

    version: Literal[1] = 1
    as_of: str
    tables: dict[str, TableProfile]
    labels: dict[str, object] = Field(default_factory=dict)


def find_times(use_case: UseCase, name: str, rows: Columns) -> Array:
    """Return the time of each row of a table.

    Args:
        use_case: The declaration.
        name: The table's name, or `events` or `labels`.
        rows: Its rows.
    """
    return rows[_name_times(use_case)[name]]


def _name_times(use_case: UseCase) -> dict[str, str]:
    tables = {table.name: table.event_time for table in use_case.tables}
    return {EVENTS: use_case.event_time, LABELS: KNOWN_AT, **tables}


def list_profiled(use_case: UseCase, name: str, rows: Columns) -> list[str]:
    """Return the columns of a table that are profiled: all but keys and its time, which are new by their nature.

    Args:
        use_case: The declaration.
        name: The table's name, or `events` or `labels`.
        rows: Its rows.
    """
    return [column for column in rows if column not in (use_case.key, _name_times(use_case)[name])]


def profile_snapshot(use_case: UseCase, snapshot: Snapshot, as_of: str) -> SnapshotProfile:
    """Return the profile of an accepted snapshot.

    Args:
        use_case: The declaration.
        snapshot: The snapshot.
        as_of: The time of its data, ISO 8601.
    """
    tables = {}
    for name, rows in snapshot.data.items():
        times = find_times(use_case, name, rows)
        tables[name] = TableProfile(
            rows=c.count_rows(rows),
            columns={column: _profile_column(rows[column], times) for column in list_profiled(use_case, name, rows)},
            days=_count_days(times, snapshot),
            pause=find_longest_pause(times, snapshot.as_of),
        )
    return SnapshotProfile(version=1, as_of=as_of, tables=tables, labels=_learn_labels(use_case, snapshot).dump())


def _learn_labels(use_case: UseCase, snapshot: Snapshot) -> Maturity:
    events = snapshot.data[EVENTS]
    return learn_maturity(use_case, events[use_case.event_time], find_known_at(use_case, snapshot), snapshot.as_of)


def find_known_at(use_case: UseCase, snapshot: Snapshot) -> Array:
    """Return when each event's label became known; NaT where none has.

    Args:
        use_case: The declaration.
        snapshot: The snapshot; keys of labels are unique.
    """
    events, labels = snapshot.data[EVENTS], snapshot.data[LABELS]
    known = dict(zip(labels[use_case.key].tolist(), labels[KNOWN_AT], strict=True))
    nat = np.datetime64("NaT", "us")
    return np.array([known.get(key, nat) for key in events[use_case.key].tolist()], dtype="datetime64[us]")


def _profile_column(values: Array, times: Array) -> ColumnProfile:
    missing = is_missing(values)
    profile = ColumnProfile(
        kind=find_kind(values), missing=float(missing.mean()) if len(values) else 0.0,
        missing_by_day=_measure_days(missing, times),
    )  # fmt: skip
    if not len(values) or profile.kind == "time":
        return profile
    newest = _mark_newest(times)
    if profile.kind == "number":
        finite = ~missing & np.isfinite(np.where(missing, 0.0, values))
        known, before, after = values[finite], values[finite & ~newest], values[~missing & newest]
        if known.size and (not before.size or not is_outside_range(after, before.min(), before.max(), before.size)):
            profile = profile.model_copy(update={"low": float(known.min()), "high": float(known.max())})
        return profile
    counts = Counter(values[~missing].tolist())
    rare = sum(count == 1 for count in counts.values()) / max(1, sum(counts.values()))
    known_before = set(values[~missing & ~newest].tolist())
    latest = values[~missing & newest].tolist()
    unseen = sum(value not in known_before for value in latest)
    is_short = sum(map(len, counts)) <= _MOST_CHARACTERS
    if len(counts) <= MOST_LEVELS and is_short and unseen <= find_unseen_bound(len(latest), rare, len(values)):
        profile = profile.model_copy(update={"levels": tuple(sorted(counts)), "rare": rare})
    return profile


def _mark_newest(times: Array) -> Array:
    """Return a mask of the newest rows; none where times are missing."""
    known = ~np.isnat(times)
    if not known.any():
        return np.zeros(len(times), dtype=bool)
    ordered = np.sort(times[known])
    return np.asarray(known & (times > ordered[int((1.0 - _NEWEST) * (len(ordered) - 1))]))


#: The share of rows from which a change of a column matters, and the chance with which one column is wrongly named.
EFFECT, CHANCE = 0.01, 1e-5


def is_outside_range(values: Array, low: float, high: float, reference: int) -> bool:
    """Tell whether more values are outside of a range than chance explains, by either side.

    Of rows in random order, k of n new ones exceed all m of the reference with a chance of at most (n / (n + m))^k.

    Args:
        values: The values, none missing.
        low: The smallest value of the reference.
        high: The largest one.
        reference: The values from which the range is known.
    """
    if not values.size or not reference:
        return False
    share = values.size / (values.size + reference)
    least = max(EFFECT * values.size, np.log(CHANCE) / np.log(share))
    return bool(max(np.sum(values > high), np.sum(values < low)) >= least)


def find_unseen_bound(count: int, rare: float, reference: int) -> float:
    """Return how many of so many values may have a level that the reference had not.

    Args:
        count: The values.
        rare: The share of the reference's values whose level occurred once, which is about the share to expect.
        reference: The reference's values.
    """
    if not count:
        return 0.0
    # The share is itself an estimate.
    expected = min(1.0, rare + 4.0 * np.sqrt((rare + 1.0 / reference) / reference) + 1.0 / reference)
    return max(EFFECT * count, compute_binomial_quantile(1.0 - CHANCE, count, expected))


def _measure_days(missing: Array, times: Array) -> float:
    """Return by how much the missing share differs from day to day, beyond chance."""
    days = times[~np.isnat(times)].astype("datetime64[D]")
    if not len(days):
        return 0.0
    _, place, counts = np.unique(days, return_inverse=True, return_counts=True)
    shares = np.bincount(place, weights=missing[~np.isnat(times)]) / counts
    overall = float(missing.mean())
    noise = overall * (1.0 - overall) * float(np.mean(1.0 / counts))
    return float(np.sqrt(max(0.0, float(np.var(shares)) - noise)))


def _count_days(times: Array, snapshot: Snapshot) -> dict[date, int]:
    """Return the rows of each whole day of the last weeks."""
    until = snapshot.as_of.astype("datetime64[D]")
    first = max(until - _COUNTED * _DAY, (snapshot.since + _DAY - np.timedelta64(1, "us")).astype("datetime64[D]"))
    days = times[~np.isnat(times)].astype("datetime64[D]")
    found = Counter(days[(days >= first) & (days < until)].tolist())
    return {day: found[day] for day in np.arange(first, until).tolist()}


def find_longest_pause(times: Array, as_of: np.datetime64) -> float | None:
    """Return the longest time between two rows of the last weeks, in seconds; None where there are too few.

    Args:
        times: The time of each row.
        as_of: The time of the data.
    """
    recent = np.unique(times[~np.isnat(times) & (times <= as_of) & (times > as_of - _COUNTED * _DAY)])
    if len(recent) < 3:
        return None
    return float(np.max(np.diff(recent)) / np.timedelta64(1, "s"))
