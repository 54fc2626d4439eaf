"""Metric data indexed by metric, for alarms and queries.

moto keeps every value ever put in one list. The index sorts new data by metric as they arrive, so that an evaluation
reads only its own periods.
"""

from __future__ import annotations

import bisect
import datetime as dt
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from local.core.identity import ACCOUNT
from local.services.cloudwatch.evaluation import (
    Point,
    RefusedError,
    Sample,
    UnsupportedError,
    calculate,
    divide_into_windows,
    get_statistic,
    list_operands,
)

#: Namespace, name and dimensions in order.
Key = tuple[str, str, tuple[tuple[str, str], ...]]

#: Seconds without data after which a metric is no longer listed, and no longer counts as recently active.
_UNLISTED, _INACTIVE = 14 * 86400.0, 3 * 3600.0

#: The namespace whose metrics moto computes when they are requested.
_MADE_UP = "AWS/S3"

#: Periods below a minute, and the most data points that GetMetricStatistics and GetMetricData return.
_SHORT = (1, 5, 10, 20, 30)
_MOST_STATISTICS, _MOST = 1440, 100_800


def sort_dimensions(dimensions: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    """Return moto's dimensions as sorted pairs of name and value."""
    return tuple(sorted((each.name, each.value) for each in dimensions))


def make_key(datum: Any) -> Key:
    """Return the key of the metric that a datum belongs to."""
    return datum.namespace, datum.name, sort_dimensions(datum.dimensions)


def list_sources(alarm: Any) -> list[Any]:
    """Return the parts of an alarm that have a metric, a period and a unit."""
    if alarm.rule is not None:
        return []
    if not alarm.metric_data_queries:
        return [alarm]
    return [query.metric_stat for query in alarm.metric_data_queries if query.metric_stat is not None]


def make_source_key(source: Any) -> Key:
    """Return the key of the metric that one of :func:`list_sources` reads."""
    metric = getattr(source, "metric", source)
    return metric.namespace, metric.metric_name, sort_dimensions(metric.dimensions)


# -- reading ---------------------------------------------------------------------------------------------------------


class MetricIndex:
    """The data of every region by metric, in order of time."""

    def __init__(self) -> None:
        self._regions: dict[str, _Region] = {}

    def refresh(self, region: str) -> None:
        """Index the data that were put since the last call.

        Args:
            region: The region whose data are read from moto.
        """
        self.add(region, _backend(region).metric_data)

    def add(self, region: str, data: list[Any]) -> None:
        """Index the data that were added to moto's list since the last call.

        Args:
            region: The key of the data in this index: a region, or ``<account>/<region>``.
            data: moto's list itself, in the order of the puts; another list replaces all indexed data of the region.
        """
        self._regions.setdefault(region, _Region()).take(data)

    def list_newest(self, region: str, start: float) -> list[Any]:
        """Return the newest datum of every metric that has one after ``start``."""
        known = self._regions.get(region)
        return [] if known is None else known.newest(start)

    def list_since(self, region: str, key: Key, start: float) -> list[Sample]:
        """Return a metric's samples after ``start``, in epoch seconds."""
        known = self._regions.get(region)
        return [] if known is None else known.since(key, start)


class _Region:
    def __init__(self) -> None:
        self._read: list[Any] | None = None
        self._position = 0
        self._metrics: dict[Key, tuple[list[float], list[Any]]] = {}

    def take(self, data: list[Any]) -> None:
        if data is not self._read:
            # moto has another list, because the old one was aggregated.
            self._read, self._position, self._metrics = data, 0, {}
        new = data[self._position :]
        self._position += len(new)
        for datum in new:
            at = to_epoch_seconds(datum.timestamp)
            times, kept = self._metrics.setdefault(make_key(datum), ([], []))
            place = len(times) if not times or at >= times[-1] else bisect.bisect_right(times, at)
            times.insert(place, at)
            kept.insert(place, datum)

    def newest(self, start: float) -> list[Any]:
        return [kept[-1] for times, kept in self._metrics.values() if times[-1] > start]

    def since(self, key: Key, start: float) -> list[Sample]:
        times, kept = self._metrics.get(key, ([], []))
        first = bisect.bisect_right(times, start)
        return [make_sample(at, datum) for at, datum in zip(times[first:], kept[first:], strict=True)]


def _backend(region: str) -> Any:
    from moto.cloudwatch.models import cloudwatch_backends

    return cloudwatch_backends[ACCOUNT][region]


def to_epoch_seconds(at: dt.datetime) -> float:
    """Return a time in epoch seconds; a time without a zone is in UTC."""
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()


def make_sample(at: float, datum: Any) -> Sample:
    """Return a datum of moto as a sample."""
    if hasattr(datum, "value"):
        return Sample(at, 1.0, datum.value, datum.value, datum.value, datum.unit)
    # CloudWatch computes percentiles of a set only if it can only be one value, repeated.
    is_one = datum.min == datum.max and datum.sum == datum.min * datum.sample_count
    return Sample(at, datum.sample_count, datum.sum, datum.min, datum.max, datum.unit, single=is_one)


# -- queries ---------------------------------------------------------------------------------------------------------

#: The index for requests, which hold moto's lock; the alarms' worker has its own.
_asked = MetricIndex()


def _index(backend: Any) -> str:
    """Update the requests' index from a backend and return the key of the backend's region in it."""
    place = f"{backend.account_id}/{backend.region_name}"
    _asked.add(place, backend.metric_data)
    return place


def list_metrics(
    backend: Any, name: str | None, namespace: str | None, dimensions: Sequence[Any], *, recent: bool = False
) -> list[Any]:
    """Return one datum of every metric that ListMetrics asks for.

    Args:
        backend: moto's backend of the region.
        name: MetricName; None for every name.
        namespace: Namespace; None for every namespace.
        dimensions: Dimensions in the API's form, with or without a value.
        recent: Whether only metrics with data of the last three hours are wanted.
    """
    start = time.time() - (_INACTIVE if recent else _UNLISTED)
    found = _asked.list_newest(_index(backend), start)
    made_up = backend.aws_metric_data if namespace in (None, _MADE_UP) else []
    made_up = [datum for datum in made_up if to_epoch_seconds(datum.timestamp) > start]
    return [datum for datum in (*found, *made_up) if datum.filter(namespace, name, dimensions)]


def _samples(backend: Any, metric: Mapping[str, Any], unit: str | None, start: float, end: float) -> list[Sample]:
    dimensions = tuple(sorted((each["Name"], each["Value"]) for each in metric.get("Dimensions") or []))
    key = (metric["Namespace"], metric["MetricName"], dimensions)
    if key[0] == _MADE_UP:
        made_up = [datum for datum in backend.aws_metric_data if make_key(datum) == key]
        found = [make_sample(to_epoch_seconds(datum.timestamp), datum) for datum in made_up]
    else:
        found = _asked.list_since(_index(backend), key, math.nextafter(start, -math.inf))
    return [sample for sample in found if start <= sample.time < end and (not unit or (sample.unit or "None") == unit)]


def _first(start: float, period: int) -> float:
    """Return the start of the first period: CloudWatch rounds the start of a query down, by more the older it is."""
    age = time.time() - start
    step = period if period < 60 else 60 if age < 15 * 86400 else 300 if age < 63 * 86400 else 3600
    return start // step * step


def _checked_period(value: Any, code: str) -> int:
    period = int(value)
    if period not in _SHORT and (period < 60 or period % 60):
        raise RefusedError(code, f"Period {period} must be {', '.join(map(str, _SHORT))} or a multiple of 60.")
    return period


def _at(seconds: float) -> dt.datetime:
    # Without a time zone, like moto's times.
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)


