"""What is missing: requests, captured ones, outcomes, rows of tables. Silence is never taken for health."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from millrace.names import VARIANT
from millrace.watching import MonitorAlarm
from training.columns import Columns
from training.data.arrivals import find_missing_bound, judge_volume
from training.monitoring.window import Window
from training.quantiles import compute_binomial_quantile

#: The share of windows in which chance may raise one of these alarms.
FALSE_ALARMS = 0.001
#: Capture is delivered some minutes after the request.
LAG = timedelta(minutes=10)
#: A request may be counted somewhat later than it was captured.
SLACK = timedelta(minutes=5)
#: The share of the sampled requests that must be in the capture.
_CAPTURED = 0.5
#: Captured answers to expect from which the serving version must be among them.
_SEEN = 20
#: How many times its longest earlier pause a table may be without new rows, and one whose values have expired by then.
_PAUSES, _LATE = 3.0, 1.5
#: The fewest times in the window at which a table got rows, so that it counts as regular.
_REGULAR = 10
#: The age from which the newest outcomes are judged by themselves: a stop shows there first.
_RECENT = 0.1
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Traffic:
    """The requests that CloudWatch counted: answered ones, refused ones, and the share that capture samples.

    Attributes:
        since: The start of the span, wall-clock time.
        answered: Requests that were answered with a prediction, until a moment before now.
        refused: Requests that were refused as invalid.
        sampled: The share of answered requests that the endpoint captures; 0 where capture is off.
    """

    since: datetime
    answered: int
    refused: int
    sampled: float


def fetch_traffic(
    cloudwatch: Any, endpoint: str, config: Mapping[str, Any], since: datetime, *, lag: timedelta = LAG
) -> Traffic:
    """Return what CloudWatch counted since a wall-clock time.

    Args:
        cloudwatch: A boto3 client.
        endpoint: The endpoint's name.
        config: Its configuration, as DescribeEndpointConfig returns it.
        since: The start of the span; it is moved to the next period of CloudWatch's data points.
        lag: How far before now it ends.
    """
    until = datetime.now(UTC) - lag
    # CloudWatch keeps points of a minute for 15 days, of five for 63, of an hour for 455; one call answers 1,440.
    period = next(each for each, days in ((60, 1), (300, 5), (3600, 1000)) if until - since <= timedelta(days=days))
    since = datetime.fromtimestamp(math.ceil(since.timestamp() / period) * period, UTC)
    counts = {
        name: _sum(cloudwatch, endpoint, name, since, until, period)
        for name in ("Invocations", "Invocation4XXErrors", "Invocation5XXErrors")
    }
    capture = config.get("DataCaptureConfig") or {}
    sampled = capture.get("InitialSamplingPercentage", 0) / 100.0 if capture.get("EnableCapture") else 0.0
    refused = counts["Invocation4XXErrors"]
    return Traffic(since, max(0, counts["Invocations"] - refused - counts["Invocation5XXErrors"]), refused, sampled)


def _sum(cloudwatch: Any, endpoint: str, metric: str, since: datetime, until: datetime, period: int) -> int:
    """Return the sum of a metric of the endpoint's variant."""
    total, step = 0.0, timedelta(seconds=1400 * period)
    while since < until:
        answer = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": VARIANT}],
            StartTime=since,
            EndTime=min(since + step, until),
            Period=period,
            Statistics=["Sum"],
        )
        total += sum(point["Sum"] for point in answer["Datapoints"])
        since += step
    return round(total)


def check_traffic(window: Window, traffic: Traffic, captured: int) -> None:
    """Judge refusals and capture.

    Args:
        window: The window, to which checks are added.
        traffic: What CloudWatch counted.
        captured: Requests in the capture of the same time.
    """
    bound = window.case.monitoring.refusals_alarm
    if asked := traffic.answered + traffic.refused:
        share = traffic.refused / asked
        least = _find_bound(asked, bound)
        text = f"{traffic.refused} of {asked} requests were refused as invalid; it alarms from {least:.1%}"
        window.add_check(MonitorAlarm.REFUSALS, share, least, text)
    if not traffic.answered:
        return
    if not traffic.sampled:
        window.add_check(
            MonitorAlarm.CAPTURE, 1.0, 1.0 - _CAPTURED, f"capture is off: {traffic.answered} answers are not recorded"
        )
        return
    expected = traffic.answered * traffic.sampled
    lost = max(0.0, 1.0 - captured / expected)
    least = _find_bound(round(expected), 1.0 - _CAPTURED) if expected >= 1 else 1.0
    text = f"{captured} requests are captured of {expected:.0f} expected ({traffic.sampled:.0%} of {traffic.answered})"
    window.add_check(MonitorAlarm.CAPTURE, lost, least, text)


