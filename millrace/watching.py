"""What the monitor publishes to CloudWatch, and the alarms on it: every metric and every alarm is named here once.

Most figures are in units of their own threshold: above 1 the alarm fires. What was found, with its own unit, its
threshold and the column or group, is a check of the monitor's report and part of its message.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from millrace.metrics import Problem


class MonitorAlarm(StrEnum):
    """The alarms on the monitor's figures, by the names with which a use case tunes them or switches them off."""

    DRIFT = "drift"
    SCORE_DRIFT = "score-drift"
    SKEW = "skew"
    QUALITY = "quality"
    CALIBRATION = "calibration"
    LABELS = "labels"
    VOLUME = "volume"
    REFUSALS = "refusals"
    CAPTURE = "capture"
    CLOCK = "clock"
    FRESHNESS = "freshness"
    UNMEASURED = "unmeasured"
    HEARTBEAT = "heartbeat"


class Plot(StrEnum):
    """The plots of a use case's dashboard that show figures of the monitor, in order."""

    DRIFT = "Drift and skew (above 1: alarm)"
    QUALITY = "Quality on outcomes (above 1: alarm)"
    TRAFFIC = "Volume, refusals, capture, clock (above 1: alarm)"
    LABELS = "Outcomes and freshness (above 1: alarm)"
    METRICS = "Metrics on outcomes"
    ROWS = "Rows served, share labelled"


@dataclass(frozen=True)
class MonitorMetric:
    """A metric that the monitor publishes, with the dimension `Endpoint`.

    Attributes:
        name: Its name in CloudWatch.
        meaning: What it says, as a clause.
        plot: Where the dashboard shows it; None where it does not.
        alarm: The alarm on it; None where there is none.
        is_signal: Whether its absence is the fault: the alarm fires when it was not published for two intervals, and
            not when its value is above 1.
        problems: The problem types that have it.
        needs_tables: Whether only a use case with feature tables has it.
    """

    name: str
    meaning: str
    plot: Plot | None = None
    alarm: MonitorAlarm | None = None
    is_signal: bool = False
    problems: tuple[Problem, ...] = tuple(Problem)
    needs_tables: bool = False

    @property
    def missing(self) -> Literal["breaching", "notBreaching"]:
        """What the alarm makes of missing data; the reason is beside :data:`METRICS`."""
        return "breaching" if self.is_signal else "notBreaching"

    def is_of(self, problem: Problem, *, has_tables: bool) -> bool:
        """Tell whether a use case has this metric.

        Args:
            problem: Its problem type.
            has_tables: Whether it has feature tables.
        """
        return problem in self.problems and (has_tables or not self.needs_tables)


_BINARY = (Problem.BINARY,)

#: All metrics. An alarm on a figure above 1 takes missing data as fine: a run that cannot judge publishes no figure,
#: and `unmeasured` fires where nothing at all could be judged. The two signals take missing data as the fault itself.
METRICS = (
    MonitorMetric("drift", "a feature has moved further than chance explains", Plot.DRIFT, MonitorAlarm.DRIFT),
    MonitorMetric(
        "score_drift", "the model's scores have moved further than chance explains", Plot.DRIFT,
        MonitorAlarm.SCORE_DRIFT,
    ),
    MonitorMetric("skew", "served features differ from those of the same rows in training", Plot.DRIFT,
                  MonitorAlarm.SKEW),
    MonitorMetric("quality", "the model that serves is worse than registered", Plot.QUALITY, MonitorAlarm.QUALITY),
    MonitorMetric(
        "calibration", "outcomes do not fit the probabilities of the model that serves", Plot.QUALITY,
        MonitorAlarm.CALIBRATION, problems=_BINARY,
    ),
    MonitorMetric("labels", "fewer outcomes arrive than expected", Plot.LABELS, MonitorAlarm.LABELS),
    MonitorMetric("freshness", "a feature table has no new rows", Plot.LABELS, MonitorAlarm.FRESHNESS,
                  needs_tables=True),
    MonitorMetric("volume", "a day has fewer or more rows than its weekday", Plot.TRAFFIC, MonitorAlarm.VOLUME),
    MonitorMetric("refusals", "requests are refused as invalid", Plot.TRAFFIC, MonitorAlarm.REFUSALS),
    MonitorMetric("capture", "answered requests are not captured", Plot.TRAFFIC, MonitorAlarm.CAPTURE),
    MonitorMetric("clock", "rows have a time that is not theirs", Plot.TRAFFIC, MonitorAlarm.CLOCK),
    MonitorMetric(
        "measured", "the monitor could not judge what was served", None, MonitorAlarm.UNMEASURED,
        is_signal=True,
    ),
    MonitorMetric("heartbeat", "the monitor has not run", None, MonitorAlarm.HEARTBEAT, is_signal=True),
    MonitorMetric("ece", "the debiased expected calibration error", Plot.METRICS, problems=_BINARY),
    MonitorMetric("brier", "the mean squared error of the probability", Plot.METRICS, problems=_BINARY),
    MonitorMetric("mae", "the mean absolute error", Plot.METRICS, problems=(Problem.REGRESSION,)),
    MonitorMetric("rows", "rows served in the window", Plot.ROWS),
    MonitorMetric("label_coverage", "the share of served rows whose outcome has arrived", Plot.ROWS),
)  # fmt: skip


