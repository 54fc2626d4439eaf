"""The sample that is committed with a use case: few rows, spread over the newest period, in time order."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from cli.console.errors import CliError
from cli.scaffold import times
from cli.scaffold.plan import SPREAD, Plan, midnight
from cli.scaffold.source import Note, Source
from cli.scaffold.times import Form

Array = npt.NDArray[Any]

#: Maximum rows and bytes of the sample, which is committed with the code and is part of every bundle.
MOST_ROWS, MOST_BYTES = 2000, 300_000
#: Minimum rows with an outcome, and of these before the replay's start: the default holdout is a fifth of the training
#: rows, and with fewer than 30 rows its metrics mean nothing.
FEWEST = 200
_TRAINED = 150
#: Days of history that training uses by default; days of the sample that should follow the replay's start; and the
#: largest share of its rows before that start.
_HISTORY, _AFTER, _SHARE = 365, 21, 0.7
#: Maximum days of history that a declaration may ask for, less a margin.
_OLDEST = 99 * 365
#: Minimum rows in the monitor's window for meaningful drift and quality.
_WATCHED = 300


def measure_distinct_shares(source: Source, candidates: list[str], note: Note) -> dict[str, float]:
    """Return the number of different values of each column as a share of all rows: 1 if no value occurs twice."""
    found: dict[str, list[Array]] = {name: [] for name in candidates}
    if not candidates:
        return {}
    for batch in source.read_batches(note, candidates):
        for name, parts in found.items():
            parts.append(_hashes(batch.column(name)))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: len(np.unique(values)) / len(values) for name, values in joined.items()}


def refuse_duplicates(source: Source, key: str, note: Note) -> None:
    """Refuse a key that is not unique.

    Raises:
        CliError: When a value occurs twice, with the first two of its rows.
    """
    hashes = np.concatenate([_hashes(batch.column(key)) for batch in source.read_batches(note, [key])])
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if not len(same):
        return
    first = min(same, key=lambda place: int(order[place + 1]))
    rows = sorted((int(order[first]), int(order[first + 1])))
    value = _value(source, key, rows[0])
    count = len(np.unique(hashes[order][same]))
    raise CliError(
        f"--key {key!r}",
        (f"is not unique: {value!r} is in rows {rows[0] + 1} and {rows[1] + 1}, and {count:,} value(s) are in several"),
        expected="one event per key",
        fix="name another column, or --key none for the row's number",
    )


def read_times(source: Source, column: str, form: Form, note: Note) -> Array:
    """Return the time of every row.

    Raises:
        CliError: When a time is invalid, missing or implausible, with the first such row.
    """
    parts: list[Array] = []
    done = 0
    for batch in source.read_batches(note, [column]):
        values = batch.column(column)
        try:
            parsed = times.parse(values, form)
        except ValueError as error:
            row = int(error.args[0])
            raise CliError(
                f"--event-time {column!r}: row {done + row + 1}",
                f"is {values[row].as_py()!r}, which is not a time",
                expected=form.text,
                fix="correct the file, or give the format with --time-format, e.g. %d/%m/%Y",
            ) from error
        if (gone := np.flatnonzero(np.isnat(parsed))).size:
            raise CliError(
                f"--event-time {column!r}",
                f"is missing in row {done + int(gone[0]) + 1}",
                expected="a time in every row",
                fix="correct the file, name another column, or --event-time none for file order",
            )
        parts.append(parsed)
        done += len(parsed)
    found = np.concatenate(parts)
    _refuse_years(column, form, found)
    return found


def _refuse_years(column: str, form: Form, found: Array) -> None:
    """Refuse times outside `times.YEARS`.

    Raises:
        CliError: When a time is outside, with the first such row.
    """
    first, last = times.YEARS
    wrong = np.flatnonzero((found < np.datetime64(f"{first}-01-01")) | (found >= np.datetime64(f"{last + 1}-01-01")))
    if wrong.size:
        row = int(wrong[0])
        raise CliError(
            f"--event-time {column!r}: row {row + 1}",
            (
                f"is of {found[row].astype('datetime64[D]')}, and {wrong.size:,} of {len(found):,} rows "
                f"are not of {first} to {last}"
            ),
            fix=(
                f"remove such rows or correct their times, or, if they are not written as {form.text}, "
                "give the format with --time-format"
            ),
        )


def explain_late_times(source: Source, column: str, form: Form, stamps: Array, note: Note) -> str | None:
    """Return why a column's times are not all before their events, with the first such row; None if they are."""
    done = 0
    for batch in source.read_batches(note, [column]):
        values = batch.column(column)
        try:
            parsed = times.parse(values, form)
        except ValueError as error:
            row = int(error.args[0])
            return f"row {done + row + 1} is {values[row].as_py()!r}, which is not a time: correct the file"
        parsed = times.drop_open_ends(parsed)
        if (after := np.flatnonzero(parsed > stamps[done : done + len(parsed)])).size:
            return f"row {done + int(after[0]) + 1} contains a time after the event, which is not known yet"
        done += len(parsed)
    return None


