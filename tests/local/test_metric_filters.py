"""Metric filters: what is written to a log becomes data points, as its pattern says."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.services.logs.patterns import FilterPatternError, parse_filter_pattern
from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.provider_engine import Engine
from tests.local.test_provider_sagemaker import delete_and_verify, get_diff_kinds
from tests.local.watched import unique

EVENT = {
    "status": 503, "ms": 12.5, "path": "/ping/one", "ok": False, "none": None, "nested": {"rows": [1, {"a": "b"}]},
    "odd name": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", True),
        ("{ $.status = 503 }", True),
        ("{ $.status = 5* }", True),
        ("{ $.status != 503 }", False),
        ("{ $.status >= 500 && $.status < 600 }", True),
        ("{ $.ms > 12.5 }", False),
        ("{ $.ms <= 1.25e1 }", True),
        ('{ $.path = "/ping*" }', True),
        ('{ $.path != "/ping*" }', False),
        ("{ $.path > 3 }", False),
        ("{ $.ok IS FALSE }", True),
        ("{ $.ok IS TRUE }", False),
        ("{ $.none IS NULL }", True),
        ("{ $.other NOT EXISTS }", True),
        ("{ $.status NOT EXISTS }", False),
        # Neither equal nor different: it is not there.
        ("{ $.other != 3 }", False),
        ("{ $.nested.rows[0] = 1 }", True),
        ('{ $.nested.rows[1].a = "b" }', True),
        ("{ $.nested.rows[7] = 1 }", False),
        ("{ $['odd name'] = 1 }", True),
        ("{ $.status = 1 || ($.status = 503 && $.ms < 1) || $.ok IS FALSE }", True),
        ("{ $.status = 1 || $.status = 503 && $.ms < 1 }", False),
        ('ping "/one"', True),
        ("ping -one", False),
        ("?nowhere ?ping", True),
        ("Ping", False),
    ],
)
def test_patterns_match_as_they_say(pattern: str, expected: bool) -> None:
    assert parse_filter_pattern(pattern)(json.dumps(EVENT)) is expected


def test_conditions_match_no_text() -> None:
    assert not parse_filter_pattern("{ $.status != 503 }")("plain text")
    assert not parse_filter_pattern("{ $.status != 503 }")('"a string"')


@pytest.mark.parametrize(
    "pattern",
    ["{ $.status = 503", "{ }", "{ status = 1 }", "{ $.a = }", "{ $.a > b }", "{ ($.a = 1 }", "{ $.a = 1 $.b = 2 }",
     "{ $.a IS }", "[a, b, c]", "{ $.a = %x% }"],
)  # fmt: skip
def test_patterns_that_cannot_be_read_are_refused(pattern: str) -> None:
    with pytest.raises(FilterPatternError):
        parse_filter_pattern(pattern)


class Group:
    """A log group with one stream, and the metrics of its filters."""

    def __init__(self, daemon: CloudDaemon) -> None:
        self.logs, self.cloudwatch = daemon.client("logs"), daemon.client("cloudwatch")
        self.name, self.namespace = unique("group"), unique("Namespace")
        self.logs.create_log_group(logGroupName=self.name)
        self.logs.create_log_stream(logGroupName=self.name, logStreamName="one")

    def put_filter(self, pattern: str, **transformation: Any) -> None:
        given = {"metricName": "found", "metricNamespace": self.namespace, "metricValue": "1", **transformation}
        self.logs.put_metric_filter(
            logGroupName=self.name, filterName="filter", filterPattern=pattern, metricTransformations=[given]
        )

    def write(self, *events: Any) -> None:
        now = int(time.time() * 1000)
        lines = [{"timestamp": now, "message": each if isinstance(each, str) else json.dumps(each)} for each in events]
        self.logs.put_log_events(logGroupName=self.name, logStreamName="one", logEvents=lines)

    def read(self, statistic: str, **dimensions: str) -> float | None:
        now = datetime.now(UTC)
        points = self.cloudwatch.get_metric_statistics(
            Namespace=self.namespace, MetricName="found", Statistics=[statistic], Period=3600,
            StartTime=now - timedelta(hours=2), EndTime=now + timedelta(hours=2),
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        )["Datapoints"]  # fmt: skip
        return sum(point[statistic] for point in points) if points else None


def test_matching_events_are_counted_and_others_are_not(cloud_daemon: CloudDaemon) -> None:
    group = Group(cloud_daemon)
    group.put_filter("{ $.status >= 500 }")
    group.write({"status": 500}, {"status": 200}, "no JSON", {"status": 503})
    assert eventually(lambda: group.read("Sum")) == 2
    group.write({"status": 599})
    assert eventually(lambda: group.read("Sum") == 3)


def test_a_field_is_the_value_and_others_are_dimensions(cloud_daemon: CloudDaemon) -> None:
    group = Group(cloud_daemon)
    group.put_filter("{ $.ms > 0 }", metricValue="$.ms", dimensions={"Version": "$.version"}, unit="Milliseconds")
    group.write({"ms": 5, "version": 1}, {"ms": 7.5, "version": 2}, {"ms": 9, "version": 1}, {"ms": 1}, {"ms": "x"})
    assert eventually(lambda: group.read("Sum", Version="1")) == 14
    assert (group.read("Maximum", Version="1"), group.read("Sum", Version="2")) == (9, 7.5)
    assert group.read("Sum") is None


def test_a_filter_is_replaced_tested_and_deleted(cloud_daemon: CloudDaemon) -> None:
    group = Group(cloud_daemon)
    group.put_filter("{ $.a = 1 }")
    group.put_filter("{ $.a = 2 }")
    [found] = group.logs.describe_metric_filters(logGroupName=group.name)["metricFilters"]
    assert found["filterPattern"] == "{ $.a = 2 }"
    group.write({"a": 1}, {"a": 2})
    assert eventually(lambda: group.read("Sum")) == 1
    matches = group.logs.test_metric_filter(filterPattern="{ $.a = 2 }", logEventMessages=['{"a": 1}', '{"a": 2}'])
    assert [each["eventNumber"] for each in matches["matches"]] == [2]
    group.logs.delete_metric_filter(logGroupName=group.name, filterName="filter")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        group.logs.delete_metric_filter(logGroupName=group.name, filterName="filter")
    group.put_filter("{ $.a = 2 }")
    group.logs.delete_log_group(logGroupName=group.name)
    left = group.logs.describe_metric_filters(filterNamePrefix="filter")["metricFilters"]
    assert group.name not in [each["logGroupName"] for each in left]


def test_the_life_cycle_of_the_provider_s_type(cloud_daemon: CloudDaemon) -> None:
    group, socket = Group(cloud_daemon), cloud_daemon.running.provider_socket
    assert socket is not None
    engine = Engine(Path(socket))
    token = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
    counted = {"name": "found", "namespace": group.namespace, "value": "1"}
    first = {"logGroupName": group.name, "pattern": "{ $.status = 500 }", "metricTransformation": counted}
    measured = {**counted, "value": "$.ms", "unit": "Milliseconds", "dimensions": {"Version": "$.version"}}
    second = {**first, "pattern": "{ $.ms > 0 }", "metricTransformation": measured}
    try:
        made = engine.create(token, "errors", first)
        assert get_diff_kinds(engine, made, first) == {}
        assert not engine.diff(made, second).replaces
        made = engine.update(made, second)
        refreshed = engine.refresh(made)
        assert refreshed is not None
        assert get_diff_kinds(engine, refreshed, second) == {}
        assert engine.diff(made, {**second, "logGroupName": "other"}).replaces
        imported = engine.bring_in(token, "errors", f"{group.name}:{made.outputs['name']}")
        assert imported is not None
        assert imported.inputs["pattern"] == "{ $.ms > 0 }"
        delete_and_verify(engine, made)
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("pattern", "change", "message"),
    [
        ("{ $.a = ", {}, "Invalid metric filter pattern"),
        ("", {"metricValue": "many"}, "metricValue 'many'"),
        ("", {"metricValue": "$ms"}, "metricValue '.ms'"),
        ("", {"dimensions": {"A": "a"}}, "'a' is no field"),
        ("", {"dimensions": dict.fromkeys("ABCD", "$.a")}, "at most 3 dimensions"),
        ("", {"dimensions": {"A": "$.a"}, "defaultValue": 0}, "cannot both be given"),
        ("", {"defaultValue": 0}, "defaultValue is not available"),
    ],
)
def test_a_filter_that_could_find_nothing_is_refused(
    cloud_daemon: CloudDaemon, pattern: str, change: dict[str, Any], message: str
) -> None:
    group = Group(cloud_daemon)
    with pytest.raises(ClientError, match="InvalidParameterException") as refused:
        group.put_filter(pattern, **change)
    assert message.replace("'.ms'", "'$ms'") in str(refused.value)
    assert group.logs.describe_metric_filters(logGroupName=group.name)["metricFilters"] == []
