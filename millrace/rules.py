"""The rules of a use case: gates, audits, the champion rule, expectations of data, monitoring and retraining.

Each default is what a careful team would choose, with the reason beside it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from millrace.errors import InvalidValueError
from millrace.fields import NOTHING, Column, Duration, Interval, TableName
from millrace.metrics import AUDITED, RANGES
from millrace.names import LAKE_FOLDERS
from millrace.part import Part
from millrace.watching import MonitorAlarm

#: The expected calibration error from which it matters, where a use case does not say.
CALIBRATION_BOUND = 0.05


#: A folder of the lake, or of a bucket; in braces, what stands for a part of the stack.
_PLACE = re.compile(
    r"(s3://(?:[a-z0-9.-]|\{(?:environment|account|region)\})+/)?(?!/)(?:[A-Za-z0-9!_.*'()/=-]|\{(?:environment|account|region)\})*(?<=/)"
)
#: What becomes of a batch that breaks a rule.
Severity = Literal["refuse", "warn", "off"]


class Gate(Part):
    """A bound that a model must meet on rows it has not seen, or it is registered as refused."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    confidence: float | None = Field(default=None, ge=0.5, lt=1)
    """The whole interval of this confidence must meet the bound; None asks it of the value alone."""

    def __init__(self, metric: str | None = None, /, **fields: Any) -> None:
        super().__init__(**fields if metric is None else {"metric": metric, **fields})

    @model_validator(mode="after")
    def _has_one_bound_that_can_be(self) -> Gate:
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if not bounds:
            raise InvalidValueError(
                "at_least and at_most",
                "are both missing",
                expected="one of the two",
                fix="add the bound that a model must meet",
            )
        if len(bounds) == 2:
            raise InvalidValueError(
                f"at_least={self.at_least} and at_most={self.at_most}",
                "are given together",
                expected="one of the two",
                fix="two bounds are two gates",
            )
        side = "at_most" if self.at_least is None else "at_least"
        low, high = RANGES.get(self.metric, (None, None))
        if (low is not None and bounds[0] < low) or (high is not None and bounds[0] > high):
            expected = f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"
            raise InvalidValueError(
                f"{side}={bounds[0]:g}",
                f"is outside the range of {self.metric!r}",
                expected=expected,
                fix="change it",
            )
        return self


class Slice(Part):
    """A grouping whose groups are audited one by one; a gap above its bound fails the gate."""

    column: Column
    max_tpr_gap: float | None = Field(default=None, gt=0, le=1)
    """Largest allowed difference of true positive rates between two groups, of a binary problem; None only reports it.
    A bound is exceeded only where the whole interval of the difference is beyond it."""
    max_fpr_gap: float | None = Field(default=None, gt=0, le=1)
    """The same of false positive rates: with `max_tpr_gap`, equalised odds."""
    max_selection_gap: float | None = Field(default=None, gt=0, le=1)
    """The same of the shares that are selected: demographic parity."""
    max_precision_gap: float | None = Field(default=None, gt=0, le=1)
    """The same of the shares of selected ones that are right: predictive parity."""
    max_error_gap: float | None = Field(default=None, gt=0)
    """Largest allowed difference of mean absolute errors, of a regression, in units of the one of all rows."""
    max_bias_gap: float | None = Field(default=None, gt=0)
    """The same of mean errors: one group is predicted too high and another too low."""
    min_rows: int = Field(default=500, ge=30)
    """Smaller groups are reported but not judged: their gap is mostly noise."""

    def __init__(self, column: str | None = None, /, **fields: Any) -> None:
        super().__init__(**fields if column is None else {"column": column, **fields})

    @property
    def bounds(self) -> dict[str, float | None]:
        """The declared bounds, by the name of the rate whose difference they bound."""
        return {rate: getattr(self, f"max_{rate}_gap") for rates in AUDITED.values() for rate in rates}


