"""Documents that jobs write and commands read: the evaluation of a model and the monitor's report, as versioned models.

A writer builds the model and dumps it; a reader loads it, so that a document of another shape is refused where it
enters. Fields that a later version adds are ignored by an earlier reader.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from millrace.errors import DataError


class Document(BaseModel):
    """A versioned JSON document, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def dump(self) -> dict[str, Any]:
        """Return the document as JSON data, without the fields that were not set."""
        return self.model_dump(mode="json", exclude_unset=True)

    @classmethod
    def load(cls, text: bytes | str, where: str) -> Self:
        """Parse a document and validate it.

        Args:
            text: JSON.
            where: The document's location, for error messages.

        Returns:
            The document, without the fields that this version does not know.

        Raises:
            DataError: It is not JSON, or not such a document.
        """
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "the document"
            raise DataError(f"{where}: {field}", f"is not as expected: {first['msg']}", fix="write it again") from error
        except ValueError as error:
            raise DataError(where, f"is not JSON: {error}", fix="write it again") from error


def _keep_whole(value: Any, validate: ValidatorFunctionWrapHandler) -> int | float:
    """Return a validated number; a whole number stays one."""
    number: float = validate(value)
    return value if type(value) is int else number


#: A float, or a whole number that is written as one, because metrics include counts.
Number = Annotated[float, WrapValidator(_keep_whole), PlainSerializer(lambda number: number)]


class CalibrationBin(Document):
    """A bin of a calibration table.

    Attributes:
        rows: The number of rows.
        predicted: Their mean prediction.
        observed: The share of positive labels.
    """

    rows: int
    predicted: float
    observed: float


# -- start.json --------------------------------------------------------------------------------------------------------


class SkipCode(StrEnum):
    """The reason why a start of the training pipeline trains nothing."""

    RUNNING = "running"
    NO_ALARM = "no_alarm"
    BUDGET = "budget"
    COOLDOWN = "cooldown"
    TOO_FEW_LABELS = "too_few_labels"
    REVIEW = "review"
    """A person is asked whether to train."""
    ASKED = "asked"
    """A person has been asked lately."""


class Start(Document):
    """The decision whether an execution of the training pipeline trains; the pipeline reads `needed`.

    Attributes:
        needed: 1 or 0: a pipeline's condition compares numbers.
        as_of: The time of the data, ISO 8601.
        trigger: What started the execution.
        code: Why it trains nothing; None where it trains.
        reason: The same for people; empty where it trains.
        asked: The time of the data on which a person was asked, ISO 8601; empty where none was.
    """

    version: Literal[1] = 1
    needed: int
    as_of: str = ""
    trigger: str
    code: SkipCode | None = None
    reason: str = ""
    asked: str = ""


# -- evaluation.json ---------------------------------------------------------------------------------------------------


class Gate(Document):
    """The verdict of the gates.

    Attributes:
        passed: 1 or 0.
        failed: What failed, as sentences for people.
        measured: The declared gates.
    """

    passed: int
    failed: str
    measured: list[MeasuredGate] = Field(default_factory=list)


class MeasuredGate(Document):
    """One declared gate, as it was measured on the holdout.

    Attributes:
        metric: The metric.
        value: Its value; None where it is undefined.
        lower: The lower end of its interval; None where the rows are of too few days.
        upper: The upper end of its interval.
        at_least: The declared lower bound; None where there is none.
        at_most: The declared upper bound; None where there is none.
        confidence: The declared confidence with which the bound must be met; None where the value must meet it.
        passed: Whether the bound is met.
    """

    metric: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    confidence: float | None = None
    passed: bool


class Approval(Document):
    """The decision: the ModelApprovalStatus and its reason for people."""

    status: str
    description: str


class Verdict(StrEnum):
    """The outcome of a comparison of a challenger with the champion."""

    BETTER = "better"
    """Better beyond doubt, and by at least the margin."""
    BEATEN = "beaten"
    """Beyond doubt not better by the margin."""
    UNDECIDED = "undecided"
    """The rows at hand do not tell."""
    INCOMPARABLE = "incomparable"
    """There are no rows that neither was fitted on, or the champion cannot score them: a person decides."""


