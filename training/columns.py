"""Columns: data as a mapping of name to one-dimensional array, in four kinds, in memory and as Parquet.

| kind   | in memory        | missing | in Parquet   |
|--------|------------------|---------|--------------|
| number | float32          | NaN     | float        |
| text   | object of `str`  | None    | string       |
| time   | datetime64[us]   | NaT     | timestamp us |
| target | float64          | NaN     | double       |

Numbers are float32 from the start: what a model was fitted on, what an endpoint gets and what a compiled model sees
are then the same numbers. Only the target keeps double precision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.errors import DataError
from millrace.missing import is_missing_text

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
Kind = Literal["number", "text", "time"]

#: The value of a missing text.
_NOTHING: Any = None


#: The dtype of each kind of column.
DTYPES: dict[str, Any] = {"number": np.float32, "text": object, "time": "datetime64[us]"}


def find_kind(values: Array) -> Kind:
    """Return the kind of a normalised column.

    Args:
        values: The column: floats, texts as objects, or times.
    """
    return {"f": "number", "O": "text", "M": "time"}[values.dtype.kind]  # type: ignore[return-value]


def normalise(values: Any, where: str, missing: Collection[str] = ()) -> Array:
    """Convert a column to the dtype of its kind.

    Args:
        values: What a function of the use case returned for the column.
        where: Function and column, for the error's message.
        missing: Texts that stand for a missing value.

    Raises:
        DataError: When it is not one-dimensional, or its dtype belongs to none of the kinds.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(where, f"has {array.ndim} dimensions {array.shape}", expected="a one-dimensional array")
    if array.dtype.kind in "fiub":
        return _numbers(array, where)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    if array.dtype.kind in "UO":
        return _texts(array.astype(object), where, missing)
    raise DataError(where, f"has dtype {array.dtype}", expected="numbers, text or datetime64")


def _numbers(array: Array, where: str) -> Array:
    """Convert numbers to float32; refuse whole numbers that float32 cannot tell apart.

    Raises:
        DataError: When two different values would become equal, as large ids or seconds since 1970 would.
    """
    numbers = array.astype(np.float32)
    whole = array if array.dtype.kind in "iu" else None
    if whole is None and array.dtype == np.float64:
        known = array[np.isfinite(array)]
        whole = known if known.size and np.array_equal(known, np.floor(known)) else None
    # Up to this bound float32 represents every whole number exactly.
    if whole is None or not whole.size or max(abs(int(whole.min())), abs(int(whole.max()))) <= 2**24:
        return numbers
    values = np.unique(whole)
    same = np.flatnonzero(np.diff(values.astype(np.float32)) == 0)
    if same.size:
        one, other = (int(value) for value in values[same[0] : same[0] + 2])
        raise DataError(
            where,
            f"contains whole numbers that a 32-bit float cannot distinguish, such as {one} and {other}",
            fix=("ids are text (return them as str), times are datetime64, and large amounts need a larger unit"),
        )
    return numbers


