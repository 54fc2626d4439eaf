"""Types of the document that `millrace status --json` prints for a stack, part by part.

`VERSION` changes when a reader of the old form would be misled. A fact that could not be queried is None or empty, and
`unknown` has the reason.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NotRequired, TypedDict

from cli.aws.alarms import AlarmPart
from cli.aws.gates import GateResult

VERSION = 1


def name_runs(pipeline: str) -> str:
    """Return the key of ``unknown`` for the executions of a kind of pipeline."""
    return f"{pipeline} runs"


class EndpointPart(TypedDict):
    """The endpoint.

    ``status`` is SageMaker's, or one of those in :mod:`cli.aws.endpoints` if no endpoint exists. ``undone`` is the
    newest approved version if its rollout may have been rolled back, else None.
    """

    name: str
    status: str
    version: int | None
    since: datetime | None
    reason: str
    rolled_back_by_alarm: bool
    undone: int | None
    package: str | None
    config: str | None
    instance_type: str | None
    instances: int


class MetricValue(TypedDict):
    """The metric by which champion and challenger are compared."""

    name: str
    value: float | None


class ModelPart(TypedDict):
    """The model that the endpoint serves."""

    arn: str
    version: int
    approval: str
    created: datetime
    description: str
    reason: str
    gates: list[GateResult]
    metric: MetricValue


class Stage(TypedDict):
    """A stage of a fleet, as SageMaker reports it."""

    status: str
    message: str


class FleetPart(TypedDict):
    """The servers of one endpoint configuration in a rollout."""

    config: str
    version: int | None
    instances: int
    wanted: int
    instance_type: str | None
    weight: float
    stages: list[Stage]


class RolloutPart(TypedDict):
    """A rollout in progress: blue is the old fleet, green the new one."""

    started: datetime | None
    traffic: str | None
    bake_seconds: int | None
    alarms: list[str]
    blue: FleetPart
    green: FleetPart


class PendingPackage(TypedDict):
    """A pending version; ``verdict`` compares it with the champion, ``gates`` is set in a :class:`DeepDocument`."""

    version: int
    created: datetime
    description: str
    verdict: str
    gates: NotRequired[list[GateResult]]


class RunPart(TypedDict):
    """An execution of a pipeline; ``step`` is the one that failed, ``skipped`` the code of why it trained nothing.

    ``asked`` is the time of the data on which a person was asked whether to train, without an answer since, and
    ``asked_because`` the reason.
    """

    execution: str
    status: str
    started: datetime
    step: str | None
    skipped: str | None
    reason: str
    asked: str
    asked_because: str


class NextRun(TypedDict):
    """The next scheduled start of a pipeline; ``state`` is None if no schedule exists."""

    at: datetime | None
    state: str | None
    every_seconds: float | None


class PausePart(TypedDict):
    """The pause of a stack, as its parameter records it."""

    since: str | None
    by: str | None
    reason: str | None


class FindingPart(TypedDict):
    """What the monitor found beyond its threshold; ``ratio`` is the value in units of the threshold."""

    alarm: str
    subject: str
    value: float
    threshold: float
    ratio: float
    cause: str
    text: str


class MonitorPart(TypedDict):
    """The newest report of the monitor; ``measured`` is False where it could not judge what was served."""

    as_of: str
    measured: bool
    findings: list[FindingPart]
    warned: list[str]
    notes: list[str]


class CostItem(TypedDict):
    """A part of the cost; ``monthly_usd`` is None if its price is unknown."""

    item: str
    detail: str
    monthly_usd: float | None


class CostPart(TypedDict):
    """The monthly cost; ``billed`` is False for the local cloud; ``unknown`` names the parts that the sum lacks."""

    billed: bool
    monthly_usd: float | None
    items: list[CostItem]
    unknown: list[str]
    prices_of: str


class WarningPart(TypedDict):
    """A difference from the declaration, see :mod:`cli.fleet.findings`."""

    code: str
    fields: dict[str, Any]
    text: str


class ActionItem(TypedDict):
    """A problem that needs a person: ``what`` is the sentence, ``command`` the next command."""

    code: str
    fields: dict[str, Any]
    what: str
    command: str


class ServedPart(TypedDict):
    """The part of the document about the endpoint and the registry.

    ``approved`` is the newest approved version, which should serve.
    """

    endpoint: EndpointPart
    model: ModelPart | None
    rollout: RolloutPart | None
    approved: int | None
    pending: list[PendingPackage]


class StackDocument(ServedPart):
    """A stack that answered.

    ``last`` and ``next`` are by kind of pipeline; ``missing`` holds the names of declared pipelines that do not exist.
    """

    version: int
    stack: str
    use_case: str
    environment: str
    region: str
    account: str
    deployed: bool
    alarms: list[AlarmPart]
    missing: list[str]
    last: dict[str, RunPart | None]
    next: dict[str, NextRun]
    paused: PausePart | None
    warnings: list[WarningPart]
    unknown: dict[str, str]
    cost: CostPart
    attention: list[ActionItem]


class PackageHistory(TypedDict):
    """A version in the registry, with its approval and gates."""

    version: int
    approval: str
    created: datetime
    description: str
    reason: str
    changed: datetime | None
    changed_by: str
    trigger: str
    gates: list[GateResult]


class ScheduleState(TypedDict):
    """A schedule; ``expected`` is the declared expression if it differs from the actual one."""

    pipeline: str
    name: str
    state: str
    expression: str
    expected: str | None
    next: datetime | None


class DeadLetters(TypedDict):
    """The dead-letter queue of triggers that started no pipeline."""

    queue: str
    waiting: int


class DeepDocument(StackDocument):
    """A stack with all details.

    ``executions`` are the newest by kind of pipeline; ``figures`` the monitor's newest values with ``at`` and
    ``age_seconds``; ``traffic`` the requests, errors and latency of the last hour.
    """

    data_time: datetime | None
    executions: dict[str, list[RunPart]] | None
    figures: dict[str, Any] | None
    monitor: MonitorPart | None
    off: list[str]
    traffic: dict[str, Any] | None
    registry: list[PackageHistory] | None
    schedules: list[ScheduleState] | None
    dead_letters: DeadLetters | None


class SilentStack(TypedDict):
    """A stack that could not be queried or does not run, with the reason."""

    stack: str
    use_case: str
    environment: str
    region: str | None
    reason: str


class ForeignStack(TypedDict):
    """A stack that exists in an account and has no file in this checkout."""

    stack: str
    account: str
    region: str


class StackActionItem(ActionItem):
    """An action item with the stack that it is about."""

    stack: str


class FleetDocument(TypedDict):
    """The documents of all queried stacks."""

    version: int
    as_of: datetime
    stacks: list[StackDocument]
    not_asked: list[SilentStack]
    elsewhere: list[ForeignStack]
    attention: list[StackActionItem]


class VersionQuality(PackageHistory):
    """A version with its holdout metrics and its comparison with the champion; None if its evaluation is missing."""

    metrics: dict[str, float | None] | None
    champion: dict[str, Any] | None


class ReportDocument(DeepDocument):
    """A stack with its history, which `millrace report --format json` prints.

    ``gaps`` has the reason for each part that is unknown; ``report_version`` changes when a reader of the old form
    would be misled.
    """

    report: str
    report_version: int
    made: datetime
    quality: list[VersionQuality]
    calibration: dict[str, dict[str, Any] | None]
    slices: dict[str, dict[str, Any]]
    drift: list[dict[str, Any]] | None
    traffic_history: list[dict[str, Any]] | None
    alarm_history: list[dict[str, Any]] | None
    trainings: list[dict[str, Any]] | None
    lineage: dict[str, Any] | None
    gaps: dict[str, str]
