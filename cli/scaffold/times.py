"""How a column writes times, and the times themselves, in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cli.scaffold.counting import count_matching, count_true

Array = npt.NDArray[Any]

_DATE, _CLOCK = r"\d{4}-\d{2}-\d{2}", r"[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
_ISO, _ZONED = rf"^{_DATE}({_CLOCK})?$", rf"^{_DATE}{_CLOCK}(Z|[+-]\d{{2}}(:?\d{{2}})?)$"
#: Orders of day, month and year that are tried, each with every separator and clock.
_ORDERS = tuple(
    order for year in ("%Y", "%y") for order in (("%d", "%m", year), ("%m", "%d", year), (year, "%m", "%d"))
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
#: Whole numbers that are dates, e.g. 20250131.
DAYS = "%Y%m%d"
#: The years of which events may be: others are placeholders, or written in another way than they are read.
YEARS = (1900, 2100)
#: Any other year; what is valid for ever is often written as of 9999.
_NO_YEAR = r"(0\d{3}|1[0-8]\d\d|21(0[1-9]|[1-9]\d)|2[2-9]\d\d|[3-9]\d{3})"
#: Dates of such a year: it comes first, or last, or the date is a whole number.
_OUTSIDE = rf"^{_NO_YEAR}[-/.]|^\d{{1,2}}[-/.]\d{{1,2}}[-/.]{_NO_YEAR}(\D|$)"
_DAYS_OUTSIDE = rf"^{_NO_YEAR}\d{{4}}$"
#: Seconds since 1970 that a column of numbers may mean: 1990 to 2100.
_EPOCH = (631_152_000, 4_102_444_800)
#: Words of a column's name that say that it holds times.
_WORDS = frozenset({
    "time", "times", "timestamp", "datetime", "date", "ts", "epoch", "unix", "at", "when", "created", "updated",
    "modified", "occurred", "asked", "seen", "started", "ended",
})  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One way to write times."""

    kind: str
    """`iso`, `zoned`, `seconds`, `milliseconds`, `typed` (an Arrow type) or `format`."""
    format: str = ""
    """Of `strptime`, for `format`."""

    @property
    def text(self) -> str:
        """For people."""
        return {
            "iso": "ISO 8601, e.g. 2024-05-01T12:00:00",
            "zoned": "ISO 8601 with a zone, e.g. 2024-05-01T12:00:00Z",
            "seconds": "epoch seconds, whole seconds since 1970",
            "milliseconds": "epoch milliseconds, whole milliseconds since 1970",
            "typed": "times",
        }.get(self.kind, f"the format {self.format}")

    @property
    def order(self) -> str:
        """Of day, month and year in a format, e.g. `dmy`."""
        return "".join(re.findall(r"%([dmy])", self.format.replace("%Y", "%y")))


ISO, ZONED, SECONDS, MILLISECONDS, TYPED = (Form(kind) for kind in ("iso", "zoned", "seconds", "milliseconds", "typed"))
_WHOLE_DAYS = Form("format", DAYS)
#: What `--time-format` says besides the formats of `strptime`.
EPOCHS = {"epoch-s": SECONDS, "epoch-ms": MILLISECONDS}


def forms(values: Any) -> list[Form]:
    """The ways in which the first texts of a column may be written, likely ones first."""
    import pyarrow.compute as pc

    known = pc.drop_null(values).slice(0, 200)
    if not len(known):
        return []
    found = [form for form in (ISO, ZONED) if _share(matches(known, form)) >= 0.5]
    if found:
        return found
    return [
        form
        for order in _ORDERS
        for separator in "/.-"
        for clock in _CLOCKS
        if separator in str(known[0])
        and _share(matches(known, form := Form("format", separator.join(order) + clock))) >= 0.5
    ]