class Page(StrEnum):
    """The composite alarms that tell people: one for each kind of cause, so that one cause is told once."""

    SILENCE = "silence"
    DATA = "data"
    MODEL = "model"


#: The alarm that cannot be snoozed: its page must notify when the monitor, which knows what is snoozed, does not run.
NEVER_SNOOZED = MonitorAlarm.HEARTBEAT

#: Page → the alarms of which any raises it, and the page that keeps it silent: wrong data make every model look wrong.
PAGES: Mapping[Page, tuple[tuple[MonitorAlarm, ...], Page | None]] = {
    Page.SILENCE: (
        (MonitorAlarm.HEARTBEAT, MonitorAlarm.UNMEASURED, MonitorAlarm.CAPTURE, MonitorAlarm.LABELS), None,
    ),
    Page.DATA: (
        (
            MonitorAlarm.SKEW, MonitorAlarm.CLOCK, MonitorAlarm.FRESHNESS, MonitorAlarm.REFUSALS, MonitorAlarm.VOLUME,
            MonitorAlarm.DRIFT,
        ),
        None,
    ),
    Page.MODEL: ((MonitorAlarm.QUALITY, MonitorAlarm.CALIBRATION, MonitorAlarm.SCORE_DRIFT), Page.DATA),
}  # fmt: skip


def name_snooze(page: Page) -> str:
    """Return the name of the metric, and the kind of the alarm, that keep a page from notifying while it is snoozed.

    The monitor publishes the metric, as 1, only while a person has snoozed every alarm of the page that is beyond its
    threshold. Where it publishes none, the page notifies.

    Args:
        page: The page.
    """
    return f"{page.value}-snoozed"


def list_metrics(problem: Problem, *, has_tables: bool) -> list[MonitorMetric]:
    """Return the metrics of a use case; one whose alarm is off is published all the same.

    Args:
        problem: Its problem type.
        has_tables: Whether it has feature tables.
    """
    return [metric for metric in METRICS if metric.is_of(problem, has_tables=has_tables)]


def list_alarms(problem: Problem, *, has_tables: bool, off: Collection[str] = ()) -> list[MonitorMetric]:
    """Return the metrics of a use case that have an alarm.

    Args:
        problem: Its problem type.
        has_tables: Whether it has feature tables.
        off: Alarms that it switches off.
    """
    found = list_metrics(problem, has_tables=has_tables)
    return [metric for metric in found if metric.alarm is not None and metric.alarm not in off]


def list_pages(alarms: Collection[str]) -> dict[Page, tuple[list[MonitorAlarm], Page | None]]:
    """Return the pages of a use case: of each, the alarms that raise it and the page that keeps it silent.

    Args:
        alarms: The alarms that the use case has; a page without any does not exist.
    """
    found = dict[Page, tuple[list[MonitorAlarm], Page | None]]()
    for page, (causes, silencing) in PAGES.items():
        if there := [cause for cause in causes if cause in alarms]:
            found[page] = (there, silencing if silencing in found else None)
    return found
