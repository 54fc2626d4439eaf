"""A data file read in record batches: CSV as texts, Parquet with its types; large files are never held in memory."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cli.console import interrupts
from cli.console.errors import CliError

#: Maximum size of a file that is kept in memory after the first read, bytes.
_KEPT = 64_000_000
#: Bytes of CSV, and rows of Parquet, that are read at a time.
_BLOCK = 4_000_000
_ROWS = 65_536
_DELIMITERS = ",;\t|"
_CSV, _PARQUET = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"), (".parquet", ".pq")
#: The name that a first column without a name gets, which is also the one that pandas gives it.
UNNAMED = "Unnamed: 0"

#: Receives the progress in a few words.
Note = Callable[[str], None]


@dataclass(frozen=True)
class Reading:
    """The way in which the cells of one column are read."""

    missing: tuple[str, ...] = ("",)
    """Texts that mean a missing value, without surrounding spaces."""
    trim: bool = False
    """Whether spaces around its cells are dropped."""
    sign: str = ""
    """The currency sign in its numbers."""
    group: str = ""
    """The thousands separator in its numbers."""
    is_name: bool = False
    """Whether its digits are identifiers, which are kept as text."""


@dataclass
class Source:
    """A readable file and its columns."""

    path: Path
    columns: list[str]
    delimiter: str = ","
    is_csv: bool = True
    decimal: str = "."
    """The decimal separator in CSV."""
    said_decimal: str = ""
    """A note on why the decimal separator is a comma; empty if it is a point."""
    raw_names: dict[str, str] = field(default_factory=dict)
    """The file's own names of columns that were changed, for example by dropping spaces around them."""
    skipped: str = ""
    """A first line such as `sep=;`, which tells spreadsheets the delimiter."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """How the cells of each column are read."""
    length: int = 0
    """Size in bytes; of a gzip file, uncompressed."""
    _batches: list[Any] = field(default_factory=list)
    _complete: bool = False

    @classmethod
    def open(cls, path: Path, note: Note) -> Source:
        """Open a file: find its columns and check that it can be read.

        Args:
            path: A CSV or Parquet file, recognized by its extension; a CSV file may be compressed.
            note: Called with the progress.

        Returns:
            The source, whose rows are read later.

        Raises:
            CliError: When it cannot be read, with the place of the problem.
        """
        is_csv = path.name.lower().endswith(_CSV)
        if not is_csv and not path.name.lower().endswith(_PARQUET):
            raise CliError(
                f"--from {path}",
                "has an unknown extension",
                expected=".csv, .csv.gz or .parquet",
                fix="convert or rename it",
            )
        try:
            size = path.stat().st_size
            if path.is_dir():
                raise CliError(f"--from {path}", "is a folder", expected="one file")
            if not size:
                raise CliError(f"--from {path}", "is empty", expected="a header and rows")
            source = _open_csv(path, size, note) if is_csv else _open_parquet(path)
        except (OSError, EOFError, zlib.error) as error:
            said = getattr(error, "strerror", None) or error
            raise CliError(f"--from {path}", f"cannot be read: {said}") from error
        _refuse_columns(path, source.columns)
        return source

    def read_batches(self, note: Note, columns: Sequence[str] | None = None, *, raw: bool = False) -> Iterator[Any]:
        """Yield the rows in their order, in record batches.

        Args:
            note: Receives the progress.
            columns: The columns to read; None reads all.
            raw: Whether cells of CSV are returned unchanged, an empty cell as an empty text.

        Raises:
            CliError: When a row cannot be read, with its line if that is known.
        """
        for batch in self._stored(note, columns):
            yield batch if raw or not self.is_csv else _read_cells(batch, self.readings)

    def _stored(self, note: Note, columns: Sequence[str] | None) -> Iterator[Any]:
        if self._complete:
            for batch in self._batches:
                yield batch if columns is None else batch.select(list(columns))
            return
        keep = self.length <= _KEPT
        rows, whole = 0, self._read(None if keep else columns)
        for batch in whole:
            interrupts.raise_if_interrupted()
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
            said = (_find_uneven_row(self) if self.is_csv else None) or str(error)
            raise CliError(f"--from {self.path}", f"cannot be read: {said}") from error


def _csv_batches(source: Source, columns: Sequence[str] | None) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    wanted = list(source.columns if columns is None else columns)
    names = [source.raw_names.get(name, name) for name in wanted]
    with arrow_csv.open_csv(
        source.path,
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK, skip_rows=1 if source.skipped else 0),
        parse_options=arrow_csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[],
            strings_can_be_null=False,
        ),
    ) as reader:
        for batch in reader:
            yield batch.rename_columns(wanted)


def _read_cells(batch: Any, readings: Mapping[str, Reading]) -> Any:
    """Apply the readings to CSV cells: set missing ones to null, and drop currencies, separators and outer spaces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for name in batch.schema.names:
        values, how = batch.column(name), readings.get(name)
        trimmed = pc.utf8_trim_whitespace(values)
        missing = pc.is_in(trimmed, pa.array(how.missing if how else [""], pa.string()))
        if how and how.sign:
            trimmed = pc.replace_substring(pc.replace_substring(trimmed, how.sign, ""), how.group, "")
            trimmed = pc.utf8_trim_whitespace(trimmed)
        columns.append(pc.if_else(missing, None, trimmed if how and how.trim else values))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _find_uneven_row(source: Source) -> str | None:
    """Return a message about the first row that has more or fewer cells than the header; None if there is none."""
    with _open_text(source.path) as file:
        if source.skipped:
            file.readline()
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
            # Read categories as plain values.
            plain = [each.dictionary_decode() if pa.types.is_dictionary(each.type) else each for each in batch.columns]
            yield pa.RecordBatch.from_arrays(plain, names=batch.schema.names)