def check_serving_version(window: Window, traffic: Traffic, versions: Collection[int]) -> None:
    """Judge whether the version that serves is seen: without rows of its own, nothing about it can be judged.

    Args:
        window: The window, to which a check is added where it is not.
        traffic: What CloudWatch counted since the endpoint was changed last, or later.
        versions: The versions of all captured answers; 0 where an answer does not say.
    """
    expected = traffic.answered * traffic.sampled
    # With so many, a rollout is long over, and chance captures at least one.
    if not window.serving or expected < _SEEN or {0, window.serving} & set(versions):
        return
    text = (
        f"version {window.serving} serves and has answered {traffic.answered} requests, but no captured answer is of it"
    )
    window.add_check(MonitorAlarm.CAPTURE, 1.0, 1.0 - _CAPTURED, text, f"version {window.serving}")


def _find_bound(count: int, share: float) -> float:
    """Return the share of so many that chance exceeds too rarely to matter where the true share is ``share``."""
    return max(share, compute_binomial_quantile(1.0 - FALSE_ALARMS, count, share) / count)


# -- rows --------------------------------------------------------------------------------------------------------------


def check_volume(window: Window) -> None:
    """Compare the newest whole day with the same weekdays before it."""
    end = window.now.astype("datetime64[D]")
    days = window.times.astype("datetime64[D]")
    first = (window.since + _DAY - np.timedelta64(1, "us")).astype("datetime64[D]")
    counts: dict[Any, int] = {day: int(np.sum(days == day)) for day in np.arange(first, end)}
    newest = end - _DAY
    day = judge_volume(counts, newest, window.case.monitoring.volume_alarm)
    if day is None:
        window.notes.append("no volume: it needs the same weekday of at least two weeks before")
        return
    text = (
        f"{newest} has {day.found} rows, and the same weekday of {day.weeks} weeks before {day.expected:.0f} on "
        f"average; it alarms from a factor of {math.exp(day.least):.2f}"
    )
    window.add_check(MonitorAlarm.VOLUME, day.moved, day.least, text, str(newest))


def check_outside(window: Window, served: int, outside: int) -> None:
    """Judge how many captured rows have a time outside of what may be asked about now.

    Args:
        window: The window, to which checks are added.
        served: Captured rows that were answered in the window's time.
        outside: Those of them whose event time is later than the data time allows, or earlier than the window.
    """
    if not served:
        return
    share, bound = outside / served, window.case.monitoring.skew_alarm
    least = _find_bound(served, bound)
    text = f"{outside} of {served} captured rows have a time outside of the window; it alarms from {least:.1%}"
    window.add_check(MonitorAlarm.CLOCK, share, least, text)


def check_labels(window: Window) -> None:
    """Compare the outcomes that have arrived with those that the delays of training expect."""
    ages = window.now - window.times
    expected = window.maturity.expect_labels(ages)
    if np.isnan(expected).any():
        window.notes.append("no label coverage: the model was trained without knowing how labels arrive")
        return
    arrived = ~np.isnan(window.y)
    bound = window.case.monitoring.labels_alarm
    # The newest that should have arrived: a stop shows there first.
    due = np.flatnonzero(expected >= 0.5 * expected.max(initial=0.0))
    recent = due[np.argsort(ages[due], kind="stable")][: max(1, math.ceil(_RECENT * len(due)))]
    for chosen, what in ((np.arange(len(ages)), "all rows"), (recent, "the newest rows that should have one")):
        wanted, found = float(expected[chosen].sum()), int(arrived[chosen].sum())
        if wanted < 1.0:
            continue
        missing = max(0.0, 1.0 - found / wanted)
        least = find_missing_bound(expected[chosen], window.days[chosen], 1.0 - bound)
        text = (
            f"{found} outcomes have arrived of {wanted:.0f} expected of {what}; it alarms from {1 - least:.0%} of them"
        )
        window.add_check(MonitorAlarm.LABELS, missing, least, text)


def check_freshness(window: Window, tables: Mapping[str, Columns]) -> None:
    """Judge whether each feature table still gets new rows.

    A table whose values expire has a declared age. Of another one it is known only where it got rows regularly in the
    window: a table that is loaded once is not late.

    Args:
        window: The window, to which checks are added.
        tables: The rows of each table that the window's events may see.
    """
    hour = np.timedelta64(1, "h")
    for table in window.case.tables:
        times = np.unique(tables[table.name][table.event_time])
        times = times[~np.isnat(times) & (times < window.now)]
        if not len(times):
            text = f"{table.name} has no row that events of the window may see"
            window.add_check(MonitorAlarm.FRESHNESS, 1.0, 0.5, text, table.name)
            continue
        age = float((window.now - times[-1]) / hour)
        recent = times[times >= window.since]
        longest = max(np.diff(times) / hour, default=0.0)
        if table.max_age is not None:
            least = max(table.max_age.total_seconds() / 3600, _LATE * longest)
        elif len(recent) >= _REGULAR:
            gaps = np.diff(recent)
            published = window.case.publish_every.total_seconds() / 3600
            least = _PAUSES * max(float(np.max(gaps) / hour), published)
        else:
            continue
        text = f"the newest row of {table.name} is {age:.1f} hours old; it alarms from {least:.1f}"
        window.add_check(MonitorAlarm.FRESHNESS, age, least, text, table.name)
