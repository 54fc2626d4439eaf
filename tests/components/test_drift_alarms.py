"""DriftAlarms: alarms on the metrics that the monitor publishes, and one for a monitor that does not run."""

from __future__ import annotations

import json
import math
import re
from datetime import timedelta
from typing import Any

import pytest

from components.drift_alarms import DriftAlarms, DriftAlarmsArgs
from components.schedule import ScheduleArgs
from components.steps import Definition, Step
from components.training_pipeline import TrainingPipelineArgs
from millrace import Monitoring, Retraining
from millrace.metrics import Problem
from millrace.monitor_report import MonitorReport
from millrace.watching import METRICS, MonitorAlarm, list_metrics
from stacks.flights import USE_CASE
from tests.components import mocked
from tests.components.flights_stack import environment, flights, package, register_stack
from training.monitoring.monitor import make_data_points


def alarms_args(every: timedelta = timedelta(days=1), **changes: Any) -> DriftAlarmsArgs:
    """Return the arguments for the endpoint `x`."""
    definition = Definition([], [Step("Monitor", "Processing", {})])
    args = {
        "pipeline": TrainingPipelineArgs("x-monitor", definition, "arn:role", "Watches x"),
        "schedule": ScheduleArgs("x-monitor", "arn:trigger", "arn:queue", every),
        "every": every,
        "namespace": "Millrace/x",
        "endpoint_name": "x",
        "variant_name": "main",
        "region": "eu-west-1",
        "metrics": list_metrics(Problem.BINARY, has_tables=True),
        "alarms": {f"x-{metric.alarm}": metric for metric in METRICS if metric.alarm in ("drift", "skew", "heartbeat")},
        "pages": {"x-silence": (["x-heartbeat"], None), "x-data": (["x-skew", "x-drift"], "x-silence")},
        "snoozes": {
            "x-silence": ("x-silence-snoozed", "silence-snoozed"),
            "x-data": ("x-data-snoozed", "data-snoozed"),
        },
        "alarm_actions": ["arn:topic"],
        **changes,
    }
    return DriftAlarmsArgs(**args)


def alarms(**changes: Any) -> dict[str, mocked.Registered]:
    """Return the resources of a component called `d`."""
    args = alarms_args(**changes)
    return mocked.run(lambda: DriftAlarms("d", args))


def test_children_and_outputs() -> None:
    found = alarms()
    parent = "DriftAlarms:d"
    assert mocked.tree(found) == {
        ("d", "DriftAlarms", None),
        ("d-pipeline", "Pipeline", parent),
        ("d-schedule", "Schedule", parent),
        ("d-drift", "MetricAlarm", parent),
        ("d-skew", "MetricAlarm", parent),
        ("d-heartbeat", "MetricAlarm", parent),
        ("d-silence-snoozed", "MetricAlarm", parent),
        ("d-data-snoozed", "MetricAlarm", parent),
        ("d-page-silence", "CompositeAlarm", parent),
        ("d-page-data", "CompositeAlarm", parent),
        ("d-dashboard", "Dashboard", parent),
    }
    assert found[parent].outputs == {
        "pipelineArn": "arn:of:Pipeline:d-pipeline",
        "alarmArns": {
            "x-drift": "arn:of:MetricAlarm:d-drift",
            "x-skew": "arn:of:MetricAlarm:d-skew",
            "x-heartbeat": "arn:of:MetricAlarm:d-heartbeat",
        },
    }
    assert found["d-schedule"].inputs["target"]["arn"] == "arn:of:Pipeline:d-pipeline"


def test_an_alarm_fires_above_the_unit_of_its_threshold() -> None:
    assert alarms()["d-drift"].inputs == {
        "name": "x-drift",
        "alarmDescription": "x: a feature has moved further than chance explains, beyond its threshold.",
        "namespace": "Millrace/x",
        "metricName": "drift",
        "dimensions": {"Endpoint": "x"},
        "statistic": "Maximum",
        "period": 108_000,
        "evaluationPeriods": 1,
        "threshold": 1.0,
        "comparisonOperator": "GreaterThanThreshold",
        "treatMissingData": "notBreaching",
    }


