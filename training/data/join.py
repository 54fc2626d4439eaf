"""The point-in-time join: adds to each event the values of each table as known when its prediction is made.

It is one SQL query in the dialect that DuckDB and Athena share: over the union of events and rows, the running maximum
of the time at which rows became known finds the newest row that each event may see; an equi-join fetches it. It costs
a sort per table, where a join by inequality costs the product.

A row counts from the instant it is known (`known_at <= t`) until it is older than the table's `max_age`
(`known_at >= t - max_age`), with t = event time - lead time. Of rows known at the same instant the last one counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from millrace import FeatureTable, UseCase
from millrace.errors import DataError
from training.columns import Array, Columns, from_table, make_feature_name, to_table

#: Helper columns of the inputs; a declared column cannot start with an underscore.
ROW, AT, ORDINAL = "_row", "_at", "_ordinal"


def list_value_columns(table: FeatureTable, rows: Columns) -> list[str]:
    """Return the value columns of a table: the declared ones, or else those of the rows."""
    return list(table.columns) or sorted(set(rows) - {table.entity, table.event_time})


def compute_prediction_times(use_case: UseCase, event_times: Array) -> Array:
    """Return the times at which the predictions are made.

    Args:
        use_case: The declaration.
        event_times: The times of n events.

    Returns:
        n times, each earlier than its event by the lead time.
    """
    return np.asarray(event_times - np.timedelta64(use_case.lead_time, "us"))


def is_visible(table: FeatureTable, known_at: Array, at: Array) -> Array:
    """Return a mask: True if a row known at ``known_at`` may be seen at ``at``, by the join's rule.

    Args:
        table: The table; its `max_age` decides how long a row counts.
        known_at: The times at which n rows became known; NaT is never visible.
        at: The times of n predictions, one for each row.
    """
    return np.asarray((known_at <= at) & (known_at >= _oldest(table, at)))


def render_sql(tables: Sequence[tuple[FeatureTable, list[str]]], event_columns: list[str]) -> str:
    """Return the SQL of the join over the relations `events` and one per table.

    Args:
        tables: Each table with its value columns.
        event_columns: The columns of the events that the result keeps.
    """
    parts = ["WITH " + ",\n".join(_newest(table, columns) for table, columns in tables)] if tables else []
    chosen = [f'e."{name}"' for name in event_columns]
    joins = []
    for table, columns in tables:
        chosen += [f'"{table.name}_"."{name}" AS "{make_feature_name(table.name, name)}"' for name in columns]
        joins.append(f'LEFT JOIN "{table.name}_seen" AS "{table.name}_" ON "{table.name}_"."{ROW}" = e."{ROW}"')
    return "\n".join([*parts, "SELECT " + ", ".join(chosen), "FROM events AS e", *joins, f'ORDER BY e."{ROW}"'])


def _newest(table: FeatureTable, columns: list[str]) -> str:
    name, entity, known = table.name, table.entity, table.event_time
    values = "".join(f', r."{column}"' for column in columns)
    return f'''"{name}_rows" AS (
  SELECT * FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY "{entity}", "{known}" ORDER BY "{ORDINAL}" DESC) AS "_rank" FROM "{name}"
  ) AS ranked WHERE "_rank" = 1
), "{name}_union" AS (
  SELECT "{ROW}", "{entity}" AS "_entity", "{AT}" AS "_time", "_from_{name}" AS "_from", NULL AS "_known", 1 AS "_event"
  FROM events
  UNION ALL
  SELECT NULL, "{entity}", "{known}", NULL, "{known}", 0 FROM "{name}_rows"
), "{name}_stamped" AS (
  SELECT "{ROW}", "_entity", "_from", "_event", MAX("_known") OVER (
    PARTITION BY "_entity" ORDER BY "_time", "_event" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) AS "_stamp" FROM "{name}_union"
), "{name}_seen" AS (
  SELECT s."{ROW}"{values} FROM "{name}_stamped" AS s
  JOIN "{name}_rows" AS r ON r."{entity}" = s."_entity" AND r."{known}" = s."_stamp"
  WHERE s."_event" = 1 AND s."_stamp" >= s."_from"
)'''


def join(use_case: UseCase, events: Columns, rows: Mapping[str, Columns]) -> dict[str, Array]:
    """Join events with the tables' values as known when their predictions are made.

    Args:
        use_case: Its tables, lead time and ages decide what each event sees.
        events: The events; all their columns are kept, in their order.
        rows: The rows of each table by its name.

    Returns:
        The events' columns and those of each table as `<table>_<column>`; one row per event, in their order.

    Raises:
        DataError: When a joined column would have the name of a column of the events.
    """
    import duckdb

    tables = [(table, list_value_columns(table, rows[table.name])) for table in use_case.tables]
    for table, columns in tables:
        if clash := {make_feature_name(table.name, name) for name in columns} & set(events):
            raise DataError(
                "events()", f"has the columns {sorted(clash)}, which the join of {table.name} adds", fix="rename them"
            )
    at = compute_prediction_times(use_case, events[use_case.event_time])
    inputs = dict(events) | {ROW: np.arange(len(at)), AT: at}
    with duckdb.connect() as connection:
        for table, _ in tables:
            inputs[f"_from_{table.name}"] = _oldest(table, at)
            known = dict(rows[table.name])
            connection.register(table.name, to_table(known | {ORDINAL: np.arange(len(known[table.event_time]))}))
        connection.register("events", to_table(inputs))
        result = connection.sql(render_sql(tables, list(events))).to_arrow_table()
    return from_table(result)


def _oldest(table: FeatureTable, at: Array) -> Array:
    """Return the earliest time at which a row may have become known and still count at ``at``."""
    if table.max_age is None:
        return np.full(len(at), np.datetime64("1900-01-01", "us"))
    return np.asarray(at - np.timedelta64(table.max_age, "us"))
