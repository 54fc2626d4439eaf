"""A use case as it will be written: the columns of the file, their names and uses, and all that follows from them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from cli.scaffold import inference, times
from cli.scaffold.inference import BINARY, NONE, is_id
from cli.scaffold.profile import MANY, Column
from cli.scaffold.source import Reading
from cli.scaffold.times import Form
from millrace import Monitoring
from millrace.environment import RESERVED

#: What a text column may hold at most to be a feature: with more it is free text, or names.
CATEGORIES = 100
#: Names that training keeps for itself.
_TAKEN = frozenset({"fold", "score", "known_at", "instances", "p"})
#: Days that the rows of a file without times are spread over, however many they are.
SPREAD = 90
#: Up to here a 32-bit float has every whole number.
_EXACT = 2**24
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Feature:
    """A column that a prediction is made from, as known when it is asked for."""

    column: str
    """As the file calls it."""
    name: str
    """As the use case calls it."""
    kind: str
    """`number`, `truth`, `text` or `time`."""
    form: Form | None = None
    """How its times are written."""
    values: tuple[str, ...] = ()
    """Of a text with few different values, all of them."""
    low: float | None = None
    share_missing: float = 0.0
    has_open_ends: bool = False
    """Whether some of its times are of years that no event is of."""


@dataclass(frozen=True)
class Roles:
    """What the columns of the file are for."""

    problem: str
    target: str
    positive: str | None
    negative: str | None
    key: str
    event_time: str
    form: Form | None


@dataclass(frozen=True)
class Plan:
    """Everything that the templates need."""

    name: str
    region: str
    problem: str
    target: str
    key: str
    event_time: str
    columns: Mapping[str, str] = field(default_factory=dict)
    """The file's column of target, key and event time; absent where there is none."""
    target_kind: str = "number"
    """`number`, `truth` or `text`, as the file has it."""
    positive: str | None = None
    negative: str | None = None
    """The two values of a binary target; None where they are 0 and 1 or truths already."""
    is_folded: bool = False
    """Whether the target's texts differ in case and outer spaces without meaning it."""
    form: Form | None = None
    features: tuple[Feature, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """Columns of the file that are no features, and why."""
    trusted: tuple[str, ...] = ()
    source: Path | None = None
    delimiter: str = ","
    decimal: str = "."
    raw_names: Mapping[str, str] = field(default_factory=dict)
    """The file's own names of columns that are called otherwise once spaces around them are dropped."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """How the cells of each column of a CSV file are read."""
    skipped: str = ""
    """A first line that is no header."""
    has_newlines: bool = False
    rows: int = 0
    """Of the file."""
    last: datetime | None = None
    """When the last row arrived, in a file without times."""
    replay_from: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    """The sample's span, half open."""
    sample_rows: int = 0
    history_days: int | None = None
    window_days: int | None = None
    min_labels: int | None = None
    per_day: float = 0.0
    gates: tuple[tuple[str, str, float, str], ...] = ()
    """Metric, side, bound, reason."""

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that names another file than the sample."""
        name = f"{self.package.upper()}_DATA"
        return f"DATA_OF_{self.package.upper()}" if name.startswith(RESERVED) else name

    @property
    def is_binary(self) -> bool:
        return self.problem == BINARY

    @property
    def stale_days(self) -> int:
        """The monitor's window: training refuses data whose newest event is older."""
        return self.window_days or Monitoring().window.days

    @property
    def times(self) -> list[Feature]:
        """Features that are made of times."""
        return [feature for feature in self.features if feature.kind == "time"]

    @property
    def renamed(self) -> dict[str, str]:
        """The file's columns that have another name here."""
        pairs = {feature.column: feature.name for feature in self.features}
        pairs |= {self.columns[role]: getattr(self, role) for role in self.columns}
        return {column: name for column, name in pairs.items() if column != name}


def of(name: str, region: str, roles: Roles, columns: Mapping[str, Column], left_out: Mapping[str, str]) -> Plan:
    """The plan before the rows were looked at.

    Args:
        left_out: Columns that are no features for a reason that is known already.
    """
    names = identifiers([roles.target, *(each for each in (roles.key, roles.event_time) if each != NONE), *columns])
    out = dict(left_out)
    features = []
    for column in columns.values():
        if column.name in (roles.target, roles.key, roles.event_time) or column.name in out:
            continue
        found = _feature(column, names[column.name], roles.form)
        if isinstance(found, Feature):
            features.append(found)
        else:
            out[column.name] = found
    target = columns[roles.target]
    kind = (
        "truth"
        if target.kind == "truth"
        else "text"
        if target.type == "text" and roles.positive is not None
        else "number"
    )
    read = [*(feature.column for feature in features), roles.target, roles.key, roles.event_time]
    taken = names.values()
    return Plan(
        name=name,
        region=region,
        problem=roles.problem,
        target=names[roles.target],
        key=_fresh("row", taken) if roles.key == NONE else names[roles.key],
        event_time=_fresh("arrived_at", taken) if roles.event_time == NONE else names[roles.event_time],
        columns={
            role: column
            for role, column in (("target", roles.target), ("key", roles.key), ("event_time", roles.event_time))
            if column != NONE
        },
        target_kind=kind,
        positive=roles.positive,
        negative=roles.negative,
        is_folded=target.is_folded,
        form=roles.form,
        features=tuple(features),
        left_out=tuple(out.items()),
        has_newlines=any(columns[each].has_newlines for each in read if each in columns),
        rows=target.rows,
    )


def without(plan: Plan, columns: Mapping[str, str]) -> Plan:
    """The plan less some features, each with its reason."""
    return replace(
        plan,
        features=tuple(feature for feature in plan.features if feature.column not in columns),
        left_out=(*plan.left_out, *columns.items()),
    )


def identifiers(columns: Iterable[str]) -> dict[str, str]:
    """A name for each column that Python and AWS can take; the column's own where it can."""
    names: dict[str, str] = {}
    for column in dict.fromkeys(columns):
        name = column
        if not _IDENTIFIER.fullmatch(name):
            name = "_".join(inference.words(column)) or "column"
            name = (name if name[0].isalpha() else f"c_{name}")[:60].rstrip("_")
        if name.lower() in _TAKEN:
            name = f"{name}_value"
        names[column] = _fresh(name, names.values())
    return names


def _fresh(name: str, taken: Iterable[str]) -> str:
    """The name, or it with a number where it is taken; a join tells no case apart."""
    folded = {each.lower() for each in taken}
    count, found = 1, name
    while found.lower() in folded:
        count += 1
        found = f"{name}_{count}"
    return found


def _feature(column: Column, name: str, event_form: Form | None) -> Feature | str:
    """The column as a feature, or why it is none.

    Args:
        event_form: How the times of the events are written.
    """
    kind = column.kind
    if kind == "empty":
        return "it is empty in every row"
    if kind == "other":
        return "it holds neither numbers nor texts nor times"
    if column.different == 1 and not column.missing:
        return "it is the same in every row"
    if kind == "integer" and not column.repeats and is_id(column.name):
        return "its name says that it only tells rows apart"
    if kind == "text":
        if column.different > CATEGORIES or column.numbers > column.known / 2 or column.misspelt:
            return _no_category(column)
        values = tuple(sorted(str(value) for value in column.values or {}))
        return Feature(column.name, name, "text", values=values, share_missing=column.share_missing)
    if kind == "time" or (kind == "integer" and column.forms):
        form = _form(column.forms, event_form)
        if isinstance(form, str):
            return form
        return Feature(
            column.name, name, "time", form, share_missing=column.share_missing, has_open_ends=column.outside > 0
        )
    if kind == "integer" and (said := _undated(column)):
        return said
    if kind == "number" and is_id(column.name) and not column.repeats:
        # pandas writes whole numbers so where one of them was missing once.
        return "it is an id by its name, written with a point: write whole numbers to make it the key"
    if kind == "number" and (forms := times.epoch(column.low, column.high)):
        return f"it may hold times, {forms[0].text}, with fractions: write whole ones"
    if column.odd and kind == "number":
        return _odd(column.odd)
    return Feature(
        column.name,
        name,
        "truth" if kind == "truth" else "number",
        low=None if kind == "truth" else column.low,
        share_missing=column.share_missing,
    )


def _undated(column: Column) -> str | None:
    """Why whole numbers are no amounts: they look like times, or are too large to be told apart."""
    if column.days == column.known:
        return (
            f"it may hold dates, the format {times.DAYS}: if it says when, --event-time {column.name} --time-format "
            f"{times.DAYS}"
        )
    if max(abs(column.low), abs(column.high)) <= _EXACT:
        return None
    values = column.values
    if values is not None and len({_float32(float(value)) for value in values}) == len(values):
        return None
    return "its whole numbers are too large for a 32-bit float to tell apart: an id, or a time, and no amount"


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _form(forms: list[Form], event_form: Form | None) -> Form | str:
    """The one way in which times are written, or why it is not known: of two orders, that of the event's time."""
    if len(forms) == 1:
        return forms[0]
    alike = [form for form in forms if event_form and form.order == event_form.order]
    if len(alike) == 1:
        return alike[0]
    ways = " and ".join(form.format for form in forms)
    return f"its dates can be read in {len(forms)} ways, {ways}: write them as 2024-05-01"


def _no_category(column: Column) -> str:
    if column.misspelt:
        mend = "write them with a point, or with commas in all columns and ; between the columns"
        return f"its numbers have {column.misspelt}: {mend if column.commas else 'write them without'}"
    if column.numbers > column.known / 2 and column.odd:
        return _odd(column.odd)
    if column.likely_form:
        return "it would hold times, but not in every row"
    have = f"more than {MANY:,}" if column.values is None else str(column.different)
    return f"{have} different texts: free text, or names"


def _odd(first: tuple[int, str]) -> str:
    row, value = first
    return f"it would hold numbers, but row {row} is {value[:40]!r}: mend the file"


def midnight(day: date) -> datetime:
    """The beginning of a day."""
    return datetime(day.year, day.month, day.day)
