"""Metric data by metric: what alarms read, and how much of it is kept.

moto keeps every value ever put in one list. Here new data are sorted under their metrics as they come, so that an
evaluation reads no more than its own periods; and once enough has been put, what is older than five minutes and than
every alarm's sight is added up: a minute's values become one statistic set, after a day an hour's.
"""

from __future__ import annotations

import bisect
import datetime as dt
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from local.cloud.context import ACCOUNT
from local.watch.evaluation import EXTRA_PERIODS, Sample

#: Namespace, name and dimensions in order.
Key = tuple[str, str, tuple[tuple[str, str], ...]]

#: Data are added up when so many came since the last time.
_MANY = 10_000

#: Seconds for which values are kept as they are, and minutes as minutes.
_VALUES, _MINUTES = 300.0, 86400.0

#: Seconds after which CloudWatch has forgotten everything.
_FORGOTTEN = 455 * 86400.0


def dimensions_of(dimensions: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    """Dimensions that moto holds, in an order of their own."""
    return tuple(sorted((each.name, each.value) for each in dimensions))


def key_of(datum: Any) -> Key:
    """The metric that a datum belongs to."""
    return datum.namespace, datum.name, dimensions_of(datum.dimensions)


def sources(alarm: Any) -> list[Any]:
    """Everything of an alarm that has a metric, a period and a unit."""
    if alarm.rule is not None:
        return []
    if not alarm.metric_data_queries:
        return [alarm]
    return [query.metric_stat for query in alarm.metric_data_queries if query.metric_stat is not None]


def source_key(source: Any) -> Key:
    """The metric that one of :func:`sources` reads."""
    metric = getattr(source, "metric", source)
    return metric.namespace, metric.metric_name, dimensions_of(metric.dimensions)


# -- reading ---------------------------------------------------------------------------------------------------------


class MetricIndex:
    """The data of every region by metric, in order of time."""

    def __init__(self) -> None:
        self._regions: dict[str, _Region] = {}

    def refresh(self, region: str) -> None:
        """Take what was put since the last time."""
        self._regions.setdefault(region, _Region()).take(_backend(region).metric_data)

    def since(self, region: str, key: Key, start: float) -> list[Sample]:
        """A metric's samples after ``start``, which is in epoch seconds."""
        known = self._regions.get(region)
        return [] if known is None else known.since(key, start)


class _Region:
    def __init__(self) -> None:
        self._read: list[Any] | None = None
        self._position = 0
        self._metrics: dict[Key, tuple[list[float], list[Any]]] = {}

    def take(self, data: list[Any]) -> None:
        if data is not self._read:
            # Another list: the old one was added up.
            self._read, self._position, self._metrics = data, 0, {}
        new = data[self._position :]
        self._position += len(new)
        for datum in new:
            at = _seconds(datum.timestamp)
            times, kept = self._metrics.setdefault(key_of(datum), ([], []))
            place = len(times) if not times or at >= times[-1] else bisect.bisect_right(times, at)
            times.insert(place, at)
            kept.insert(place, datum)

    def since(self, key: Key, start: float) -> list[Sample]:
        times, kept = self._metrics.get(key, ([], []))
        first = bisect.bisect_right(times, start)
        return [_sample(at, datum) for at, datum in zip(times[first:], kept[first:], strict=True)]


def _backend(region: str) -> Any:
    from moto.cloudwatch.models import cloudwatch_backends

    return cloudwatch_backends[ACCOUNT][region]


def _seconds(at: dt.datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()


def _sample(at: float, datum: Any) -> Sample:
    if hasattr(datum, "value"):
        return Sample(at, 1.0, datum.value, datum.value, datum.value, datum.unit)
    return Sample(at, datum.sample_count, datum.sum, datum.min, datum.max, datum.unit, single=False)


# -- adding up -------------------------------------------------------------------------------------------------------


@functools.cache
def bound(scale: float) -> None:
    """Let moto's list be added up from now on, once in a process.

    Args:
        scale: The clock's, which says how long the periods of alarms are in real seconds.
    """
    from moto.cloudwatch.models import CloudWatchBackend

    CloudWatchBackend.put_metric_data = _adding_up(CloudWatchBackend.put_metric_data, scale)  # type: ignore[method-assign]


def _adding_up(put: Callable[..., None], scale: float) -> Callable[..., None]:
    left: dict[str, int] = {}

    @functools.wraps(put)
    def put_metric_data(self: Any, *args: Any, **params: Any) -> None:
        before = len(self.metric_data)
        put(self, *args, **params)
        _share_dimensions(self.metric_data, before)
        if len(self.metric_data) - left.get(self.region_name, 0) >= _MANY:
            # Within a request, which holds moto's lock: nobody else changes the list.
            self.metric_data = added_up(self.metric_data, _sight(self.alarms.values(), scale), time.time())
            left[self.region_name] = len(self.metric_data)

    return put_metric_data


def _share_dimensions(data: list[Any], start: int) -> None:
    """Values of one request mostly have the same dimensions: held once, they cost less, here and in a snapshot."""
    shared: dict[Any, Any] = {}
    for datum in data[start:]:
        names = tuple((each.name, each.value) for each in datum.dimensions)
        datum.dimensions = shared.setdefault(names, datum.dimensions)


def _sight(alarms: Any, scale: float) -> dict[Key, float]:
    """How far back alarms see each metric, in real seconds."""
    sight: dict[Key, float] = {}
    for alarm in alarms:
        for source in sources(alarm):
            seconds = float(source.period) * (int(alarm.evaluation_periods) + EXTRA_PERIODS + 1) / scale
            key = source_key(source)
            sight[key] = max(seconds, sight.get(key, 0.0))
    return sight


def added_up(data: Sequence[Any], sight: dict[Key, float], now: float) -> list[Any]:
    """The data with everything old in statistic sets.

    Args:
        sight: By metric, for how many seconds its values are needed as they are.
    """
    from moto.cloudwatch.models import MetricAggregatedDatum

    kept: list[Any] = []
    sums: dict[Any, Any] = {}
    for datum in data:
        at = _seconds(datum.timestamp)
        age = now - at
        if age <= _VALUES or age <= sight.get(key := key_of(datum), 0.0):
            kept.append(datum)
            continue
        if age > _FORGOTTEN:
            continue
        width = 60.0 if age <= _MINUTES else 3600.0
        start = at // width * width
        sample = _sample(at, datum)
        place = (key, datum.unit, start)
        known = sums.get(place)
        if known is None:
            known = sums[place] = MetricAggregatedDatum(
                datum.namespace,
                datum.name,
                min_stat=sample.minimum,
                max_stat=sample.maximum,
                sample_count=sample.count,
                sum_stat=sample.sum,
                dimensions=[],
                timestamp=dt.datetime.fromtimestamp(start, dt.UTC).replace(tzinfo=datum.timestamp.tzinfo),
                unit=datum.unit,
            )
            known.dimensions = datum.dimensions
        else:
            known.min, known.max = min(known.min, sample.minimum), max(known.max, sample.maximum)
            known.sample_count += sample.count
            known.sum += sample.sum
    return [*sums.values(), *kept]
