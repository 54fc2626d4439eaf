"""The resources that the use cases of an environment share: one lake with one key, and a dashboard of all of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.dashboards import Plot, make_plot_widgets
from components.data_lake import DataLake, DataLakeArgs, Lake
from millrace import Environment, MillraceError, UseCase
from millrace.errors import InvalidValueError
from millrace.inventory import list_alarm_kinds
from millrace.names import PLATFORM, VARIANT, Names

#: The most alarms and the most metrics that a widget of CloudWatch's can show.
_ALARMS, _METRICS = 100, 500


@dataclass
class PlatformArgs:
    """Inputs of :class:`Platform`.

    Attributes:
        environment: The environment.
        account: The AWS account, twelve digits.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        use_cases: The use cases that run in the environment; the dashboard shows them.
    """

    environment: Environment
    account: str
    partition: str
    use_cases: Sequence[UseCase]

    def __post_init__(self) -> None:
        if len(self.use_cases) > _METRICS:
            raise InvalidValueError(
                f"Platform {self.environment.name!r}",
                f"has {len(self.use_cases)} use cases",
                expected=f"at most {_METRICS}, the limit of a dashboard widget",
                fix="run the others in another environment",
            )

    @property
    def names(self) -> list[Names]:
        """The computed names of each use case."""
        return [self.environment.make_names(each.name, self.account) for each in self.use_cases]


class Platform(pulumi.ComponentResource):
    """The resources that the use cases of an environment share.

    Creates: a DataLake, in which each use case with `lake: shared` has a folder that only its own roles may open, and a
    Dashboard with the alarms, drift, quality and traffic of all use cases. Each use case keeps its own roles, registry
    groups, pipelines, endpoints and alarms.
    """

    lake: pulumi.Output[str]
    dashboard: pulumi.Output[str]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:Platform", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        environment = args.environment
        stack = f"{PLATFORM}-{environment.name}"
        lake = DataLake(
            f"{stack}-lake",
            DataLakeArgs(
                _bucket(args),
                args.account,
                environment.retention_days,
                environment.force_destroy,
                # Any use case may be trained when new data arrive in its folder.
                tells_of_objects=True,
            ),
            child,
        )
        dashboard = aws.cloudwatch.Dashboard(
            f"{stack}-dashboard", dashboard_name=stack, dashboard_body=_dashboard(args), opts=child
        )
        self.lake = lake.bucket_name
        self.dashboard = dashboard.dashboard_name
        self.register_outputs({"lake": self.lake, "dashboard": self.dashboard})

    def list_outputs(self) -> "dict[str, pulumi.Input[object]]":
        """Return the outputs that a program exports."""
        return {"lake": self.lake, "dashboard": self.dashboard}


def make_shared_lake(names: Names, partition: str, key_arn: str | None) -> Lake:
    """Return the platform's lake for a stack that shares it.

    Args:
        names: The stack's names.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        key_arn: The key behind ``names.lake_alias``, which cannot be computed; None where it does not exist.

    Raises:
        MillraceError: The key does not exist: the platform of the environment is not deployed.
    """
    if key_arn is None:
        platform = f"{PLATFORM}-{names.environment}"
        raise MillraceError(
            f"stack {names.stack}: millrace:environment: lake: shared",
            (f"needs the key {names.lake_alias}, which does not exist in account {names.account}, {names.region}"),
            expected=f"the stack {platform}, which owns the shared lake",
            fix=(
                f"deploy it first, `millrace deploy {PLATFORM} --env {names.environment} --create`, or set `lake: own`"
            ),
        )
    return Lake(names.lake, f"arn:{partition}:s3:::{names.lake}", key_arn)


def _bucket(args: PlatformArgs) -> str:
    environment = args.environment
    return Names(PLATFORM, environment.name, args.account, environment.region, shared_lake=True).lake


def _dashboard(args: PlatformArgs) -> str:
    day = 86_400
    served = [["AWS/SageMaker", "EndpointName", each.endpoint, "VariantName", VARIANT] for each in args.names]

    def own(metric: str) -> list[list[Any]]:
        return [[each.metric_namespace, metric, "Endpoint", each.endpoint] for each in args.names]

    def runtime(metric: str) -> list[list[Any]]:
        return [[namespace, metric, *dimensions] for namespace, *dimensions in served]

    plots: list[Plot] = [
        ("Drift (above 1: more than chance)", own("drift"), "Maximum", day),
        ("Calibration error on outcomes", own("ece"), "Maximum", day),
        ("Rows served", own("rows"), "Maximum", day),
        ("Share of rows with outcomes", own("label_coverage"), "Maximum", day),
        ("Requests", runtime("Invocations"), "Sum", 300),
        ("Errors", runtime("Invocation5XXErrors"), "Sum", 300),
        ("Latency, microseconds", runtime("ModelLatency"), "p99", 300),
    ]
    alarms = _alarms(args)
    rows = [alarms[start : start + _ALARMS] for start in range(0, len(alarms), _ALARMS)]
    widgets: list[dict[str, Any]] = [
        {
            "type": "alarm",
            "x": 0,
            "y": 6 * row,
            "width": 24,
            "height": 6,
            "properties": {"title": "Alarms", "alarms": arns},
        }
        for row, arns in enumerate(rows)
    ]
    plotted = [plot for plot in plots if plot[1]]
    widgets += make_plot_widgets(plotted, args.environment.region, top=6 * len(rows))
    return json.dumps({"widgets": widgets}, sort_keys=True)


def _alarms(args: PlatformArgs) -> list[str]:
    place = f"arn:{args.partition}:cloudwatch:{args.environment.region}:{args.account}:alarm"
    found = []
    for use_case, names in zip(args.use_cases, args.names, strict=True):
        found += [f"{place}:{names.alarm(kind)}" for kind in list_alarm_kinds(use_case)]
    return found
