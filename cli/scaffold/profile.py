"""Statistics of each column of a source: kind, missing values, different values; in one pass and with little memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cli.scaffold import times
from cli.scaffold.counting import count_matching, count_true
from cli.scaffold.source import Note, Source
from cli.scaffold.times import Form

#: Maximum number of different values of a column that are kept; of more it is only known that there are many.
MANY = 1000
_INTEGER = r"^[+-]?\d{1,18}$"
_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
#: Numbers with a decimal comma; and those whose comma may as well separate thousands.
_COMMA, _THOUSANDS = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$", r"^[+-]?[1-9]\d{0,2},\d{3}$"
#: Numbers whose points may separate thousands.
_POINTED = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
_POINT = r"^[+-]?\d*\.\d*([eE][+-]?\d+)?$"
#: Numbers with separated thousands, in any of the usual ways.
_GROUPED = r"^[+-]?\d{1,3}([.,' \x{a0}\x{202f}]\d{3})+([.,]\d+)?$"
_TRUTH = r"^(true|false|True|False|TRUE|FALSE)$"


@dataclass
class Column:
    """Statistics of one column, as far as it was read."""

    name: str
    type: str = ""
    """`text` for CSV, else by the type in Parquet: `integer`, `number`, `truth`, `time`, `text`, `other`."""
    rows: int = 0
    missing: int = 0
    integers: int = 0
    numbers: int = 0
    commas: int = 0
    """Texts that would be numbers with a decimal comma, in a file whose numbers have none."""
    fractions: int = 0
    """Numbers with a decimal comma, in a file whose numbers have them."""
    thousands: tuple[int, str] = (0, "")
    """Number of these whose comma may separate thousands instead, and the first of them."""
    grouped: int = 0
    """Texts that would be numbers without their thousands separators."""
    truths: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    has_newlines: bool = False
    repeats: bool = False
    """Whether a value occurs twice in one batch: then the column is no key."""
    values: dict[Any, int] | None = field(default_factory=dict)
    """The different values and their counts; None when there are many."""
    written: dict[Form, int] | None = None
    """Number of values that match each possible format of times."""
    is_name: bool = False
    """Whether its digits are identifiers."""
    days: int = 0
    """Whole numbers that are dates such as 20250131."""
    outside: int = 0
    """Number of times outside `times.YEARS`, which often mean an open end."""
    odd: tuple[int, str] | None = None
    """Row (from 1) and value of the first text that is not a number, or of the first typed number that is infinite."""

    @property
    def known(self) -> int:
        """The number of values that are not missing."""
        return self.rows - self.missing

    @property
    def kind(self) -> str:
        """`empty`, `truth`, `integer`, `number`, `time`, `text` or `other`."""
        if not self.known:
            return "empty"
        if self.type != "text":
            return self.type
        for kind, count in (("truth", self.truths), ("integer", self.integers), ("number", self.numbers)):
            if count == self.known:
                return kind
        return "time" if self.forms else "text"

    @property
    def forms(self) -> list[Form]:
        """The forms in which every value can be read as a time."""
        return [form for form, count in (self.written or {}).items() if count == self.known]

    @property
    def likely_form(self) -> Form | None:
        """The format that most values match; None if it is fewer than half of them."""
        ranked = sorted((self.written or {}).items(), key=lambda item: -item[1])
        return ranked[0][0] if ranked and ranked[0][1] >= self.known / 2 else None

    @property
    def different(self) -> int:
        """The number of different values; MANY + 1 if there are more than MANY."""
        return MANY + 1 if self.values is None else len(self.values)

    @property
    def outcomes(self) -> dict[Any, int] | None:
        """The values as outcomes of a target: texts that differ only in case or outer spaces are one outcome."""
        return self._folded if self.is_folded or (self.kind == "truth" and self.values) else self.values

    @property
    def classes(self) -> int:
        """The number of outcomes; MANY + 1 if there are more than MANY."""
        return MANY + 1 if self.outcomes is None else len(self.outcomes)

    @property
    def is_folded(self) -> bool:
        """True if its one or two texts are written in several ways: `Yes`, `yes` and `YES `."""
        return self.kind == "text" and self.values is not None and len(self._folded) < min(self.different, 3)

    @property
    def _folded(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for value, count in (self.values or {}).items():
            found[fold(str(value))] = found.get(fold(str(value)), 0) + count
        return found

    @property
    def misspelt(self) -> str | None:
        """The notation because of which numbers cannot be read, with an example; None if that is not the case."""
        like = f"row {self.odd[0]} is {self.odd[1][:40]!r}" if self.odd else ""
        if self.commas and self.commas + self.integers == self.known:
            return f"decimal commas, {like}"
        if self.grouped and self.grouped + self.numbers == self.known:
            return f"separators of thousands, {like}"
        return None

    @property
    def share_missing(self) -> float:
        """The share of missing values; 0 if there are no rows."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def text(self) -> str:
        """A description for people, e.g. `number, 0 to 48, 1.2% missing`."""
        parts = [self.kind]
        if self.kind in ("integer", "number"):
            parts.append(f"{self.low:g} to {self.high:g}")
        elif self.kind == "text":
            shown = ", ".join(str(value) for value in list(self.values or {})[:4])
            parts.append(f"{self.different} different: {shown}" if self.values else f"more than {MANY:,} different")
        if self.missing:
            parts.append(f"{self.share_missing:.1%} missing")
        return ", ".join(parts)


