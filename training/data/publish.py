"""The publish step: brings the feature store up to date with the tables.

The endpoint needs one row of each entity, the newest: it goes to the online store and, like every record there, to the
offline store. Older rows that are new go to the offline store alone: if the table has a `max_age`, those within it
before the newest row, otherwise none. A backfill writes all rows, also those that an earlier run has written: the
offline store only grows, and its readers take the newest write of a row.

The online store decides what is new: rows known later than an entity's record there, or rows of the same time with
other content, as after a column was added. So a second run writes nothing, and a run as of an earlier time reverts
nothing. The newest row is written last, so that the next run completes one that was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace import FeatureTable
from millrace.errors import DataError, MillraceError
from training import columns as c
from training.columns import Array, Columns, is_missing
from training.data.feature_store import Record, StoreError, fetch_records, format_value, parse_known_at
from training.data.snapshot import Snapshot
from training.data.validate import Findings, find_broken_rows
from training.functions import get_lookback
from training.io import format_time, print_progress
from training.job import Job

#: Records written concurrently, and seconds between two lines of progress.
THREADS, PROGRESS = 16, 5.0


@dataclass(frozen=True)
class Row:
    """A row of a table to be written."""

    table: str
    entity: str
    record: Record
    online: bool
    """True if it goes to both stores, False if to the offline store alone."""


def run_publish(job: Job, as_of: str) -> None:
    """Publish the rows known at a data time, as far back as a row may count.

    Args:
        job: This job.
        as_of: A data time in ISO 8601, or ``now``.

    Raises:
        DataError: When a row has no entity or event time, or a number is infinite.
        MillraceError: When a feature group is missing or a record is refused.
    """
    now = job.find_data_time(as_of)
    # The end is exclusive, and a row that becomes known exactly now counts.
    until = now + np.timedelta64(1, "us")
    data = {table.name: job.functions.table(table, now - get_lookback(table), until) for table in job.use_case.tables}
    publish_tables(job, _accepted(job, Snapshot(now, now, data)), backfill=False)


def publish_snapshot(job: Job, *, backfill: bool) -> None:
    """Publish the tables of the validated snapshot that a training uses.

    Args:
        job: This job.
        backfill: Whether all rows go to the offline store, not only new ones.

    Raises:
        DataError: When the snapshot cannot be read, or a number is infinite.
        MillraceError: When a feature group is missing or a record is refused.
    """
    snapshot, _ = Snapshot.read(job.get_input_folder("snapshot"))
    publish_tables(job, snapshot, backfill=backfill)


def publish_tables(job: Job, snapshot: Snapshot, *, backfill: bool) -> None:
    """Publish the tables of a validated snapshot.

    Args:
        job: This job.
        snapshot: The validated tables.
        backfill: Whether all its rows go to the offline store.

    Raises:
        MillraceError: When a feature group is missing or a record is refused.
    """
    client = job.make_client("sagemaker-featurestore-runtime")
    for table in job.use_case.tables:
        began = time.monotonic()
        older, newest = _new_rows(job, client, table, snapshot.data[table.name], backfill)
        group = job.names.feature_group(table.name)
        for rows in (older, newest):
            _put_all(client, group, rows)
        print_progress(
            f"published {table.name} as of {format_time(snapshot.as_of)}: {len(newest)} row(s) online, "
            f"{len(older)} more offline, {time.monotonic() - began:.1f} s"
        )


def _accepted(job: Job, snapshot: Snapshot) -> Snapshot:
    """Return the rows that break no expectation: the endpoint must not see rows that training does not see.

    Raises:
        DataError: When an entity or an event time is missing.
    """
    findings = Findings(job.use_case, snapshot)
    data: dict[str, Columns] = {}
    for table in job.use_case.tables:
        rows = snapshot.data[table.name]
        for column in (table.entity, table.event_time):
            if (missing := is_missing(rows[column])).any():
                raise DataError(
                    f"{table.name}: {column}", f"is missing in {missing.sum()} row(s)", expected="a value in every row"
                )
        bad = np.zeros(c.count_rows(rows), dtype=bool)
        for rule in job.use_case.expectations:
            if rule.table == table.name:
                # Drop all rows that break it: they are too few to judge their share.
                always = rule.model_copy(update={"max_bad": 1.0, "max_missing": 1.0})
                bad |= find_broken_rows(always, rows, findings)
        if bad.any():
            print_progress(f"{table.name}: left out {bad.sum()} row(s) that break a rule")
        data[table.name] = c.select_rows(rows, ~bad)
    return Snapshot(snapshot.as_of, snapshot.since, data)


def _new_rows(job: Job, client: Any, table: FeatureTable, rows: Columns, backfill: bool) -> tuple[list[Row], list[Row]]:
    """Return the rows for the offline store alone, and those for both stores."""
    entities, known = rows[table.entity], rows[table.event_time]
    # Of rows known at the same time the last one counts, as in the join.
    order = np.lexsort((known, entities.astype(str)))
    is_newest = np.ones(len(order), dtype=bool)
    is_newest[:-1] = entities[order][1:] != entities[order][:-1]
    group = job.names.feature_group(table.name)
    there = _there(client, group, entities[order][is_newest])
    newest, bound = [], {}
    for index in order[is_newest].tolist():
        row = _row(table, rows, index, online=True)
        record = there.get(row.entity)
        # Every comparison with NaT is false.
        bound[row.entity] = parse_known_at(table, group, record) if record else np.datetime64("NaT", "us")
        if record != row.record and not known[index] < bound[row.entity]:
            newest.append(row)
    older = []
    for index in _candidates(table, known, order, is_newest, backfill):
        if backfill or not known[index] <= bound[entities[index]]:
            older.append(_row(table, rows, index, online=False))
    return older, newest


def _candidates(table: FeatureTable, known: Array, order: Array, is_newest: Array, backfill: bool) -> Iterator[int]:
    """Yield, in order, rows that may be published although they are not the newest of their entity."""
    if not backfill and table.max_age is None:
        return
    newest = np.flatnonzero(is_newest)
    position = np.searchsorted(newest, np.arange(len(order)))
    ages = known[order[newest[position]]] - known[order]
    within = np.ones(len(order), dtype=bool)
    if not backfill and table.max_age is not None:
        within = ages <= np.timedelta64(table.max_age, "us")
    yield from order[~is_newest & within].tolist()


def _there(client: Any, group: str, entities: Array) -> dict[str, Record]:
    try:
        found = fetch_records(client, {group: [str(entity) for entity in entities]})
    except StoreError as error:
        raise StoreError(
            f"{error}", fix="deploy first: `pulumi up` creates the group that the features pipeline needs"
        ) from error
    return {entity: record for (_, entity), record in found.items()}


def _row(table: FeatureTable, rows: Columns, index: int, *, online: bool) -> Row:
    entity = str(rows[table.entity][index])
    record = {
        table.entity: entity,
        table.event_time: f"{np.datetime_as_string(rows[table.event_time][index], unit='ms')}Z",
    }
    for name in table.columns:
        value = rows[name][index]
        text = format_value(value)
        if text is None:
            continue
        if not isinstance(value, str) and np.isinf(value):
            where = f"{table.name}: {name} of {entity!r} at {record[table.event_time]}"
            raise DataError(where, f"is {text}", expected="a finite number")
        record[name] = text
    return Row(table.name, entity, record, online)


def _put_all(client: Any, group: str, rows: list[Row]) -> None:
    """Write rows with several threads; stop at the first failure."""
    said = time.monotonic()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for done, _ in enumerate(pool.map(lambda row: _put(client, group, row), rows), 1):
            if time.monotonic() - said >= PROGRESS:
                said = time.monotonic()
                print_progress(f"{group}: {done} of {len(rows)} records")
    finally:
        pool.shutdown(cancel_futures=True)


def _put(client: Any, group: str, row: Row) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    stores: Mapping[str, Any] = {} if row.online else {"TargetStores": ["OfflineStore"]}
    record = [{"FeatureName": name, "ValueAsString": text} for name, text in row.record.items()]
    try:
        client.put_record(FeatureGroupName=group, Record=record, **stores)
    except (BotoCoreError, ClientError) as error:
        raise MillraceError(
            f"table {row.table}, entity {row.entity!r}: PutRecord to {group}", f"failed: {error}"
        ) from error
