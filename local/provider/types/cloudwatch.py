"""CloudWatch: metric alarms, composite alarms, dashboards."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_json
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import Kind, Property, integer_property, string_property
from local.provider.values import Values

_UNTAKEN = frozenset({"actionConfiguration"})
_ACTIONS = frozenset({"alarmActions", "okActions", "insufficientDataActions"})


class Alarm(Resource):
    """The base of both types of alarm."""

    service = "cloudwatch"
    found_in = ""
    kind = ""
    members = {"name": "AlarmName"}
    outputs = {"arn": "AlarmArn"}
    defaults = {"actionsEnabled": True}
    unordered = _ACTIONS
    tagging = Tagging("TagResource", "UntagResource", "ListTagsForResource", "ResourceARN")

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the API's description of the alarm, or None."""
        wanted = {"AlarmNames": [self.build_id(known)], "AlarmTypes": [self.kind]}
        found = self.call(context, "DescribeAlarms", wanted).get(self.found_in)
        return dict(found[0]) if found else None

    def delete(self, context: Context, known: Values) -> None:
        """Delete the alarm; it is no error if it no longer exists."""
        self.ignore_not_found(lambda: self.call(context, "DeleteAlarms", {"AlarmNames": [self.build_id(known)]}))


class MetricAlarm(Alarm):
    """``aws:cloudwatch/metricAlarm:MetricAlarm``: of one metric or of a metric query."""

    token = "aws:cloudwatch/metricAlarm:MetricAlarm"
    found_in, kind = "MetricAlarms", "MetricAlarm"
    create_by = update_by = "PutMetricAlarm"
    members = {
        "name": "AlarmName",
        "dimensions": "Dimensions{Name:Value}",
        "evaluateLowSampleCountPercentiles": "EvaluateLowSampleCountPercentile",
        "metricQueries": "Metrics",
        "metricQueries.metric": "MetricStat",
        "metricQueries.metric.dimensions": "Metric.Dimensions{Name:Value}",
        "metricQueries.metric.metricName": "Metric.MetricName",
        "metricQueries.metric.namespace": "Metric.Namespace",
    }
    omit = _UNTAKEN | frozenset({"evaluationCriteria", "evaluationInterval", "evaluationWindow", "warmUpConfiguration"})
    auto_name = ("name", AutoName(255))
    replaces = frozenset({"name"})
    defaults = {**Alarm.defaults, "treatMissingData": "missing", "metricQueries.returnData": False}
    computed = frozenset({"evaluateLowSampleCountPercentiles"})
    unordered = _ACTIONS | {"metricQueries"}
    exactly_one = (("metricName", "metricQueries"),)
    conflicts = (
        ("metricQueries", "dimensions"),
        ("metricQueries", "namespace"),
        ("metricQueries", "period"),
        ("metricQueries", "statistic", "extendedStatistic"),
        ("threshold", "thresholdMetricId"),
    )


class CompositeAlarm(Alarm):
    """``aws:cloudwatch/compositeAlarm:CompositeAlarm``."""

    token = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
    found_in, kind = "CompositeAlarms", "CompositeAlarm"
    create_by = update_by = "PutCompositeAlarm"
    id = "{alarmName}"
    members = {}
    omit = _UNTAKEN | {"actionsSuppressor", "actionsSuppressorExtensionPeriod", "actionsSuppressorWaitPeriod"}
    own = {
        "actionsSuppressor": Property(
            Kind.OBJECT,
            properties={
                "alarm": string_property("ActionsSuppressor", required=True),
                "extensionPeriod": integer_property("ActionsSuppressorExtensionPeriod", required=True),
                "waitPeriod": integer_property("ActionsSuppressorWaitPeriod", required=True),
            },
        )
    }
    replaces = frozenset({"alarmName", "actionsEnabled"})


class Dashboard(Resource):
    """``aws:cloudwatch/dashboard:Dashboard``."""

    token = "aws:cloudwatch/dashboard:Dashboard"
    service = "cloudwatch"
    create_by = update_by = "PutDashboard"
    read_by = "GetDashboard"
    id = "{dashboardName}"
    outputs = {"dashboardArn": "DashboardArn"}
    replaces = frozenset({"dashboardName"})
    same = {"dashboardBody": is_same_json}

    def delete(self, context: Context, known: Values) -> None:
        """Delete the dashboard; it is no error if it no longer exists."""
        self.ignore_not_found(
            lambda: self.call(context, "DeleteDashboards", {"DashboardNames": [known["dashboardName"]]})
        )


TYPES = (MetricAlarm, CompositeAlarm, Dashboard)
