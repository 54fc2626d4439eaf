"""What each column of a source holds: kind, missing values, how many different ones. One pass, little memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cli.scaffold import times
from cli.scaffold.counting import count_matching, count_true
from cli.scaffold.source import Note, Source
from cli.scaffold.times import Form

#: Different values of a column that are remembered; with more, only that there are many.
MANY = 1000
_INTEGER = r"^[+-]?\d{1,18}$"
_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
#: The same with a decimal comma; and one that may as well be a thousand and more.
_COMMA, _THOUSANDS = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$", r"^[+-]?[1-9]\d{0,2},\d{3}$"
#: A number whose points may set its thousands apart.
_POINTED = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
_POINT = r"^[+-]?\d*\.\d*([eE][+-]?\d+)?$"
#: Numbers whose thousands are set apart, in any of the usual ways.
_GROUPED = r"^[+-]?\d{1,3}([.,' \x{a0}\x{202f}]\d{3})+([.,]\d+)?$"
_TRUTH = r"^(true|false|True|False|TRUE|FALSE)$"


@dataclass
class Column:
    """One column, as far as it was read."""

    name: str
    type: str = ""
    """`text` as in CSV, else what Parquet says: `integer`, `number`, `truth`, `time`, `other`."""
    rows: int = 0
    missing: int = 0
    integers: int = 0
    numbers: int = 0
    commas: int = 0
    """Texts that would be numbers with a decimal comma, in a file whose numbers have none."""
    fractions: int = 0
    """Numbers with a decimal comma, in a file whose numbers have them."""
    thousands: tuple[int, str] = (0, "")
    """How many of these may have been meant as thousands, and the first of them."""
    grouped: int = 0
    """Texts that would be numbers but for what sets their thousands apart."""
    truths: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    has_newlines: bool = False
    repeats: bool = False
    """Whether a value stands twice in one batch: then it is no key."""
    values: dict[Any, int] | None = field(default_factory=dict)
    """The different values and their counts; None when there are many."""
    written: dict[Form, int] | None = None
    """How many values are written in each form that may be one of times."""
    is_name: bool = False
    """Whether its digits name things."""
    days: int = 0
    """Whole numbers that are dates such as 20250131."""
    outside: int = 0
    """Times of years that no event is of: an open end."""
    odd: tuple[int, str] | None = None
    """Row (from 1) and value of the first text that is no number; of typed numbers, of the first that is infinite."""

    @property
    def known(self) -> int:
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
        """The form of most values, for a column that is said to hold times."""
        ranked = sorted((self.written or {}).items(), key=lambda item: -item[1])
        return ranked[0][0] if ranked and ranked[0][1] >= self.known / 2 else None

    @property
    def different(self) -> int:
        """How many different values there are; beyond MANY, at least that."""
        return MANY + 1 if self.values is None else len(self.values)

    @property
    def outcomes(self) -> dict[Any, int] | None:
        """The different values, were it a target: texts that differ in case or outer spaces only are one."""
        return self._folded if self.is_folded or (self.kind == "truth" and self.values) else self.values

    @property
    def classes(self) -> int:
        """How many outcomes there are; beyond MANY, at least that."""
        return MANY + 1 if self.outcomes is None else len(self.outcomes)

    @property
    def is_folded(self) -> bool:
        """Whether its two texts, or its one, are written in several ways: `Yes`, `yes` and `YES `."""
        return self.kind == "text" and self.values is not None and len(self._folded) < min(self.different, 3)

    @property
    def _folded(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for value, count in (self.values or {}).items():
            found[fold(str(value))] = found.get(fold(str(value)), 0) + count
        return found

    @property
    def misspelt(self) -> str | None:
        """How numbers are written that cannot be read as such, with one of them."""
        like = f"row {self.odd[0]} is {self.odd[1][:40]!r}" if self.odd else ""
        if self.commas and self.commas + self.integers == self.known:
            return f"decimal commas, {like}"
        if self.grouped and self.grouped + self.numbers == self.known:
            return f"their thousands set apart, {like}"
        return None

    @property
    def share_missing(self) -> float:
        return self.missing / self.rows if self.rows else 0.0

    @property
    def text(self) -> str:
        """For people, e.g. `number, 0 to 48, 1.2% missing`."""
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
    """Every column of a source."""
    how = source.readings
    columns = {name: Column(name, is_name=name in how and how[name].is_name) for name in source.columns}
    for place, batch in enumerate(source.batches(note)):
        if not place and source.is_csv and source.delimiter != "," and _has_commas(batch):
            source.decimal = ","
            source.said_decimal = _said_decimal(batch)
        for name, column in columns.items():
            _look(column, batch.column(name), source.decimal)
    return columns


def fold(value: str) -> str:
    """A text without what people do not mean: case and outer spaces."""
    return value.strip().lower()


def _has_commas(batch: Any) -> bool:
    """Whether the numbers of a file have decimal commas: one column's all do, and no column's have decimal points."""
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


def _said_decimal(batch: Any) -> str:
    """The first number that shows the decimal commas of a file, for people."""
    import pyarrow.compute as pc

    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        shows = pc.and_(
            pc.match_substring_regex(values, _COMMA), pc.invert(pc.match_substring_regex(values, _THOUSANDS))
        )
        if (place := pc.fill_null(shows, fill_value=False).index(True).as_py()) >= 0:
            return f"numbers are read with decimal commas, as in {name}, row {place + 1}: {str(values[place])!r}"
    return "numbers are read with decimal commas"


def _look(column: Column, values: Any, decimal: str) -> None:
    """Take a batch into account."""
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
        _bounds(column, known)
        if pa.types.is_floating(values.type):
            _note_odd(column, values, _infinite(values), before)
        if kind == "integer":
            _as_epoch(column, known)
    elif kind == "time":
        form = times.ZONED if pa.types.is_timestamp(values.type) and values.type.tz else times.TYPED
        column.written = {form: (column.written or {}).get(form, 0) + len(known)}
        column.outside += count_true(times.outside(known))


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
    numeric = pc.and_not(numeric, _infinite(numbers).fill_null(True))
    column.numbers += count_true(numeric)
    _bounds(column, numbers.filter(numeric))
    if not pc.all(numeric).as_py():
        other = pc.invert(numeric)
        _note_odd(column, values, other, before)
        column.commas += count_matching(known, _COMMA) if decimal == "." else 0
        # Without those that are numbers as they stand, e.g. 0.123.
        column.grouped += count_matching(values.filter(other), _GROUPED)
    if decimal == ",":
        column.fractions += count_matching(known, _COMMA)
        if count := count_matching(known, _THOUSANDS):
            first = str(known[pc.match_substring_regex(known, _THOUSANDS).index(True).as_py()])
            column.thousands = (column.thousands[0] + count, column.thousands[1] or first)
    column.has_newlines = column.has_newlines or bool(pc.any(pc.match_substring(known, "\n")).as_py())
    if column.integers == column.known:
        _as_epoch(column, known)
        return
    column.outside += count_true(times.outside(known))
    if column.written is None or not column.written:
        column.written = dict.fromkeys(times.forms(known), 0) if column.known == len(known) else {}
    for form in column.written:
        if form.kind not in ("seconds", "milliseconds"):
            column.written[form] += count_true(times.matches(known, form))


def _infinite(numbers: Any) -> Any:
    """Which numbers are infinite once training has them as float32: nothing can be learnt of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_inf(numbers.cast(pa.float32()))


def _note_odd(column: Column, values: Any, odd: Any, before: int) -> None:
    """Remember the first value that is odd."""
    place = odd.index(True).as_py()
    if column.odd is None and place >= 0:
        column.odd = (before + place + 1, str(values[place]))


def _as_epoch(column: Column, known: Any) -> None:
    """Whole numbers that may be dates, or that a column's name calls times."""
    days, outside = times.count_days(known) if times.may_be_days(column.low, column.high) else (0, 0)
    column.days += days
    column.outside += outside
    found = times.forms_of_numbers(column.name, column.low, column.high)
    before = column.written or {}
    column.written = {form: before.get(form, 0) + (days if form.format else len(known)) for form in found}


def _bounds(column: Column, numbers: Any) -> None:
    import pyarrow.compute as pc

    found = pc.min_max(numbers).as_py()
    if found["min"] is not None:
        column.low, column.high = min(column.low, float(found["min"])), max(column.high, float(found["max"]))
