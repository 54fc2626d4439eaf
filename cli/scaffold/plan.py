"""The plan of a new use case: the columns of the file, their names and roles, and all that follows from them."""

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

#: Maximum number of different texts in a feature; a column with more is free text, or names.
CATEGORIES = 100
#: Column names that training uses itself.
_TAKEN = frozenset({"fingerprint", "fold", "score", "known_at", "instances", "p"})
#: Days over which the rows of a file without times are spread.
SPREAD = 90
#: The largest number up to which a 32-bit float can represent every whole number.
_EXACT = 2**24
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Feature:
    """A column from which the model predicts, with a value that is known when a prediction is requested."""

    column: str
    """The column's name in the file."""
    name: str
    """The feature's name in the use case."""
    kind: str
    """`number`, `truth`, `text` or `time`."""
    form: Form | None = None
    """The format of its times."""
    values: tuple[str, ...] = ()
    """All values of a text with few different ones."""
    low: float | None = None
    share_missing: float = 0.0
    has_open_ends: bool = False
    """Whether some of its times are outside `times.YEARS`."""


@dataclass(frozen=True)
class Roles:
    """The problem, and the roles of the file's columns."""

    problem: str
    target: str
    positive: str | None
    negative: str | None
    key: str
    event_time: str
    form: Form | None

    @property
    def columns(self) -> tuple[str, str, str]:
        """The columns of the roles."""
        return self.target, self.key, self.event_time


