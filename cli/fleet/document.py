"""The document of a stack, which `millrace status --json` prints: its form, part by part.

`VERSION` changes when a reader of the old form would be misled. What an account did not answer is None or empty, and
`unknown` says why.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NotRequired, TypedDict

from cli.aws.alarms import AlarmPart
from cli.aws.model_packages import GateResult

VERSION = 1


def name_runs(pipeline: str) -> str:
    """Return the key of ``unknown`` for the executions of a kind of pipeline."""
    return f"{pipeline} runs"


class EndpointPart(TypedDict):
    """The endpoint.

    ``status`` is SageMaker's, or one of those in :mod:`cli.fleet.served` where there is no endpoint. ``undone`` is the
    newest approved version, where its rollout was rolled back.
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
    """The metric that champion and challenger are compared by."""

    name: str
    value: float | None


class ModelPart(TypedDict):
    """The model that serves."""

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
    """A version that waits for approval; its gates are known in depth alone."""

    version: int
    created: datetime
    description: str
    gates: NotRequired[list[GateResult]]


class RunPart(TypedDict):
    """An execution of a pipeline; ``step`` is the one that failed."""

    execution: str
    status: str
    started: datetime
    step: str | None
    reason: str


class NextRun(TypedDict):
    """When a schedule starts a pipeline next; ``state`` is None where there is no schedule."""

    at: datetime | None
    state: str | None
    every_seconds: float | None


class PausePart(TypedDict):
    """Who paused the stack, as the parameter says."""

    since: str | None
    by: str | None
    reason: str | None


class CostItem(TypedDict):
    """A part of the cost; None where its price is unknown."""

    item: str
    detail: str
    monthly_usd: float | None


class CostPart(TypedDict):
    """The cost a month; ``billed`` is False on this machine; ``unknown`` names what the sum does not hold."""

    billed: bool
    monthly_usd: float | None
    items: list[CostItem]
    unknown: list[str]
    prices_of: str


class WarningPart(TypedDict):
    """What differs from the declaration, see :mod:`cli.fleet.findings`."""

    code: str
    fields: dict[str, Any]
    text: str


class ActionItem(TypedDict):
    """What needs a person: ``what`` is the sentence, ``command`` the next command."""

    code: str
    fields: dict[str, Any]
    what: str
    command: str


class ServedPart(TypedDict):
    """What the endpoint serves and what the registry has.

    ``approved`` is the version that should serve.
    """

    endpoint: EndpointPart
    model: ModelPart | None
    rollout: RolloutPart | None
    approved: int | None
    pending: list[PendingPackage]


class StackDocument(ServedPart):
    """A stack that answered.

    ``last`` and ``next`` are by kind of pipeline; ``missing`` holds the names of pipelines that should exist.
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
    """A version of the registry, in depth."""

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
    """A schedule; ``expected`` is the declared expression where that differs."""

    pipeline: str
    name: str
    state: str
    expression: str
    expected: str | None
    next: datetime | None


class DeadLetters(TypedDict):
    """The queue of triggers that started nothing."""

    queue: str
    waiting: int


class DeepDocument(StackDocument):
    """A stack in depth.

    ``executions`` are the newest by kind of pipeline; ``figures`` the monitor's newest values with ``at`` and
    ``age_seconds``; ``traffic`` the requests, errors and latency of the last hour.
    """

    data_time: datetime | None
    executions: dict[str, list[RunPart]] | None
    figures: dict[str, Any] | None
    traffic: dict[str, Any] | None
    registry: list[PackageHistory] | None
    schedules: list[ScheduleState] | None
    dead_letters: DeadLetters | None


class SilentStack(TypedDict):
    """A stack that did not answer, and why."""

    stack: str
    use_case: str
    environment: str
    region: str | None
    reason: str


class ForeignStack(TypedDict):
    """A stack that exists in an account and has no file here."""

    stack: str
    account: str
    region: str


class StackActionItem(ActionItem):
    """An action item with the stack that it is about."""

    stack: str


class FleetDocument(TypedDict):
    """All stacks that were asked."""

    version: int
    as_of: datetime
    stacks: list[StackDocument]
    not_asked: list[SilentStack]
    elsewhere: list[ForeignStack]
    attention: list[StackActionItem]


class VersionQuality(PackageHistory):
    """A version with its metrics on the holdout and its comparison with the champion; None where not kept."""

    metrics: dict[str, float | None] | None
    champion: dict[str, Any] | None


class ReportDocument(DeepDocument):
    """A stack with its history, which `millrace report --format json` prints.

    ``gaps`` says which part is not known, and why; ``report_version`` changes when a reader of the old form would be
    misled.
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
