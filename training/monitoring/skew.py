"""Training-serving skew: served features against those that training would compute for the same rows.

The same code makes both: from the inputs of the captured request, and from `events()` joined with the tables as they
were known. What differs is named with its likely cause.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.watching import MonitorAlarm
from training import columns as c
from training.columns import Array, Columns, is_missing, make_feature_name
from training.data.join import compute_prediction_times, join
from training.monitoring.window import Window

#: Rows that are compared, evenly spaced over the window.
SAMPLE = 20_000
#: Differing rows that the report shows, and those that a cause is looked for in.
SHOWN, EXPLAINED = 3, 500
#: The share of the differing rows that a cause must explain, and the fewest rows from which one is named.
_MOST, _FEWEST = 0.8, 5
#: The relative difference of two numbers that count as equal, and of ratios that count as one factor.
_CLOSE, _SAME_FACTOR = 1e-5, 1e-3


@dataclass(frozen=True)
class Pairs:
    """Rows as they were served and as training would have them, in the same order.

    Attributes:
        rows: Their positions among the served rows whose inputs are all known.
        served: Their columns as they were served.
        joined: Their columns as training would have them; those that only requests have are missing.
    """

    rows: Array
    served: Columns
    joined: Columns


def pair_rows(window: Window, events: Columns, tables: Mapping[str, Columns]) -> Pairs | None:
    """Return the served rows beside what training would know of them; None where there are none to compare.

    Args:
        window: The window; what cannot be compared is noted.
        events: What events() returns for the window.
        tables: The rows of each table that its events may see.
    """
    case = window.case
    served = window.select(window.complete)
    place = {key: row for row, key in enumerate(events[case.key].tolist())}
    at = np.array([place.get(key, -1) for key in served[case.key].tolist()], dtype=np.int64)
    if strangers := int(np.sum(at < 0)):
        window.notes.append(
            f"{strangers} served row(s) are not compared with the join: events() does not return their {case.key}"
        )
    chosen = np.flatnonzero(at >= 0)
    if len(chosen) > SAMPLE:
        chosen = chosen[np.linspace(0, len(chosen) - 1, SAMPLE).astype(np.int64)]
    if not len(chosen):
        return None
    rows = {name: values for name, values in c.select_rows(events, at[chosen]).items() if name != case.target}
    joined = join(case, rows, tables) if case.tables else rows
    return Pairs(chosen, c.select_rows(served, chosen), joined)


def measure_skew(
    window: Window,
    pairs: Pairs,
    inputs: Collection[str],
    features: tuple[Columns, Columns],
    tables: Mapping[str, Columns],
) -> dict[str, Any]:
    """Compare inputs and features; return what the report contains about them.

    Args:
        window: The window, to which checks are added.
        pairs: The rows that are compared.
        inputs: The inputs of the serving model.
        features: What its own code makes of the rows whose inputs are all known, and of the pairs' joined rows.
        tables: The rows of each table.
    """
    case, served, joined = window.case, pairs.served, pairs.joined
    count = c.count_rows(served)
    # A column that only requests have is the same on both sides.
    compared: dict[str, tuple[Array, Array]] = {name: (served[name], joined.get(name, served[name])) for name in inputs}
    compared |= {name: (values[pairs.rows], features[1][name]) for name, values in features[0].items()}
    differs = {name: ~_are_equal(*pair) for name, pair in compared.items()}
    clock = _check_clock(window, served[case.event_time], joined[case.event_time])
    wrong = {name: rows for name, rows in differs.items() if rows.any()}
    causes = {name: _find_cause(case, name, wrong[name], *compared[name], joined, tables) for name in wrong}
    if clock is not None:
        # Features of time differ with it.
        causes = {name: cause or f"follows {case.event_time}: {clock}" for name, cause in causes.items()}
    for name, rows in wrong.items():
        share = float(rows.mean())
        cause = causes[name]
        text = f"{name} differs from training in {int(rows.sum())} of {count} rows{f': {cause}' if cause else ''}"
        window.add_check(MonitorAlarm.SKEW, share, case.monitoring.skew_alarm, text, name, cause)
    any_wrong = np.any(list(differs.values()), axis=0) if differs else np.zeros(count, dtype=bool)
    if not wrong:
        window.add_check(
            MonitorAlarm.SKEW, 0.0, case.monitoring.skew_alarm, f"no feature of {count} rows differs from training"
        )
    return {
        "skew": {
            "share": float(any_wrong.mean()),
            "rows": int(any_wrong.sum()),
            "compared": count,
            "columns": {name: int(rows.sum()) for name, rows in wrong.items()},
            "causes": {name: cause for name, cause in causes.items() if cause},
            "examples": [
                {
                    "key": served[case.key][row],
                    "columns": {
                        name: {"served": _plain(compared[name][0][row]), "joined": _plain(compared[name][1][row])}
                        for name in wrong
                        if wrong[name][row]
                    },
                }
                for row in np.flatnonzero(any_wrong)[:SHOWN]
            ],
        }
    }


def _are_equal(left: Array, right: Array) -> Array:
    """Return a mask of the equal values; two missing ones are equal."""
    missing = is_missing(left) & is_missing(right)
    if left.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            near = np.abs(left - right) <= _CLOSE * np.maximum(1.0, np.maximum(np.abs(left), np.abs(right)))
        return np.asarray(near | (left == right) | missing)
    return np.asarray((left == right) | missing)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# -- causes ------------------------------------------------------------------------------------------------------------


def _check_clock(window: Window, served: Array, known: Array) -> str | None:
    """Compare the times of requests with those of their events; return the likely cause where they differ."""
    case = window.case
    differs = served != known
    text = f"{case.event_time} of {int(differs.sum())} of {len(served)} rows is not that of their event"
    cause = ""
    if differs.any():
        offsets, counts = np.unique((served - known)[differs], return_counts=True)
        if counts.max() >= _MOST * differs.sum():
            hours = offsets[counts.argmax()] / np.timedelta64(1, "h")
            cause = f"clock, a constant offset of {hours:+g} hours"
            text = f"{text}: {cause}"
    window.add_check(
        MonitorAlarm.CLOCK, float(differs.mean()), case.monitoring.skew_alarm, text, case.event_time, cause
    )
    return cause or None


def _find_cause(
    case: UseCase,
    name: str,
    differs: Array,
    served: Array,
    known: Array,
    joined: Columns,
    tables: Mapping[str, Columns],
) -> str:
    """Return why a column's served values differ, as a clause; empty where no cause shows."""
    rows = np.flatnonzero(differs)[:EXPLAINED]
    if len(rows) < _FEWEST:
        return ""
    mine, theirs = served[rows], known[rows]
    absent = is_missing(mine)
    if absent.mean() >= _MOST:
        return "missing where training has a value"
    if (is_missing(theirs) & ~absent).mean() >= _MOST:
        return "default, a value where training has none"
    both = ~absent & ~is_missing(theirs)
    if both.mean() < _MOST:
        return ""
    mine, theirs = mine[both], theirs[both]
    for table in case.tables:
        if name in {make_feature_name(table.name, column) for column in table.columns} and _is_stale(
            case, table.name, name, rows[both], served, joined, tables
        ):
            return "stale, an older record of the same entity"
    if mine.dtype.kind == "f":
        return _find_numeric_cause(mine.astype(np.float64), theirs.astype(np.float64))
    alike = [str(a).strip().casefold() == str(b).strip().casefold() for a, b in zip(mine, theirs, strict=True)]
    if np.mean(alike) >= _MOST:
        return "spelling, the same text but for case and blanks"
    return f"default, always {mine[0]!r}" if len(set(mine.tolist())) == 1 and len(set(theirs.tolist())) > 1 else ""