def get_statistics(
    backend: Any,
    metric: Mapping[str, Any],
    names: Sequence[str],
    extended: Sequence[str],
    *,
    unit: str | None,
    start: dt.datetime,
    end: dt.datetime,
    period: int,
) -> list[dict[str, Any]]:
    """Return the datapoints of GetMetricStatistics.

    Args:
        backend: moto's backend of the region.
        metric: Namespace, MetricName and Dimensions.
        names: Statistics.
        extended: ExtendedStatistics.
        unit: Unit; None for data of every unit.
        start: StartTime.
        end: EndTime.
        period: Period, seconds.

    Raises:
        RefusedError: CloudWatch would refuse the request.
        UnsupportedError: It asks for a statistic that this cloud does not compute.
    """
    if not names and not extended:
        raise RefusedError("InvalidParameterCombination", "Must specify either Statistics or ExtendedStatistics")
    if names and extended:
        raise RefusedError("InvalidParameterCombination", "Specify Statistics or ExtendedStatistics, not both.")
    period = _checked_period(period, "InvalidParameterValue")
    first, until = _first(to_epoch_seconds(start), period), to_epoch_seconds(end)
    if to_epoch_seconds(start) >= until:
        raise RefusedError("InvalidParameterValue", "The parameter StartTime must be less than the parameter EndTime.")
    number = math.ceil((until - first) / period)
    if number > _MOST_STATISTICS:
        raise RefusedError(
            "InvalidParameterCombination",
            f"You have requested up to {number} datapoints, which exceeds the limit of {_MOST_STATISTICS}: increase "
            "Period or decrease the time range.",
        )
    computes = {name: get_statistic(name) for name in (*names, *extended)}
    found = _samples(backend, metric, unit, first, until)
    datapoints = []
    for place, window in enumerate(divide_into_windows(found, start=first, width=period, number=number)):
        points = {name: compute(window) if window else None for name, compute in computes.items()}
        values = {name: point for name, point in points.items() if point is not None}
        if values:
            known = {"Timestamp": _at(first + place * period), "Unit": window[-1].unit or "None"}
            datapoints.append({**known, **({"ExtendedStatistics": values} if extended else values)})
    return datapoints


