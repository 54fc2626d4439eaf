"""The monitor of a served model: its pipeline, its schedule, the alarms on what it publishes and a dashboard."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pulumi
import pulumi_aws as aws

from components.dashboards import Plot, make_plot_widgets
from components.schedule import ScheduleArgs, make_schedule
from components.training_pipeline import TrainingPipelineArgs, make_pipeline
from millrace.errors import InvalidValueError
from millrace.watching import MonitorMetric
from millrace.watching import Plot as MonitorPlot

#: CloudWatch's longest evaluation range, seconds.
_DAY = 86_400
_LONGEST = 7 * _DAY
#: How long a page waits for the alarm that suppresses it, seconds. CloudWatch evaluates an alarm whose range is longer
#: than a day only once an hour.
_WAIT_SHORT, _WAIT_LONG = 120, 3_900


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
        metrics: The metrics that it publishes, for the dashboard.
        alarms: The alarms, by name: the metric of each.
        pages: The composite alarms that notify, by name: the alarms of which any raises it, and one that keeps it
            silent, if any.
        snoozes: The alarm that suppresses a page's notifications while it is snoozed, by the page's name: the alarm's
            name and its metric.
        alarm_actions: ARNs of topics that the alarms notify.
    """

    pipeline: TrainingPipelineArgs
    schedule: ScheduleArgs
    every: timedelta
    namespace: str
    endpoint_name: str
    variant_name: str
    region: str
    metrics: Sequence[MonitorMetric]
    alarms: Mapping[str, MonitorMetric]
    pages: Mapping[str, tuple[Sequence[str], str | None]]
    snoozes: Mapping[str, tuple[str, str]]
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

    Creates a Pipeline, a Schedule, a MetricAlarm for each alarm, a CompositeAlarm for each page with a MetricAlarm that
    suppresses its notifications while it is snoozed, and a Dashboard. What missing data mean is a matter of the metric:
    a figure that could not be judged raises no alarm, a signal that is absent does. Only pages notify.
    """

    pipeline_arn: pulumi.Output[str]
    alarm_arns: "dict[str, pulumi.Output[str]]"

    def __init__(self, name: str, args: DriftAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:DriftAlarms", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        pipeline = make_pipeline(f"{name}-pipeline", args.pipeline, child)
        make_schedule(f"{name}-schedule", args.schedule, pipeline.arn, child)
        alarms = {
            alarm_name: self._make_alarm(name, alarm_name, metric, args) for alarm_name, metric in args.alarms.items()
        }
        for page, (causes, silencing) in args.pages.items():
            self._make_page(name, page, causes, silencing, args, list(alarms.values()))
        aws.cloudwatch.Dashboard(
            f"{name}-dashboard", dashboard_name=args.endpoint_name, dashboard_body=_dashboard(args), opts=child
        )
        self.pipeline_arn = pipeline.arn
        self.alarm_arns = {alarm_name: alarm.arn for alarm_name, alarm in alarms.items()}
        self.register_outputs({"pipelineArn": pipeline.arn, "alarmArns": self.alarm_arns})

    def _make_alarm(
        self, name: str, alarm_name: str, metric: MonitorMetric, args: DriftAlarmsArgs
    ) -> aws.cloudwatch.MetricAlarm:
        assert metric.alarm is not None
        runs = "for two runs of the monitor" if metric.is_signal else "beyond its threshold"
        return aws.cloudwatch.MetricAlarm(
            f"{name}-{metric.alarm.value}",
            name=alarm_name,
            alarm_description=f"{args.endpoint_name}: {metric.meaning}, {runs}.",
            namespace=args.namespace,
            metric_name=metric.name,
            dimensions={"Endpoint": args.endpoint_name},
            statistic="SampleCount" if metric.is_signal else "Maximum",
            period=args.period,
            evaluation_periods=2 if metric.is_signal else 1,
            threshold=1,
            comparison_operator="LessThanThreshold" if metric.is_signal else "GreaterThanThreshold",
            treat_missing_data=metric.missing,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _make_snooze(self, name: str, page: str, args: DriftAlarmsArgs) -> aws.cloudwatch.MetricAlarm:
        """Create the alarm that suppresses a page; without data, such as from a monitor that stopped, it does not."""
        alarm_name, metric = args.snoozes[page]
        return aws.cloudwatch.MetricAlarm(
            f"{name}-{metric}",
            name=alarm_name,
            alarm_description=f"{args.endpoint_name}: a person has snoozed what raises {page}, which does not notify.",
            namespace=args.namespace,
            metric_name=metric,
            dimensions={"Endpoint": args.endpoint_name},
            statistic="Maximum",
            period=args.period,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _make_page(
        self,
        name: str,
        page: str,
        causes: Sequence[str],
        silencing: str | None,
        args: DriftAlarmsArgs,
        alarms: Sequence[aws.cloudwatch.MetricAlarm],
    ) -> aws.cloudwatch.CompositeAlarm:
        """Create a composite alarm, which notifies: its metric alarms are of one kind of cause, and are told once."""
        rule = " OR ".join(f'ALARM("{cause}")' for cause in causes)
        unless = f", unless {silencing} fires" if silencing else ""
        snooze = self._make_snooze(name, page, args)
        wait = _WAIT_LONG if args.period > _DAY else _WAIT_SHORT
        silenced = " OR ".join(f'ALARM("{cause}")' for cause in args.pages[silencing][0]) if silencing else ""
        return aws.cloudwatch.CompositeAlarm(
            f"{name}-page-{page.removeprefix(f'{args.endpoint_name}-')}",
            alarm_name=page,
            alarm_description=f"{args.endpoint_name}: one of {', '.join(causes)} fires{unless}.",
            alarm_rule=f"({rule}) AND NOT ({silenced})" if silenced else rule,
            alarm_actions=args.alarm_actions,
            actions_suppressor=aws.cloudwatch.CompositeAlarmActionsSuppressorArgs(
                alarm=snooze.name, wait_period=wait, extension_period=_WAIT_SHORT
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=alarms),
        )


def _dashboard(args: DriftAlarmsArgs) -> str:
    own = [args.namespace]
    dimension = ["Endpoint", args.endpoint_name]
    served = ["EndpointName", args.endpoint_name, "VariantName", args.variant_name]
    by_plot = {
        plot: [[*own, metric.name, *dimension] for metric in args.metrics if metric.plot is plot]
        for plot in MonitorPlot
    }
    plots: list[Plot] = [
        *((plot.value, metrics, "Maximum", _DAY) for plot, metrics in by_plot.items() if metrics),
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
