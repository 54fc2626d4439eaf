"""SageMaker's state: JSON documents in one SQLite file, each under a kind, a region and a name.

A document is what ``Describe…`` answers, with times as epoch seconds, plus members that start with an
underscore and never leave the process (see :func:`public`). Every write is durable when it returns.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Document = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, region, name)
);
CREATE INDEX IF NOT EXISTS documents_in_any_case ON documents (kind, region, name COLLATE NOCASE);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


def public(document: Document) -> Document:
    """The document without its private members: what a client may see."""
    return {key: value for key, value in document.items() if not key.startswith("_")}


class Store:
    """Documents by kind, region and name; safe for use by many threads.

    ``transaction`` makes several calls one unit: other threads wait, an exception undoes all of it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; the store is unusable afterwards."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be nested, the outermost one decides."""
        with self._lock:
            outermost = self._depth == 0
            if outermost:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                if outermost:
                    self._db.execute("ROLLBACK")
                raise
            else:
                if outermost:
                    self._db.execute("COMMIT")
            finally:
                self._depth -= 1

    def get(self, kind: str, region: str, name: str) -> Document | None:
        """The document, a fresh copy, or None."""
        with self._lock:
            row = self._db.execute(
                "SELECT body FROM documents WHERE kind = ? AND region = ? AND name = ?", (kind, region, name)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def spelling(self, kind: str, region: str, name: str) -> str | None:
        """Return the name under which a document is kept whose name is this one in any case, or None.

        Earlier versions kept documents whose names differ in case alone: the exact one goes first, then the oldest.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT name FROM documents WHERE kind = ? AND region = ? AND name = ? COLLATE NOCASE"
                " ORDER BY name = ? DESC, sequence LIMIT 1",
                (kind, region, name, name),
            ).fetchone()
        return None if row is None else str(row[0])

    def put(self, kind: str, region: str, name: str, document: Document) -> None:
        """Write the document whole, new or not; its place in creation order is kept."""
        body = json.dumps(document, separators=(",", ":"), allow_nan=False)
        with self.transaction():
            self._db.execute(
                "INSERT INTO documents (kind, region, name, sequence, body) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (kind, region, name) DO UPDATE SET body = excluded.body",
                (kind, region, name, self.next("sequence"), body),
            )

    def update(self, kind: str, region: str, name: str, change: Callable[[Document], None]) -> Document | None:
        """Read, change in place and write back as one unit; the document afterwards, or None if there is none."""
        with self.transaction():
            document = self.get(kind, region, name)
            if document is not None:
                change(document)
                self.put(kind, region, name, document)
            return document

    def delete(self, kind: str, region: str, name: str) -> bool:
        """Remove the document; whether there was one."""
        with self.transaction():
            done = self._db.execute(
                "DELETE FROM documents WHERE kind = ? AND region = ? AND name = ?", (kind, region, name)
            )
            return done.rowcount > 0

    def list(self, kind: str, region: str | None = None) -> list[Document]:
        """All documents of a kind in order of creation; of all regions when ``region`` is None."""
        where, values = ("", ()) if region is None else (" AND region = ?", (region,))
        with self._lock:
            rows = self._db.execute(
                f"SELECT body FROM documents WHERE kind = ?{where} ORDER BY sequence", (kind, *values)
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def next(self, counter: str) -> int:
        """The next number of a counter that never goes back: 1, 2, 3, …"""
        with self.transaction():
            row = self._db.execute(
                "INSERT INTO counters (name, value) VALUES (?, 1)"
                " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (counter,),
            ).fetchone()
        return int(row[0])