def _open_parquet(path: Path) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if not file.metadata.num_rows:
                raise CliError(f"--from {path}", "has columns but no rows", expected="at least one row")
            return Source(path, list(file.schema_arrow.names), is_csv=False, length=path.stat().st_size)
    except pa.ArrowException as error:
        raise CliError(f"--from {path}", f"is not a Parquet file: {error}") from error


def _open_csv(path: Path, size: int, note: Note) -> Source:
    lines, length = _check_encoding(path, size, note)
    with _open_text(path) as file:
        first, skipped = file.readline(), ""
        if said := re.fullmatch(r"sep=(.)\r?\n?", first):
            first, skipped, lines = file.readline(), first.strip(), lines - 1
        # Use the declared delimiter, else the one that splits the header into the most columns.
        delimiter = (
            said[1]
            if said
            else max(_DELIMITERS, key=lambda each: (len(next(csv.reader([first], delimiter=each), [])), each == ","))
        )
        header = next(csv.reader(itertools.chain([first], file), delimiter=delimiter), [])
    names = [name.strip() for name in header]
    if names and not names[0] and any(names):
        names[0] = UNNAMED
    if not any(name.strip() for name in header):
        raise CliError(f"--from {path}: its first line", "is empty", expected="the names of the columns")
    if lines < 2:
        raise CliError(f"--from {path}", "has a header but no rows", expected="at least one row")
    raw = {name: given for name, given in zip(names, header, strict=True) if name != given}
    return Source(path, names, delimiter, raw_names=raw, skipped=skipped, length=length)


def _open_text(path: Path) -> IO[str]:
    """Open a CSV file as text, decompressed if necessary."""
    return io.TextIOWrapper(_open_bytes(path), encoding="utf-8-sig", newline="")


def _open_bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _check_encoding(path: Path, size: int, note: Note) -> tuple[int, int]:
    """Refuse a file that is not UTF-8 text; return its number of lines and its uncompressed size in bytes.

    Raises:
        CliError: When it is not UTF-8 text, with the line and the position of the first wrong byte.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, returns, done, ended = 0, 0, 0, True
    with _open_bytes(path) as file:
        while block := file.read(_BLOCK):
            interrupts.raise_if_interrupted()
            if not done and block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise CliError(f"--from {path}", "is UTF-16", expected="UTF-8", fix=f"iconv -f UTF-16 -t UTF-8 {path}")
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                place = error.start - pending
                line = lines + block.count(b"\n", 0, max(place, 0)) + 1
                raise CliError(
                    f"--from {path}",
                    f"is not UTF-8: byte {done + place} (line {line}) is 0x{error.object[error.start]:02x}",
                    expected="UTF-8",
                    fix=f"iconv -f WINDOWS-1252 -t UTF-8 {path}, if that is what it is",
                ) from error
            if b"\0" in block:
                place = block.index(b"\0")
                line = lines + block.count(b"\n", 0, place) + 1
                raise CliError(f"--from {path}: byte {done + place} (line {line})", "is zero", expected="text")
            lines += block.count(b"\n")
            returns += block.count(b"\r")
            done += len(block)
            ended = block.endswith((b"\n", b"\r"))
            note(f"{min(done / size, 1):.0%} is UTF-8")
    if decoder.getstate()[0]:
        raise CliError(
            f"--from {path}", "is not UTF-8: it ends within a character", expected="a full file", fix="copy it again"
        )
    # Some spreadsheets still end lines with a carriage return alone.
    lines = max(lines, returns)
    return lines if ended else lines + 1, done


def _refuse_columns(path: Path, columns: Sequence[str]) -> None:
    folded = [name.lower() for name in columns]
    for place, name in enumerate(columns, 1):
        if not name.strip():
            raise CliError(
                f"--from {path}: column {place} of {len(columns)}", "has no name", fix="give it one in the header"
            )
        if columns.index(name) != place - 1:
            raise CliError(
                f"--from {path}: two columns",
                f"are called {name!r}, number {columns.index(name) + 1} and {place}",
                fix="rename one",
            )
        if (other := folded.index(name.lower())) != place - 1:
            raise CliError(
                f"--from {path}: columns {other + 1} and {place}",
                f"are called {columns[other]!r} and {name!r}, which a join does not distinguish",
                fix="rename one",
            )