def convert_identifiers(values: Any, where: str) -> Array:
    """Convert a column of keys or entities to texts.

    Whole numbers are exact to 64 bits, and texts are never changed.

    Args:
        values: What a function of the use case returned for the column.
        where: Function and column, for the error's message.

    Raises:
        DataError: When it is not one-dimensional, or a value cannot be an identifier.
    """
    array = np.array(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    if array.ndim != 1:
        raise DataError(where, f"has {array.ndim} dimensions {array.shape}", expected="a one-dimensional array")
    if array.dtype.kind in "iu":
        return array.astype(str).astype(object)
    if array.dtype.kind not in "fUO":
        raise DataError(where, f"has dtype {array.dtype}", expected="text or whole numbers")
    # Up to this bound a float of this width represents every whole number exactly.
    largest = 2**24 if array.dtype == np.float32 else 2**53
    found = np.empty(len(array), dtype=object)
    for row, value in enumerate(array.tolist()):
        if isinstance(value, str):
            found[row] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            found[row] = str(value)
        elif value is None or (isinstance(value, float) and value != value):  # NaN differs from itself
            found[row] = None
        elif isinstance(value, float) and value.is_integer() and abs(value) <= largest:
            found[row] = str(int(value))
        else:
            raise DataError(
                f"{where} row {row}",
                f"is {value!r} ({type(value).__name__})",
                expected=f"text or a whole number, which {array.dtype} holds exactly up to {largest:,}",
            )
    return found


def _texts(array: Array, where: str, missing: Collection[str]) -> Array:
    bad = [
        row
        for row, value in enumerate(array)
        if not isinstance(value, str) and value is not None and value == value  # only NaN differs from itself
    ]
    if bad:
        value = array[bad[0]]
        raise DataError(
            f"{where} row {bad[0]}",
            f"is {value!r} ({type(value).__name__})",
            expected="text or None in every row, or one numeric dtype for the whole column",
        )
    absent = np.array(
        [not isinstance(value, str) or is_missing_text(value, missing) for value in array.tolist()], dtype=bool
    )
    if absent.any():
        array = array.copy()
        array[absent] = None
    return array


def is_missing(values: Array) -> npt.NDArray[np.bool_]:
    """Return a mask of the missing values.

    Args:
        values: A normalised column.

    Returns:
        One Boolean per row.
    """
    if values.dtype.kind == "O":
        return np.asarray(np.equal(values, _NOTHING), dtype=bool)
    return np.asarray(np.isnat(values) if values.dtype.kind == "M" else np.isnan(values))


def count_rows(columns: Columns) -> int:
    """Return the number of rows.

    Args:
        columns: Columns of equal length; none has 0 rows.
    """
    return len(next(iter(columns.values()))) if columns else 0


def select_rows(columns: Columns, index: Array) -> dict[str, Array]:
    """Return the rows that a mask or positions select.

    Args:
        columns: Columns of n rows.
        index: A mask of n Booleans, or positions in the order of the result.
    """
    return {name: values[index] for name, values in columns.items()}


def concatenate(parts: Sequence[Columns]) -> dict[str, Array]:
    """Return all rows of parts that have the same columns.

    Args:
        parts: At least one part; the rows of the first come first.
    """
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def to_table(columns: Columns) -> pa.Table:
    """Return the columns as an Arrow table; missing numbers stay NaN.

    Args:
        columns: Normalised columns of equal length.
    """
    return pa.table({name: pa.array(values, _TYPES.get(values.dtype.kind)) for name, values in columns.items()})


_TYPES = {"O": pa.string(), "M": pa.timestamp("us")}


def from_table(table: pa.Table) -> dict[str, Array]:
    """Return the columns of an Arrow table; nulls, whoever wrote them, become missing values.

    Args:
        table: A table of numbers, texts and timestamps.
    """
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = np.asarray(column.to_numpy(), dtype=object)
        elif pa.types.is_timestamp(column.type):
            columns[name] = np.asarray(column.cast(pa.timestamp("us")).to_numpy(), dtype="datetime64[us]")
        else:
            columns[name] = np.asarray(column.to_numpy())
    return columns


def write(columns: Columns, path: Path) -> None:
    """Write a Parquet file; the same rows give the same bytes.

    Args:
        columns: Normalised columns of equal length.
        path: The file; folders above it are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(to_table(columns), path, compression="zstd")


def read(path: Path) -> dict[str, Array]:
    """Read a Parquet file.

    Args:
        path: The file.

    Returns:
        Its columns, in the file's order.

    Raises:
        DataError: When it does not exist or is not Parquet.
    """
    try:
        return from_table(pq.read_table(path, memory_map=False))
    except FileNotFoundError as error:
        raise DataError(f"{path}", "does not exist", expected="the Parquet file of the previous step") from error
    except pa.ArrowException as error:
        raise DataError(f"{path}", f"is not a readable Parquet file: {error}") from error


def hash_columns(columns: Columns) -> str:
    """Return the SHA-256 of names, kinds and values; file format and order of columns do not matter.

    Args:
        columns: Normalised columns.

    Returns:
        64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for name in sorted(columns):
        values = columns[name]
        sha.update(f"{name}\0{values.dtype.str}\0{len(values)}\0".encode())
        if values.dtype.kind == "O":
            missing = is_missing(values)
            sha.update(np.packbits(missing).tobytes())
            parts = [value.encode() for value in values[~missing]]
            sha.update(np.array([len(part) for part in parts], dtype=np.int64).tobytes())
            sha.update(b"".join(parts))
        elif values.dtype.kind == "f":
            # NaN has many bit patterns; hash all of them as one.
            sha.update(np.where(np.isnan(values), values.dtype.type("nan"), values).tobytes())
        else:
            sha.update(np.ascontiguousarray(values).tobytes())
    return sha.hexdigest()


def make_feature_name(table: str, column: str) -> str:
    """Return the name of a table's column in joined rows, e.g. `weather_temp`.

    Args:
        table: The table's name.
        column: The column's name in the table.
    """
    return f"{table}_{column}"
