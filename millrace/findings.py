"""Findings of data validation: values with a code, a subject and fields, rendered to a sentence only here.

The report `validation.json` holds them as data beside their sentences; programs read the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """The effect of a finding on a batch of data."""

    REFUSE = "refuse"
    SET_ASIDE = "set aside"
    WARN = "warn"


class Code(StrEnum):
    """The rule that a batch of data breaks."""

    TABLE_MISSING = "table_missing"
    NO_ROWS = "no_rows"
    COLUMN_MISSING = "column_missing"
    WRONG_KIND = "wrong_kind"
    SLICE_OF_TIME = "slice_of_time"
    VALUE_MISSING = "value_missing"
    KEY_REPEATED = "key_repeated"
    SAME_TIME = "same_time"
    RETRIED = "retried"
    TOO_MANY_MISSING = "too_many_missing"
    BOUND_NEEDS_NUMBERS = "bound_needs_numbers"
    EXPECTATION_BROKEN = "expectation_broken"
    EXPECTATION_BROKEN_TOO_OFTEN = "expectation_broken_too_often"
    NOT_BINARY = "not_binary"
    INFINITE = "infinite"
    ONE_OUTCOME = "one_outcome"
    NO_LABEL_OF_AN_EVENT = "no_label_of_an_event"
    LABEL_OF_NO_EVENT = "label_of_no_event"
    STALE = "stale"
    KIND_CHANGED = "kind_changed"
    COLUMN_GONE = "column_gone"
    OUTSIDE_RANGE = "outside_range"
    NEW_LEVELS = "new_levels"
    MORE_MISSING = "more_missing"
    ODD_VOLUME = "odd_volume"
    LATE = "late"
    LABELS_LATE = "labels_late"
    NO_REFERENCE = "no_reference"
    LEAK = "leak"
    LEAK_TRUSTED = "leak_trusted"
    LEAK_REFUSED = "leak_refused"


#: The rules that are inferred from the snapshot accepted before.
INFERRED = frozenset(
    {
        Code.KIND_CHANGED, Code.COLUMN_GONE, Code.OUTSIDE_RANGE, Code.NEW_LEVELS, Code.MORE_MISSING, Code.ODD_VOLUME,
        Code.LATE, Code.LABELS_LATE, Code.NO_REFERENCE,
    }
)  # fmt: skip

_MEANT = '; if it is meant, train once with inferred=Inferred(types="warn")'
_LEAK = "{column} alone predicts {target} with an AUC of {auc:.3f} (bound {bound}): "
#: The sentence of each code, with the names of its fields.
_SENTENCES = {
    Code.TABLE_MISSING: "the table is missing from the snapshot",
    Code.NO_ROWS: "no rows found; expected at least one",
    Code.COLUMN_MISSING: "column {column!r} does not exist; existing: {found}",
    Code.WRONG_KIND: "column {column!r} holds {found}; expected {expected}",
    Code.SLICE_OF_TIME: "column {column!r} holds time; a slice needs text or numbers",
    Code.VALUE_MISSING: "{column} is missing; expected it in every row",
    Code.KEY_REPEATED: "{column} occurs in several rows; expected it once",
    Code.SAME_TIME: "several rows of one {column} became known at the same time; the last one counts",
    Code.RETRIED: (
        "{share:.1%} of the rows are the same as another one but for their {column}; a retried event is learned from "
        "twice, or judges what was learned from it"
    ),
    Code.TOO_MANY_MISSING: "{share:.1%} of {column} is missing; expected at most {bound:.1%}",
    Code.BOUND_NEEDS_NUMBERS: "{column} holds {found}; a bound needs numbers",
    Code.EXPECTATION_BROKEN: "{column} breaks the rule: {expected}",
    Code.EXPECTATION_BROKEN_TOO_OFTEN: "{column} breaks the rule: {expected} (at most {bound:.2%} of rows may)",
    Code.NOT_BINARY: "{column} is neither 0 nor 1",
    Code.INFINITE: "{column} is infinite",
    Code.ONE_OUTCOME: "every {column} is {found}; a model needs both outcomes to learn from",
    Code.NO_LABEL_OF_AN_EVENT: "no label's {column} matches an event; compare the two",
    Code.LABEL_OF_NO_EVENT: "the {column} matches no event",
    Code.STALE: "the newest {column} is {found}; expected one within {hours:g} h of as_of",
    Code.KIND_CHANGED: "{column} holds {found}; in the snapshot accepted as of {reference} it held {expected}" + _MEANT,
    Code.COLUMN_GONE: "column {column!r}, which the snapshot accepted as of {reference} had, does not exist" + _MEANT,
    Code.OUTSIDE_RANGE: (
        "{share:.1%} of {column} in {part} is {side} {bound:g}, the {end} in the snapshot accepted as of {reference}"
    ),
    Code.NEW_LEVELS: (
        "{share:.1%} of {column} in {part} has a level that the snapshot accepted as of {reference} did not have; "
        "about {expected:.1%} is expected"
    ),
    Code.MORE_MISSING: (
        "{share:.1%} of {column} is missing in {part}; it was {expected:.1%} in the snapshot accepted as of {reference}"
    ),
    Code.ODD_VOLUME: (
        "{day} has {found} rows, and the same weekday of {weeks} weeks before {expected:.0f} on average; expected at "
        "most a factor of {factor:.2f} between them"
    ),
    Code.LATE: "the newest row is {hours:.1f} hours old; the longest pause before was {pause:.1f}",
    Code.LABELS_LATE: (
        "{found} labels have arrived of {expected:.0f} expected by the delays in the snapshot accepted as of "
        "{reference}"
    ),
    Code.NO_REFERENCE: "what was accepted before could not be read, so that nothing is inferred from it: {error}",
    Code.LEAK: _LEAK + "is it known when the prediction is made? If not, leave it out of events()",
    Code.LEAK_TRUSTED: _LEAK + "it is trusted",
    Code.LEAK_REFUSED: (
        _LEAK + "is it known when the prediction is made? If it is, say so in the use case: "
        "trusted=({column!r},); if not, leave it out of events()"
    ),
}


@dataclass(frozen=True)
class Finding:
    """One rule that a table of a snapshot breaks.

    Attributes:
        code: The rule.
        level: What it does to the batch.
        table: Where it was found.
        column: The column that it is about; None where it is about the table.
        fields: What was found and expected, by the names in the code's sentence.
        count: How many rows break the rule; None where it is not about rows.
        rows: The first of them, as column → value.
    """

    code: Code
    level: Level
    table: str
    column: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    count: int | None = None
    rows: tuple[Mapping[str, Any], ...] = ()

    @property
    def rule(self) -> str:
        """The rule that is broken, as a sentence without table and rows."""
        return _SENTENCES[self.code].format(column=self.column, **self.fields)

    @property
    def text(self) -> str:
        """The whole finding as a sentence."""
        count = f" in {self.count} row(s)" if self.count is not None else ""
        shown = "; ".join(", ".join(f"{name}={value}" for name, value in row.items()) for row in self.rows)
        return f"{self.table}: {self.rule}{count}" + (f": {shown}" if shown else "")

    def dump(self) -> dict[str, Any]:
        """Return the finding as JSON data."""
        return {
            "code": self.code.value,
            "level": self.level.value,
            "table": self.table,
            "column": self.column,
            "fields": dict(self.fields),
            "count": self.count,
            "rows": [dict(row) for row in self.rows],
            "text": self.text,
        }
