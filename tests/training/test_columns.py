"""Columns: kinds, missing values, Parquet files and hashes."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace import MillraceError
from training import columns as c


def make_columns() -> dict[str, Any]:
    return {
        "number": np.array([1.5, np.nan, -0.1], dtype=np.float32),
        "text": np.array(["a", None, "ü"], dtype=object),
        "time": np.array(["2024-01-01T00:00:00.000001", "NaT", "1969-12-31T23:59:59"], dtype="datetime64[us]"),
        "target": np.array([0.1, np.nan, 1.0], dtype=np.float64),
    }


@pytest.mark.parametrize(("given", "dtype", "kind"), [
    ([1, 2], np.float32, "number"),
    ([True, False], np.float32, "number"),
    (np.array([1.5]), np.float32, "number"),
    (["a", "b"], object, "text"),
    (np.array(["a", None, np.nan], dtype=object), object, "text"),
    (np.array(["2024-01-01"], dtype="datetime64[D]"), "datetime64[us]", "time"),
])  # fmt: skip
def test_returned_values_are_normalised_to_one_type(given: Any, dtype: Any, kind: str) -> None:
    values = c.normalise(given, "events() column 'x'")
    assert values.dtype == dtype
    assert c.find_kind(values) == kind


def test_missing_texts_become_none() -> None:
    values = c.normalise(np.array(["a", None, np.nan], dtype=object), "x")
    assert values.tolist() == ["a", None, None]


@pytest.mark.parametrize(("given", "text"), [
    (np.zeros((2, 2)), r"weather\(\) column 'x' has 2 dimensions \(2, 2\); expected a one-dimensional array"),
    (np.array(["a", 3], dtype=object), r"weather\(\) column 'x' row 1 is 3 \(int\); expected text or None"),
    (np.array([decimal.Decimal(1)], dtype=object), r"row 0 is Decimal\('1'\)"),
    (np.array([1j]), r"has dtype complex128; expected numbers, text or datetime64"),
])  # fmt: skip
def test_an_invalid_column_is_refused(given: Any, text: str) -> None:
    with pytest.raises(MillraceError, match=text):
        c.normalise(given, "weather() column 'x'")


def test_columns_round_trip_through_parquet(tmp_path: Path) -> None:
    c.write(make_columns(), tmp_path / "x.parquet")
    again = c.read(tmp_path / "x.parquet")
    for name, values in make_columns().items():
        assert again[name].dtype == values.dtype
        np.testing.assert_array_equal(again[name], values)
    assert c.hash_columns(again) == c.hash_columns(make_columns())
    c.write(make_columns(), tmp_path / "y.parquet")
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()


def test_the_nulls_of_other_writers_are_missing_values(tmp_path: Path) -> None:
    table = pa.table({
        "n": pa.array([1.0, None], pa.float32()), "t": pa.array(["a", None], pa.large_string()),
        "at": pa.array([dt.datetime(2024, 1, 1), None], pa.timestamp("ns")),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet")
    found = c.read(tmp_path / "x.parquet")
    assert {name: c.is_missing(values).tolist() for name, values in found.items()} == {
        "n": [False, True], "t": [False, True], "at": [False, True],
    }  # fmt: skip
    assert found["at"].dtype == "datetime64[us]"


def test_a_file_that_is_missing_or_broken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MillraceError, match=r"does not exist; expected the Parquet file"):
        c.read(tmp_path / "none.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(MillraceError, match=r"is not a readable Parquet file"):
        c.read(tmp_path / "broken.parquet")


def test_the_hash_sees_every_change_but_not_the_order_of_columns() -> None:
    whole = c.hash_columns(make_columns())
    assert c.hash_columns(dict(reversed(make_columns().items()))) == whole
    seen = {whole}
    for name, row, value in [("number", 0, 1.25), ("number", 1, 0.0), ("text", 1, ""), ("text", 2, "u"),
                             ("time", 0, np.datetime64("2024-01-01")), ("target", 0, 0.2)]:  # fmt: skip
        changed = make_columns()
        changed[name][row] = value
        seen.add(c.hash_columns(changed))
    renamed = make_columns()
    renamed["numbers"] = renamed.pop("number")
    seen.add(c.hash_columns(renamed))
    moved = {"a": np.array(["xy", "z"], dtype=object)}, {"a": np.array(["x", "yz"], dtype=object)}
    seen |= {c.hash_columns(part) for part in moved}
    assert len(seen) == 10


def test_the_hash_treats_all_nans_alike() -> None:
    other = make_columns()
    other["number"].view(np.uint32)[1] = 0x7FC12345
    assert np.isnan(other["number"][1])
    assert c.hash_columns(other) == c.hash_columns(make_columns())
