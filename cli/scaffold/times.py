"""Formats in which a column may write times, and parsing of these times, in UTC."""

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
#: The format of whole numbers that are dates, e.g. 20250131.
DAYS = "%Y%m%d"
#: First and last plausible year of an event: other years are placeholders, or are read in a wrong format.
YEARS = (1900, 2100)
#: Pattern of every other year; "valid forever" is often written as the year 9999.
_NO_YEAR = r"(0\d{3}|1[0-8]\d\d|21(0[1-9]|[1-9]\d)|2[2-9]\d\d|[3-9]\d{3})"
#: Patterns of dates in such a year: with the year first or last, and as a whole number.
_OUTSIDE = rf"^{_NO_YEAR}[-/.]|^\d{{1,2}}[-/.]\d{{1,2}}[-/.]{_NO_YEAR}(\D|$)"
_DAYS_OUTSIDE = rf"^{_NO_YEAR}\d{{4}}$"
#: Range in which numbers may be seconds since 1970: the years 1990 to 2100.
_EPOCH = (631_152_000, 4_102_444_800)
#: Words in a column's name that indicate times.
_WORDS = frozenset({
    "time", "times", "timestamp", "datetime", "date", "ts", "epoch", "unix", "at", "when", "created", "updated",
    "modified", "occurred", "asked", "seen", "started", "ended",
})  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A format of times."""

    kind: str
    """`iso`, `zoned`, `seconds`, `milliseconds`, `typed` (an Arrow type) or `format`."""
    format: str = ""
    """The format for `strptime`, if ``kind`` is `format`."""

    @property
    def text(self) -> str:
        """A description for people."""
        return {
            "iso": "ISO 8601, e.g. 2024-05-01T12:00:00",
            "zoned": "ISO 8601 with a zone, e.g. 2024-05-01T12:00:00Z",
            "seconds": "epoch seconds, whole seconds since 1970",
            "milliseconds": "epoch milliseconds, whole milliseconds since 1970",
            "typed": "times",
        }.get(self.kind, f"the format {self.format}")

    @property
    def order(self) -> str:
        """The order of day, month and year in the format, e.g. `dmy`."""
        return "".join(re.findall(r"%([dmy])", self.format.replace("%Y", "%y")))


ISO, ZONED, SECONDS, MILLISECONDS, TYPED = (Form(kind) for kind in ("iso", "zoned", "seconds", "milliseconds", "typed"))
_WHOLE_DAYS = Form("format", DAYS)
#: Values of `--time-format` that are not formats of `strptime`.
EPOCHS = {"epoch-s": SECONDS, "epoch-ms": MILLISECONDS}


def find_forms(values: Any) -> list[Form]:
    """Return the formats that match at least half of the first texts of a column, likely ones first."""
    import pyarrow.compute as pc

    known = pc.drop_null(values).slice(0, 200)
    if not len(known):
        return []
    found = [form for form in (ISO, ZONED) if _share(mask_matches(known, form)) >= 0.5]
    if found:
        return found
    return [
        form
        for order in _ORDERS
        for separator in "/.-"
        for clock in _CLOCKS
        if separator in str(known[0])
        and _share(mask_matches(known, form := Form("format", separator.join(order) + clock))) >= 0.5
    ]


def find_number_forms(name: str, low: float, high: float) -> list[Form]:
    """Return the formats in which whole numbers may be times; none unless the column's name indicates times."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    if not _WORDS.intersection(words):
        return []
    return [_WHOLE_DAYS] if may_be_days(low, high) else find_epoch_forms(low, high)


def may_be_days(low: float, high: float) -> bool:
    """Return True if whole numbers in this range may be dates such as 20250131, or open ends such as 99991231."""
    return YEARS[0] * 10_000 + 101 <= low and high <= 99991231


def count_days(values: Any) -> tuple[int, int]:
    """Return how many whole numbers are dates such as 20250131, and how many of these have an implausible year."""
    import pyarrow as pa
    import pyarrow.compute as pc

    are = pc.fill_null(mask_matches(values, _WHOLE_DAYS), fill_value=False)
    return count_true(are), count_matching(values.cast(pa.string()).filter(are), _DAYS_OUTSIDE)


def mask_implausible(values: Any) -> Any:
    """Return a mask of the texts or times whose year is outside `YEARS`, as that of an open end often is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        years = pc.year(values)
        return pc.or_(pc.less(years, YEARS[0]), pc.greater(years, YEARS[1]))
    return pc.match_substring_regex(values, _OUTSIDE)


def drop_open_ends(found: Array) -> Array:
    """Return the times with those outside `YEARS` replaced by NaT."""
    first, last = (np.datetime64(f"{year}-01-01", "us") for year in (YEARS[0], YEARS[1] + 1))
    return np.where((found < first) | (found >= last), np.datetime64("NaT", "us"), found)


def find_epoch_forms(low: float, high: float) -> list[Form]:
    """Return the epoch unit, as a list of at most one, that puts whole numbers in this range into 1990 to 2100."""
    if _EPOCH[0] <= low and high <= _EPOCH[1]:
        return [SECONDS]
    return [MILLISECONDS] if _EPOCH[0] * 1000 <= low and high <= _EPOCH[1] * 1000 else []


def mask_matches(values: Any, form: Form) -> Any:
    """Return a mask of the texts that match a format; null where a text is null."""
    import pyarrow.compute as pc

    if form.kind in ("iso", "zoned"):
        return pc.match_substring_regex(values, _ISO if form.kind == "iso" else _ZONED)
    return pc.if_else(pc.is_null(values), None, pc.is_valid(_by_format(values, form)))


def parse(values: Any, form: Form) -> Array:
    """Parse the times of a column.

    Args:
        values: An Arrow array of texts, whole numbers or times, as the format requires.
        form: The format of all values.

    Returns:
        The times in UTC, datetime64[us], one per value; NaT where a value is missing.

    Raises:
        ValueError: When a value is not a time; the only argument is its row, from 0.
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


def compute_median(found: Array) -> int:
    """Return the median of times in microseconds since 1970; 0 if no time is known."""
    known = found[~np.isnat(found)]
    return int(np.median(known.astype(np.int64))) if known.size else 0


def _by_format(values: Any, form: Form) -> Any:
    """Parse values with `strptime`; null where that fails."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = values.cast(pa.string()) if pa.types.is_integer(values.type) else values
    parsed = pc.strptime(texts, format=form.format, unit="us", error_is_null=True)
    # For %Y it also accepts 24, as the year 24.
    return pc.if_else(pc.less(pc.year(parsed), 1000), None, parsed)


def _cast(values: Any, kind: Any) -> Any:
    """Cast the values to another type.

    Raises:
        ValueError: When a value cannot be cast; the only argument is its row, from 0.
    """
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
