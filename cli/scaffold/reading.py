"""Decisions on how to read the cells of each column of a CSV file, based on all cells of the column.

A single odd cell decides nothing: a text that means a missing value among numbers may be a value among texts, and
digits may be identifiers. Each decision is reported, with its evidence and the flag that overrides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.scaffold import times
from cli.scaffold.counting import count_matching, count_true
from cli.scaffold.source import Note, Reading, Source

#: Texts that programs write for a missing value, in addition to the empty cell.
MARKS = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "\\N")
#: The one of these that is never a value: MySQL and PostgreSQL write it for NULL.
_NEVER = "\\N"
SIGNS = "$€£¥₹"

_NUMBER = r"^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$"
_MONEY = r"^[+-]?[{sign}]\s?[+-]?\d[\d.,']*$"
_DIGITS, _LONG, _ZERO = r"^[+-]?\d+$", r"^[+-]?\d{19,}$", r"^0\d+$"
_POWER = r"^\d+[eE]\d+$"
_TRUTH = r"^(true|false|True|False|TRUE|FALSE)$"
#: Share of cells with a leading zero from which a column of digits holds identifiers.
_ZEROS = 0.1
#: A column has the kind that more than this share of its cells have.
_MOST = 0.5


@dataclass
class _Cells:
    """Statistics of the cells of a column."""

    rows: int = 0
    plain: int = 0
    """Cells that are neither blank nor one of `MARKS`."""
    numbers: int = 0
    truths: int = 0
    digits: int = 0
    long: int = 0
    zeros: int = 0
    powers: int = 0
    led: int = 0
    """Plain cells that begin with a space."""
    times: dict[times.Form, int] | None = None
    finer: tuple[int, int] | None = None
    """Number of times with more digits than microseconds, and the row of the first."""
    widths: tuple[int, int] = (10**6, 0)
    power: tuple[int, str] | None = None
    """Row and text of the first cell such as 1E5."""
    zero: tuple[int, str] | None = None
    """Row and text of the first cell with a leading zero."""
    blank: tuple[int, int] | None = None
    """Number of cells that hold only spaces, and the row of the first."""
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Number of cells with each mark, and the row of the first."""
    money: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    """Number of amounts in each currency, with the row and the text of the first."""
    points: int = 0
    """Amounts with a decimal point or commas between thousands; ``commas`` counts amounts written the other way."""
    commas: int = 0
    plainest: set[str] | None = field(default_factory=set)
    """The different plain cells; None once there are four."""


@dataclass
class Readings:
    """The readings of all columns of a file, and notes on them for the user."""

    of: dict[str, Reading]
    said: list[str] = field(default_factory=list)
    as_numbers: dict[str, str] = field(default_factory=dict)
    """A note on each column whose digits are read as numbers."""
    reasons: dict[str, str] = field(default_factory=dict)
    """The reason for each column that cannot be read as what it holds."""


def decide_readings(source: Source, given: Mapping[str, tuple[str, ...]], target: str | None, note: Note) -> Readings:
    """Decide from every cell of a CSV file how its columns are read.

    Args:
        source: The file.
        given: The texts that mean a missing value by the user's options, by column.
        target: The target by the user's options; None if not given.
        note: Receives the progress.
    """
    cells = {name: _Cells() for name in source.columns}
    for batch in source.read_batches(note, raw=True):
        for name, found in cells.items():
            _look(found, batch.column(name))
    readings = Readings({})
    for name, found in cells.items():
        readings.of[name] = _decide_reading(name, found, given.get(name), name == target, readings)
    return readings


# -- looking -----------------------------------------------------------------------------------------------------------