def forms_of_numbers(name: str, low: float, high: float) -> list[Form]:
    """The same for whole numbers, which say nothing by themselves: the column's name must."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    if not _WORDS.intersection(words):
        return []
    return [_WHOLE_DAYS] if may_be_days(low, high) else epoch(low, high)


def may_be_days(low: float, high: float) -> bool:
    """Whether whole numbers between these may be dates such as 20250131, an open end such as 99991231 among them."""
    return YEARS[0] * 10_000 + 101 <= low and high <= 99991231


def count_days(values: Any) -> tuple[int, int]:
    """How many whole numbers are dates such as 20250131, and how many of these are of a year that no event is of."""
    import pyarrow as pa
    import pyarrow.compute as pc

    are = pc.fill_null(matches(values, _WHOLE_DAYS), fill_value=False)
    return count_true(are), count_matching(values.cast(pa.string()).filter(are), _DAYS_OUTSIDE)


def outside(values: Any) -> Any:
    """Which texts or times are of years that no event is of; what is valid for ever is written so."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        years = pc.year(values)
        return pc.or_(pc.less(years, YEARS[0]), pc.greater(years, YEARS[1]))
    return pc.match_substring_regex(values, _OUTSIDE)


def without_open_ends(found: Array) -> Array:
    """Times of which those of years that no event is of are missing."""
    first, last = (np.datetime64(f"{year}-01-01", "us") for year in (YEARS[0], YEARS[1] + 1))
    return np.where((found < first) | (found >= last), np.datetime64("NaT", "us"), found)


def epoch(low: float, high: float) -> list[Form]:
    """How whole numbers between these would have to be written to be times of our days."""
    if _EPOCH[0] <= low and high <= _EPOCH[1]:
        return [SECONDS]
    return [MILLISECONDS] if _EPOCH[0] * 1000 <= low and high <= _EPOCH[1] * 1000 else []


def matches(values: Any, form: Form) -> Any:
    """Which texts are written so; null where there is none."""
    import pyarrow.compute as pc

    if form.kind in ("iso", "zoned"):
        return pc.match_substring_regex(values, _ISO if form.kind == "iso" else _ZONED)
    return pc.if_else(pc.is_null(values), None, pc.is_valid(_by_format(values, form)))


def parse(values: Any, form: Form) -> Array:
    """The times of a column as datetime64[us] in UTC; NaT where one is missing.

    Raises:
        ValueError: When one is no time; its argument is the row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if form.kind in ("seconds", "milliseconds"):
        return _epoch(values, form)
    if form.kind == "format":
        parsed = _by_format(values, form)
        wrong = np.flatnonzero(pc.and_(pc.is_null(parsed), pc.is_valid(values)).to_numpy(zero_copy_only=False))
        if len(wrong):
            raise ValueError(int(wrong[0]))
        return _numpy(parsed)
    if pa.types.is_string(values.type):
        # No event needs more than microseconds.
        values = pc.replace_substring_regex(values, r"(\.\d{6})\d+", r"\1")
    zoned = form.kind == "zoned" or (pa.types.is_timestamp(values.type) and values.type.tz is not None)
    return _numpy(_cast(values, pa.timestamp("us", "UTC") if zoned else pa.timestamp("us")))


def median(found: Array) -> int:
    """The median of times, microseconds since 1970; 0 of none."""
    known = found[~np.isnat(found)]
    return int(np.median(known.astype(np.int64))) if known.size else 0


def _by_format(values: Any, form: Form) -> Any:
    """The texts as `strptime` reads them; null where it cannot."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = values.cast(pa.string()) if pa.types.is_integer(values.type) else values
    parsed = pc.strptime(texts, format=form.format, unit="us", error_is_null=True)
    # It takes 24 for %Y, as the year 24.
    return pc.if_else(pc.less(pc.year(parsed), 1000), None, parsed)


def _cast(values: Any, kind: Any) -> Any:
    """The values in another type; what cannot be is a ValueError with its row."""
    import pyarrow as pa

    try:
        # Nanoseconds are cut: no event needs them.
        return values.cast(kind, safe=not pa.types.is_timestamp(values.type))
    except pa.ArrowInvalid:
        for row, value in enumerate(values):
            try:
                value.cast(kind)
            except pa.ArrowInvalid as error:
                raise ValueError(row) from error
        raise


def _epoch(values: Any, form: Form) -> Array:
    import pyarrow as pa

    numbers = _cast(values, pa.float64()).to_numpy(zero_copy_only=False)
    found = numbers * (1e6 if form.kind == "seconds" else 1e3)
    return np.where(np.isnan(found), np.datetime64("NaT", "us"), np.nan_to_num(found).astype("datetime64[us]"))


def _numpy(values: Any) -> Array:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype="datetime64[us]")


def _share(mask: Any) -> float:
    import pyarrow.compute as pc

    return float(pc.mean(mask).as_py() or 0.0)
