"""Metric filters: events that match a pattern become data points of a CloudWatch metric.

moto keeps the filters. What a filter finds is summed in memory, minute by minute of the events, and published once a
second, so that writing a log never waits for it.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.identity import ACCOUNT
from local.services.logs.patterns import FilterPatternError, Matcher, is_field, parse_filter_pattern, resolve_field

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: Seconds between two publications.
INTERVAL = 1.0
#: The most values of one data point.
_VALUES = 150
#: The most dimensions of a transformation, and filters of a log group: AWS's limits.
_DIMENSIONS, _FILTERS = 3, 100

#: Region, namespace, metric, unit, dimensions, and the minute of the events.
_Series = tuple[str, str, str, str, tuple[tuple[str, str], ...], int]


class MetricFilters:
    """What the metric filters of one local cloud have found; ``cloud.get_part(MetricFilters)``."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._values: defaultdict[_Series, list[float]] = defaultdict(list)
        cloud.spawn("metric-filters", self._run)

    def count_events(self, region: str, group: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Apply the filters of a log group to events that were just written to it.

        Args:
            region: The group's region.
            group: The group's name.
            events: The events, each with `timestamp` in milliseconds and `message`.
        """
        for each in _list_filters(region, group):
            matches = _compile(each["filterPattern"])
            for event in events:
                if matches(event["message"]):
                    self._add(region, each["metricTransformations"][0], event)

    def _add(self, region: str, transformation: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        value = _read_value(transformation["metricValue"], event["message"])
        dimensions = []
        for name, path in sorted(transformation.get("dimensions", {}).items()):
            found = resolve_field(path, event["message"])
            if found is None:
                # AWS publishes nothing of an event without one of the dimensions.
                return
            dimensions.append((name, str(found)))
        if value is None:
            return
        names = (transformation["metricNamespace"], transformation["metricName"], transformation.get("unit", "None"))
        with self._lock:
            self._values[(region, *names, tuple(dimensions), int(event["timestamp"]) // 60_000)].append(value)

    def _run(self) -> None:
        while not self._cloud.stopping.wait(INTERVAL):
            self.publish()

    def publish(self) -> None:
        """Publish what was found since the last publication."""
        with self._lock:
            found, self._values = self._values, defaultdict(list)
        for (region, namespace, name, unit, dimensions, minute), values in found.items():
            point = {
                "MetricName": name,
                "Unit": unit,
                "Timestamp": dt.datetime.fromtimestamp(minute * 60, dt.UTC),
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
            }
            for first in range(0, len(values), _VALUES):
                data = [{**point, "Values": values[first : first + _VALUES]}]
                try:
                    self._cloud.client("cloudwatch", region).put_metric_data(Namespace=namespace, MetricData=data)
                except (ClientError, BotoCoreError) as error:
                    log.warning("%d values of metric %s %s lost: %s", len(values), namespace, name, error)


@functools.lru_cache(maxsize=256)
def _compile(pattern: str) -> Matcher:
    return parse_filter_pattern(pattern)


def _list_filters(region: str, group: str) -> list[dict[str, Any]]:
    from moto.logs.models import logs_backends

    return list(logs_backends[ACCOUNT][region].filters.get_matching_filters(log_group_name=group))


def _read_value(text: str, message: str) -> float | None:
    """Return the value that an event gives: a number, or that of one of its fields; None where that is none."""
    found = resolve_field(text, message) if text.startswith("$") else text
    try:
        value = float(found) if found is not None and not isinstance(found, bool) else math.nan
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


@functools.cache
def install_checks() -> None:
    """Patch moto's metric filters with AWS's checks, and with TestMetricFilter, which moto lacks; once in a process."""
    from moto.logs.models import LogsBackend
    from moto.logs.responses import LogsResponse

    for owner, name, change in (
        (LogsBackend, "put_metric_filter", _checking),
        (LogsBackend, "delete_metric_filter", _deleting),
        (LogsBackend, "delete_log_group", _deleting_group),
    ):
        setattr(owner, name, change(getattr(owner, name)))
    LogsResponse.test_metric_filter = _test_metric_filter  # type: ignore[attr-defined]


def _make_error(message: str) -> Exception:
    from moto.logs.exceptions import InvalidParameterException

    return InvalidParameterException(msg=message)


def _checking(put: Callable[..., Any]) -> Callable[..., Any]:
    from moto.logs.exceptions import LimitExceededException, ResourceNotFoundException

    @functools.wraps(put)
    def put_metric_filter(self: Any, name: str, pattern: str, group: str, transformations: list[dict[str, Any]]) -> Any:
        if group not in self.groups:
            raise ResourceNotFoundException()
        try:
            parse_filter_pattern(pattern)
        except FilterPatternError as error:
            raise _make_error(f"Invalid metric filter pattern: {error}") from error
        for each in transformations:
            _check_transformation(each)
        others = [each for each in self.filters.metric_filters if each["logGroupName"] == group]
        if len([each for each in others if each["filterName"] != name]) >= _FILTERS:
            raise LimitExceededException()
        # moto would keep both.
        self.filters.delete_filter(name, group)
        return put(self, name, pattern, group, transformations)

    return put_metric_filter


def _check_transformation(transformation: Mapping[str, Any]) -> None:
    value = str(transformation["metricValue"])
    if value.startswith("$"):
        if not is_field(value):
            raise _make_error(f"metricValue {value!r}: expected a number, or a field such as $.ms")
    elif _read_value(value, "") is None:
        raise _make_error(f"metricValue {value!r}: expected a number, or a field such as $.ms")
    dimensions = transformation.get("dimensions", {})
    if dimensions and "defaultValue" in transformation:
        raise _make_error("A default value and dimensions cannot both be given")
    if len(dimensions) > _DIMENSIONS:
        raise _make_error(f"A metric filter has at most {_DIMENSIONS} dimensions")
    if wrong := [path for path in dimensions.values() if not is_field(path)]:
        raise _make_error(f"dimensions: {wrong[0]!r} is no field such as $.model_version")
    if "defaultValue" in transformation:
        raise _make_error("defaultValue is not available in the local cloud: let the alarm treat missing data")


def _deleting(delete: Callable[..., Any]) -> Callable[..., Any]:
    from moto.logs.exceptions import ResourceNotFoundException

    @functools.wraps(delete)
    def delete_metric_filter(self: Any, name: str | None = None, group: str | None = None) -> Any:
        known = [(each["filterName"], each["logGroupName"]) for each in self.filters.metric_filters]
        if (name, group) not in known:
            raise ResourceNotFoundException()
        return delete(self, name, group)

    return delete_metric_filter


def _deleting_group(delete: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(delete)
    def delete_log_group(self: Any, name: str) -> Any:
        found = delete(self, name)
        kept = [each for each in self.filters.metric_filters if each["logGroupName"] != name]
        self.filters.metric_filters[:] = kept
        return found

    return delete_log_group


def _test_metric_filter(self: Any) -> str:
    import json

    pattern, messages = self._get_param("filterPattern"), self._get_param("logEventMessages")
    try:
        matches = parse_filter_pattern(pattern)
    except FilterPatternError as error:
        raise _make_error(f"Invalid metric filter pattern: {error}") from error
    found = [
        {"eventNumber": number, "eventMessage": message, "extractedValues": {}}
        for number, message in enumerate(messages, start=1)
        if matches(message)
    ]
    return json.dumps({"matches": found})
