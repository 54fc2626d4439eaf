"""The declaration of a use case: target, feature tables, and the rules by which its models are trained and judged.

Everything else is derived from it. Each default is what a careful team would choose, with the reason beside it.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from millrace.errors import InvalidValueError
from millrace.fields import NOTHING, Column, Duration, Interval, Name, Parameter, Span, TableName
from millrace.metrics import AUDITED, CHAMPION_METRIC, METRICS, Problem
from millrace.missing import DEFAULT
from millrace.names import PLATFORM
from millrace.part import Part
from millrace.rules import Champion, Expect, Gate, Inferred, Monitoring, Retraining, Slice
from millrace.watching import list_alarms

#: SageMaker Feature Store adds these to every record.
RESERVED_COLUMNS = frozenset({"is_deleted", "write_time", "api_invocation_time"})

#: Functions of a use case that are found by name, so that no table's function may have such a name.
_FUNCTIONS = frozenset({"events", "labels", "features", "model"})

#: The labels' column with the time at which a label became known.
_KNOWN_AT = "known_at"

#: Names of columns that stand beside those of the events, in training sets and in held-out scores.
_RESERVED = frozenset({"fold", "p", "score", "y"})

#: Fields of requests and answers, which also hold the key.
_OF_ANSWERS = frozenset({"columns", "error", "fingerprint", "instances", "label", "meta", "predictions"})

#: What a SageMaker training job accepts: hyperparameters, characters of a name, characters of a value as JSON.
_MOST_PARAMETERS, _LONGEST_NAME, _LONGEST_VALUE = 100, 256, 2500


def _meant(name: str, known: Sequence[str]) -> str | None:
    """Return the closest known name as a question; None if none is close."""
    hint = get_close_matches(name, known, n=1)
    return f"did you mean {hint[0]!r}?" if hint else None


class FeatureTable(Part):
    """A table of values about an entity over time, joined as they were known when a prediction is made.

    A function of the same name beside the declaration returns the rows: `weather(since, until) -> Columns`.
    """

    name: TableName
    entity: Column
    """The column that both the events and the table hold, e.g. `origin`."""
    event_time: Column = "event_time"
    """When a row was **known**, which may be later than the time it is about."""
    max_age: Span | None = None
    """A value older than this counts as missing, in training and serving alike."""
    columns: dict[Column, Literal["number", "text"]] = Field(min_length=1)
    """The feature columns and their types; adding one later is an update in place, removing one is refused."""

    def __init__(self, name: str | None = None, /, **fields: Any) -> None:
        super().__init__(**fields if name is None else {"name": name, **fields})

    @field_validator("name")
    @classmethod
    def _names_a_function(cls, name: str) -> str:
        if name in _FUNCTIONS or keyword.iskeyword(name):
            raise InvalidValueError(
                f"{name!r}", "cannot be the name of the function that returns the rows of a table", fix="rename it"
            )
        return name

    @model_validator(mode="after")
    def _columns_are_its_own(self) -> FeatureTable:
        if taken := RESERVED_COLUMNS.intersection({self.entity, self.event_time, *self.columns}):
            raise InvalidValueError(f"columns {sorted(taken)}", "are reserved by the feature store", fix="rename them")
        if self.entity == self.event_time:
            raise InvalidValueError(
                "entity and event_time", f"are both {self.entity!r}", expected="two different columns", fix="change one"
            )
        if double := {self.entity, self.event_time}.intersection(self.columns):
            raise InvalidValueError(
                "columns", f"name {sorted(double)}, already its entity or event_time", fix="name feature columns only"
            )
        return self


class UseCase(Part):
    """The declaration of one use case."""

    name: Name
    target: Column
    key: Column
    event_time: Column
    problem: Problem = Problem.BINARY
    lead_time: Duration = Field(default=NOTHING, ge=NOTHING)
    """How long before `event_time` the prediction is made; features are taken as they were known then."""
    tables: tuple[FeatureTable, ...] = ()
    publish_every: Interval = timedelta(hours=1)
    """How often new rows of the tables go to the feature store, from which the endpoint reads."""
    expectations: tuple[Expect, ...] = ()
    inferred: Inferred = Inferred()
    missing: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Texts that mean a missing value, by column as requests name it (a table's `<table>_<column>`); in other columns
    only an empty text does. They apply to files, to what functions return and to requests."""
    labels_mature_after: Duration | None = Field(default=None, ge=NOTHING)
    """How long after an event its outcome is known for certain, positive or negative; younger events are neither
    trained on nor judged. Without it, the delay by which 95 % of the labels have become known is used."""
    trusted: tuple[Column, ...] = ()
    """Columns of the events that may predict the outcome by themselves; a person checked that none comes from it."""
    near_perfect: str = ""
    """Why a score near perfect is no leak; without a reason, such a model is refused."""
    history: Duration = Field(default=timedelta(days=365), gt=NOTHING, le=timedelta(days=36_525))
    """How far back training data reaches from the time the pipeline runs."""
    windows: tuple[Span, ...] = (timedelta(days=90),)
    """Trailing windows that compete with the whole history: after a change of the world, old rows mislead."""
    holdout: float = Field(default=0.2, gt=0, lt=0.9)
    """The newest share of the training rows, by time, on which gates are measured before the final fit."""
    gates: tuple[Gate, ...] = ()
    slices: tuple[Slice, ...] = ()
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """The probability from which a prediction counts as positive in audits and answers."""
    champion: Champion = Champion()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    """Hyperparameters, handed to `model(params)`."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """The seed of every random choice of a training run."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)

    @classmethod
    def _named(cls, fields: dict[str, Any]) -> str:
        return f"use case {fields.get('name', '?')!r}"

    @property
    def package(self) -> str:
        """The Python package under `stacks/` that holds the declaration and its functions."""
        return self.name.replace("-", "_")

    def missing_in(self, column: str) -> tuple[str, ...]:
        """Return the texts that mean a missing value in a column.

        Args:
            column: The column as requests name it: a table's is `<table>_<column>`.
        """
        return self.missing.get(column, DEFAULT)

    @property
    def champion_metric(self) -> str:
        """The metric that decides between champion and challenger."""
        return self.champion.metric or CHAMPION_METRIC[self.problem]

    @field_validator("parameters")
    @classmethod
    def _fit_in_a_job(cls, parameters: dict[str, bool | int | float | str]) -> dict[str, bool | int | float | str]:
        if len(parameters) > _MOST_PARAMETERS:
            raise InvalidValueError(
                f"{len(parameters)} parameters",
                "are too many",
                expected=f"at most {_MOST_PARAMETERS}, the limit of a training job",
                fix="combine some into one text",
            )
        for name, value in parameters.items():
            lengths = {
                "the parameter name": (len(name), _LONGEST_NAME),
                "the JSON of parameter": (len(json.dumps(value)), _LONGEST_VALUE),
            }
            for what, (length, most) in lengths.items():
                if not 1 <= length <= most:
                    raise InvalidValueError(
                        f"{what} {name[:40]!r}",
                        f"has {length} characters",
                        expected=f"1 to {most}, the limits of a training job",
                        fix="shorten it" if length else "name it",
                    )
        return parameters

    @model_validator(mode="after")
    def _names_fit_together(self) -> UseCase:
        if keyword.iskeyword(self.package):
            raise InvalidValueError(
                f"name={self.name!r}", "is a Python keyword, so its folder could not be imported", fix="rename it"
            )
        if self.name == PLATFORM or self.name.startswith(f"{PLATFORM}-"):
            raise InvalidValueError(
                f"name={self.name!r}",
                f"begins with {PLATFORM!r}, which is reserved for what use cases share",
                fix="choose another name",
            )
        names = [table.name for table in self.tables]
        if double := {name for name in names if names.count(name) > 1}:
            raise InvalidValueError("tables", f"have duplicate names {sorted(double)}", fix="rename one of each")
        joined = [f"{table.name}_{column}" for table in self.tables for column in table.columns]
        if double := {name for name in joined if joined.count(name) > 1}:
            raise InvalidValueError(
                "tables", f"would join two columns under the name {sorted(double)}", fix="rename one"
            )
        taken = {self.target: "target", self.key: "key", self.event_time: "event_time"}
        if len(taken) < 3:
            raise InvalidValueError(
                "target, key and event_time",
                f"name {len(taken)} columns",
                expected="three different columns",
                fix="change one",
            )
        for field in ("key", "target"):
            if getattr(self, field) == _KNOWN_AT:
                raise InvalidValueError(
                    f"{field}={_KNOWN_AT!r}", "is reserved for the time at which a label became known", fix="rename it"
                )
        named = {self.key: "key", self.event_time: "event_time", **{part.column: "slices" for part in self.slices}}
        for column in _RESERVED.intersection(named):
            raise InvalidValueError(
                f"{named[column]}: {column!r}", "is a name of Millrace's own", fix="rename the column"
            )
        if self.key in _OF_ANSWERS:
            raise InvalidValueError(
                f"key={self.key!r}", "is a field of the endpoint's requests or answers", fix="rename the column"
            )
        for column in self.trusted:
            if column in taken:
                raise InvalidValueError(
                    f"trusted: {column!r}", f"is the {taken[column]}, which is never audited", fix="remove it"
                )
        return self

    @model_validator(mode="after")
    def _expectations_are_of_columns_that_there_are(self) -> UseCase:
        known: dict[str, dict[str, str]] = {
            "labels": {self.key: "text", self.target: "number", _KNOWN_AT: "time"},
            **{table.name: {table.entity: "text", table.event_time: "time", **table.columns} for table in self.tables},
        }
        for rule in self.expectations:
            # The other columns of the events are not declared.
            if rule.table == "events":
                continue
            if rule.table not in known:
                names = sorted({"events", *known})
                raise InvalidValueError(
                    f"expectations: Expect({rule.column!r})",
                    f"names table {rule.table!r}, which is not declared",
                    fix=f"choose one of: {names}",
                )
            columns = known[rule.table]
            if rule.column not in columns:
                fix = _meant(rule.column, list(columns)) or f"it has: {', '.join(columns)}"
                raise InvalidValueError(
                    f"expectations: table {rule.table!r}", f"has no column {rule.column!r}", fix=fix
                )
            kind = columns[rule.column]
            if kind != "number" and (rule.at_least is not None or rule.at_most is not None):
                raise InvalidValueError(
                    f"expectations: Expect({rule.column!r})",
                    f"bounds a column of {rule.table!r} that holds {kind}",
                    fix="a bound needs numbers: remove it",
                )
        return self

    @model_validator(mode="after")
    def _metrics_belong_to_the_problem(self) -> UseCase:
        known = METRICS[self.problem]
        for where, metric in [
            *(("gates", gate.metric) for gate in self.gates),
            *([("champion.metric", self.champion.metric)] if self.champion.metric else []),
        ]:
            if metric not in known:
                fix = _meant(metric, list(known)) or f"{self.problem.value} problems have: {', '.join(known)}"
                raise InvalidValueError(
                    f"{where}: a {self.problem.value} problem", f"has no metric {metric!r}", fix=fix
                )
        for metric in known:
            confidences = {gate.confidence for gate in self.gates if gate.metric == metric}
            if len(confidences) > 1:
                raise InvalidValueError(
                    f"gates: {metric!r}", "has two gates of different confidence", fix="give both the same confidence"
                )
            lowest = [gate.at_least for gate in self.gates if gate.metric == metric and gate.at_least is not None]
            highest = [gate.at_most for gate in self.gates if gate.metric == metric and gate.at_most is not None]
            if lowest and highest and max(lowest) > min(highest):
                raise InvalidValueError(
                    f"gates: {metric!r}",
                    f"cannot be at_least={max(lowest):g} and at_most={min(highest):g} together",
                    fix="change one",
                )
        audited = [part.column for part in self.slices]
        if double := {column for column in audited if audited.count(column) > 1}:
            raise InvalidValueError("slices", f"name {sorted(double)} twice", fix="combine their bounds in one")
        for part in self.slices:
            for rate, bound in part.bounds.items():
                if bound is not None and rate not in AUDITED[self.problem]:
                    raise InvalidValueError(
                        f"slices: Slice({part.column!r}, max_{rate}_gap={bound:g})",
                        f"bounds a rate that {self.problem.value} problems do not have",
                        expected=f"one of {', '.join(f'max_{each}_gap' for each in AUDITED[self.problem])}",
                        fix="remove the bound",
                    )
        if self.problem is not Problem.BINARY and self.monitoring.calibration_alarm is not None:
            raise InvalidValueError(
                "monitoring.calibration_alarm", "needs probabilities, which only binary problems have", fix="remove it"
            )
        kinds = [metric.alarm for metric in list_alarms(self.problem, has_tables=bool(self.tables))]
        for kind in self.monitoring.off:
            if kind not in kinds:
                raise InvalidValueError(
                    f"monitoring.off: {kind.value!r}", "is an alarm that this use case does not have", fix="remove it"
                )
        for name in self.retraining.alarms:
            if name not in kinds:
                raise InvalidValueError(
                    f"retraining.on: {name!r}", "is an alarm that this use case does not have", fix="remove it"
                )
            if name in self.monitoring.off:
                raise InvalidValueError(
                    f"retraining.on: {name!r}", "is an alarm that monitoring.off switches off", fix="remove one of them"
                )
        return self
