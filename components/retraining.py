"""The triggers that start the training pipeline by themselves: alarms, by a rule, and schedules.

An alarm that stays in ALARM starts nothing again, so a schedule starts the pipeline to look whether one does. Many
triggers at once train once, because the pipeline's first step skips a start while another execution runs or within the
cooldown.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pulumi
import pulumi_aws as aws

from components.schedule import ScheduleArgs, make_schedule


@dataclass
class RetrainingArgs:
    """Inputs of :class:`Retraining`.

    Attributes:
        pipeline_name: The training pipeline; its parameter `Trigger` is set to what started it.
        pipeline_arn: Its ARN.
        role_arn: The role that may start it and send to the dead-letter queue.
        dead_letter_arn: The queue for triggers that could not start it.
        rule_name: The name of the rule that alarms trigger.
        data_rule_name: The name of the rule that events about new data trigger.
        schedule_name: The backstop's name.
        recheck_name: The name of the schedule that looks whether an alarm stays in ALARM.
        alarm_names: Alarms whose change to ALARM starts it.
        data_of: The stack that events about new data name in their detail; empty creates no rule for them.
        data_at: Bucket and prefix whose new objects start it, beside such events; None for none.
        every: The backstop's interval; None creates no schedule.
        recheck: How often it looks whether an alarm stays in ALARM.
        enabled: Whether the schedules run.
        paused: Whether a person has paused it, so that neither alarms nor the schedules start it.
    """

    pipeline_name: str
    pipeline_arn: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    dead_letter_arn: pulumi.Input[str]
    rule_name: str
    data_rule_name: str
    schedule_name: str
    recheck_name: str
    alarm_names: Sequence[str] = field(default_factory=list)
    data_of: str = ""
    data_at: tuple[str, str] | None = None
    every: timedelta | None = None
    recheck: timedelta = timedelta(days=1)
    enabled: bool = True
    paused: bool = False


class Retraining(pulumi.ComponentResource):
    """The triggers of a training pipeline.

    Creates an EventRule with its EventTarget and a Schedule if alarms are named, an EventRule with its EventTarget if
    events about new data start it, and a Schedule if there is a backstop.
    """

    def __init__(self, name: str, args: RetrainingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:Retraining", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        if args.alarm_names:
            when = f"Starts {args.pipeline_name} when one of its alarms fires"
            pattern = _alarm_pattern(args.alarm_names)
            _make_rule(f"{name}-on-alarm", args, args.rule_name, when, pattern, "$.detail.alarmName", child)
            again = _schedule(args, args.recheck_name, args.recheck, "recheck")
            make_schedule(f"{name}-recheck", again, args.pipeline_arn, child)
        if args.data_of:
            when = f"Starts {args.pipeline_name} when new data are there"
            pattern = _data_pattern(args.data_of, args.data_at)
            _make_rule(f"{name}-on-data", args, args.data_rule_name, when, pattern, "data", child)
        if args.every is not None:
            backstop = _schedule(args, args.schedule_name, args.every, "schedule")
            make_schedule(f"{name}-backstop", backstop, args.pipeline_arn, child)
        self.register_outputs({})


def _make_rule(
    name: str,
    args: RetrainingArgs,
    rule_name: str,
    description: str,
    pattern: str,
    trigger: str,
    opts: pulumi.ResourceOptions,
) -> None:
    """Create a rule that starts the pipeline with a trigger, which may be a path into the event."""
    rule = aws.cloudwatch.EventRule(
        name,
        name=rule_name,
        description=description,
        event_pattern=pattern,
        state="DISABLED" if args.paused else "ENABLED",
        opts=opts,
    )
    aws.cloudwatch.EventTarget(
        f"{name}-target",
        rule=rule.name,
        target_id="training-pipeline",
        arn=args.pipeline_arn,
        role_arn=args.role_arn,
        sagemaker_pipeline_target={"pipeline_parameter_lists": [{"name": "Trigger", "value": trigger}]},
        dead_letter_config={"arn": args.dead_letter_arn},
        opts=opts,
    )


def _schedule(args: RetrainingArgs, name: str, every: timedelta, trigger: str) -> ScheduleArgs:
    return ScheduleArgs(
        schedule_name=name,
        role_arn=args.role_arn,
        dead_letter_arn=args.dead_letter_arn,
        every=every,
        enabled=args.enabled and not args.paused,
        parameters={"Trigger": trigger},
    )


def _alarm_pattern(names: Sequence[str]) -> str:
    return json.dumps(
        {
            "source": ["aws.cloudwatch"],
            "detail-type": ["CloudWatch Alarm State Change"],
            "detail": {"alarmName": list(names), "state": {"value": ["ALARM"]}},
        },
        sort_keys=True,
    )


def _data_pattern(stack: str, place: tuple[str, str] | None) -> str:
    ready = {"source": ["millrace"], "detail-type": ["Data Ready"], "detail": {"stack": [stack]}}
    if place is None:
        return json.dumps(ready, sort_keys=True)
    bucket, prefix = place
    created = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket]}, **({"object": {"key": [{"prefix": prefix}]}} if prefix else {})},
    }
    return json.dumps({"$or": [ready, created]}, sort_keys=True)
