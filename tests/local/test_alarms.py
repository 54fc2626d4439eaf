"""Alarms: from metric data to states."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.watched import (
    ACCOUNT,
    REGION,
    Queue,
    Watch,
    alarm_on,
    make_queue,
    make_rule,
    unique,
)


@pytest.fixture
def watch(cloud_daemon: CloudDaemon) -> Watch:
    return Watch(cloud_daemon)


# -- missing data ----------------------------------------------------------------------------------------------------

TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")

#: M of 3; the points from old to new: X breaches, 0 does not, - is missing; the state under each treatment, where
#: "keep" is the state that the alarm had.
ROWS = [
    (3, "0-X-X", ("OK", "OK", "OK", "OK")),
    (3, "0----", ("OK", "OK", "OK", "OK")),
    (3, "-----", ("INSUFFICIENT_DATA", "keep", "ALARM", "OK")),
    (3, "0XX-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    (3, "--X--", ("ALARM", "keep", "ALARM", "OK")),
    (2, "0-X-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    (2, "00X0X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    (2, "0-X--", ("OK", "OK", "ALARM", "OK")),
    (2, "----0", ("OK", "OK", "ALARM", "OK")),
    (2, "---X-", ("ALARM", "keep", "ALARM", "OK")),
    # The only breach is too recent to decide: the alarm keeps its state.
    (3, "----X", ("keep", "keep", "ALARM", "OK")),
]
CASES = [
    (needed, points, treatment, expected, kept)
    for needed, points, row in ROWS
    for treatment, expected in zip(TREATMENTS, row, strict=True)
    for kept in (("OK", "ALARM") if expected == "keep" else ("-",))
]


def case_name(needed: int, points: str, treatment: str, kept: str) -> str:
    return f"table-{needed}-{points}-{treatment}-{kept}"


@pytest.fixture(scope="module")
def table(cloud_daemon: CloudDaemon) -> dict[str, str]:
    """Return the state that each case of the table reached; every case is a separate alarm."""
    watch = Watch(cloud_daemon)
    client, period = watch.client, 1800
    width = period / cloud_daemon.scale
    for points in {points for _, points, *_ in CASES}:
        for back, point in enumerate(reversed(points)):
            if point != "-":
                # In the middle of its period, so that it stays there until everything has been evaluated.
                watch.put(f"table{points}", 20.0 if point == "X" else 1.0, ago=(back + 0.4) * width)
    for needed, points, treatment, expected, kept in CASES:
        name = case_name(needed, points, treatment, kept)
        client.put_metric_alarm(
            **alarm_on(
                f"table{points}", AlarmName=name, Period=period, EvaluationPeriods=3, DatapointsToAlarm=needed,
                TreatMissingData=treatment,
            )
        )  # fmt: skip
        # Start from a state other than the expected one, or from the one that is to be kept.
        before = kept if expected == "keep" else "ALARM" if expected == "OK" else "OK"
        client.set_alarm_state(AlarmName=name, StateValue=before, StateReason="test")
    watch.evaluated()
    pages = client.get_paginator("describe_alarms").paginate(AlarmNamePrefix="table-")
    return {alarm["AlarmName"]: alarm["StateValue"] for page in pages for alarm in page["MetricAlarms"]}


@pytest.mark.parametrize(("needed", "points", "treatment", "expected", "kept"), CASES)
def test_missing_data_are_treated_as_configured(
    table: dict[str, str], needed: int, points: str, treatment: str, expected: str, kept: str
) -> None:
    assert table[case_name(needed, points, treatment, kept)] == (kept if expected == "keep" else expected)


# -- evaluation ------------------------------------------------------------------------------------------------------


def test_a_new_alarm_starts_with_insufficient_data(watch: Watch) -> None:
    name = unique("new")
    watch.client.put_metric_alarm(**alarm_on(name))
    (alarm,) = watch.client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert (alarm["StateValue"], alarm["StateReason"]) == ("INSUFFICIENT_DATA", "Unchecked: Initial alarm creation")
    watch.evaluated()
    assert watch.state(name) == "INSUFFICIENT_DATA"


def test_a_heartbeat_alarm_breaches_without_data(watch: Watch) -> None:
    name = unique("heartbeat")
    watch.client.put_metric_alarm(
        **alarm_on(
            name, Statistic="SampleCount", Threshold=1.0, ComparisonOperator="LessThanThreshold", EvaluationPeriods=2,
            TreatMissingData="breaching", Period=300,
        )
    )  # fmt: skip
    watch.becomes(name, "ALARM")
    watch.put(name, 1.0)
    watch.put(name, 1.0, ago=7.0)
    watch.becomes(name, "OK")


def test_periods_slide_and_follow_the_scaled_clock(watch: Watch) -> None:
    name = unique("sliding")
    # Seven minutes of the cloud's time are seven seconds: wherever periods start, these two are within one.
    watch.client.put_metric_alarm(**alarm_on(name, Statistic="Sum", Period=420, TreatMissingData="notBreaching"))
    watch.put(name, 6.0, ago=2.0)
    watch.put(name, 6.0)
    started = time.monotonic()
    watch.becomes(name, "ALARM")
    watch.becomes(name, "OK")
    assert 3.0 < time.monotonic() - started < 12.0


def test_each_comparison_operator_at_the_threshold(watch: Watch) -> None:
    metric = unique("compare")
    watch.put(metric, 10.0)
    expected = {
        "GreaterThanThreshold": "OK",
        "GreaterThanOrEqualToThreshold": "ALARM",
        "LessThanThreshold": "OK",
        "LessThanOrEqualToThreshold": "ALARM",
    }
    for operator in expected:
        name = f"{metric}-{operator}"
        watch.client.put_metric_alarm(**alarm_on(metric, AlarmName=name, ComparisonOperator=operator, Period=3600))
    watch.evaluated()
    assert {operator: watch.state(f"{metric}-{operator}") for operator in expected} == expected


def test_statistics_combine_values_and_statistic_sets(watch: Watch) -> None:
    metric = unique("statistics")
    # Together: 5 samples, sum 30, average 6, from 1 to 14.
    datum = {"SampleCount": 3.0, "Sum": 15.0, "Minimum": 1.0, "Maximum": 9.0}
    watch.client.put_metric_data(
        Namespace="Watched",
        MetricData=[
            {"MetricName": metric, "StatisticValues": datum},
            {"MetricName": metric, "Values": [1.0, 14.0], "Counts": [1.0, 1.0]},
        ],
    )
    exact = {"Average": 6.0, "Sum": 30.0, "Minimum": 1.0, "Maximum": 14.0, "SampleCount": 5.0}
    for statistic, value in exact.items():
        for operator in ("GreaterThanOrEqualToThreshold", "GreaterThanThreshold"):
            name = f"{metric}-{statistic}-{operator}"
            more = {"AlarmName": name, "Statistic": statistic, "ComparisonOperator": operator}
            watch.client.put_metric_alarm(**alarm_on(metric, Threshold=value, Period=3600, **more))
    for statistic in exact:
        watch.becomes(f"{metric}-{statistic}-GreaterThanOrEqualToThreshold", "ALARM")
        watch.becomes(f"{metric}-{statistic}-GreaterThanThreshold", "OK")


def test_percentile_alarms_are_exact_and_ignore_statistic_sets(watch: Watch) -> None:
    metric, sets = unique("latency"), unique("sets")
    values = [float(value) for value in range(1, 101)]
    watch.client.put_metric_data(
        Namespace="Watched",
        MetricData=[
            {"MetricName": metric, "Values": values},
            {
                "MetricName": sets,
                "StatisticValues": {"SampleCount": 9.0, "Sum": 900.0, "Minimum": 50.0, "Maximum": 150.0},
            },
        ],
    )
    expected = {}
    for percent in (50.0, 99.0, 99.9):
        exact = float(np.percentile(values, percent))
        for threshold, state in ((exact - 0.001, "ALARM"), (exact + 0.001, "OK")):
            name = f"{metric}-p{percent:g}-{state}"
            watch.client.put_metric_alarm(
                **alarm_on(
                    metric, AlarmName=name, Statistic=None, ExtendedStatistic=f"p{percent:g}", Threshold=threshold,
                    Period=3600,
                )
            )  # fmt: skip
            expected[name] = state
    # A percentile needs values: statistic sets of several samples count as no data.
    watch.client.put_metric_alarm(**alarm_on(sets, Statistic=None, ExtendedStatistic="p99", Period=3600))
    for name, state in expected.items():
        watch.becomes(name, state)
    assert watch.state(sets) == "INSUFFICIENT_DATA"


def test_alarms_match_dimensions_and_unit_exactly(watch: Watch) -> None:
    metric = unique("dimensions")
    endpoint, feature = {"Name": "Endpoint", "Value": "shop"}, {"Name": "Feature", "Value": "price"}
    watch.put(metric, Dimensions=[feature, endpoint], Unit="Count")
    watch.put(metric, 1.0, Dimensions=[{"Name": "Endpoint", "Value": "other"}])
    expected: dict[str, tuple[dict[str, Any], str]] = {
        "both": ({"Dimensions": [endpoint, feature]}, "ALARM"),
        "unit": ({"Dimensions": [endpoint, feature], "Unit": "Count"}, "ALARM"),
        "one": ({"Dimensions": [endpoint]}, "INSUFFICIENT_DATA"),
        "none": ({}, "INSUFFICIENT_DATA"),
        "wrong-unit": ({"Dimensions": [endpoint, feature], "Unit": "Seconds"}, "INSUFFICIENT_DATA"),
        "other": ({"Dimensions": [{"Name": "Endpoint", "Value": "other"}]}, "OK"),
    }
    for name, (more, _) in expected.items():
        watch.client.put_metric_alarm(**alarm_on(metric, AlarmName=f"{metric}-{name}", Period=3600, **more))
    watch.evaluated()
    states = {name: watch.state(f"{metric}-{name}") for name in expected}
    assert states == {name: state for name, (_, state) in expected.items()}


def query(name: str, metric: str, **more: Any) -> dict[str, Any]:
    stat = {"Metric": {"Namespace": "Watched", "MetricName": metric}, "Period": 3600, "Stat": "Sum"}
    return {"Id": name, "MetricStat": stat, "ReturnData": False, **more}


def test_metric_math(watch: Watch) -> None:
    metric = unique("math")
    # 10 errors in 40 requests are a quarter; the third metric has no data.
    watch.put(f"{metric}-errors", 10.0)
    watch.put(f"{metric}-requests", 40.0)
    expected = {
        "errors / requests": "ALARM",
        "errors / requests - 0.06": "OK",
        "100 * errors / (requests + 60)": "ALARM",
        "-errors": "OK",
        "IF(requests > 30, errors / requests, 0)": "ALARM",
        "IF(requests > 50, errors / requests, 0)": "OK",
        "FILL(nothing, 0) + errors": "ALARM",
        "nothing + errors": "INSUFFICIENT_DATA",
        "errors / (requests - requests)": "INSUFFICIENT_DATA",
    }
    for number, expression in enumerate(expected):
        watch.client.put_metric_alarm(
            AlarmName=f"{metric}-{number}",
            Metrics=[
                {"Id": "answer", "Expression": "half * 2", "ReturnData": True},
                {"Id": "half", "Expression": f"({expression}) / 2", "ReturnData": False},
                *(query(each, f"{metric}-{each}") for each in ("errors", "requests", "nothing")),
            ],
            EvaluationPeriods=1,
            Threshold=0.2,
            ComparisonOperator="GreaterThanThreshold",
        )
    watch.evaluated()
    assert {each: watch.state(f"{metric}-{number}") for number, each in enumerate(expected)} == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Statistic": None}, "one of Statistic and ExtendedStatistic"),
        ({"ExtendedStatistic": "p99"}, "one of Statistic and ExtendedStatistic"),
        ({"Statistic": None, "ExtendedStatistic": "p101"}, "statistic p101"),
        ({"Period": 45}, "Period 45"),
        ({"Period": 90}, "Period 90"),
        ({"MetricName": None}, "MetricName"),
        ({"Threshold": None}, "Threshold"),
        ({"DatapointsToAlarm": 2}, "DatapointsToAlarm 2"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold", "ThresholdMetricId": "e1"}, "GreaterThanUpperThreshold"),
        ({"Metrics": [query("a", "x")]}, "ReturnData"),
        ({"Metrics": [query("a", "x"), {"Id": "b", "Expression": "RATE(a)"}]}, r"RATE\(a\)"),
        ({"Metrics": [{"Id": "b", "Expression": "a + 1"}]}, "'a'"),
        ({"Metrics": [{"Id": "B", "Expression": "1"}]}, "small letter"),
    ],
)
def test_an_alarm_that_cannot_be_evaluated_is_refused(watch: Watch, change: dict[str, Any], message: str) -> None:
    name = unique("refused")
    if "Metrics" in change:
        change = {**dict.fromkeys(("Namespace", "MetricName", "Statistic", "Period")), **change}
    with pytest.raises(ClientError, match=message) as refused:
        watch.client.put_metric_alarm(**alarm_on(name, **change))
    assert refused.value.response["Error"]["Code"] in ("ValidationError", "InvalidParameterValue")
    assert watch.client.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []


# -- the cloud's own metrics -----------------------------------------------------------------------------------------


def test_an_alarm_follows_the_depth_of_a_dead_letter_queue(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    queue = make_queue(cloud_daemon)
    watch.client.put_metric_alarm(
        **alarm_on(
            queue.name, Namespace="AWS/SQS", MetricName="ApproximateNumberOfMessagesVisible", Threshold=0.0, Period=120,
            Dimensions=[{"Name": "QueueName", "Value": queue.name}], TreatMissingData="notBreaching",
        )
    )  # fmt: skip
    watch.becomes(queue.name, "OK")
    cloud_daemon.client("sqs").send_message(QueueUrl=queue.url, MessageBody="undelivered")
    watch.becomes(queue.name, "ALARM")
    assert len(queue.messages()) == 1
    watch.becomes(queue.name, "OK")


def test_old_data_are_aggregated(fresh_daemon: CloudDaemon) -> None:
    client, hour_ago = Watch(fresh_daemon).client, time.time() // 60 * 60 - 3600
    for minute in range(4):
        # 1 to 100, each forty times: 4,000 values with a sum of 202,000.
        datum = {
            "MetricName": "many", "Timestamp": hour_ago + 60 * minute + 30,
            "Values": [float(value) for value in range(1, 101)], "Counts": [40.0] * 100,
        }  # fmt: skip
        client.put_metric_data(Namespace="Watched", MetricData=[datum])
    (hour,) = client.get_metric_statistics(
        Namespace="Watched", MetricName="many", StartTime=hour_ago, EndTime=hour_ago + 3600, Period=3600,
        Statistics=["Sum", "SampleCount", "Minimum", "Maximum", "Average"],
    )["Datapoints"]  # fmt: skip
    exact = {"Sum": 808_000.0, "SampleCount": 16_000.0, "Minimum": 1.0, "Maximum": 100.0, "Average": 50.5}
    assert {name: hour[name] for name in exact} == exact
    # The size on disk shows that the values were not stored one by one.
    fresh_daemon.stop()
    assert (fresh_daemon.state / "moto" / "cloudwatch.pickle").stat().st_size < 500_000


def test_many_data_points_do_not_slow_alarm_evaluation(fresh_daemon: CloudDaemon) -> None:
    watch = Watch(fresh_daemon)
    for number in range(10):
        watch.client.put_metric_alarm(**alarm_on(f"busy-{number}", Period=300))
    for _ in range(6):
        # Older than the alarms look back, newer than the data that are aggregated.
        values = {"Values": [float(value) for value in range(150)], "Counts": [10.0] * 150}
        data = [{"MetricName": f"busy-{number}", "Timestamp": time.time() - 60, **values} for number in range(10)]
        watch.client.put_metric_data(Namespace="Watched", MetricData=data)
    watch.put("busy-9")
    watch.becomes("busy-9", "ALARM")
    process = psutil.Process(fresh_daemon.running.pid)
    # The ten alarms are evaluated once a second; reading all 90,000 values each time would take half a second.
    eventually(lambda: process.cpu_percent(interval=2.0) < 10.0, 16)


@pytest.fixture
def endpoint(cloud_daemon: CloudDaemon) -> Iterator[tuple[str, Queue]]:
    """Yield the name of an endpoint that answers with the requested status, and the queue of its state events."""
    name, sagemaker, s3 = unique("shop"), cloud_daemon.client("sagemaker"), cloud_daemon.client("s3")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("answer.txt")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"ok"))
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="model.tar.gz", Body=archive.getvalue())
    sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={
            "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/echo:1", "ModelDataUrl": f"s3://{name}/model.tar.gz",
        },
        ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/shop",
    )  # fmt: skip
    variant = {"VariantName": "main", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    states = make_queue(cloud_daemon)
    pattern = {"detail-type": ["SageMaker Endpoint State Change"], "detail": {"EndpointName": [name]}}
    make_rule(cloud_daemon, {"source": ["aws.sagemaker"], **pattern}, {"Arn": states.arn})
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    eventually(lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService")
    yield name, states
    sagemaker.delete_endpoint(EndpointName=name)


def test_endpoint_metrics_trigger_alarms(cloud_daemon: CloudDaemon, watch: Watch, endpoint: tuple[str, Queue]) -> None:
    name, states = endpoint
    events = states.collect(2)
    assert [event["detail"]["EndpointStatus"] for event in events] == ["CREATING", "IN_SERVICE"]
    assert events[0]["resources"] == [f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{name}"]
    on_variant = {
        "Namespace": "AWS/SageMaker",
        "Dimensions": [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "main"}],
        "TreatMissingData": "notBreaching",
    }
    errors, latency = f"{name}-errors", f"{name}-latency"
    watch.client.put_metric_alarm(
        **alarm_on(errors, MetricName="Invocation5XXErrors", Statistic="Average", Threshold=0.05, **on_variant)
    )
    watch.client.put_metric_alarm(
        **alarm_on(
            latency, MetricName="ModelLatency", Statistic=None, ExtendedStatistic="p99", Threshold=150_000.0,
            Period=300, **on_variant,
        )
    )  # fmt: skip
    runtime = cloud_daemon.client("sagemaker-runtime")
    for _ in range(5):
        runtime.invoke_endpoint(EndpointName=name, Body=b"who")
    watch.becomes(errors, "OK")
    started = time.monotonic()
    for _ in range(4):
        with pytest.raises(ClientError, match="no good"):
            runtime.invoke_endpoint(EndpointName=name, Body=b"status 500")
    watch.becomes(errors, "ALARM", seconds=6)
    assert time.monotonic() - started < 6
    assert watch.state(latency) == "OK"
    runtime.invoke_endpoint(EndpointName=name, Body=b"sleep 0.3")
    watch.becomes(latency, "ALARM", seconds=6)
    watch.becomes(errors, "OK")
