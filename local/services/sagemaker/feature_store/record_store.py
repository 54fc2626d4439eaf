"""Records of feature groups: the online store, and the buffered rows for the offline store.

Both are in one SQLite file, so that one put is one transaction. A row whose request was answered survives a kill.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.core.context import Cloud

_SCHEMA = """
CREATE TABLE IF NOT EXISTS online (
    feature_group TEXT NOT NULL,
    id TEXT NOT NULL,
    event_time REAL NOT NULL,
    deleted INTEGER NOT NULL,
    expires REAL,
    body TEXT NOT NULL,
    PRIMARY KEY (feature_group, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buffer (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    feature_group TEXT NOT NULL,
    event_time REAL NOT NULL,
    hour INTEGER NOT NULL,
    written REAL NOT NULL,
    body TEXT NOT NULL,
    batch TEXT
);
CREATE INDEX IF NOT EXISTS buffer_by_batch ON buffer (batch);
"""

#: The epoch second of the latest date, in the year 9999: no event time or expiry time is after it.
LATEST = 253402300799.0

#: A record replaces one with an older or equal event time, and any expired one.
_UPSERT = """
INSERT INTO online (feature_group, id, event_time, deleted, expires, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (feature_group, id) DO UPDATE SET
    event_time = excluded.event_time, deleted = excluded.deleted, expires = excluded.expires, body = excluded.body
WHERE excluded.event_time >= online.event_time OR online.expires <= ?
"""


@dataclass(frozen=True)
class Record:
    """One record of the online store.

    Attributes:
        event_time: Epoch seconds.
        values: Feature values as text, by name, in the order of the request.
        expires: Epoch seconds, or None.
        deleted: Whether it was soft-deleted; then it keeps only its event time.
    """

    id: str
    event_time: float
    values: dict[str, str]
    expires: float | None = None
    deleted: bool = False


@dataclass(frozen=True)
class Row:
    """One row for the offline store; ``values`` have the types of the columns."""

    feature_group: str
    event_time: float
    written: float
    values: dict[str, Any]


class RecordStore:
    """The records of one cloud; safe for use by many threads."""

    def __init__(self, cloud: Cloud) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(cloud.state / "online.sqlite", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        # Data survives the end of the process; only a power failure may lose the last writes.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # -- online ------------------------------------------------------------------------------------------------------

    def get(self, group: str, name: str) -> Record | None:
        """Return the record, even a soft-deleted one; None if it does not exist or has expired.

        Args:
            group: The ARN of the feature group.
            name: The record identifier as text.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT id, event_time, body, expires, deleted FROM online WHERE feature_group = ? AND id = ?",
                (group, name),
            ).fetchone()
        if row is None or (row[3] is not None and row[3] <= time.time()):
            return None
        return Record(row[0], row[1], json.loads(row[2]), row[3], bool(row[4]))

    def put(self, group: str, record: Record | None, row: Row | None) -> None:
        """Write the given record and the given row in one transaction.

        Args:
            group: The ARN of the feature group.
            record: The record for the online store, which keeps a newer one instead; None to write only the row.
            row: The row to buffer for the offline store; None to write only the record.
        """
        with self._transaction() as db:
            if record is not None:
                body = json.dumps(record.values, separators=(",", ":"))
                values = (group, record.id, record.event_time, record.deleted, record.expires, body, time.time())
                db.execute(_UPSERT, values)
            _append_row(db, row)

    def erase(self, group: str, name: str, event_time: float, row: Row | None) -> bool:
        """Hard-delete the record and return True; if it is newer, write nothing and return False."""
        with self._transaction() as db:
            existing = self.get(group, name)
            if existing is not None and existing.event_time > event_time:
                return False
            db.execute("DELETE FROM online WHERE feature_group = ? AND id = ?", (group, name))
            _append_row(db, row)
            return True

    def list_ids(self, group: str, after: str, limit: int, *, with_deleted: bool) -> list[str]:
        """Return at most ``limit`` record identifiers greater than ``after``, in order."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id FROM online WHERE feature_group = ? AND id > ? AND (deleted = 0 OR ?)"
                " AND (expires IS NULL OR expires > ?) ORDER BY id LIMIT ?",
                (group, after, with_deleted, time.time(), limit),
            ).fetchall()
        return [row[0] for row in rows]

    def delete_group(self, group: str) -> None:
        """Delete all online records of a group."""
        with self._transaction() as db:
            db.execute("DELETE FROM online WHERE feature_group = ?", (group,))

    def measure_size(self, group: str) -> int:
        """Return the size of all online records of a group, in characters of identifiers and JSON."""
        with self._lock:
            (size,) = self._db.execute(
                "SELECT COALESCE(SUM(LENGTH(id) + LENGTH(body)), 0) FROM online WHERE feature_group = ?", (group,)
            ).fetchone()
        return int(size)

    # -- buffered rows -----------------------------------------------------------------------------------------------

    def measure_buffer(self) -> tuple[int, float]:
        """Return the approximate number of buffered rows, and the time of the oldest one (epoch seconds)."""
        with self._lock:
            count, oldest = self._db.execute(
                "SELECT COALESCE(MAX(sequence) - MIN(sequence) + 1, 0), "
                "(SELECT written FROM buffer ORDER BY sequence LIMIT 1) FROM buffer"
            ).fetchone()
        return int(count), float(oldest or 0.0)

    def assign_batches(self, new_batch: str) -> list[str]:
        """Assign each row without a batch to one, by group and hour of event time; return all batches.

        A batch never changes once it is created, so that writing it again writes the same file.
        """
        with self._transaction() as db:
            db.execute(
                "UPDATE buffer SET batch = feature_group || '|' || hour || '|' || ? WHERE batch IS NULL", (new_batch,)
            )
            return [row[0] for row in db.execute("SELECT batch FROM buffer GROUP BY batch ORDER BY MIN(sequence)")]

    def read_batch(self, batch: str) -> list[Row]:
        """Return the rows of a batch in the order in which they were written."""
        with self._lock:
            found = self._db.execute(
                "SELECT feature_group, event_time, written, body FROM buffer WHERE batch = ? ORDER BY sequence",
                (batch,),
            ).fetchall()
        return [Row(row[0], row[1], row[2], json.loads(row[3])) for row in found]

    def delete_batch(self, batch: str) -> None:
        """Delete a batch, which is in the offline store now."""
        with self._transaction() as db:
            db.execute("DELETE FROM buffer WHERE batch = ?", (batch,))


def _append_row(db: sqlite3.Connection, row: Row | None) -> None:
    if row is not None:
        db.execute(
            "INSERT INTO buffer (feature_group, event_time, hour, written, body) VALUES (?, ?, ?, ?, ?)",
            (
                row.feature_group,
                row.event_time,
                int(row.event_time // 3600),
                row.written,
                json.dumps(row.values, separators=(",", ":")),
            ),
        )