class Comparison(Document):
    """Champion and challenger on the same rows.

    Attributes:
        package: The champion's ARN; empty where there is none.
        text: Which rows were compared and how both did, for people.
        rows: How many rows were compared.
        metric: The metric that decides.
        champion: The champion's metric.
        challenger: The challenger's metric.
        verdict: The outcome; None without a champion.
        gain: How much less the challenger loses: its loss is the metric, or 1 - metric where higher is better.
        lower: The lower end of the gain's interval; None where there is no interval.
        upper: The upper end of the gain's interval.
        margin: The gain that is needed.
        look: Which challenger of this champion it is, from 1.
        level: The level of this look, of which the interval is made.
        blocks: How many blocks of time the rows come from.
    """

    package: str = ""
    text: str = ""
    rows: int = 0
    metric: str = ""
    champion: float | None = None
    challenger: float | None = None
    verdict: Verdict | None = None
    gain: float | None = None
    lower: float | None = None
    upper: float | None = None
    margin: float | None = None
    look: int | None = None
    level: float | None = None
    blocks: int | None = None


class Rates(Document):
    """The rates of one group at the threshold; None where undefined."""

    rows: int
    base_rate: float | None = None
    tpr: float | None = None
    fpr: float | None = None
    roc_auc: float | None = None


class Slice(Document):
    """The groups of one column, and the largest differences between those with enough rows.

    Attributes:
        groups: The rates of each group.
        tpr_gap: The largest difference of true positive rates; None where fewer than two groups have enough rows.
        fpr_gap: The largest difference of false positive rates; None where fewer than two groups have enough rows.
        max_tpr_gap: The declared bound; None where there is none.
        max_fpr_gap: The declared bound; None where there is none.
    """

    groups: dict[str, Rates] = Field(default_factory=dict)
    tpr_gap: float | None = None
    fpr_gap: float | None = None
    max_tpr_gap: float | None = None
    max_fpr_gap: float | None = None


class Evaluation(Document):
    """The evaluation of a challenger, on which its approval is based; steps of the pipeline read it by JSON path.

    Attributes:
        gate: The verdict of the gates.
        approval: The decision.
        metrics: Metric → value on the holdout, with ``rows`` and the latency of a single prediction.
        champion: The comparison.
        slices: Column → its groups.
        calibration: The calibration table of the holdout.
        identity: The SHA-256 of snapshot, code, parameters and model.
        metadata: What the registry keeps with the package.
    """

    version: Literal[1] = 1
    gate: Gate
    approval: Approval
    metrics: dict[str, Number | None]
    champion: Comparison
    slices: dict[str, Slice] = Field(default_factory=dict)
    calibration: list[CalibrationBin] = Field(default_factory=list)
    identity: dict[str, str] = Field(default_factory=dict)
    metadata: dict[str, str] = Field(default_factory=dict)


# -- monitor.json ------------------------------------------------------------------------------------------------------


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
        kind: `values`: the index of its present values; `missing`: of its missing ones, or their share; `new`: the
            share of values that training had not seen.
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
        inflation: By how much windows of the training period differ more than independent rows would.
        shifts: Its tests.
        drift: The largest of its tests' values, in units of its threshold: above 1 it is drift.
    """

    rows: int = 0
    psi: float | None = None
    missing: float = 0.0
    missing_then: float = 0.0
    informational: bool = False
    inflation: float = 1.0
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
        scores: The histogram of scores.
        labelled: Rows whose label has arrived.
        label_coverage: The share of rows whose label has arrived.
        quality: Metric → value on labelled rows; empty where there are too few.
        calibration: The calibration table of labelled rows.
        calibration_of: The figures of calibration, with what chance makes of them.
        skew: The rows whose features differ from those of training.
        checks: All that was judged.
        versions: Version of the model → rows in the window that it answered; `0` where the answer does not say.
        judged: Rows with a certain outcome that the serving version answered: quality is measured on them.
        measured: Whether the monitor could judge what was served.
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
    scores: Scores | None = None
    labelled: int | None = None
    label_coverage: float | None = None
    quality: dict[str, float | None] = Field(default_factory=dict)
    calibration: list[CalibrationBin] = Field(default_factory=list)
    calibration_of: dict[str, float] = Field(default_factory=dict)
    skew: Skew | None = None
    checks: list[Check] = Field(default_factory=list)
    versions: dict[str, int] = Field(default_factory=dict)
    judged: int | None = None
    measured: bool = False
    published: int = 0