class _Series:
    """The points of one query."""

    def __init__(self, first: float, period: int, points: list[Point]) -> None:
        self.first, self.period, self.points = first, period, points

    def result(self, query: Mapping[str, Any], label: str, ascending: bool) -> dict[str, Any]:
        real = [(place, point) for place, point in enumerate(self.points) if point is not None]
        real = real if ascending else real[::-1]
        return {
            "Id": query["Id"],
            "Label": query.get("Label") or label,
            "Timestamps": [_at(self.first + place * self.period) for place, _ in real],
            "Values": [point for _, point in real],
            "StatusCode": "Complete",
        }


def get_metric_data(
    backend: Any,
    queries: Sequence[Mapping[str, Any]],
    *,
    start: dt.datetime,
    end: dt.datetime,
    ascending: bool,
    most: int = _MOST,
) -> list[dict[str, Any]]:
    """Return the results of GetMetricData, all on one page.

    Args:
        backend: moto's backend of the region.
        queries: MetricDataQueries in the API's form.
        start: StartTime.
        end: EndTime.
        ascending: Whether the oldest point comes first.
        most: MaxDatapoints.

    Raises:
        RefusedError: CloudWatch would refuse the request.
        UnsupportedError: It asks for something that this cloud does not compute.
    """
    if to_epoch_seconds(start) >= to_epoch_seconds(end):
        raise RefusedError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
    _check_queries(queries)
    found = {
        query["Id"]: _stat_series(backend, query["MetricStat"], to_epoch_seconds(start), to_epoch_seconds(end))
        for query in queries
        if query.get("MetricStat")
    }
    left = [query for query in queries if not query.get("MetricStat")]
    while left:
        # Each after those that it depends on; if none is ready, evaluating one raises the error that says why.
        ready = [query for query in left if list_operands(query["Expression"]) & {each["Id"] for each in left} == set()]
        for query in ready or left[:1]:
            found[query["Id"]] = _expression_series(query, found)
        left = [query for query in left if query["Id"] not in found]
    results = [
        found[query["Id"]].result(query, _label(query), ascending)
        for query in queries
        if query.get("ReturnData") is not False
    ]
    if (number := sum(len(result["Values"]) for result in results)) > most:
        raise UnsupportedError(f"an answer on several pages ({number} data points, at most {most} on one)")
    return results


def _check_queries(queries: Sequence[Mapping[str, Any]]) -> None:
    names = [query["Id"] for query in queries]
    for place, query in enumerate(queries, 1):
        name = query["Id"]
        if bool(query.get("MetricStat")) is bool(query.get("Expression")):
            message = f"MetricDataQueries.member.{place} '{name}' needs either MetricStat or Expression."
            raise RefusedError("ValidationError", message)
        if not re.fullmatch(r"[a-z]\w*", name) or names.count(name) > 1:
            message = f"The Id '{name}' of MetricDataQueries must start with a small letter and be there once."
            raise RefusedError("ValidationError", message)


def _stat_series(backend: Any, stat: Mapping[str, Any], start: float, end: float) -> _Series:
    compute, period = get_statistic(stat["Stat"]), _checked_period(stat["Period"], "ValidationError")
    first = _first(start, period)
    number = math.ceil((end - first) / period)
    if number > _MOST:
        message = f"{number} periods of {period} s are more than {_MOST} data points: increase Period."
        raise RefusedError("ValidationError", message)
    samples = _samples(backend, stat["Metric"], stat.get("Unit"), first, end)
    windows = divide_into_windows(samples, start=first, width=period, number=number)
    return _Series(first, period, [compute(window) if window else None for window in windows])


def _expression_series(query: Mapping[str, Any], found: Mapping[str, _Series]) -> _Series:
    text = query["Expression"]
    used = {name: found[name] for name in sorted(list_operands(text) & found.keys())}
    # An expression without metrics is evaluated once, so that its unsupported parts are reported.
    number = len(next(iter(used.values())).points) if used else 1
    periods = sorted({series.period for series in used.values()})
    if len(periods) > 1:
        raise UnsupportedError(f"metrics of the periods {' and '.join(map(str, periods))} in the expression '{text}'")
    points = calculate(text, {name: series.points for name, series in used.items()}, number)
    if not used:
        raise RefusedError("ValidationError", f"The expression '{text}' of '{query['Id']}' uses no metric.")
    series = next(iter(used.values()))
    return _Series(series.first, series.period, points)


def _label(query: Mapping[str, Any]) -> str:
    stat = query.get("MetricStat")
    return f"{stat['Metric']['MetricName']} {stat['Stat']}" if stat else str(query["Id"])