def take_sample(source: Source, plan: Plan, all_times: Array | None, now: datetime, note: Note) -> tuple[Plan, bytes]:
    """Take the sample; return the plan completed with what follows from the sample, and the sample as CSV.

    Args:
        source: The file.
        plan: The plan so far.
        all_times: The time of every row of the file; None if the file has no times.
        now: The current time, in UTC.
        note: Receives the progress.

    Raises:
        CliError: When too few rows have an outcome, when rows are too large, or when times cannot be right.
    """
    known = _has_outcome(source, plan, note)
    if known.sum() < FEWEST:
        refuse_few(f"{int(known.sum())} rows of {source.path} have an outcome")
    if all_times is not None:
        _refuse_future_years(plan, all_times[known], np.flatnonzero(known), now)
    rows = len(known) if all_times is None else _choose_newest_rows(all_times)
    text, chosen = _write_sample(source, plan, rows, note)
    plan = replace(plan, sample_rows=len(chosen), delimiter=source.delimiter if source.is_csv else ",")
    plan = replace(
        plan,
        decimal=source.decimal,
        raw_names=source.raw_names,
        readings=source.readings,
        skipped=source.skipped,
    )
    if all_times is None:
        last = midnight(now.date())
        # The same times as `_arrivals` in the template data.py.j2 computes.
        step = np.timedelta64(SPREAD, "D").astype("timedelta64[us]") // len(chosen)
        stamps = np.datetime64(last, "us") - step * np.arange(len(chosen))[::-1]
        plan = replace(plan, last=last)
    else:
        stamps = all_times[chosen]
        _refuse_old_sample(plan.columns["event_time"], all_times, stamps, now)
    return add_time_span(plan, stamps, known[chosen], now), text


def refuse_few(said: str) -> NoReturn:
    """Raise an error about too few rows.

    Raises:
        CliError: Always.
    """
    raise CliError(
        said,
        expected=f"at least {FEWEST}",
        fix=("the gates are measured on the newest fifth of the training rows, and are meaningless below 30 rows"),
    )


def _refuse_future_years(plan: Plan, found: Array, rows: Array, now: datetime) -> None:
    """Refuse two-digit years that put rows with an outcome into the future.

    Args:
        plan: The plan, with the format of the times.
        found: The times of the rows with an outcome.
        rows: The numbers of these rows in the file, from 0.
        now: The current time, in UTC.

    Raises:
        CliError: When a year is in the future, with the first such row.
    """
    late = np.flatnonzero(found > np.datetime64(now.replace(tzinfo=None), "us"))
    if plan.form and "%y" in plan.form.format and late.size:
        first = int(late[0])
        raise CliError(
            (f"--event-time {plan.columns['event_time']!r}: as {plan.form.format} row {rows[first] + 1}"),
            (
                f"is of {found[first].astype('datetime64[D]')}, and {late.size:,} of {len(found):,} "
                "rows with an outcome are later than today"
            ),
            fix=(
                "two-digit years 00 to 68 are read as 2000 and later: write years with four digits, "
                "or, if the times have a different format, give it with --time-format"
            ),
        )


def _refuse_old_sample(column: str, all_times: Array, stamps: Array, now: datetime) -> None:
    """Refuse a sample that begins earlier than training can look back.

    Raises:
        CliError: When it does, with the oldest row and the number of rows that are too old.
    """
    last = min(stamps[-1], np.datetime64(now.replace(tzinfo=None), "us"))
    bound = (last - np.timedelta64(_OLDEST, "D")).astype("datetime64[D]")
    old = np.flatnonzero(all_times < bound)
    if stamps[0] < bound:
        first = int(old[np.argmin(all_times[old])])
        raise CliError(
            f"--event-time {column!r}: row {first + 1}",
            (
                f"is of {all_times[first].astype('datetime64[D]')}, but training looks back "
                f"{_OLDEST // 365} years at most"
            ),
            fix=(
                f"remove the rows before {bound} ({old.size:,} of {len(all_times):,}), correct their "
                "times, or name another column"
            ),
        )


def add_time_span(plan: Plan, stamps: Array, known: Array, now: datetime) -> Plan:
    """Return the plan completed with what follows from the times of the sample's rows.

    Raises:
        CliError: When too few rows with an outcome are in the past.
    """
    past = known & (stamps < np.datetime64(now.replace(tzinfo=None), "us"))
    if past.sum() < FEWEST:
        raise CliError(
            "the sample",
            f"has {int(past.sum())} rows that lie in the past and have an outcome",
            expected=f"at least {FEWEST}",
            fix=f"check whether {plan.event_time} has a different format than assumed",
        )
    start = _replay_from(stamps[past])
    until = stamps[-1] + np.timedelta64(1, "us")
    trained = (start - stamps[0]) / np.timedelta64(1, "D")
    days = max((until - stamps[0]) / np.timedelta64(1, "D"), 1.0)
    per_day = len(stamps) / days
    window = 28 if per_day * 28 >= _WATCHED else min(math.ceil(_WATCHED / per_day / 7) * 7, math.ceil(days / 14) * 7)
    return replace(
        plan,
        replay_from=_datetime(start),
        since=_datetime(stamps[0]),
        until=_datetime(until),
        history_days=math.ceil(trained / 30 + 1) * 30 if trained > _HISTORY else None,
        window_days=None if window <= 28 else window,
        per_day=per_day,
    )


