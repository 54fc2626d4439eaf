"""Retention of metric data: after many new data, old values are aggregated into statistic sets.

Values older than five minutes and than every alarm's evaluation range become one set a minute, and after a day one set
an hour.
"""

from __future__ import annotations

import datetime as dt
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from local.services.cloudwatch.evaluation import EXTRA_PERIODS
from local.services.cloudwatch.metrics import (
    Key,
    list_sources,
    make_key,
    make_sample,
    make_source_key,
    to_epoch_seconds,
)

#: The number of new data after which old ones are aggregated again.
_MANY = 10_000

#: Seconds for which single values are kept, and sets of a minute.
_VALUES, _MINUTES = 300.0, 86400.0

#: Seconds after which CloudWatch has deleted all data.
_FORGOTTEN = 455 * 86400.0


@functools.cache
def install_retention(scale: float) -> None:
    """Patch moto to aggregate old metric data, once in a process.

    Args:
        scale: The clock's scale: a period of P seconds lasts P divided by it, in real seconds.
    """
    from moto.cloudwatch.models import CloudWatchBackend

    CloudWatchBackend.put_metric_data = _adding_up(CloudWatchBackend.put_metric_data, scale)  # type: ignore[method-assign]


def _adding_up(put: Callable[..., None], scale: float) -> Callable[..., None]:
    left: dict[str, int] = {}

    @functools.wraps(put)
    def put_metric_data(self: Any, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        before = len(self.metric_data)
        put(self, namespace, [each for datum in metric_data for each in _weighted(datum)])
        _share_dimensions(self.metric_data, before)
        if len(self.metric_data) - left.get(self.region_name, 0) >= _MANY:
            # This runs within a request, which holds moto's lock: no other thread changes the list.
            self.metric_data = aggregate_old_data(self.metric_data, _sight(self.alarms.values(), scale), time.time())
            left[self.region_name] = len(self.metric_data)

    return put_metric_data


def _weighted(datum: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield one datum for each of the values of a datum; moto would create as many as the counts say."""
    if not datum.get("Values"):
        yield datum
        return
    rest = {name: value for name, value in datum.items() if name not in ("Values", "Counts")}
    values = [float(value) for value in datum["Values"]]
    for value, count in zip(values, map(float, datum.get("Counts") or [1.0] * len(values)), strict=True):
        if count == 1:
            yield {**rest, "Value": value}
        elif count:
            said = {"SampleCount": count, "Sum": value * count, "Minimum": value, "Maximum": value}
            yield {**rest, "StatisticValues": said}


def _share_dimensions(data: list[Any], start: int) -> None:
    """Let the data from index ``start`` on share equal dimensions, as those of one request mostly are.

    It saves memory, and space in a snapshot.
    """
    shared: dict[Any, Any] = {}
    for datum in data[start:]:
        names = tuple((each.name, each.value) for each in datum.dimensions)
        datum.dimensions = shared.setdefault(names, datum.dimensions)


def _sight(alarms: Any, scale: float) -> dict[Key, float]:
    """Return for each metric how far back alarms read it, in real seconds."""
    sight: dict[Key, float] = {}
    for alarm in alarms:
        for source in list_sources(alarm):
            seconds = float(source.period) * (int(alarm.evaluation_periods) + EXTRA_PERIODS + 1) / scale
            key = make_source_key(source)
            sight[key] = max(seconds, sight.get(key, 0.0))
    return sight


def aggregate_old_data(data: Sequence[Any], sight: dict[Key, float], now: float) -> list[Any]:
    """Return the data with old values aggregated into statistic sets, without those that CloudWatch has deleted.

    Args:
        data: moto's metric data.
        sight: For each metric, the seconds for which its single values are kept.
        now: Epoch seconds.
    """
    from moto.cloudwatch.models import MetricAggregatedDatum

    kept: list[Any] = []
    sums: dict[Any, Any] = {}
    for datum in data:
        at = to_epoch_seconds(datum.timestamp)
        age = now - at
        if age <= _VALUES or age <= sight.get(key := make_key(datum), 0.0):
            kept.append(datum)
            continue
        if age > _FORGOTTEN:
            continue
        width = 60.0 if age <= _MINUTES else 3600.0
        start = at // width * width
        sample = make_sample(at, datum)
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
