"""SageMaker's state: JSON documents in one SQLite file, each under a kind, a region and a name.

A document is the response of ``Describe…``, with times as epoch seconds, plus members that start with an
underscore and never leave the process (see :func:`remove_private_members`). Every write is durable when it returns.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.errors import LocalError

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


class DamagedStoreError(LocalError):
    """SQLite cannot read the file of the documents."""


def remove_private_members(document: Document) -> Document:
    """Return the document without its private members, as a client may see it.

    Args:
        document: A stored document, which is not changed; members of nested objects are all kept.
    """
    return {key: value for key, value in document.items() if not key.startswith("_")}


class Store:
    """A store of documents by kind, region and name; safe for use by many threads.

    ``transaction`` groups several calls: other threads wait, and an exception rolls all of them back.

    Args:
        path: The SQLite file, which is created if it does not exist.

    Raises:
        DamagedStoreError: If the file cannot be read, or is damaged; it stays as it is.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            [[found]] = self._db.execute("PRAGMA quick_check(1)")
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            fix = "restore it from a copy, or delete the whole state with `millrace local reset`"
            raise DamagedStoreError(f"{path}", f"cannot be read: {error}", fix=fix) from error

    def close(self) -> None:
        """Close the file; the store is unusable afterwards."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one transaction; nested transactions end with the outermost one.

        Returns:
            A context manager; an exception that leaves the outermost block undoes all changes.
        """
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
        """Return a new copy of the document, or None.

        Args:
            kind: The kind of document, e.g. ``endpoint``.
            region: The region of the document.
            name: The exact name.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT body FROM documents WHERE kind = ? AND region = ? AND name = ?", (kind, region, name)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def find_stored_name(self, kind: str, region: str, name: str) -> str | None:
        """Return the stored name of a document that equals this one regardless of case, or None.

        Earlier versions stored documents whose names differ only in case: the exact name is preferred, then the oldest.

        Args:
            kind: The kind of document, e.g. ``endpoint``.
            region: The region of the document.
            name: The name; only the case of ASCII letters is ignored.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT name FROM documents WHERE kind = ? AND region = ? AND name = ? COLLATE NOCASE"
                " ORDER BY name = ? DESC, sequence LIMIT 1",
                (kind, region, name, name),
            ).fetchone()
        return None if row is None else str(row[0])

    def put(self, kind: str, region: str, name: str, document: Document) -> None:
        """Create or replace the document; a replaced document keeps its place in creation order.

        Args:
            kind: The kind of document, e.g. ``endpoint``.
            region: The region of the document.
            name: The exact name.
            document: The content: JSON values only, and all numbers finite.
        """
        body = json.dumps(document, separators=(",", ":"), allow_nan=False)
        with self.transaction():
            self._db.execute(
                "INSERT INTO documents (kind, region, name, sequence, body) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (kind, region, name) DO UPDATE SET body = excluded.body",
                (kind, region, name, self.increment_counter("sequence"), body),
            )

    def update(self, kind: str, region: str, name: str, change: Callable[[Document], None]) -> Document | None:
        """Apply ``change`` to the document in one transaction.

        Args:
            kind: The kind of document, e.g. ``endpoint``.
            region: The region of the document.
            name: The exact name.
            change: Changes the document in place; if it raises, the stored document keeps its content.

        Returns:
            The changed document, or None if none exists.
        """
        with self.transaction():
            document = self.get(kind, region, name)
            if document is not None:
                change(document)
                self.put(kind, region, name, document)
            return document

    def delete(self, kind: str, region: str, name: str) -> bool:
        """Delete the document.

        Args:
            kind: The kind of document, e.g. ``endpoint``.
            region: The region of the document.
            name: The exact name.

        Returns:
            True if it existed.
        """
        with self.transaction():
            done = self._db.execute(
                "DELETE FROM documents WHERE kind = ? AND region = ? AND name = ?", (kind, region, name)
            )
            return done.rowcount > 0

    def list(self, kind: str, region: str | None = None) -> list[Document]:
        """Return all documents of a kind in order of creation.

        Args:
            kind: The kind of document, e.g. ``endpoint``.
            region: The region of the documents; None for all regions.
        """
        where, values = ("", ()) if region is None else (" AND region = ?", (region,))
        with self._lock:
            rows = self._db.execute(
                f"SELECT body FROM documents WHERE kind = ?{where} ORDER BY sequence", (kind, *values)
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def increment_counter(self, counter: str) -> int:
        """Return the next number of a counter that never decreases, starting at 1.

        Args:
            counter: The counter's name; it begins with its first use.
        """
        with self.transaction():
            row = self._db.execute(
                "INSERT INTO counters (name, value) VALUES (?, 1)"
                " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (counter,),
            ).fetchone()
        return int(row[0])
