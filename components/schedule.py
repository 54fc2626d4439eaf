"""A schedule that starts a pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pulumi
import pulumi_aws as aws

from millrace.errors import InvalidValueError

#: The most retries of a failed start, and the seconds for which it is retried, before it becomes a dead letter.
_RETRIES, _AGE = 10, 3600


@dataclass
class ScheduleArgs:
    """Inputs of :func:`make_schedule`.

    Attributes:
        schedule_name: The schedule's name.
        role_arn: The role that may start the pipeline and send to the dead-letter queue.
        dead_letter_arn: The queue for what could not be started.
        every: The interval, at least a minute.
        enabled: Whether it runs.
        parameters: The pipeline's parameters.
    """

    schedule_name: str
    role_arn: pulumi.Input[str]
    dead_letter_arn: pulumi.Input[str]
    every: timedelta
    enabled: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)


def make_schedule(
    name: str, args: ScheduleArgs, pipeline_arn: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> aws.scheduler.Schedule:
    """Create the Schedule that starts a pipeline, for a component that owns one."""
    return aws.scheduler.Schedule(
        name,
        name=args.schedule_name,
        schedule_expression=format_rate(args.every),
        flexible_time_window={"mode": "OFF"},
        state="ENABLED" if args.enabled else "DISABLED",
        target={
            "arn": pipeline_arn,
            "role_arn": args.role_arn,
            "dead_letter_config": {"arn": args.dead_letter_arn},
            "retry_policy": {"maximum_retry_attempts": _RETRIES, "maximum_event_age_in_seconds": _AGE},
            "sagemaker_pipeline_parameters": {
                "pipeline_parameters": [{"name": key, "value": value} for key, value in args.parameters.items()]
            },
        },
        opts=opts,
    )


def format_rate(every: timedelta) -> str:
    """Return EventBridge's expression of an interval: whole days, hours or minutes, singular for one.

    Raises:
        InvalidValueError: The interval is not a whole number of minutes, at least one.
    """
    minutes, rest = divmod(every, timedelta(minutes=1))
    if rest or minutes < 1:
        raise InvalidValueError(
            f"every={every}", "is not a whole number of minutes", expected="whole minutes, at least one"
        )
    for unit, length in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes % length == 0:
            number = minutes // length
            return f"rate({number} {unit}{'' if number == 1 else 's'})"
    raise AssertionError("every whole number of minutes is a multiple of one")