def _look(cells: _Cells, raw: Any) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed, before = pc.utf8_trim_whitespace(raw), cells.rows
    cells.rows += len(raw)
    empty = pc.equal(trimmed, "")
    spaces = pc.and_(empty, pc.not_equal(raw, ""))
    if count := count_true(spaces):
        row = before + spaces.index(True).as_py() + 1
        cells.blank = (count, row) if cells.blank is None else (cells.blank[0] + count, cells.blank[1])
    marked = pc.is_in(trimmed, pa.array(MARKS))
    if count_true(marked):
        _look_at_marks(cells, trimmed, marked, before)
    is_plain = pc.invert(pc.or_(empty, marked))
    plain = trimmed.filter(is_plain)
    if not len(plain):
        return
    cells.plain += len(plain)
    cells.led += count_true(pc.starts_with(raw.filter(is_plain), " "))
    cells.numbers += count_matching(plain, _NUMBER)
    cells.truths += count_matching(plain, _TRUTH)
    digits = pc.match_substring_regex(plain, _DIGITS)
    cells.digits += count_true(digits)
    cells.long += count_matching(plain, _LONG)
    powers = pc.match_substring_regex(trimmed, _POWER)
    if count := count_true(powers):
        cells.powers += count
        place = powers.index(True).as_py()
        cells.power = cells.power or (before + place + 1, trimmed[place].as_py())
    sizes = pc.min_max(pc.utf8_length(plain.filter(digits))).as_py()
    if sizes["min"] is not None:
        cells.widths = (min(cells.widths[0], sizes["min"]), max(cells.widths[1], sizes["max"]))
    zeros = pc.match_substring_regex(trimmed, _ZERO)
    if count := count_true(zeros):
        cells.zeros += count
        place = zeros.index(True).as_py()
        cells.zero = cells.zero or (before + place + 1, trimmed[place].as_py())
    _look_at_money(cells, trimmed, before)
    finer = pc.match_substring_regex(trimmed, r":\d{2}\.\d{7,9}")
    if count := count_true(finer):
        row = before + finer.index(True).as_py() + 1
        cells.finer = (count, row) if cells.finer is None else (cells.finer[0] + count, cells.finer[1])
    if cells.times is None:
        cells.times = dict.fromkeys(times.find_forms(plain), 0)
    for form in cells.times:
        cells.times[form] += count_true(times.mask_matches(plain, form))
    if cells.plainest is not None:
        cells.plainest |= set(pc.unique(plain).to_pylist()[:4])
        cells.plainest = cells.plainest if len(cells.plainest) < 4 else None


def _look_at_marks(cells: _Cells, trimmed: Any, marked: Any, before: int) -> None:
    import pyarrow.compute as pc

    for mark in pc.unique(trimmed.filter(marked)).to_pylist():
        same = pc.equal(trimmed, mark)
        count, first = cells.marks.get(mark, (0, before + same.index(True).as_py() + 1))
        cells.marks[mark] = (count + count_true(same), first)


def _look_at_money(cells: _Cells, trimmed: Any, before: int) -> None:
    import pyarrow.compute as pc

    for sign in SIGNS:
        if not count_true(pc.match_substring(trimmed, sign)):
            continue
        amounts = pc.match_substring_regex(trimmed, _MONEY.format(sign=sign))
        if not (count := count_true(amounts)):
            continue
        place = amounts.index(True).as_py()
        known, row, first = cells.money.get(sign, (0, before + place + 1, trimmed[place].as_py()))
        cells.money[sign] = (known + count, row, first)
        found = trimmed.filter(amounts)
        cells.points += count_matching(found, r"\d,\d{3}(,\d{3})*\.\d*$|\d\.\d{1,2}$|\d,\d{3},\d{3}$")
        cells.commas += count_matching(found, r"\d\.\d{3}(\.\d{3})*,\d*$|\d,\d{1,2}$|\d\.\d{3}\.\d{3}$")


# -- deciding ----------------------------------------------------------------------------------------------------------


def _decide_reading(
    name: str, cells: _Cells, given: tuple[str, ...] | None, is_target: bool, readings: Readings
) -> Reading:
    is_name = _is_name(name, cells, readings)
    sign, group = _decide_currency(name, cells, readings)
    amounts = cells.numbers + (cells.money[sign][0] if sign else 0)
    dated = max((cells.times or {}).values(), default=0)
    what = _classify_cells(cells, amounts, dated) if not is_name else ""
    if cells.blank:
        count, row = cells.blank
        readings.said.append(f"{name}: {_count_cells(count)} only spaces, first in row {row}: missing")
    if cells.finer and what == "times":
        count, row = cells.finer
        readings.said.append(f"{name}: {count:,} times, first in row {row}: digits beyond microseconds are dropped")
    missing = given
    if missing is None:
        missing = _decide_missing(name, cells, what, is_target, readings)
    is_led = bool(cells.plain) and cells.led == cells.plain
    if is_led and not what:
        readings.said.append(f"{name}: every text begins with a space, which is dropped")
    return Reading(missing, trim=bool(what) or is_led, sign=sign, group=group, is_name=is_name)