def _find_numeric_cause(mine: Array, theirs: Array) -> str:
    """Return the cause of numbers that differ: a unit, an offset, or a default."""
    if len(np.unique(mine)) == 1 and len(np.unique(theirs)) > 1:
        return f"default, always {mine[0]:g}"
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = mine / theirs
    offsets = mine - theirs
    middle = float(np.median(ratios[np.isfinite(ratios)])) if np.isfinite(ratios).any() else np.nan
    if np.isfinite(middle) and np.mean(np.abs(ratios - middle) <= _SAME_FACTOR * abs(middle)) >= _MOST:
        return f"unit, a constant factor of {middle:.6g}"
    shift = float(np.median(offsets))
    if np.mean(np.abs(offsets - shift) <= _SAME_FACTOR * max(abs(shift), 1e-12)) >= _MOST:
        return f"unit, a constant difference of {shift:.6g}"
    return ""


def _is_stale(
    case: UseCase, table: str, name: str, rows: Array, served: Array, joined: Columns, tables: Mapping[str, Columns]
) -> bool:
    """Tell whether served values are those of older records of the same entities."""
    declared = next(each for each in case.tables if each.name == table)
    records, column = tables[table], name.removeprefix(f"{table}_")
    order = np.lexsort((records[declared.event_time], records[declared.entity].astype(str)))
    entities, times = records[declared.entity][order].astype(str), records[declared.event_time][order]
    values = records[column][order]
    asked = compute_prediction_times(case, joined[case.event_time][rows])
    found = 0
    for row, time in zip(rows.tolist(), asked, strict=True):
        entity = str(joined[declared.entity][row])
        first, last = np.searchsorted(entities, entity, "left"), np.searchsorted(entities, entity, "right")
        known = values[first : first + np.searchsorted(times[first:last], time, "right")]
        found += bool(np.any(known[:-1] == served[row]))
    return found >= _MOST * len(rows)