def scan(source: Source, note: Note) -> dict[str, Column]:
    """Read a source once and return the statistics of every column; detect decimal commas and store them in it."""
    how = source.readings
    columns = {name: Column(name, is_name=name in how and how[name].is_name) for name in source.columns}
    for place, batch in enumerate(source.read_batches(note)):
        if not place and source.is_csv and source.delimiter != "," and _has_commas(batch):
            source.decimal = ","
            source.said_decimal = _explain_decimal(batch)
        for name, column in columns.items():
            _update_column(column, batch.column(name), source.decimal)
    return columns


def fold(value: str) -> str:
    """Return a text in lower case and without outer spaces."""
    return value.strip().lower()


def _has_commas(batch: Any) -> bool:
    """Return True if the numbers of a file have decimal commas: all of one column do, and no column has points."""
    import pyarrow.compute as pc

    has = False
    for values in batch.columns:
        known = pc.drop_null(values)
        whole, commas, points = (count_matching(known, each) for each in (_INTEGER, _COMMA, _POINT))
        if points and whole + points == len(known) and count_matching(known, _POINTED) < points:
            return False
        if commas and whole + commas == len(known):
            has = has or count_matching(known, _THOUSANDS) < commas
    return has


def _explain_decimal(batch: Any) -> str:
    """Return a note for people on decimal commas, with the first number that shows them."""
    import pyarrow.compute as pc

    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        shows = pc.and_(
            pc.match_substring_regex(values, _COMMA), pc.invert(pc.match_substring_regex(values, _THOUSANDS))
        )
        if (place := pc.fill_null(shows, fill_value=False).index(True).as_py()) >= 0:
            return f"numbers are read with decimal commas, as in {name}, row {place + 1}: {str(values[place])!r}"
    return "numbers are read with decimal commas"


