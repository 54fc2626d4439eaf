"""The resources of a use case's stack: alarms, pipelines, schedules, rules, and the variables of its jobs.

Each list is derived here from the declaration. Components, commands and jobs all use these lists, so that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from millrace.declaration import UseCase
from millrace.environment import Environment
from millrace.names import (
    CLOCK_KEY,
    ERRORS,
    FEATURES,
    LATENCY,
    MONITOR,
    PAUSES,
    TRAINING,
    UNDELIVERED,
    Names,
)
from millrace.watching import MonitorAlarm, list_alarms

#: Every kind of alarm that a stack may have.
ALARM_KINDS = (*(alarm.value for alarm in MonitorAlarm), ERRORS, LATENCY, UNDELIVERED)
#: Those of the endpoint, which exist once a model serves.
ENDPOINT_ALARM_KINDS = (ERRORS, LATENCY)
#: Every kind of pipeline that a stack may have.
PIPELINE_KINDS = (TRAINING, MONITOR, FEATURES)
_SHARED = "shared"


class JobVariable(StrEnum):
    """The environment variables that Millrace reads in jobs and endpoints."""

    ENVIRONMENT = "MILLRACE_ENVIRONMENT"
    ACCOUNT = "MILLRACE_ACCOUNT"
    PROMOTION = "MILLRACE_PROMOTION"
    TOPIC = "MILLRACE_TOPIC"
    """The ARN of the topic on which jobs tell people what they should know; not set where no one is told."""
    CLOCK = "MILLRACE_CLOCK"
    """The URI of the data clock; not set where data time is the wall clock."""
    LAKE = "MILLRACE_LAKE"
    """`shared`, or not set."""
    MODEL_PACKAGE = "MILLRACE_MODEL_PACKAGE"
    """The ARN of the package that an endpoint serves; its answers and its capture carry the version."""
    BUNDLE_SHA256 = "MILLRACE_BUNDLE_SHA256"
    """The hash of the code that a model's container may run; the model package sets it."""
    BIND_ADDRESS = "MILLRACE_BIND_ADDRESS"
    """Where a model server listens; not set on AWS, where it is every address."""
    FAILURE_FILE = "MILLRACE_FAILURE_FILE"
    """Where a step of the bundle writes why it failed, as JSON, for the command that ran it."""


@dataclass(frozen=True)
class ScheduledPipeline:
    """A schedule that starts a pipeline.

    Attributes:
        kind: The pipeline's kind.
        name: The schedule's name.
        every: Its interval.
        pausable: The name by which `millrace pause` pauses it.
    """

    kind: str
    name: str
    every: timedelta
    pausable: str


def list_alarm_kinds(use_case: UseCase, *, has_endpoint: bool = True) -> tuple[str, ...]:
    """Return the kinds of the alarms that a use case declares.

    Args:
        use_case: The declaration.
        has_endpoint: Whether a model serves; the endpoint's alarms exist only then.
    """
    metrics = list_alarms(use_case.problem, has_tables=bool(use_case.tables), off=use_case.monitoring.off)
    kinds = {metric.alarm.value for metric in metrics if metric.alarm} | {UNDELIVERED}
    kinds |= set(ENDPOINT_ALARM_KINDS) if has_endpoint else set()
    return tuple(kind for kind in ALARM_KINDS if kind in kinds)


def list_pipelines(use_case: UseCase, names: Names) -> dict[str, str]:
    """Return the names of the pipelines that a use case declares, by kind.

    Args:
        use_case: The declaration.
        names: The names of its stack.
    """
    kinds = PIPELINE_KINDS if use_case.tables else (TRAINING, MONITOR)
    return {kind: names.pipeline(kind) for kind in kinds}


def list_schedules(use_case: UseCase, names: Names) -> list[ScheduledPipeline]:
    """Return the schedules that a use case declares, whether they are enabled or not.

    Args:
        use_case: The declaration.
        names: The names of its stack.
    """
    intervals = {
        MONITOR: use_case.monitoring.every,
        FEATURES: use_case.publish_every if use_case.tables else None,
        TRAINING: use_case.retraining.every,
    }
    found = [
        ScheduledPipeline(kind, names.schedule(kind), every, PAUSES[kind])
        for kind, every in intervals.items()
        if every is not None
    ]
    if use_case.retraining.alarms:
        again = use_case.retraining.recheck
        found.append(ScheduledPipeline(TRAINING, names.retraining_recheck, again, PAUSES[TRAINING]))
    return found


def list_rules(use_case: UseCase, names: Names) -> list[str]:
    """Return the names of the rules that start a training: when an alarm fires, and when new data are there.

    Args:
        use_case: The declaration.
        names: The names of its stack.
    """
    by_alarms = [names.retraining_rule] if use_case.retraining.alarms else []
    return by_alarms + ([names.retraining_data_rule] if use_case.retraining.has_data_trigger else [])


def make_job_variables(environment: Environment, names: Names, topic: str = "") -> dict[str, str]:
    """Return the environment variables of every job and of the endpoint; SageMaker adds the region.

    Args:
        environment: The environment; its own variables are included.
        names: The names of the stack.
        topic: The ARN of the stack's notification topic; empty where jobs tell no one.
    """
    variables = {
        **environment.variables,
        JobVariable.ENVIRONMENT.value: names.environment,
        JobVariable.ACCOUNT.value: names.account,
        JobVariable.PROMOTION.value: environment.promotion.approval.value,
    }
    if environment.replay_from is not None:
        variables[JobVariable.CLOCK.value] = names.uri(CLOCK_KEY)
    if topic:
        variables[JobVariable.TOPIC.value] = topic
    if names.shared_lake:
        variables[JobVariable.LAKE.value] = _SHARED
    return variables


def is_lake_shared(variables: Mapping[str, str]) -> bool:
    """Tell from a job's environment variables whether its lake is the platform's.

    Args:
        variables: The job's environment variables.

    Returns:
        True if it is the platform's, False if it is the use case's own.
    """
    return variables.get(JobVariable.LAKE.value) == _SHARED
