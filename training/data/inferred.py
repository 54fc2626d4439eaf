"""Rules that are inferred from the snapshot accepted before: types, ranges, levels, missing shares, volume, freshness.

The rows since that snapshot are judged, and the rows before them too: a source may have rewritten its past. A rule
names what differs by more than matters and by more than chance explains; it never sets rows aside, so that a training
set depends on its snapshot alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.findings import Code, Level
from millrace.rules import Severity
from training.columns import Array, find_kind, is_missing
from training.data.arrivals import DAY_CHANCE, find_missing_bound, judge_volume
from training.data.maturity import Maturity
from training.data.profile import (
    ColumnProfile,
    SnapshotProfile,
    TableProfile,
    find_known_at,
    find_times,
    find_unseen_bound,
    is_outside_range,
    list_profiled,
)
from training.data.snapshot import EVENTS, Snapshot
from training.io import parse_time

#: With fewer new rows, they are not judged by themselves.
_FEWEST = 20
#: How much a missing share may grow, and how many standard errors are more than chance.
_MORE_MISSING, _DOUBT = 0.05, 4.5
#: The factor of a day's volume, the pauses of a table, and the missing share of labels from which it matters.
_FACTOR, _PAUSES, _LABELS = 2.0, 3.0, 0.2
#: The shortest time without rows that matters, seconds.
_SHORTEST = 3600.0
#: How far back labels are compared.
_RECENT = np.timedelta64(28, "D")
_DAY = np.timedelta64(1, "D")

#: Adds a finding: its level, code, table, column, a mask of rows, and its fields.
Add = Callable[..., None]


class Comparison:
    """A snapshot beside the one accepted before it."""

    def __init__(self, use_case: UseCase, snapshot: Snapshot, reference: SnapshotProfile, add: Add) -> None:
        self._case, self._snapshot, self._reference, self._add = use_case, snapshot, reference, add
        self._since = parse_time(reference.as_of, "the profile's as_of")

    def _find(self, severity: Severity, code: Code, table: str, column: str | None, bad: Any, **fields: Any) -> None:
        level = Level.REFUSE if severity == "refuse" else Level.WARN
        self._add(level, code, table, column, bad, **fields)

    def check_types(self) -> None:
        """Check that each column is there and holds what it held."""
        severity = self._case.inferred.types
        for name, table in self._reference.tables.items():
            rows = self._snapshot.data.get(name)
            if rows is None or severity == "off":
                continue
            for column, then in table.columns.items():
                fields = {"reference": self._reference.as_of}
                if column not in rows:
                    self._find(severity, Code.COLUMN_GONE, name, column, None, **fields)
                elif (kind := find_kind(rows[column])) != then.kind:
                    self._find(
                        severity, Code.KIND_CHANGED, name, column, None, found=kind, expected=then.kind, **fields
                    )

    def check_values(self, kept: Mapping[str, Array]) -> None:
        """Check ranges, levels and missing shares, and what arrives; the columns are of the kinds that they were.

        Args:
            kept: Table → mask of the rows that no declared rule sets aside: the profile is of such rows.
        """
        for name, table in self._reference.tables.items():
            rows = self._snapshot.data.get(name)
            if rows is None:
                continue
            times = find_times(self._case, name, rows)
            new = ~(times < self._since)
            for part, meant in (("rows since then", new), ("rows before then", ~new)):
                chosen = meant & kept[name]
                if np.sum(chosen) < _FEWEST:
                    continue
                for column in list_profiled(self._case, name, rows):
                    if column in table.columns and find_kind(rows[column]) == table.columns[column].kind:
                        self._check_column(name, column, table, rows[column], chosen, part)
            self._check_freshness(name, table, times)
        self._check_volume()
        self._check_labels()

    def _check_column(
        self, name: str, column: str, table: TableProfile, values: Array, chosen: Array, part: str
    ) -> None:
        then, missing = table.columns[column], is_missing(values)
        fields = {"part": part, "reference": self._reference.as_of}
        self._check_missing(name, column, table, missing & chosen, chosen, fields)
        known = round(table.rows * (1.0 - then.missing))
        if then.kind == "number" and then.low is not None and then.high is not None:
            self._check_range(name, column, known, then, values, ~missing & chosen, fields)
        if then.levels is not None:
            self._check_levels(name, column, known, then, values, ~missing & chosen, fields)

    def _check_missing(
        self, name: str, column: str, table: TableProfile, missing: Array, chosen: Array, fields: dict[str, Any]
    ) -> None:
        severity, then, count = self._case.inferred.missing, table.columns[column], int(np.sum(chosen))
        if severity == "off":
            return
        # Half a row keeps the chance of a column that was never missing finite.
        expected = (then.missing * table.rows + 0.5) / (table.rows + 1)
        times = find_times(self._case, name, self._snapshot.data[name])[chosen]
        days = max(1, len(np.unique(times[~np.isnat(times)].astype("datetime64[D]"))))
        variance = expected * (1.0 - expected) * (1.0 / count + 1.0 / table.rows) + then.missing_by_day**2 / days
        share = float(np.sum(missing)) / count
        if share - expected > max(_MORE_MISSING, _DOUBT * math.sqrt(variance)):
            self._find(severity, Code.MORE_MISSING, name, column, missing, share=share, expected=then.missing, **fields)

    def _check_range(
        self,
        name: str,
        column: str,
        rows: int,
        then: ColumnProfile,
        values: Array,
        chosen: Array,
        fields: dict[str, Any],
    ) -> None:
        severity = self._case.inferred.ranges
        assert then.low is not None
        assert then.high is not None
        if severity == "off" or not is_outside_range(values[chosen], then.low, then.high, rows):
            return
        above, below = chosen & (values > then.high), chosen & (values < then.low)
        is_above = np.sum(above) >= np.sum(below)
        bad, side, bound, end = (
            (above, "above", then.high, "largest") if is_above else (below, "below", then.low, "smallest")
        )
        share = float(np.sum(bad) / np.sum(chosen))
        self._find(
            severity, Code.OUTSIDE_RANGE, name, column, bad, share=share, side=side, bound=bound, end=end, **fields
        )

    def _check_levels(
        self,
        name: str,
        column: str,
        rows: int,
        then: ColumnProfile,
        values: Array,
        chosen: Array,
        fields: dict[str, Any],
    ) -> None:
        severity = self._case.inferred.categories
        if severity == "off" or not chosen.any():
            return
        known = set(then.levels or ())
        unseen = chosen & np.array([value not in known for value in values.tolist()], dtype=bool)
        if np.sum(unseen) > find_unseen_bound(int(np.sum(chosen)), then.rare, rows):
            share = float(np.sum(unseen) / np.sum(chosen))
            self._find(severity, Code.NEW_LEVELS, name, column, unseen, share=share, expected=then.rare, **fields)

    def _check_freshness(self, name: str, table: TableProfile, times: Array) -> None:
        severity, known = self._case.inferred.freshness, times[~np.isnat(times)]
        if severity == "off" or table.pause is None or not len(known):
            return
        age = float((self._snapshot.as_of - np.max(known)) / np.timedelta64(1, "s"))
        if age > max(_SHORTEST, _PAUSES * table.pause):
            self._find(severity, Code.LATE, name, None, None, hours=age / 3600, pause=table.pause / 3600)

    def _check_volume(self) -> None:
        """Judge the events of each whole day since the accepted snapshot; the worst day is named."""
        severity, then = self._case.inferred.volume, self._reference.tables.get(EVENTS)
        if severity == "off" or then is None:
            return
        times = self._snapshot.data[EVENTS][self._case.event_time]
        days = times[~np.isnat(times)].astype("datetime64[D]")
        counts: dict[Any, int] = {np.datetime64(day, "D"): count for day, count in then.days.items()}
        # A history that has become shorter does not hold the whole of its first day.
        whole = (self._snapshot.since + _DAY - np.timedelta64(1, "us")).astype("datetime64[D]")
        first = max(self._since.astype("datetime64[D]"), whole)
        until = self._snapshot.as_of.astype("datetime64[D]")
        new: Any = np.arange(first, until)[-len(counts) :] if counts else np.arange(0)
        # Days of which the accepted snapshot knew only a part are counted now.
        counts = {day: count for day, count in counts.items() if day < first} | {
            day: int(np.sum(days == day)) for day in new
        }
        chance = DAY_CHANCE / max(1, len(new))
        found = [(day, volume) for day in new if (volume := judge_volume(counts, day, _FACTOR, chance)) is not None]
        if not found:
            return
        day, worst = max(found, key=lambda each: each[1].moved / each[1].least)
        if worst.moved > worst.least:
            fields = {"day": str(day), "found": worst.found, "weeks": worst.weeks, "expected": worst.expected}
            self._find(
                severity, Code.ODD_VOLUME, EVENTS, self._case.event_time, _mark_day(times, day), **fields,
                factor=math.exp(worst.least),
            )  # fmt: skip

    def _check_labels(self) -> None:
        severity, maturity = self._case.inferred.labels, Maturity.load(dict(self._reference.labels))
        if severity == "off" or EVENTS not in self._reference.tables:
            return
        events = self._snapshot.data[EVENTS]
        ages = self._snapshot.as_of - events[self._case.event_time]
        recent = ~np.isnat(ages) & (ages < maturity.after + _RECENT)
        expected = maturity.expect_labels(ages[recent])
        if not recent.any() or np.isnan(expected).any() or expected.sum() < 1.0:
            return
        found = int(np.sum(~np.isnat(find_known_at(self._case, self._snapshot)[recent])))
        days = np.unique(events[self._case.event_time][recent].astype("datetime64[D]"), return_inverse=True)[1]
        missing = 1.0 - found / float(expected.sum())
        if missing > find_missing_bound(expected, days, _LABELS):
            fields = {"found": found, "expected": float(expected.sum()), "reference": self._reference.as_of}
            self._find(severity, Code.LABELS_LATE, "labels", None, None, **fields)


def _mark_day(times: Array, day: np.datetime64) -> Array:
    """Return a mask of the rows of a day."""
    return np.asarray(times.astype("datetime64[D]") == day)