def test_a_missing_heartbeat_raises_the_alarm() -> None:
    assert alarms()["d-heartbeat"].inputs == {
        "name": "x-heartbeat",
        "alarmDescription": "x: the monitor has not run, for two runs of the monitor.",
        "namespace": "Millrace/x",
        "metricName": "heartbeat",
        "dimensions": {"Endpoint": "x"},
        "statistic": "SampleCount",
        "period": 108_000,
        "evaluationPeriods": 2,
        "threshold": 1,
        "comparisonOperator": "LessThanThreshold",
        "treatMissingData": "breaching",
    }


def test_only_pages_notify_and_one_cause_keeps_another_silent() -> None:
    found = alarms()
    assert not any("alarmActions" in each.inputs for each in mocked.find_by_kind(found, "MetricAlarm"))
    pages = {each.inputs["alarmName"]: each.inputs for each in mocked.find_by_kind(found, "CompositeAlarm")}
    assert {name: inputs["alarmRule"] for name, inputs in pages.items()} == {
        "x-silence": 'ALARM("x-heartbeat")',
        "x-data": '(ALARM("x-skew") OR ALARM("x-drift")) AND NOT (ALARM("x-heartbeat"))',
    }
    assert [inputs["alarmActions"] for inputs in pages.values()] == [["arn:topic"]] * 2


def test_a_page_is_suppressed_only_while_the_monitor_says_that_it_is_snoozed() -> None:
    found = alarms()
    snooze = found["d-data-snoozed"].inputs
    assert (snooze["metricName"], snooze["treatMissingData"], snooze["threshold"]) == (
        "data-snoozed",
        "notBreaching",
        0,
    )
    # An alarm that looks back more than a day is evaluated once an hour.
    page = found["d-page-data"].inputs["actionsSuppressor"]
    assert page == {"alarm": "x-data-snoozed", "waitPeriod": 3900, "extensionPeriod": 120}
    hourly = alarms(every=timedelta(hours=1))["d-page-data"].inputs["actionsSuppressor"]
    assert hourly["waitPeriod"] == 120


def test_every_alarm_of_a_stack_is_of_one_page() -> None:
    found = flights("dev")
    kinds = {each.inputs["name"] for each in mocked.find_by_kind(found, "MetricAlarm")
             if each.inputs["namespace"] == "Millrace/flights-dev"
             and not each.inputs["name"].endswith("-snoozed")}  # fmt: skip
    rules = [each.inputs["alarmRule"].split(" AND NOT ")[0] for each in mocked.find_by_kind(found, "CompositeAlarm")]
    named = [name for rule in rules for name in re.findall(r'ALARM\("(.+?)"\)', rule)]
    assert sorted(named) == sorted(kinds)
    assert len(kinds) == 13


def test_an_alarm_that_is_off_is_neither_made_nor_of_a_page() -> None:
    off = Monitoring(off=["volume", "quality", "calibration", "score-drift"])
    case = USE_CASE.model_copy(update={"monitoring": off, "retraining": Retraining()})
    found = register_stack(case, environment("dev"), package("dev"))
    names = {each.inputs["name"] for each in mocked.find_by_kind(found, "MetricAlarm")}
    assert names.isdisjoint({f"flights-dev-{kind}" for kind in ("volume", "quality", "calibration", "score-drift")})
    assert {each.inputs["alarmName"] for each in mocked.find_by_kind(found, "CompositeAlarm")} == {
        "flights-dev-silence", "flights-dev-data",
    }  # fmt: skip


@pytest.mark.parametrize(
    "every",
    [timedelta(minutes=1), timedelta(minutes=7), timedelta(hours=1), timedelta(days=1), timedelta(days=2, hours=19)],
)
def test_alarm_periods_cover_the_monitor_interval_within_cloudwatch_limits(every: timedelta) -> None:
    found = alarms(every=every)
    for alarm in mocked.find_by_kind(found, "MetricAlarm"):
        period, periods = alarm.inputs["period"], alarm.inputs["evaluationPeriods"]
        assert every.total_seconds() < period <= math.ceil(1.25 * every.total_seconds()) + 60
        assert period % 60 == 0
        assert period * periods <= (7 * 86_400 if period >= 3600 else 86_400)