def _update_column(column: Column, values: Any, decimal: str) -> None:
    """Update the statistics of a column with the values of a batch."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    kind = _kind_of_type(values.type)
    column.type = kind if not column.type or column.type == kind else "other"
    before = column.rows
    column.rows += len(values)
    column.missing += values.null_count
    known = pc.drop_null(values)
    if not len(known) or kind == "other":
        return
    _count(column, known)
    if kind == "text":
        _look_at_texts(column, values, known, before, decimal)
    elif kind in ("integer", "number"):
        _update_bounds(column, known)
        if pa.types.is_floating(values.type):
            _note_odd(column, values, _mask_infinite(values), before)
        if kind == "integer":
            _count_epoch_times(column, known)
    elif kind == "time":
        form = times.ZONED if pa.types.is_timestamp(values.type) and values.type.tz else times.TYPED
        column.written = {form: (column.written or {}).get(form, 0) + len(known)}
        column.outside += count_true(times.mask_implausible(known))


def _kind_of_type(kind: Any) -> str:
    import pyarrow as pa

    tests = [
        ("truth", pa.types.is_boolean),
        ("integer", pa.types.is_integer),
        ("number", lambda each: pa.types.is_floating(each) or pa.types.is_decimal(each)),
        ("text", lambda each: pa.types.is_string(each) or pa.types.is_large_string(each)),
        ("time", lambda each: pa.types.is_timestamp(each) or pa.types.is_date(each)),
    ]
    return next((name for name, test in tests if test(kind)), "other")


def _count(column: Column, known: Any) -> None:
    import pyarrow.compute as pc

    counted = pc.value_counts(known)
    if len(counted) < len(known):
        column.repeats = True
    if column.values is None:
        return
    if len(counted) > MANY:
        column.values = None
        return
    for value, count in zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True):
        column.values[value] = column.values.get(value, 0) + count
    if len(column.values) > MANY:
        column.values = None


def _look_at_texts(column: Column, values: Any, known: Any, before: int, decimal: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.is_name:
        return
    column.truths += count_matching(known, _TRUTH)
    column.integers += count_matching(known, _INTEGER)
    numeric = pc.match_substring_regex(values, _NUMBER if decimal == "." else _NUMBER.replace(r"\.", ","))
    spelt = pc.if_else(numeric, values, None)
    numbers = (pc.replace_substring(spelt, ",", ".") if decimal == "," else spelt).cast(pa.float64())
    numeric = pc.and_not(numeric, _mask_infinite(numbers).fill_null(True))
    column.numbers += count_true(numeric)
    _update_bounds(column, numbers.filter(numeric))
    if not pc.all(numeric).as_py():
        other = pc.invert(numeric)
        _note_odd(column, values, other, before)
        column.commas += count_matching(known, _COMMA) if decimal == "." else 0
        # Do not count texts that can be read as numbers, e.g. 0.123.
        column.grouped += count_matching(values.filter(other), _GROUPED)
    if decimal == ",":
        column.fractions += count_matching(known, _COMMA)
        if count := count_matching(known, _THOUSANDS):
            first = str(known[pc.match_substring_regex(known, _THOUSANDS).index(True).as_py()])
            column.thousands = (column.thousands[0] + count, column.thousands[1] or first)
    column.has_newlines = column.has_newlines or bool(pc.any(pc.match_substring(known, "\n")).as_py())
    if column.integers == column.known:
        _count_epoch_times(column, known)
        return
    column.outside += count_true(times.mask_implausible(known))
    if column.written is None or not column.written:
        column.written = dict.fromkeys(times.find_forms(known), 0) if column.known == len(known) else {}
    for form in column.written:
        if form.kind not in ("seconds", "milliseconds"):
            column.written[form] += count_true(times.mask_matches(known, form))


def _mask_infinite(numbers: Any) -> Any:
    """Return a mask of the numbers that are infinite as float32, from which training cannot learn."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_inf(numbers.cast(pa.float32()))


def _note_odd(column: Column, values: Any, odd: Any, before: int) -> None:
    """Store the first value in the mask ``odd``, unless an earlier one is stored."""
    place = odd.index(True).as_py()
    if column.odd is None and place >= 0:
        column.odd = (before + place + 1, str(values[place]))


def _count_epoch_times(column: Column, known: Any) -> None:
    """Count whole numbers that may be dates, or times if the column's name indicates it."""
    days, outside = times.count_days(known) if times.may_be_days(column.low, column.high) else (0, 0)
    column.days += days
    column.outside += outside
    found = times.find_number_forms(column.name, column.low, column.high)
    before = column.written or {}
    column.written = {form: before.get(form, 0) + (days if form.format else len(known)) for form in found}


def _update_bounds(column: Column, numbers: Any) -> None:
    import pyarrow.compute as pc

    found = pc.min_max(numbers).as_py()
    if found["min"] is not None:
        column.low, column.high = min(column.low, float(found["min"])), max(column.high, float(found["max"]))
