"""What CloudWatch counted about an endpoint, and how often days differ by chance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from millrace import FeatureTable
from tests.faults.world import SINCE, UNTIL, declare
from training.data.maturity import Maturity
from training.modeling.train import SCORE
from training.monitoring.silence import (
    Traffic,
    check_freshness,
    check_labels,
    check_serving_version,
    check_traffic,
    check_volume,
    fetch_traffic,
)
from training.monitoring.window import Window

ON = {"DataCaptureConfig": {"EnableCapture": True, "InitialSamplingPercentage": 50}}
NOW = datetime.now(UTC)


def make_window(times: Any, arrived: Any = None, maturity: Maturity | None = None) -> Window:
    count = len(times)
    rows = {"placed_at": times, SCORE: np.full(count, 0.5)}
    y = np.where(np.ones(count, dtype=bool) if arrived is None else arrived, 1.0, np.nan)
    known = maturity or Maturity(np.timedelta64(0, "us"), (0.0, 0.0), 1.0)
    unknown = np.full(count, np.nan)
    return Window(declare(), SINCE, UNTIL, rows, np.ones(count, bool), np.full(count, 7), unknown, y, 7, known)


def find_largest(window: Window) -> float:
    return max((check.ratio for check in window.checks), default=0.0)


class Counted:
    """CloudWatch with the points of an endpoint; nobody but AWS may put metrics into its namespaces."""

    def __init__(self, start: datetime, points: dict[int, int]) -> None:
        self.start, self.points = start, points
        self.periods: set[int] = set()

    def get_metric_statistics(self, **asked: Any) -> dict[str, Any]:
        assert (asked["Namespace"], asked["Statistics"]) == ("AWS/SageMaker", ["Sum"])
        assert (asked["EndTime"] - asked["StartTime"]).total_seconds() / asked["Period"] <= 1440
        self.periods.add(asked["Period"])
        share = {"Invocations": 1.0, "Invocation4XXErrors": 0.1, "Invocation5XXErrors": 0.05}[asked["MetricName"]]
        times = {self.start + timedelta(minutes=minutes): count for minutes, count in self.points.items()}
        return {
            "Datapoints": [
                {"Sum": share * count} for time, count in times.items() if asked["StartTime"] <= time < asked["EndTime"]
            ]
        }


def test_traffic_is_counted_from_the_next_period() -> None:
    # The tests of a module may run long after it was imported.
    now = datetime.now(UTC)
    start = (now - timedelta(minutes=30)).replace(second=0, microsecond=0)
    # Before the span, in it, and in the time that capture is given to be delivered.
    cloudwatch = Counted(start, {0: 500, 3: 40, 10: 60, 29: 700})
    found = fetch_traffic(cloudwatch, "asked", ON, start + timedelta(seconds=70), lag=timedelta(minutes=5))
    assert found == Traffic(start + timedelta(minutes=2), 85, 10, 0.5)
    assert fetch_traffic(cloudwatch, "asked", {}, start).sampled == 0.0
    assert fetch_traffic(cloudwatch, "asked", ON, now + timedelta(hours=1)).answered == 0
    assert cloudwatch.periods == {60}


def test_a_long_span_is_counted_in_parts() -> None:
    start = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(days=200)
    cloudwatch = Counted(start, {day * 1440: 100 for day in range(200)})
    assert fetch_traffic(cloudwatch, "asked", ON, start).answered == 200 * 85
    assert cloudwatch.periods == {3600}


@pytest.mark.parametrize(
    ("traffic", "captured", "alarms"),
    [
        (Traffic(NOW, 1000, 0, 0.5), 500, set()),
        # Half of a sample of half is where it begins to matter, beyond chance.
        (Traffic(NOW, 1000, 0, 0.5), 240, set()),
        (Traffic(NOW, 1000, 0, 0.5), 150, {"capture"}),
        (Traffic(NOW, 1000, 0, 0.0), 0, {"capture"}),
        (Traffic(NOW, 0, 0, 0.0), 0, set()),
        (Traffic(NOW, 100, 3, 1.0), 100, set()),
        (Traffic(NOW, 80, 20, 1.0), 80, {"refusals"}),
        # One refused request of three may be chance.
        (Traffic(NOW, 2, 1, 1.0), 2, set()),
    ],
)
def test_refusals_and_capture_are_judged_beyond_chance(traffic: Traffic, captured: int, alarms: set[str]) -> None:
    window = make_window(np.array([SINCE]))
    check_traffic(window, traffic, captured)
    assert {check.alarm for check in window.checks if check.ratio > 1} == alarms


@pytest.mark.parametrize(
    ("answered", "versions", "seen"),
    [(100, {6}, False), (100, {6, 7}, True), (100, {0}, True), (100, set(), False), (10, {6}, True)],
)
def test_a_serving_version_without_a_captured_answer_is_named(answered: int, versions: set[int], seen: bool) -> None:
    window = make_window(np.array([SINCE]))
    check_serving_version(window, Traffic(NOW, answered, 0, 1.0), versions)
    assert [(check.alarm, check.subject) for check in window.checks] == ([] if seen else [("capture", "version 7")])


@pytest.mark.parametrize(("a_day", "spread"), [(3.0, 0.0), (40.0, 0.0), (40.0, 0.3), (2000.0, 0.2)])
def test_the_volume_of_healthy_days_hardly_ever_alarms(a_day: float, spread: float) -> None:
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng((int(a_day), seed))
        weekday = np.where(np.arange(28) % 7 < 5, 1.0, 0.4)
        counts = rng.poisson(a_day * weekday * np.exp(spread * rng.standard_normal(28)))
        times = SINCE + np.repeat(np.arange(28), counts) * np.timedelta64(1, "D")
        window = make_window(times)
        check_volume(window)
        alarms += find_largest(window) > 1
    assert alarms <= stats.binom.ppf(0.99, 200, 0.01)


@pytest.mark.parametrize(
    ("max_age", "every", "stopped", "alarms"),
    [
        # A table that is loaded once is not late, and one without rows in the window may be such a table.
        (None, 24 * 40, 24 * 90, False),
        (None, 1, 1, False),
        (None, 1, 12, True),
        (None, 24, 24 * 2, False),
        (None, 24, 24 * 5, True),
        (6, 1, 4, False),
        (6, 1, 8, True),
        # Rows come more seldom than they expire.
        (6, 12, 14, False),
    ],
)
def test_a_table_without_new_rows_is_late(max_age: int | None, every: int, stopped: int, alarms: bool) -> None:
    table = FeatureTable("tariffs", entity="shop", event_time="known_at", columns={"price": "number"},
                         max_age=None if max_age is None else timedelta(hours=max_age))  # fmt: skip
    window = make_window(np.array([SINCE]))
    window.case = declare(tables=[table])
    last = UNTIL - np.timedelta64(stopped, "h")
    times = np.arange(last, SINCE - np.timedelta64(300, "D"), -np.timedelta64(every, "h"))
    check_freshness(window, {"tariffs": {"known_at": times[::-1]}})
    assert (find_largest(window) > 1) is alarms


def test_labels_that_come_as_expected_hardly_ever_alarm() -> None:
    alarms = 0
    maturity = Maturity(np.timedelta64(3, "D"), tuple(np.linspace(0, 6 * 86_400, 21)), 0.9)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        times = np.sort(SINCE + (rng.random(300) * 28 * 86_400e6).astype("timedelta64[us]"))
        expected = maturity.expect_labels(UNTIL - times)
        window = make_window(times, rng.random(300) < expected, maturity)
        check_labels(window)
        alarms += find_largest(window) > 1
    assert alarms <= stats.binom.ppf(0.99, 200, 0.01)