def test_an_interval_that_no_alarm_can_cover_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"DriftAlarms 'x': every=3 days.*at most 2 days 19 hours: run the monitor more"
    ):
        alarms_args(every=timedelta(days=3))


#: A report in which everything was judged.
REPORT: dict[str, Any] = {
    "as_of": "2024-04-15T00:00:00Z",
    "since": "2024-04-01T00:00:00Z",
    "rows": 900,
    "label_coverage": 0.9,
    "measured": True,
    "quality": {"brier": 0.1, "ece": 0.02},
    "checks": [
        {"alarm": alarm.value, "value": 0.1, "threshold": 0.2, "ratio": 0.5, "text": ""} for alarm in MonitorAlarm
    ],
}


def _list_published_metrics(
    endpoint: str, ratio: float = 0.5, **fields: Any
) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    checks = [{**check, "ratio": ratio} for check in REPORT["checks"]]
    return {
        (point["MetricName"], tuple((each["Name"], each["Value"]) for each in point["Dimensions"]))
        for point in make_data_points(
            USE_CASE, endpoint, MonitorReport.model_validate({**REPORT, "checks": checks, **fields})
        )
    }


@pytest.mark.parametrize("name", ["local", "dev"])
def test_alarms_and_dashboard_use_metrics_that_the_monitor_publishes(name: str) -> None:
    found = flights(name)
    # What is snoozed is published only when all of a page's alarms that fire are.
    published = _list_published_metrics(f"flights-{name}") | _list_published_metrics(
        f"flights-{name}", ratio=1.5, snoozed=dict.fromkeys(MonitorAlarm, "known")
    )
    namespace = f"Millrace/flights-{name}"
    asked = 0
    for alarm in mocked.find_by_kind(found, "MetricAlarm"):
        if alarm.inputs["namespace"] == namespace:
            assert (alarm.inputs["metricName"], tuple(alarm.inputs["dimensions"].items())) in published, alarm.key
            asked += 1
    assert asked == 16
    dashboard = mocked.document(found, f"flights-{name}-monitor-dashboard", "dashboardBody")
    plotted = [metric for widget in dashboard["widgets"] for metric in widget["properties"]["metrics"]]
    own = [metric for metric in plotted if metric[0] == namespace]
    assert len(own) == 15
    for _, metric, *dimensions in own:
        assert (metric, tuple(zip(dimensions[::2], dimensions[1::2], strict=True))) in published
    served = [metric for metric in plotted if metric[0] == "AWS/SageMaker"]
    assert {tuple(metric[2:]) for metric in served} == {("EndpointName", f"flights-{name}", "VariantName", "main")}
    assert {metric[1] for metric in served} == {
        "Invocations",
        "Invocation5XXErrors",
        "Invocation4XXErrors",
        "ModelLatency",
    }


def test_jobs_may_publish_in_the_namespace_of_the_alarms() -> None:
    found = flights("dev")
    statements = mocked.document(found, "flights-dev-job-policy", "policy")["Statement"]
    (publishing,) = [each for each in statements if each["Action"] == ["cloudwatch:PutMetricData"]]
    namespaces = publishing["Condition"]["StringLike"]["cloudwatch:namespace"]
    assert found["flights-dev-monitor-drift"].inputs["namespace"] in namespaces


def test_the_dashboard_widgets_have_distinct_positions() -> None:
    body = json.loads(alarms()["d-dashboard"].inputs["dashboardBody"])
    places = {(each["x"], each["y"]) for each in body["widgets"]}
    assert len(places) == len(body["widgets"]) == 9
    assert {each["properties"]["region"] for each in body["widgets"]} == {"eu-west-1"}