def _replay_from(stamps: Array) -> np.datetime64:
    """Return the start of the replay: enough rows before it to train on and, if possible, weeks after it to replay."""
    place = int(len(stamps) * _SHARE)
    enough = int(np.searchsorted(stamps, stamps[-1] - np.timedelta64(_AFTER, "D")))
    if enough >= max(_TRAINED, len(stamps) // 2):
        place = min(place, enough)
    place = max(place, _TRAINED)
    for unit in ("D", "h", "m", "s"):
        start = stamps[place].astype(f"datetime64[{unit}]").astype("datetime64[us]")
        if np.searchsorted(stamps, start) >= _TRAINED:
            return start  # type: ignore[no-any-return]
    return stamps[place] + np.timedelta64(1, "us")  # type: ignore[no-any-return]


def _has_outcome(source: Source, plan: Plan, note: Note) -> Array:
    column = plan.columns["target"]
    parts = [
        batch.column(column).is_valid().to_numpy(zero_copy_only=False) for batch in source.read_batches(note, [column])
    ]
    return np.concatenate(parts)


def _choose_newest_rows(all_times: Array) -> Array:
    """Return the rows over which the sample is spread, in time order: those of the newest period."""
    order = np.argsort(all_times, kind="stable")
    since = all_times[order[-1]] - np.timedelta64(_HISTORY + 90, "D")
    within = len(order) - int(np.searchsorted(all_times[order], since))
    return order[-max(within, MOST_ROWS) :]


def _write_sample(source: Source, plan: Plan, rows: int | Array, note: Note) -> tuple[bytes, Array]:
    """Return the sample as CSV, and the numbers of its rows in the file, in time order."""
    candidates = np.arange(rows) if isinstance(rows, int) else rows
    read = [feature.column for feature in plan.features] + list(dict.fromkeys(plan.columns.values()))
    names = [name for name in source.columns if name in set(read)]
    count = min(MOST_ROWS, len(candidates))
    while True:
        chosen = candidates[np.unique(np.linspace(0, len(candidates) - 1, count).round().astype(int))]
        header = [source.raw_names.get(name, name) for name in names]
        text = _csv(header, _read_rows(source, names, chosen, note), source.delimiter if source.is_csv else ",")
        if source.skipped:
            text = f"{source.skipped}\n".encode() + text
        if len(text) <= MOST_BYTES:
            return text, chosen
        count = int(count * MOST_BYTES / len(text) * 0.97)
        if count < FEWEST:
            raise CliError(
                f"{FEWEST} rows of {source.path}",
                f"have more than {MOST_BYTES:,} bytes, which is too much for a sample that is stored with the code",
                fix="leave long columns out with --leave-out",
            )


def _read_rows(source: Source, names: list[str], chosen: Array, note: Note) -> list[tuple[Any, ...]]:
    """Return rows of the file in the order of ``chosen``."""
    import pyarrow as pa

    order = np.argsort(chosen, kind="stable")
    wanted, parts, done = chosen[order], [], 0
    # Keep the raw cells, because data.py reads the sample in the same way as the file.
    for batch in source.read_batches(note, names, raw=True):
        low, high = np.searchsorted(wanted, [done, done + batch.num_rows])
        if high > low:
            index = pa.array(wanted[low:high] - done)
            parts.append(pa.table({name: _truncate_times(batch.column(name).take(index)) for name in names}))
        done += batch.num_rows
    columns = [[_convert_to_csv(value) for value in pa.concat_tables(parts)[name].to_pylist()] for name in names]
    found = list(zip(*columns, strict=True))
    back = np.empty(len(order), dtype=int)
    back[order] = np.arange(len(order))
    return [found[place] for place in back.tolist()]


def _truncate_times(values: Any) -> Any:
    """Truncate times to microseconds, the resolution of Python's datetime."""
    import pyarrow as pa

    if pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("us", values.type.tz), safe=False)
    return values


def _convert_to_csv(value: Any) -> Any:
    """Convert a value to the form that is written to CSV."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ") if value.tzinfo is None else value.astimezone(UTC).isoformat(sep=" ")
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value).lower() if isinstance(value, bool) else value


def _csv(names: list[str], rows: list[tuple[Any, ...]], delimiter: str) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return stream.getvalue().encode()


def _hashes(values: Any) -> Array:
    """Return a 64-bit number for each value, so that values of every type need eight bytes a row."""
    import pyarrow as pa

    if pa.types.is_integer(values.type):
        # Use integers as they are: Python's hashes of -1 and -2 are equal.
        return np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.int64)
    return np.fromiter((hash(value) for value in values.to_pylist()), np.int64, len(values))


def _value(source: Source, column: str, row: int) -> Any:
    for batch in source.read_batches(lambda _: None, [column]):
        if row < batch.num_rows:
            return batch.column(column)[row].as_py()
        row -= batch.num_rows
    return None


def _datetime(time: np.datetime64) -> datetime:
    found: datetime = time.astype("datetime64[us]").item()
    return found
