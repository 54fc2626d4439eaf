"""Metric data over the API: listing, queries and validation."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import CloudDaemon
from tests.local.watched import unique

NOW = dt.datetime.now(dt.UTC)
#: A range of three whole minutes, an hour ago.
START = (NOW - dt.timedelta(hours=1)).replace(second=0, microsecond=0)
END = START + dt.timedelta(minutes=3)


@pytest.fixture
def cloudwatch(cloud_daemon: CloudDaemon) -> Any:
    return cloud_daemon.client("cloudwatch")


@pytest.fixture
def namespace() -> str:
    return unique("Metrics")


def put(cloudwatch: Any, namespace: str, name: str, by_minute: dict[int, list[float]], **more: Any) -> None:
    for minute, values in by_minute.items():
        at = START + dt.timedelta(minutes=minute, seconds=20)
        cloudwatch.put_metric_data(
            Namespace=namespace, MetricData=[{"MetricName": name, "Values": values, "Timestamp": at, **more}]
        )


def stat(query: str, namespace: str, name: str, statistic: str = "Sum", period: int = 60, **more: Any) -> Any:
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": more.pop("Dimensions", [])}
    return {"Id": query, "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic}, **more}


def query_metrics(cloudwatch: Any, *queries: Any, **more: Any) -> dict[str, list[tuple[int, float]]]:
    """Return the minutes and values of each query."""
    results = cloudwatch.get_metric_data(
        MetricDataQueries=list(queries), **{"StartTime": START, "EndTime": END, **more}
    )["MetricDataResults"]
    assert {result["StatusCode"] for result in results} <= {"Complete"}
    return {
        result["Id"]: [
            (round((at - START).total_seconds() / 60), value)
            for at, value in zip(result["Timestamps"], result["Values"], strict=True)
        ]
        for result in results
    }


# -- listing ---------------------------------------------------------------------------------------------------------


def test_every_metric_is_listed_once_however_often_it_was_put(cloudwatch: Any, namespace: str) -> None:
    one, other = ([{"Name": "Endpoint", "Value": value}] for value in ("shop", "other"))
    two = [*one, {"Name": "Feature", "Value": "price"}]
    data = [{"MetricName": "busy", "Dimensions": each, "Values": [1.0] * 100} for each in (one, other, two, two[::-1])]
    for _ in range(50):
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "bare", "Value": 1.0}] * 500)
    started = time.monotonic()
    listed = cloudwatch.list_metrics(Namespace=namespace)["Metrics"]
    assert time.monotonic() - started < 1.0
    names = [(each["MetricName"], sorted(d["Value"] for d in each["Dimensions"])) for each in listed]
    assert sorted(names) == [("bare", []), ("busy", ["other"]), ("busy", ["price", "shop"]), ("busy", ["shop"])]
    assert len(cloudwatch.list_metrics(Namespace=namespace, MetricName="bare")["Metrics"]) == 1
    named = cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "Feature"}])["Metrics"]
    assert [each["MetricName"] for each in named] == ["busy"]


def test_recently_active_lists_only_recent_metrics(cloudwatch: Any, namespace: str) -> None:
    for name, hours in (("young", 2.5), ("old", 3.5)):
        at = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": name, "Value": 1, "Timestamp": at}])
    assert len(cloudwatch.list_metrics(Namespace=namespace)["Metrics"]) == 2
    (recent,) = cloudwatch.list_metrics(Namespace=namespace, RecentlyActive="PT3H")["Metrics"]
    assert recent["MetricName"] == "young"
    with pytest.raises(ClientError, match=r"IncludeLinkedAccounts.* not available in the local cloud"):
        cloudwatch.list_metrics(Namespace=namespace, IncludeLinkedAccounts=True)


def test_listing_metrics_is_paginated(cloudwatch: Any, namespace: str) -> None:
    names = [f"m{number}" for number in range(700)]
    cloudwatch.put_metric_data(
        Namespace=namespace, MetricData=[{"MetricName": name, "Value": 1.0} for name in (*names, *names[:100])]
    )
    pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace))
    assert len(pages) == 2
    assert sorted(each["MetricName"] for page in pages for each in page["Metrics"]) == sorted(names)


def test_bucket_metrics_are_listed_and_have_statistics(cloud_daemon: CloudDaemon, cloudwatch: Any) -> None:
    s3, bucket = cloud_daemon.client("s3"), unique("sized")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    s3.put_object(Bucket=bucket, Key="a", Body=b"12345")
    name = {"Name": "BucketName", "Value": bucket}
    listed = cloudwatch.list_metrics(Namespace="AWS/S3", Dimensions=[name])["Metrics"]
    by_name = {metric["MetricName"]: metric for metric in listed}
    assert sorted(by_name) == ["BucketSizeBytes", "NumberOfObjects"]
    (point,) = cloudwatch.get_metric_statistics(
        **by_name["NumberOfObjects"], StartTime=NOW - dt.timedelta(days=2), EndTime=NOW + dt.timedelta(days=1),
        Period=86400 * 3, Statistics=["Average"],
    )["Datapoints"]  # fmt: skip
    assert point["Average"] == 1.0


# -- queries ---------------------------------------------------------------------------------------------------------


def test_statistics_and_percentiles_are_computed_per_period(cloudwatch: Any, namespace: str) -> None:
    values = {0: [1.0, 2.0, 9.0], 2: [float(value) for value in range(1, 101)]}
    put(cloudwatch, namespace, "m", values)
    exact: dict[str, Callable[[list[float]], Any]] = {
        "Sum": np.sum, "Average": np.mean, "Minimum": np.min, "Maximum": np.max, "SampleCount": len,
        "p99": lambda each: np.percentile(each, 99), "p12.5": lambda each: np.percentile(each, 12.5),
    }  # fmt: skip
    queries = [stat(f"q{number}", namespace, "m", name) for number, name in enumerate(exact)]
    answer = query_metrics(cloudwatch, *queries, ScanBy="TimestampAscending")
    for number, compute in enumerate(exact.values()):
        assert [minute for minute, _ in answer[f"q{number}"]] == list(values)
        expected = [float(compute(each)) for each in values.values()]
        assert [value for _, value in answer[f"q{number}"]] == pytest.approx(expected)
    assert query_metrics(cloudwatch, queries[0])["q0"] == [(2, 5050.0), (0, 12.0)]


def test_counts_are_weights_and_may_be_very_large(cloudwatch: Any, namespace: str) -> None:
    datum = {"MetricName": "m", "Values": [5.0, 1.0, 9.0, 7.0], "Counts": [3.0, 4.0, 1.0, 0.0], "Timestamp": START}
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])
    all_of_them = [1.0] * 4 + [5.0] * 3 + [9.0]
    names = {
        "Sum": 28.0, "SampleCount": 8.0, "Average": 3.5, "Maximum": 9.0,
        "p50": float(np.percentile(all_of_them, 50)), "p90": float(np.percentile(all_of_them, 90)),
    }  # fmt: skip
    answer = query_metrics(cloudwatch, *(stat(f"q{place}", namespace, "m", name) for place, name in enumerate(names)))
    assert [answer[f"q{place}"][0][1] for place in range(len(names))] == pytest.approx(list(names.values()))
    large = {"MetricName": "large", "Values": [1.0, 2.0], "Counts": [1.0, 2.0**63], "Timestamp": START}
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[large])
    assert query_metrics(cloudwatch, stat("q", namespace, "large", "p50"))["q"] == [(0, 2.0)]


def test_expressions_are_calculated_for_each_period(cloudwatch: Any, namespace: str) -> None:
    put(cloudwatch, namespace, "errors", {0: [1.0], 1: [3.0]})
    put(cloudwatch, namespace, "requests", {0: [4.0], 1: [6.0], 2: [5.0]})
    answer = query_metrics(
        cloudwatch,
        {"Id": "percent", "Expression": "rate * 100", "Label": "Errors"},
        {"Id": "rate", "Expression": "errors / requests", "ReturnData": False},
        {"Id": "filled", "Expression": "FILL(errors, 0) / requests"},
        stat("errors", namespace, "errors", ReturnData=False),
        stat("requests", namespace, "requests", ReturnData=False),
        ScanBy="TimestampAscending",
    )
    assert answer == {"percent": [(0, 25.0), (1, 50.0)], "filled": [(0, 0.25), (1, 0.5), (2, 0.0)]}


def test_queries_match_dimensions_exactly(cloudwatch: Any, namespace: str) -> None:
    one = [{"Name": "Endpoint", "Value": "shop"}]
    two = [*one, {"Name": "Feature", "Value": "price"}]
    for number, dimensions in enumerate(([], one, two)):
        put(cloudwatch, namespace, "m", {0: [10.0**number]}, Dimensions=dimensions)
    cases = {"bare": ([], 1.0), "one": (one, 10.0), "two": (two[::-1], 100.0)}
    answer = query_metrics(
        cloudwatch, *(stat(name, namespace, "m", Dimensions=each) for name, (each, _) in cases.items())
    )
    assert answer == {name: [(0, value)] for name, (_, value) in cases.items()}
    for dimensions, value in cases.values():
        (point,) = cloudwatch.get_metric_statistics(
            Namespace=namespace, MetricName="m", Dimensions=dimensions, StartTime=START, EndTime=END, Period=60,
            Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        assert point["Sum"] == value


def test_extended_statistics(cloudwatch: Any, namespace: str) -> None:
    values = [float(value) for value in range(1, 101)]
    put(cloudwatch, namespace, "m", {0: values, 1: [7.0]}, Unit="Milliseconds")
    wanted = {"Namespace": namespace, "MetricName": "m", "StartTime": START, "EndTime": END, "Period": 60}
    first, second = cloudwatch.get_metric_statistics(**wanted, ExtendedStatistics=["p99", "p50"])["Datapoints"]
    exact = {name: pytest.approx(float(np.percentile(values, percent))) for name, percent in (("p99", 99), ("p50", 50))}
    assert first == {"Timestamp": START, "Unit": "Milliseconds", "ExtendedStatistics": exact}
    assert second["ExtendedStatistics"] == {"p99": 7.0, "p50": 7.0}
    (only,) = cloudwatch.get_metric_statistics(**{**wanted, "Period": 300}, Statistics=["Sum", "Average"])["Datapoints"]
    assert only == {"Timestamp": START, "Unit": "Milliseconds", "Sum": 5057.0, "Average": pytest.approx(5057 / 101)}
    assert cloudwatch.get_metric_statistics(**wanted, Unit="Count", Statistics=["Sum"])["Datapoints"] == []


def test_statistic_sets_have_percentiles_only_if_all_values_are_equal(cloudwatch: Any, namespace: str) -> None:
    several = {"SampleCount": 9.0, "Sum": 900.0, "Minimum": 50.0, "Maximum": 150.0}
    for name, values in (("several", several), ("one", {**several, "Minimum": 100.0, "Maximum": 100.0})):
        cloudwatch.put_metric_data(
            Namespace=namespace, MetricData=[{"MetricName": name, "StatisticValues": values, "Timestamp": START}]
        )
    assert query_metrics(cloudwatch, stat("q", namespace, "several", "p99")) == {"q": []}
    assert query_metrics(cloudwatch, stat("q", namespace, "one", "p99")) == {"q": [(0, 100.0)]}
    assert query_metrics(cloudwatch, stat("q", namespace, "several")) == {"q": [(0, 900.0)]}


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([stat("q", "N", "m", "tm90")], "tm90.* not available in the local cloud"),
        ([{"Id": "q", "Expression": "SEARCH('{N} m', 'Sum', 60)"}], "SEARCH.* not available in the local cloud"),
        (
            [{"Id": "q", "Expression": "SELECT SUM(m) FROM N", "Period": 60}],
            "SELECT.* not available in the local cloud",
        ),
        ([stat("m", "N", "m"), {"Id": "q", "Expression": "RATE(m)"}], r"RATE\(m\).* not available in the local cloud"),
        ([stat("m", "N", "m"), {"Id": "q", "Expression": "m + other"}], "'other'"),
        ([stat("a", "N", "a"), stat("b", "N", "b", period=300), {"Id": "q", "Expression": "a + b"}], "60 and 300"),
        ([{"Id": "q", "Expression": "1 + 1"}], "no metric"),
        ([stat("q", "N", "m", period=45)], "Period 45"),
        ([stat("q", "N", "m", period=1), stat("Q", "N", "m")], "small letter"),
        ([stat("q", "N", "m"), stat("q", "N", "other")], "there once"),
        ([{"Id": "q"}], "MetricStat"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(cloudwatch: Any, queries: list[Any], message: str) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        query_metrics(cloudwatch, *queries)
    assert refused.value.response["Error"]["Code"] == "ValidationError"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"ExtendedStatistics": ["tm90"]}, "ValidationError", "tm90.* not available in the local cloud"),
        ({"ExtendedStatistics": ["p99"], "Statistics": ["Sum"]}, "InvalidParameterCombination", "not both"),
        ({}, "InvalidParameterCombination", "Statistics"),
        ({"Statistics": ["Sum"], "Period": 45}, "InvalidParameterValue", "Period 45"),
        ({"Statistics": ["Sum"], "EndTime": START}, "InvalidParameterValue", "EndTime"),
        ({"Statistics": ["Sum"], "Period": 60, "EndTime": START + dt.timedelta(days=2)},
         "InvalidParameterCombination", "2880"),
    ],
)  # fmt: skip
def test_statistics_that_cannot_be_answered_are_refused(
    cloudwatch: Any, namespace: str, change: dict[str, Any], code: str, message: str
) -> None:
    wanted = {"Namespace": namespace, "MetricName": "m", "StartTime": START, "EndTime": END, "Period": 60, **change}
    with pytest.raises(ClientError, match=message) as refused:
        cloudwatch.get_metric_statistics(**wanted)
    assert refused.value.response["Error"]["Code"] == code


# -- validation ------------------------------------------------------------------------------------------------------

SET = {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0}


@pytest.mark.parametrize(
    ("datum", "code", "message"),
    [
        ({"Value": float("inf")}, "InvalidParameterValue", r"member\.2\.Value"),
        ({"Value": float("-inf")}, "InvalidParameterValue", r"member\.2\.Value"),
        ({"Value": float("nan")}, "InvalidParameterValue", r"member\.2\.Value"),
        ({"Value": 1e200}, "InvalidParameterValue", r"1e\+200.*member\.2\.Value"),
        ({"Values": [1.0, float("inf")]}, "InvalidParameterValue", r"member\.2\.Values"),
        ({"Values": [1.0], "Counts": [float("inf")]}, "InvalidParameterValue", r"member\.2\.Counts"),
        ({"Values": [1.0], "Counts": [-1.0]}, "InvalidParameterValue", r"member\.2\.Counts"),
        ({"Values": [1.0], "Counts": [1.0, 1.0]}, "InvalidParameterValue", "same size"),
        ({"Values": [1.0] * 151}, "InvalidParameterValue", "150"),
        ({"StatisticValues": {**SET, "Sum": float("inf")}}, "InvalidParameterValue", r"StatisticValues\.Sum"),
        ({}, "MissingParameter", r"member\.2"),
        ({"Values": []}, "MissingParameter", r"member\.2"),
        ({"Counts": [1.0]}, "MissingParameter", r"member\.2"),
        ({"Value": 0.0, "StatisticValues": SET}, "InvalidParameterCombination", "Value and .*StatisticValues"),
        ({"Value": 1.0, "Values": [1.0]}, "InvalidParameterCombination", "Value and .*Values"),
        ({"Value": 1.0, "Timestamp": NOW - dt.timedelta(days=14, hours=1)}, "InvalidParameterValue", "two weeks"),
        ({"Value": 1.0, "Timestamp": NOW + dt.timedelta(hours=3)}, "InvalidParameterValue", "two hours"),
    ],
)
def test_an_invalid_datum_fails_the_whole_request(
    cloudwatch: Any, namespace: str, datum: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        cloudwatch.put_metric_data(
            Namespace=namespace, MetricData=[{"MetricName": "good", "Value": 1.0}, {"MetricName": "m", **datum}]
        )
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert cloudwatch.list_metrics(Namespace=namespace)["Metrics"] == []


def test_data_within_the_accepted_time_range_are_stored(cloudwatch: Any, namespace: str) -> None:
    times = [NOW - dt.timedelta(days=13, hours=23), NOW, NOW + dt.timedelta(minutes=110)]
    data = [{"MetricName": "m", "Value": 0.0, "Timestamp": at} for at in times]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    (point,) = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="m", StartTime=NOW - dt.timedelta(days=14),
        EndTime=NOW + dt.timedelta(hours=3), Period=86400 * 15, Statistics=["SampleCount"],
    )["Datapoints"]  # fmt: skip
    assert point["SampleCount"] == 3.0


def test_user_data_in_aws_namespaces_are_refused(cloudwatch: Any) -> None:
    name = unique("mine")
    with pytest.raises(ClientError, match="The value AWS/ for parameter Namespace is invalid") as refused:
        cloudwatch.put_metric_data(Namespace="AWS/SQS", MetricData=[{"MetricName": name, "Value": 1.0}])
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert cloudwatch.list_metrics(Namespace="AWS/SQS", MetricName=name)["Metrics"] == []