class Champion(Part):
    """The rule by which a challenger takes the champion's place, judged on the newest rows, which neither has seen."""

    metric: str | None = None
    """`brier` for binary problems, `mae` for regression: they see calibration as well as order."""
    better_by: float = Field(default=0.005, ge=0, lt=1)
    """The smallest gain worth a deployment, as a share of the champion's loss: the metric, or 1 - metric where higher
    values are better. That a gain is not chance is the interval's matter, not the margin's."""
    judged_on: Duration = Field(default=timedelta(days=30), gt=NOTHING)
    """The longest span that judges. It is at most the newer half of what the champion has not seen: the challenger
    learns from the older half."""
    block: Duration = Field(default=timedelta(days=1), gt=NOTHING)
    """Rows of one block of time are not independent: the interval of a gain is over blocks."""


class Expect(Part):
    """A rule for one column of the events, of the labels or of a table; a batch that breaks it is quarantined."""

    column: Column
    table: TableName = "events"
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] = ()
    max_missing: float = Field(default=1.0, ge=0, le=1)
    """Largest allowed share of missing values."""
    max_bad: float = Field(default=0.0, ge=0, lt=1)
    """Share of rows that may break the rule: they are set aside, one by one, and the batch goes on without them."""
    severity: Literal["refuse", "warn"] = "refuse"
    """Whether a batch that breaks the rule in more rows is refused, or used as it is with a warning."""

    def __init__(self, column: str | None = None, /, **fields: Any) -> None:
        super().__init__(**fields if column is None else {"column": column, **fields})

    @model_validator(mode="after")
    def _can_be_met_and_broken(self) -> Expect:
        if self.at_least is None and self.at_most is None and not self.one_of and self.max_missing == 1:
            raise InvalidValueError(
                "the rule", "sets no limit", expected="at_least, at_most, one_of or max_missing below 1", fix="add one"
            )
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise InvalidValueError(
                f"at_least={self.at_least:g} and at_most={self.at_most:g}", "exclude every value", fix="change one"
            )
        return self


class Inferred(Part):
    """What becomes of a batch that is not like the snapshot accepted before it.

    `refuse` ends the training, `warn` tells people on the notification topic, `off` does not look. A batch may differ
    for a good reason, so that most only warn; once it is accepted, the next is compared with it.
    """

    types: Severity = "refuse"
    """A column that holds another kind of value, or is gone: the source has changed."""
    ranges: Severity = "warn"
    """Numbers outside of their range, in more than one row of a hundred and beyond chance."""
    categories: Severity = "warn"
    """Texts that did not occur, in more than one row of a hundred and beyond chance."""
    missing: Severity = "warn"
    """A missing share that has grown by five points of a hundred or more, and beyond chance."""
    volume: Severity = "warn"
    """A day with less than half, or more than twice, the events of its weekday."""
    freshness: Severity = "warn"
    """A table that has been without new rows for three times its longest pause."""
    labels: Severity = "warn"
    """Less than four fifths of the labels that should have arrived."""