def _classify_cells(cells: _Cells, amounts: int, dated: int) -> str:
    """Return what most cells are: `truths`, `numbers` or `times`, or an empty text for texts."""
    if cells.plain and cells.truths == cells.plain:
        return "truths"
    if amounts > cells.plain * _MOST:
        return "numbers"
    return "times" if dated > cells.plain * _MOST else ""


def _decide_missing(name: str, cells: _Cells, what: str, is_target: bool, readings: Readings) -> tuple[str, ...]:
    """Return the texts that mean a missing value, for a column about which the user has given none."""
    if what or (is_target and cells.plainest is not None and len(cells.plainest) == 2):
        rest = f"all others are {what}" if what else f"the others are {' and '.join(sorted(cells.plainest or ()))}"
        for mark, (count, row) in sorted(cells.marks.items()):
            readings.said.append(f"--missing {name}={mark}: {count:,} of {cells.rows:,} rows, first row {row}; {rest}")
        return ("", *sorted(cells.marks))
    found = [""]
    for mark, (count, row) in sorted(cells.marks.items()):
        where = f"in {count:,} of {cells.rows:,} rows, first row {row}"
        if mark == _NEVER:
            found.append(mark)
            readings.said.append(f"--missing {name}={mark}: {where}; databases write missing values this way")
        else:
            readings.said.append(f"{name}: {mark!r} {where} is a value; if it means missing: --missing {name}={mark}")
    return tuple(found)


def _is_name(name: str, cells: _Cells, readings: Readings) -> bool:
    """Return True if the digits in a column are identifiers; add notes to ``readings``."""
    if not cells.plain:
        return False
    if cells.powers > cells.plain * _MOST and cells.powers + cells.digits >= cells.plain:
        readings.said.append(f"{name}: texts such as 1E5 are identifiers and kept as they are, not powers of ten")
        return True
    if cells.power and cells.powers + cells.digits == cells.plain:
        row, text = cells.power
        readings.as_numbers[name] = f"{name}: row {row} is {text!r}, read as the number {float(text):g} like the others"
    if cells.digits < cells.plain:
        return False
    if cells.long:
        readings.said.append(f"{name}: whole numbers of more than 18 digits are identifiers and kept as they are")
        return True
    if cells.zero is None:
        return False
    row, text = cells.zero
    if cells.widths[0] == cells.widths[1] or cells.zeros >= cells.plain * _ZEROS:
        readings.said.append(f"{name}: leading zeros, row {row} is {text!r}: its digits are kept as text")
        return True
    readings.as_numbers[name] = f"{name}: row {row} is {text!r}, read as the number {int(text)} like the others"
    return False


def _decide_currency(name: str, cells: _Cells, readings: Readings) -> tuple[str, str]:
    """Return the currency sign of a column and its thousands separator; both empty if it holds no readable amounts."""
    if not cells.money or sum(count for count, _, _ in cells.money.values()) + cells.numbers <= cells.plain * _MOST:
        return "", ""
    ranked = sorted(cells.money, key=lambda sign: -cells.money[sign][0])
    if len(ranked) > 1:
        _, row, text = cells.money[ranked[1]]
        readings.reasons[name] = (
            f"it holds amounts in {len(ranked)} currencies: row {row} is {text!r}, the others are in {ranked[0]}"
        )
        return "", ""
    sign = ranked[0]
    if cells.points and cells.commas:
        readings.reasons[name] = "its amounts are written in two formats, with decimal points and with decimal commas"
        return "", ""
    if cells.commas or (sign == "€" and not cells.points):
        readings.reasons[name] = "its amounts have decimal commas: write them with a point"
        return "", ""
    count, row, text = cells.money[sign]
    readings.said.append(
        f"{name}: {count:,} of {cells.rows:,} cells have {sign}, row {row} is {text!r}: read as numbers without commas"
    )
    return sign, ","


def _count_cells(count: int) -> str:
    return f"{count:,} cell{'s hold' if count > 1 else ' holds'}"