@dataclass(frozen=True)
class Plan:
    """The plan of a use case, with everything that the templates need."""

    name: str
    region: str
    problem: str
    target: str
    key: str
    event_time: str
    columns: Mapping[str, str] = field(default_factory=dict)
    """The file's columns by role (`target`, `key`, `event_time`); a role without a column is absent."""
    target_kind: str = "number"
    """The kind of the target in the file: `number`, `truth` or `text`."""
    positive: str | None = None
    negative: str | None = None
    """The two values of a binary target; None if they are already 0 and 1 or truths."""
    is_folded: bool = False
    """Whether case and outer spaces of the target's texts are ignored."""
    form: Form | None = None
    features: tuple[Feature, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """Columns of the file that are no features, with the reason."""
    trusted: tuple[str, ...] = ()
    source: Path | None = None
    delimiter: str = ","
    decimal: str = "."
    raw_names: Mapping[str, str] = field(default_factory=dict)
    """The file's own names of columns that were changed, for example by dropping spaces around them."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """How the cells of each column of a CSV file are read."""
    skipped: str = ""
    """A first line that is no header."""
    has_newlines: bool = False
    rows: int = 0
    """Number of rows in the file."""
    last: datetime | None = None
    """The assumed arrival of the last row, if the file has no times."""
    replay_from: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    """The exclusive end of the sample's span, which starts at ``since``."""
    sample_rows: int = 0
    history_days: int | None = None
    window_days: int | None = None
    per_day: float = 0.0
    gates: tuple[tuple[str, str, float, str], ...] = ()
    """Metric, side (`at_least` or `at_most`), bound and reason of each gate."""

    @property
    def package(self) -> str:
        """The name of the use case's Python package."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that names a data file to use instead of the sample."""
        name = f"{self.package.upper()}_DATA"
        return f"DATA_OF_{self.package.upper()}" if name.startswith(RESERVED) else name

    @property
    def is_binary(self) -> bool:
        """True if the problem is binary."""
        return self.problem == BINARY

    @property
    def stale_days(self) -> int:
        """The monitor's window in days: training refuses data whose newest event is older."""
        return self.window_days or Monitoring().window.days

    @property
    def times(self) -> list[Feature]:
        """The features that are times."""
        return [feature for feature in self.features if feature.kind == "time"]

    @property
    def renamed(self) -> dict[str, str]:
        """The names in the use case of columns that have another name in the file, by that name."""
        pairs = {feature.column: feature.name for feature in self.features}
        pairs |= {self.columns[role]: getattr(self, role) for role in self.columns}
        return {column: name for column, name in pairs.items() if column != name}


def make_plan(name: str, region: str, roles: Roles, columns: Mapping[str, Column], left_out: Mapping[str, str]) -> Plan:
    """Make the plan as far as it is known before the sample is taken.

    Args:
        name: The use case's name.
        region: The AWS region.
        roles: The roles of the columns.
        columns: The columns of the file by name.
        left_out: Columns that are already known to be no features, with the reason.
    """
    names = make_identifiers(
        [roles.target, *(each for each in (roles.key, roles.event_time) if each != NONE), *columns]
    )
    out = dict(left_out)
    features = []
    for column in columns.values():
        if column.name in (roles.target, roles.key, roles.event_time) or column.name in out:
            continue
        found = _make_feature(column, names[column.name], roles.form)
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
        key=_make_unique("row", taken) if roles.key == NONE else names[roles.key],
        event_time=_make_unique("arrived_at", taken) if roles.event_time == NONE else names[roles.event_time],
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


def leave_out_features(plan: Plan, columns: Mapping[str, str]) -> Plan:
    """Return the plan without some features; ``columns`` has the reason for each."""
    return replace(
        plan,
        features=tuple(feature for feature in plan.features if feature.column not in columns),
        left_out=(*plan.left_out, *columns.items()),
    )


def make_identifiers(columns: Iterable[str]) -> dict[str, str]:
    """Return a name for each column that Python and AWS accept: the column's own name if possible."""
    names: dict[str, str] = {}
    for column in dict.fromkeys(columns):
        name = column
        if not _IDENTIFIER.fullmatch(name):
            name = "_".join(inference.split_words(column)) or "column"
            name = (name if name[0].isalpha() else f"c_{name}")[:60].rstrip("_")
        if name.lower() in _TAKEN:
            name = f"{name}_value"
        names[column] = _make_unique(name, names.values())
    return names


def _make_unique(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number if it is taken; case is ignored, as it is in a join."""
    folded = {each.lower() for each in taken}
    count, found = 1, name
    while found.lower() in folded:
        count += 1
        found = f"{name}_{count}"
    return found


def _make_feature(column: Column, name: str, event_form: Form | None) -> Feature | str:
    """Return the column as a feature, or the reason why it is none.

    Args:
        column: The column.
        name: The column's name in the use case.
        event_form: The format of the event times; None if the file has none.
    """
    kind = column.kind
    if kind == "empty":
        return "it is empty in every row"
    if kind == "other":
        return "it holds neither numbers nor texts nor times"
    if column.different == 1 and not column.missing:
        return "it is the same in every row"
    if kind == "integer" and not column.repeats and is_id(column.name):
        return "its name indicates that it only identifies rows"
    if kind == "text":
        if column.different > CATEGORIES or column.numbers > column.known / 2 or column.misspelt:
            return _explain_no_category(column)
        values = tuple(sorted(str(value) for value in column.values or {}))
        return Feature(column.name, name, "text", values=values, share_missing=column.share_missing)
    if kind == "time" or (kind == "integer" and column.forms):
        form = _choose_form(column.forms, event_form)
        if isinstance(form, str):
            return form
        return Feature(
            column.name, name, "time", form, share_missing=column.share_missing, has_open_ends=column.outside > 0
        )
    if kind == "integer" and (said := _explain_no_amount(column)):
        return said
    if kind == "number" and is_id(column.name) and not column.repeats:
        # pandas writes whole numbers with a point if one of them was missing.
        return "its name indicates an id, but it has decimal points: write whole numbers to make it the key"
    if kind == "number" and (forms := times.find_epoch_forms(column.low, column.high)):
        return f"it may hold times, {forms[0].text}, with fractions: write whole numbers"
    if column.odd and kind == "number":
        return _explain_odd_value(column.odd)
    return Feature(
        column.name,
        name,
        "truth" if kind == "truth" else "number",
        low=None if kind == "truth" else column.low,
        share_missing=column.share_missing,
    )


def _explain_no_amount(column: Column) -> str | None:
    """Return why whole numbers are no amounts: they look like dates or are too large for a float; None if they are."""
    if column.days == column.known:
        return (
            f"it may hold dates, the format {times.DAYS}: if it is the time of the event, give "
            f"--event-time {column.name} --time-format {times.DAYS}"
        )
    if max(abs(column.low), abs(column.high)) <= _EXACT:
        return None
    values = column.values
    if values is not None and len({_float32(float(value)) for value in values}) == len(values):
        return None
    return "its whole numbers are too large for a 32-bit float to distinguish: an id or a time, not an amount"


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _choose_form(forms: list[Form], event_form: Form | None) -> Form | str:
    """Return the format of a column's times, or why it is ambiguous; prefer the day order of the event times."""
    if len(forms) == 1:
        return forms[0]
    alike = [form for form in forms if event_form and form.order == event_form.order]
    if len(alike) == 1:
        return alike[0]
    ways = " and ".join(form.format for form in forms)
    return f"its dates can be read in {len(forms)} ways, {ways}: write them as 2024-05-01"


def _explain_no_category(column: Column) -> str:
    if column.misspelt:
        fix = "write them with a point, or with commas in all columns and ; between the columns"
        return f"its numbers have {column.misspelt}: {fix if column.commas else 'write them without'}"
    if column.numbers > column.known / 2 and column.odd:
        return _explain_odd_value(column.odd)
    if column.likely_form:
        return "it would hold times, but not in every row"
    have = f"more than {MANY:,}" if column.values is None else str(column.different)
    return f"{have} different texts: free text, or names"


def _explain_odd_value(first: tuple[int, str]) -> str:
    row, value = first
    return f"it would hold numbers, but row {row} is {value[:40]!r}: correct the file"


def midnight(day: date) -> datetime:
    """Return the beginning of a day."""
    return datetime(day.year, day.month, day.day)