class Monitoring(Part):
    """The settings of the monitor, which runs once the model serves."""

    # An alarm looks back at most seven days, and the heartbeat's covers two late runs.
    every: Interval = Field(default=timedelta(days=1), le=timedelta(days=2, hours=19))
    """How often the monitor runs."""
    window: Duration = Field(default=timedelta(days=28), gt=NOTHING)
    """How far back it looks: whole weeks, or calendar columns drift by themselves."""
    psi_alarm: float = Field(default=0.25, gt=0)
    """The effect size of drift: a population stability index of a feature or of the score below it raises no alarm. The
    alarm's threshold is higher where chance alone reaches it: few rows, many columns, days that differ."""
    informational: tuple[Column, ...] = ()
    """Columns whose drift is reported but never alarms, such as seasons."""
    calibration_alarm: float | None = Field(default=None, gt=0, le=1)
    """The expected calibration error against arrived labels from which it matters, of binary problems; None for .05: a
    model that is off by five points of a hundred misleads whoever acts on its probabilities."""
    quality_alarm: float = Field(default=0.1, gt=0)
    """By which share the loss may exceed the one that the model's own probabilities expect, or the registered one
    relative to a reference, before it matters."""
    skew_alarm: float = Field(default=0.01, gt=0, le=1)
    """The share of rows in which a served feature may differ from the one that training would have computed."""
    labels_alarm: float = Field(default=0.8, gt=0, le=1)
    """The share of the expected outcomes that must have arrived."""
    volume_alarm: float = Field(default=2.0, gt=1)
    """The factor by which the rows of a day may differ from the same weekday of the weeks before."""
    refusals_alarm: float = Field(default=0.05, gt=0, le=1)
    """The share of requests that may be refused as invalid."""
    off: tuple[MonitorAlarm, ...] = ()
    """Alarms that are not created. Their figures are published and shown; `status` says which are off."""

    @property
    def calibration_bound(self) -> float:
        """The expected calibration error from which it matters."""
        return CALIBRATION_BOUND if self.calibration_alarm is None else self.calibration_alarm


class Retraining(Part):
    """The triggers that start the training pipeline by themselves."""

    on: tuple[Literal["drift", "score-drift", "skew", "quality", "calibration", "data"], ...] = ()
    """Alarms whose change to ALARM starts it, and `data`: an event on the account's event bus that says that new data
    are there."""
    data_at: str = ""
    """Where new data arrive, for `data`: a folder of the lake, such as `incoming/`, or `s3://bucket/folder/` of a
    bucket that tells EventBridge of its objects; `{environment}`, `{account}` and `{region}` stand for those of the
    stack. A new object starts the training, which is skipped while another runs and within the cooldown."""
    review: bool = False
    """Whether a start by itself asks a person, on the notification topic and in `status`, instead of training."""
    every: Interval | None = None
    """A schedule that starts it whatever the alarms say."""
    recheck: Interval = timedelta(days=1)
    """How often training is tried again while one of its alarms stays in ALARM, which starts nothing by itself."""
    cooldown: Duration = Field(default=timedelta(days=1), ge=NOTHING)
    """Minimum time between two automatic trainings: an alarm that comes and goes would train all day. It doubles with
    every refused model since the champion: what lost yesterday loses today."""
    longest_cooldown: Duration = Field(default=timedelta(days=14), ge=NOTHING)
    """The bound of that doubling: a world that has changed for good is tried again."""
    per_day: int = Field(default=4, ge=1)
    """With as many models registered within a day, by hand or not, nothing trains by itself."""
    min_new_labels: int = Field(default=100, ge=1)
    """The fewest labelled rows that the champion has not seen: with fewer there is little to learn or to judge by."""

    @field_validator("data_at")
    @classmethod
    def _is_a_folder(cls, place: str) -> str:
        if place and not _PLACE.fullmatch(place):
            raise InvalidValueError(
                f"{place!r}",
                "is not a folder in S3",
                expected="`incoming/`, or `s3://bucket/folder/`, which may hold {environment}, {account} and {region}",
                fix="begin it with a folder's name, end it with a slash, and leave out blanks and capitals of buckets",
            )
        if place.partition("/")[0] in LAKE_FOLDERS:
            raise InvalidValueError(
                f"{place!r}",
                "is a folder that every training writes to: it would start itself again and again",
                fix="choose another, such as incoming/",
            )
        return place

    @model_validator(mode="after")
    def _is_triggered_by_what_it_names(self) -> Retraining:
        if self.data_at and not self.has_data_trigger:
            raise InvalidValueError(
                f"data_at={self.data_at!r}", "starts nothing", fix='add "data" to on, or leave data_at out'
            )
        return self

    @property
    def alarms(self) -> tuple[str, ...]:
        """The kinds of the alarms that start it."""
        return tuple(kind for kind in self.on if kind != "data")

    @property
    def has_data_trigger(self) -> bool:
        """True if an event about new data starts it."""
        return "data" in self.on
