"""The monitor's report on a window of served rows, `monitor.json`, as a versioned model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from millrace.documents import CalibrationBin, Document
from millrace.watching import MonitorAlarm


class MonitoredModel(Document):
    """The model that serves.

    Attributes:
        package: The ARN of its package, or of the model where it has none.
        version: The package's version; 0 where it has none.
        trained_until: The time of the newest row that it was fitted on, ISO 8601.
        identity: The SHA-256 of snapshot, code and parameters.
        config: The endpoint configuration.
    """

    package: str = ""
    version: int = 0
    trained_until: str = ""
    identity: dict[str, str] = Field(default_factory=dict)
    config: str = ""


class Unreadable(Document):
    """Captured requests or rows that could not be read for one reason: how many, and where the first one is."""

    count: int
    example: str


class Captured(Document):
    """A summary of the requests that the endpoint captured.

    Attributes:
        requests: The number of requests that were read.
        rows: Distinct keys in them.
        repeated: Rows whose key was answered again later.
        outside: Rows whose event time is outside of the window.
        unreadable: Reason → what could not be read for it.
    """

    requests: int
    rows: int
    repeated: int
    outside: int
    unreadable: dict[str, Unreadable] = Field(default_factory=dict)


class Shift(Document):
    """One test of a column: how far its window is from the model's baseline, and how far it may be.

    Attributes:
        kind: `values`: the index of its present values; `missing`: of its missing ones, or their share; `rare` and
            `new`: the share of values that training had seen seldom, or not at all.
        value: The population stability index or the share.
        warning: The threshold above which it is worth a look.
        threshold: The threshold above which it is drift.
    """

    kind: str
    value: float
    warning: float
    threshold: float

    @property
    def ratio(self) -> float:
        """The value in units of its threshold: above 1 it is drift."""
        return self.value / self.threshold


class FeatureDrift(Document):
    """The drift of one feature: the window compared with the model's baseline.

    Attributes:
        rows: Rows in the window.
        psi: Population stability index of the present values; None where there are too few rows.
        missing: The share of missing values in the window.
        missing_then: The share in the training set.
        informational: Whether it is shown and raises no alarm.
        excess: By how much the index of a window of the training period exceeds that of independent rows on average.
        shifts: Its tests.
        drift: The largest of its tests' values, in units of its threshold: above 1 it is drift.
    """

    rows: int = 0
    psi: float | None = None
    missing: float = 0.0
    missing_then: float = 0.0
    informational: bool = False
    excess: float = 0.0
    shifts: list[Shift] = Field(default_factory=list)
    drift: float | None = None


class Scores(Document):
    """The histogram of scores: the edges of its bins, and the shares in training and in the window."""

    edges: list[float]
    then: list[float]
    now: list[float]


class Skew(Document):
    """Rows whose served features differ from those that training would compute for them.

    Attributes:
        share: The share of the compared rows that differ.
        rows: How many differ.
        compared: How many were compared.
        columns: Column or feature → in how many rows it differs.
        causes: Column or feature → the likely cause, where one shows.
        examples: The first of them: key and, by column, the served and the joined value.
    """

    share: float
    rows: int
    compared: int
    columns: dict[str, int] = Field(default_factory=dict)
    causes: dict[str, str] = Field(default_factory=dict)
    examples: list[dict[str, Any]] = Field(default_factory=list)


class Check(Document):
    """One thing that the monitor judged.

    Attributes:
        alarm: The alarm that it belongs to.
        subject: The column, group, table or day that it is about; empty where it is about the whole.
        value: What was measured, in its own unit.
        threshold: What it may be, in the same unit.
        ratio: The value in units of its threshold: above 1 the alarm fires.
        text: What was found, as a sentence for people.
        cause: The likely cause, where one shows; a clause for people.
    """

    alarm: str
    subject: str = ""
    value: float
    threshold: float
    ratio: float
    text: str
    cause: str = ""


class Explanation(Document):
    """How much of a move one feature explains by itself.

    Attributes:
        of: What moved: `score`, or `loss` for the squared error beyond the one that the probabilities expect.
        feature: The feature.
        share: The share of the move that is gone once the feature is distributed as in training.
        lower: The lower end of its interval.
        upper: The upper end.
    """

    of: str
    feature: str
    share: float
    lower: float
    upper: float


class MonitorReport(Document):
    """The monitor's report on a window of served rows; what was not measured is not set.

    Attributes:
        use_case: Its name.
        endpoint: Its name.
        as_of: The end of the window, ISO 8601.
        since: The beginning of the window, ISO 8601.
        rows: Served rows in the window.
        notes: Sentences for people.
        model: The model that serves.
        captured: What was captured.
        by_current_model: How many of the rows that can be scored again have the score that they were answered with.
        features: Feature, or ``score`` → its drift.
        drift: The largest drift of the features that are not informational: above 1, the alarm fires.
        drift_of: The column with this drift.
        drift_kind: The kind of its test.
        score_drift: The drift of the score: above 1, the alarm fires.
        warned: What has moved enough to be worth a look, and not enough for an alarm, as sentences for people.
        scores: The histogram of scores.
        labelled: Rows whose label has arrived.
        label_coverage: The share of rows whose label has arrived.
        quality: Metric → value on labelled rows; empty where there are too few.
        calibration: The calibration table of labelled rows.
        calibration_of: The figures of calibration, with what chance makes of them.
        skew: The rows whose features differ from those of training.
        checks: All that was judged.
        explained: The features that explain a move of the score or of the loss.
        versions: Version of the model → rows in the window that it answered; `0` where the answer does not say.
        judged: Rows with a certain outcome that the serving version answered: quality is measured on them.
        measured: Whether the monitor could judge what was served.
        snoozed: Alarm → who does not want people to be told of it, until when and why.
        published: Data points sent to CloudWatch.
    """

    version: Literal[1, 2] = 2
    use_case: str = ""
    endpoint: str = ""
    as_of: str
    since: str
    rows: int = 0
    notes: list[str] = Field(default_factory=list)
    model: MonitoredModel | None = None
    captured: Captured | None = None
    by_current_model: int | None = None
    features: dict[str, FeatureDrift] = Field(default_factory=dict)
    drift: float | None = None
    drift_of: str | None = None
    drift_kind: str | None = None
    score_drift: float | None = None
    warned: list[str] = Field(default_factory=list)
    scores: Scores | None = None
    labelled: int | None = None
    label_coverage: float | None = None
    quality: dict[str, float | None] = Field(default_factory=dict)
    calibration: list[CalibrationBin] = Field(default_factory=list)
    calibration_of: dict[str, float] = Field(default_factory=dict)
    skew: Skew | None = None
    checks: list[Check] = Field(default_factory=list)
    explained: list[Explanation] = Field(default_factory=list)
    versions: dict[str, int] = Field(default_factory=dict)
    judged: int | None = None
    measured: bool = False
    snoozed: dict[str, str] = Field(default_factory=dict)
    published: int = 0

    def list_beyond(self) -> list[str]:
        """Return the alarms that this report raises, those with the largest figures first."""
        checks = sorted((check for check in self.checks if check.ratio > 1.0), key=lambda check: -check.ratio)
        beyond = dict.fromkeys(check.alarm for check in checks)
        return [*beyond, *([] if self.measured else [MonitorAlarm.UNMEASURED.value])]
