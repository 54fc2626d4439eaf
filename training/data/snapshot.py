"""A snapshot: the events, labels and tables of one instant, as Parquet files with a manifest that hashes contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from millrace.errors import DataError
from training import columns as c
from training.columns import Columns
from training.io import format_time, hash_document, parse_time, read_json, write_json

MANIFEST = "manifest.json"
EVENTS, LABELS = "events", "labels"


@dataclass(frozen=True)
class Snapshot:
    """The data known at ``as_of`` about the events since ``since``."""

    as_of: np.datetime64
    since: np.datetime64
    data: Mapping[str, Columns]
    """`events`, `labels` and each table by its name."""

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files and their manifest.

        Args:
            folder: Where they are written; it is created if it does not exist.

        Returns:
            The manifest: `version`, `as_of`, `since`, `tables` (name → `rows` and `sha256`), and `sha256` of all
            contents.
        """
        tables = {
            name: {"rows": c.count_rows(data), "sha256": c.hash_columns(data)} for name, data in self.data.items()
        }
        for name, data in self.data.items():
            c.write(data, folder / f"{name}.parquet")
        manifest = {
            "version": 1,
            "as_of": format_time(self.as_of),
            "since": format_time(self.since),
            "tables": tables,
            "sha256": hash_document({name: table["sha256"] for name, table in tables.items()}),
        }
        write_json(folder / MANIFEST, manifest)
        return manifest

    @classmethod
    def read(cls, folder: Path) -> tuple[Snapshot, dict[str, Any]]:
        """Return the snapshot in a folder and its manifest; check the contents against the hashes.

        Args:
            folder: The folder that :meth:`write` wrote.

        Raises:
            DataError: When a file is missing, unreadable or differs from the manifest.
        """
        manifest = read_json(folder / MANIFEST)
        data = {}
        for name, table in manifest["tables"].items():
            data[name] = c.read(folder / f"{name}.parquet")
            if c.hash_columns(data[name]) != table["sha256"]:
                raise DataError(
                    f"{name}.parquet",
                    (
                        f"has {c.count_rows(data[name])} rows and does not match {MANIFEST} ({table['rows']} rows, "
                        f"sha256 {table['sha256'][:16]}…)"
                    ),
                    fix="ingest again",
                )
        as_of, since = (parse_time(manifest[name], MANIFEST) for name in ("as_of", "since"))
        return cls(as_of, since, data), manifest
