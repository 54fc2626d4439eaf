"""DriftAlarms: alarms on the metrics that the monitor publishes, and one for a monitor that does not run."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import pytest

from components.drift_alarms import DriftAlarms, DriftAlarmsArgs
from components.schedule import ScheduleArgs
from components.steps import Definition, Step
from components.training_pipeline import TrainingPipelineArgs
from millrace.documents import MonitorReport
from tests.components import mocked
from tests.components.flights_stack import flights
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
        "drift_alarm": "x-drift",
        "heartbeat_alarm": "x-heartbeat",
        "alarm_actions": ["arn:topic"],
        **changes,
    }
    return DriftAlarmsArgs(**args)


def alarms(**changes: Any) -> dict[str, mocked.Registered]:
    """Return the resources of a component called `d`."""
    args = alarms_args(**changes)
    return mocked.run(lambda: DriftAlarms("d", args))


def test_children_and_outputs() -> None:
    found = alarms(calibration_alarm="x-calibration", ece_threshold=0.04)
    parent = "DriftAlarms:d"
    assert mocked.tree(found) == {
        ("d", "DriftAlarms", None),
        ("d-pipeline", "Pipeline", parent),
        ("d-schedule", "Schedule", parent),
        ("d-drift", "MetricAlarm", parent),
        ("d-calibration", "MetricAlarm", parent),
        ("d-heartbeat", "MetricAlarm", parent),
        ("d-dashboard", "Dashboard", parent),
    }
    assert found[parent].outputs == {
        "pipelineArn": "arn:of:Pipeline:d-pipeline",
        "alarmArns": {
            "x-drift": "arn:of:MetricAlarm:d-drift",
            "x-calibration": "arn:of:MetricAlarm:d-calibration",
            "x-heartbeat": "arn:of:MetricAlarm:d-heartbeat",
        },
    }
    assert found["d-schedule"].inputs["target"]["arn"] == "arn:of:Pipeline:d-pipeline"


def test_without_a_threshold_no_calibration_alarm_is_made() -> None:
    assert "d-calibration" not in alarms()


def test_the_drift_alarm() -> None:
    assert alarms()["d-drift"].inputs == {
        "name": "x-drift",
        "alarmDescription": "drift of x is above 1.",
        "namespace": "Millrace/x",
        "metricName": "drift",
        "dimensions": {"Endpoint": "x"},
        "statistic": "Maximum",
        "period": 108_000,
        "evaluationPeriods": 1,
        "threshold": 1.0,
        "comparisonOperator": "GreaterThanThreshold",
        "treatMissingData": "notBreaching",
        "alarmActions": ["arn:topic"],
    }


def test_the_calibration_alarm() -> None:
    inputs = alarms(calibration_alarm="x-calibration", ece_threshold=0.04)["d-calibration"].inputs
    assert (inputs["name"], inputs["metricName"], inputs["threshold"]) == ("x-calibration", "ece", 0.04)
    assert inputs["treatMissingData"] == "notBreaching"


def test_a_missing_heartbeat_raises_the_alarm() -> None:
    assert alarms()["d-heartbeat"].inputs == {
        "name": "x-heartbeat",
        "alarmDescription": "The monitor of x has not run for two of its intervals.",
        "namespace": "Millrace/x",
        "metricName": "heartbeat",
        "dimensions": {"Endpoint": "x"},
        "statistic": "SampleCount",
        "period": 108_000,
        "evaluationPeriods": 2,
        "threshold": 1,
        "comparisonOperator": "LessThanThreshold",
        "treatMissingData": "breaching",
        "alarmActions": ["arn:topic"],
    }


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


#: The published parts of a report, as the monitor writes it.
REPORT = {
    "as_of": "2024-04-15T00:00:00Z",
    "since": "2024-04-01T00:00:00Z",
    "rows": 900,
    "drift": 0.4,
    "label_coverage": 0.9,
    "skew": {"share": 0.0, "rows": 0, "compared": 900},
    "quality": {"brier": 0.1, "ece": 0.02, "mae": 1.0},
    "features": {"distance": {"drift": 0.4, "missing": 0.0}, "score": {"drift": 0.0, "missing": 0.0}},
}


def _list_published_metrics(endpoint: str) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {
        (point["MetricName"], tuple((each["Name"], each["Value"]) for each in point["Dimensions"]))
        for point in make_data_points(endpoint, MonitorReport.model_validate(REPORT))
    }


@pytest.mark.parametrize("name", ["local", "dev"])
def test_alarms_and_dashboard_use_metrics_that_the_monitor_publishes(name: str) -> None:
    found, published = flights(name), _list_published_metrics(f"flights-{name}")
    namespace = f"Millrace/flights-{name}"
    asked = 0
    for alarm in mocked.find_by_kind(found, "MetricAlarm"):
        if alarm.inputs["namespace"] == namespace:
            assert (alarm.inputs["metricName"], tuple(alarm.inputs["dimensions"].items())) in published, alarm.key
            asked += 1
    assert asked == 3
    dashboard = mocked.document(found, f"flights-{name}-monitor-dashboard", "dashboardBody")
    plotted = [metric for widget in dashboard["widgets"] for metric in widget["properties"]["metrics"]]
    own = [metric for metric in plotted if metric[0] == namespace]
    assert len(own) == 7
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
    assert len(places) == len(body["widgets"]) == 7
    assert {each["properties"]["region"] for each in body["widgets"]} == {"eu-west-1"}


def test_the_thresholds_come_from_the_declaration() -> None:
    found = flights("dev")
    # The monitor publishes drift in units of its thresholds, of which psi_alarm is a part.
    assert found["flights-dev-monitor-drift"].inputs["threshold"] == 1.0
    assert found["flights-dev-monitor-calibration"].inputs["threshold"] == 0.04
