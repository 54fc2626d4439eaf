"""The monitor of a served model: its pipeline, its schedule, the alarms on what it publishes and a dashboard."""

import json
import math
from dataclasses import dataclass, field
from datetime import timedelta

import pulumi
import pulumi_aws as aws

from components.dashboards import Plot, make_plot_widgets
from components.schedule import ScheduleArgs, make_schedule
from components.training_pipeline import TrainingPipelineArgs, make_pipeline
from millrace.errors import InvalidValueError

#: CloudWatch's longest evaluation range, seconds.
_LONGEST = 7 * 86_400


@dataclass
class DriftAlarmsArgs:
    """Inputs of :class:`DriftAlarms`.

    Attributes:
        pipeline: The monitor pipeline.
        schedule: The schedule that starts it.
        every: How often it runs.
        namespace: Where the monitor publishes.
        endpoint_name: The dimension `Endpoint` of what it publishes.
        variant_name: The endpoint's variant, for the dashboard.
        region: The region, for the dashboard.
        drift_alarm: Name of the alarm on `drift`.
        heartbeat_alarm: Name of the alarm that fires when the monitor has stopped publishing.
        calibration_alarm: Name of the alarm on `ece`; None creates none.
        ece_threshold: Expected calibration error above which the calibration alarm fires.
        alarm_actions: ARNs of topics that the alarms notify.
    """

    pipeline: TrainingPipelineArgs
    schedule: ScheduleArgs
    every: timedelta
    namespace: str
    endpoint_name: str
    variant_name: str
    region: str
    drift_alarm: str
    heartbeat_alarm: str
    calibration_alarm: str | None = None
    ece_threshold: float = 0.05
    alarm_actions: list[pulumi.Input[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if 2 * self.period > _LONGEST:
            raise InvalidValueError(
                f"DriftAlarms {self.endpoint_name!r}: every={self.every}",
                "is too long for an alarm",
                expected="at most 2 days 19 hours",
                fix="run the monitor more often",
            )

    @property
    def period(self) -> int:
        """The alarms' period, seconds: the interval of the monitor and a quarter, so that a late run leaves no gap."""
        return 60 * math.ceil(self.every.total_seconds() * 1.25 / 60)


class DriftAlarms(pulumi.ComponentResource):
    """The monitor of a served model, with its alarms and dashboard.

    Creates a Pipeline, a Schedule, two or three MetricAlarms and a Dashboard. The alarms on drift and calibration treat
    missing data as not breaching; the heartbeat's treats them as breaching, so that it fires when the monitor stops.
    """

    pipeline_arn: pulumi.Output[str]
    alarm_arns: "dict[str, pulumi.Output[str]]"

    def __init__(self, name: str, args: DriftAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:DriftAlarms", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        pipeline = make_pipeline(f"{name}-pipeline", args.pipeline, child)
        make_schedule(f"{name}-schedule", args.schedule, pipeline.arn, child)
        alarms = {args.drift_alarm: self._above(name, "drift", args, "drift", args.drift_alarm, 1.0)}
        if args.calibration_alarm is not None:
            alarms[args.calibration_alarm] = self._above(
                name, "calibration", args, "ece", args.calibration_alarm, args.ece_threshold
            )
        alarms[args.heartbeat_alarm] = aws.cloudwatch.MetricAlarm(
            f"{name}-heartbeat",
            name=args.heartbeat_alarm,
            alarm_description=f"The monitor of {args.endpoint_name} has not run for two of its intervals.",
            namespace=args.namespace,
            metric_name="heartbeat",
            dimensions={"Endpoint": args.endpoint_name},
            statistic="SampleCount",
            period=args.period,
            evaluation_periods=2,
            threshold=1,
            comparison_operator="LessThanThreshold",
            treat_missing_data="breaching",
            alarm_actions=args.alarm_actions,
            opts=child,
        )
        aws.cloudwatch.Dashboard(
            f"{name}-dashboard", dashboard_name=args.endpoint_name, dashboard_body=_dashboard(args), opts=child
        )
        self.pipeline_arn = pipeline.arn
        self.alarm_arns = {alarm_name: alarm.arn for alarm_name, alarm in alarms.items()}
        self.register_outputs({"pipelineArn": pipeline.arn, "alarmArns": self.alarm_arns})

    def _above(
        self, name: str, kind: str, args: DriftAlarmsArgs, metric: str, alarm_name: str, threshold: float
    ) -> aws.cloudwatch.MetricAlarm:
        return aws.cloudwatch.MetricAlarm(
            f"{name}-{kind}",
            name=alarm_name,
            alarm_description=f"{metric} of {args.endpoint_name} is above {threshold:g}.",
            namespace=args.namespace,
            metric_name=metric,
            dimensions={"Endpoint": args.endpoint_name},
            statistic="Maximum",
            period=args.period,
            evaluation_periods=1,
            threshold=threshold,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=args.alarm_actions,
            opts=pulumi.ResourceOptions(parent=self),
        )


def _dashboard(args: DriftAlarmsArgs) -> str:
    day = 86_400
    own = [args.namespace]
    dimension = ["Endpoint", args.endpoint_name]
    served = ["EndpointName", args.endpoint_name, "VariantName", args.variant_name]
    plots: list[Plot] = [
        ("Drift (above 1: more than chance)", [[*own, "drift", *dimension]], "Maximum", day),
        (
            "Quality on outcomes",
            [[*own, "ece", *dimension], [*own, "brier", *dimension], [*own, "mae", *dimension]],
            "Maximum",
            day,
        ),
        (
            "Rows served, share labelled",
            [[*own, "rows", *dimension], [*own, "label_coverage", *dimension]],
            "Maximum",
            day,
        ),
        ("Training-serving skew", [[*own, "skew", *dimension]], "Maximum", day),
        ("Requests", [["AWS/SageMaker", "Invocations", *served]], "Sum", 300),
        (
            "Errors",
            [["AWS/SageMaker", "Invocation5XXErrors", *served], ["AWS/SageMaker", "Invocation4XXErrors", *served]],
            "Sum",
            300,
        ),
        ("Latency, microseconds", [["AWS/SageMaker", "ModelLatency", *served]], "p99", 300),
    ]
    return json.dumps({"widgets": make_plot_widgets(plots, args.region)}, sort_keys=True)
