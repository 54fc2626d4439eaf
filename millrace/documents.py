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
    model_validator,
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
    DECLINED = "declined"
    """A person has decided lately not to train."""


class Start(Document):
    """The decision whether an execution of the training pipeline trains; the pipeline reads `needed`.

    Attributes:
        needed: 1 or 0: a pipeline's condition compares numbers.
        as_of: The time of the data, ISO 8601.
        trigger: What started the execution.
        code: Why it trains nothing; None where it trains.
        reason: The same for people; empty where it trains.
        asked: The time of the data on which a person was asked, ISO 8601; empty where none was.
        declined: The same of a question that a person has answered by no; it is not open any more.
    """

    version: Literal[1] = 1
    needed: int
    as_of: str = ""
    trigger: str
    code: SkipCode | None = None
    reason: str = ""
    asked: str = ""
    declined: str = ""

    @property
    def question(self) -> str:
        """The time of the data on which a person is asked, ISO 8601, now or still; empty where nothing is asked."""
        return self.as_of if self.code is SkipCode.REVIEW else self.asked


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
    """The rates of one group at the threshold, or the errors of a regression; None where undefined."""

    rows: int
    mae: float | None = None
    bias: float | None = None
    base_rate: float | None = None
    tpr: float | None = None
    fpr: float | None = None
    roc_auc: float | None = None


class Gap(Document):
    """The largest difference of a rate between two groups.

    Attributes:
        value: The difference; None where fewer than two groups can be judged.
        lower: The lower end of its interval, for all pairs of groups together.
        upper: The upper end.
        bound: The declared bound; None where there is none.
        between: The two groups.
        unclear: Groups with too few rows to tell.
    """

    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    bound: float | None = None
    between: list[str] = Field(default_factory=list)
    unclear: list[str] = Field(default_factory=list)


class Slice(Document):
    """The groups of one column, and the differences between them.

    Attributes:
        groups: The rates of each group.
        gaps: Rate → its largest difference, by the names in :data:`millrace.metrics.AUDITED`.
    """

    groups: dict[str, Rates] = Field(default_factory=dict)
    gaps: dict[str, Gap] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read_earlier(cls, given: Any) -> Any:
        """Read the gaps of the previous version, which had two of them, without an interval."""
        if not isinstance(given, dict) or "gaps" in given:
            return given
        gaps = {
            rate: {"value": given.get(f"{rate}_gap"), "bound": given.get(f"max_{rate}_gap")}
            for rate in ("tpr", "fpr")
            if f"{rate}_gap" in given
        }
        return {**given, "gaps": gaps}


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
