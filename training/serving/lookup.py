"""The tables' values as typed columns, from the newest records of the online feature store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from millrace import FeatureTable, UseCase
from millrace.names import Names
from training.columns import DTYPES, Array, make_feature_name
from training.data.feature_store import Record, fetch_records, parse_known_at, parse_value
from training.data.join import compute_prediction_times, is_visible


class OnlineTables:
    """The newest values of the tables in the online store, as the point-in-time join would give them."""

    def __init__(self, use_case: UseCase, names: Names, client: Any) -> None:
        self._use_case = use_case
        self._names = names
        self._client = client

    def look_up_columns(
        self, tables: Collection[FeatureTable], columns: Mapping[str, Array], wanted: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Return the joined columns of some tables for a batch.

        Args:
            tables: The tables to look up.
            columns: The batch: event time and entities.
            wanted: Table → mask of the rows to look up; the values of all others are missing.

        Raises:
            StoreError: When the store cannot be read.
        """
        groups = {
            self._names.feature_group(table.name): sorted(set(columns[table.entity][wanted[table.name]].tolist()))
            for table in tables
            if wanted[table.name].any()
        }
        records = fetch_records(self._client, groups) if groups else {}
        at = compute_prediction_times(self._use_case, columns[self._use_case.event_time])
        joined: dict[str, Array] = {}
        for table in tables:
            joined |= self._joined(table, columns.get(table.entity), wanted[table.name], at, records)
        return joined

    def _joined(
        self,
        table: FeatureTable,
        entities: Array | None,
        wanted: Array,
        at: Array,
        records: Mapping[tuple[str, str], Record],
    ) -> dict[str, Array]:
        group = self._names.feature_group(table.name)
        newest = {entity: record for (of, entity), record in records.items() if of == group}
        times = {entity: parse_known_at(table, group, record) for entity, record in newest.items()}
        never = np.datetime64("NaT", "us")
        # The empty text is never an entity.
        rows = ["" if entities is None or not wants else str(entities[row]) for row, wants in enumerate(wanted)]
        known = np.asarray([times.get(entity, never) for entity in rows], dtype=DTYPES["time"])
        seen = is_visible(table, known, at)
        joined = {}
        for name, kind in table.columns.items():
            values = {entity: parse_value(kind, record.get(name)) for entity, record in newest.items()}
            missing = parse_value(kind, None)
            chosen = [values[entity] if sees else missing for entity, sees in zip(rows, seen, strict=True)]
            joined[make_feature_name(table.name, name)] = np.asarray(chosen, dtype=DTYPES[kind])
        return joined
