"""A file of data as record batches, never all of it at once: CSV as the texts that stand there, Parquet as typed."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import interrupts
from cli.errors import CliError

#: What stands for a missing value in a CSV file.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
#: Files up to this size are kept in memory once they were read, bytes.
_KEPT = 64_000_000
#: Bytes that are looked at at once.
_BLOCK = 4_000_000
_ROWS = 65_536
_DELIMITERS = ",;\t|"
_CSV, _PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")

#: Told how far it is: a few words.
Note = Callable[[str], None]


@dataclass
class Source:
    """A readable file and its columns."""

    path: Path
    columns: list[str]
    delimiter: str = ","
    is_csv: bool = True
    decimal: str = "."
    """What parts a number's whole from its fraction in CSV."""
    _batches: list[Any] = field(default_factory=list)
    _complete: bool = False

    @classmethod
    def open(cls, path: Path, note: Note) -> Source:
        """Look whether the file can be read.

        Raises:
            CliError: When it cannot, with the place.
        """
        ending = path.suffix.lower()
        if ending not in (*_CSV, *_PARQUET):
            raise CliError(f"--from {path}: its ending says nothing; expected .csv or .parquet: convert or rename it")
        try:
            size = path.stat().st_size
            if path.is_dir():
                raise CliError(f"--from {path} is a folder; expected one file")
            if not size:
                raise CliError(f"--from {path} is empty; expected a header and rows")
            source = _of_csv(path, size, note) if ending in _CSV else _of_parquet(path)
        except OSError as error:
            raise CliError(f"--from {path} cannot be read: {error.strerror or error}") from error
        _refuse_columns(path, source.columns)
        return source

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    def batches(self, note: Note, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The rows in their order; ``columns`` None gives all.

        Raises:
            CliError: When a row cannot be read, with its number.
        """
        if self._complete:
            for batch in self._batches:
                yield batch if columns is None else batch.select(list(columns))
            return
        keep = self.size <= _KEPT
        rows, whole = 0, self._read(None if keep else columns)
        for batch in whole:
            interrupts.check()
            rows += batch.num_rows
            note(f"{rows:,} rows")
            if keep:
                self._batches.append(batch)
            yield batch if columns is None or not keep else batch.select(list(columns))
        self._complete = keep

    def _read(self, columns: Sequence[str] | None) -> Iterator[Any]:
        import pyarrow as pa

        self._batches = []
        try:
            yield from _csv_batches(self, columns) if self.is_csv else _parquet_batches(self, columns)
        except pa.ArrowException as error:
            said = (_uneven(self) if self.is_csv else None) or str(error)
            raise CliError(f"--from {self.path} cannot be read: {said}") from error


def _csv_batches(source: Source, columns: Sequence[str] | None) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    wanted = list(source.columns if columns is None else columns)
    with arrow_csv.open_csv(
        source.path,
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK),
        parse_options=arrow_csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.string()),
            null_values=list(MISSING),
            strings_can_be_null=True,
        ),
    ) as reader:
        yield from reader


def _uneven(source: Source) -> str | None:
    """The first row that has not as many cells as the header."""
    with source.path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=source.delimiter)
        for cells in lines:
            if cells and len(cells) != len(source.columns):
                return (
                    f"line {lines.line_num} has {len(cells)} cells; expected {len(source.columns)}, as the header has: "
                    "is a delimiter within a value that is not quoted?"
                )
    return None


def _parquet_batches(source: Source, columns: Sequence[str] | None) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=None if columns is None else list(columns)):
            # Categories are texts like others.
            plain = [each.dictionary_decode() if pa.types.is_dictionary(each.type) else each for each in batch.columns]
            yield pa.RecordBatch.from_arrays(plain, names=batch.schema.names)


def _of_parquet(path: Path) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if not file.metadata.num_rows:
                raise CliError(f"--from {path} has columns and no row; expected rows")
            return Source(path, list(file.schema_arrow.names), is_csv=False)
    except pa.ArrowException as error:
        raise CliError(f"--from {path} is no Parquet file: {error}") from error


def _of_csv(path: Path, size: int, note: Note) -> Source:
    lines = _refuse_bytes(path, size, note)
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        # The one that parts the header into most columns.
        delimiter = max(_DELIMITERS, key=lambda each: (len(next(csv.reader([first], delimiter=each), [])), each == ","))
        file.seek(0)
        header = next(csv.reader(file, delimiter=delimiter), [])
    if not any(name.strip() for name in header):
        raise CliError(f"--from {path}: its first line is empty; expected the names of the columns")
    if lines < 2:
        raise CliError(f"--from {path} has a header and no row; expected rows")
    return Source(path, header, delimiter)


def _refuse_bytes(path: Path, size: int, note: Note) -> int:
    """See that the file is UTF-8; its lines.

    Raises:
        CliError: With the line and the byte that are not.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, returns, done, ended = 0, 0, 0, True
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            interrupts.check()
            if not done and block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise CliError(f"--from {path} is UTF-16; expected UTF-8: iconv -f UTF-16 -t UTF-8 {path}")
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                place = error.start - pending
                line = lines + block.count(b"\n", 0, max(place, 0)) + 1
                raise CliError(
                    f"--from {path} is not UTF-8: byte {done + place} (line {line}) is "
                    f"0x{error.object[error.start]:02x}; expected UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {path}, "
                    "if that is what it is"
                ) from error
            if b"\0" in block:
                place = block.index(b"\0")
                line = lines + block.count(b"\n", 0, place) + 1
                raise CliError(f"--from {path}: byte {done + place} (line {line}) is zero; expected text")
            lines += block.count(b"\n")
            returns += block.count(b"\r")
            done += len(block)
            ended = block.endswith((b"\n", b"\r"))
            note(f"{done / size:.0%} is UTF-8")
    if decoder.getstate()[0]:
        raise CliError(f"--from {path} is not UTF-8: it ends within a character; expected a whole file: copy it again")
    # Some spreadsheets still end lines with a carriage return alone.
    lines = max(lines, returns)
    return lines if ended else lines + 1


def _refuse_columns(path: Path, columns: Sequence[str]) -> None:
    folded = [name.lower() for name in columns]
    for place, name in enumerate(columns, 1):
        if not name.strip():
            raise CliError(f"--from {path}: column {place} of {len(columns)} has no name; give it one in the header")
        if columns.index(name) != place - 1:
            raise CliError(
                f"--from {path}: two columns are called {name!r}, number {columns.index(name) + 1} and {place}; "
                "rename one"
            )
        if (other := folded.index(name.lower())) != place - 1:
            raise CliError(
                f"--from {path}: columns {other + 1} and {place} are called {columns[other]!r} and {name!r}; a join "
                "tells no case apart: rename one"
            )
