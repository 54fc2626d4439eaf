"""Schedules: rules with a schedule expression, and EventBridge Scheduler's schedules.

Both run on the cloud's time: with a faster clock, each schedule's time starts at the real time at which it was created
or changed, and runs faster from there, also while the cloud is down. Missed runs are made up by one run, however many
were missed; this differs from AWS, because a local machine may sleep at night.
"""

from __future__ import annotations

import json
import logging
import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.event_bus import create_event, format_timestamp
from local.services.eventbridge import expressions
from local.services.eventbridge.mounted import install_corrections as correct_rules
from local.services.eventbridge.mounted import list_scheduled_rules
from local.services.scheduler import mounted

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: The kind under which the store keeps when each schedule is due.
_DUE = "schedule-due"

#: Real seconds between two checks.
_LOOK = 0.25


def start(cloud: Cloud) -> None:
    """Start the worker.

    Args:
        cloud: The cloud whose schedules and scheduled rules run until it stops.
    """
    correct_rules()
    mounted.install_corrections()
    cloud.spawn("schedules", Schedules(cloud).run)


@dataclass(frozen=True)
class Entry:
    """The timing of one schedule or scheduled rule.

    Attributes:
        source: moto's object.
        at_once: Whether the first run of a rate is now rather than an interval from now.
        window: How late a run may be, in seconds.
    """

    arn: str
    region: str
    source: Any
    expression: str
    zone: str = "UTC"
    at_once: bool = False
    start: float | None = None
    end: float | None = None
    window: float = 0.0

    @property
    def timing(self) -> str:
        """A text that identifies the timing; when it changes, the schedule starts again."""
        return json.dumps([self.expression, self.zone, self.start, self.end, self.window])


class Schedules:
    """The worker that runs every schedule; when each is due is kept in the store."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._due: dict[str, dict[str, Any]] = {entry["arn"]: entry for entry in cloud.store.list(_DUE)}

    def _now(self, origin: float) -> float:
        """Return the cloud's time in epoch seconds, for a schedule that started at ``origin``."""
        return origin + (self._cloud.clock.now() - origin) * self._cloud.clock.scale

    def run(self) -> None:
        """Check every schedule until the cloud stops."""
        while not self._cloud.stopping.wait(_LOOK):
            seen = set()
            for entry in _entries():
                seen.add(entry.arn)
                try:
                    self._look(entry)
                except Exception:
                    # A schedule that causes an unexpected error must not stop the others.
                    log.exception("schedule %s", entry.arn)
            for gone in self._due.keys() - seen:
                self._cloud.store.delete(_DUE, self._due.pop(gone)["region"], gone)

    def _look(self, entry: Entry) -> None:
        known = self._due.get(entry.arn)
        fresh = known is None or known["timing"] != entry.timing
        if known is None or fresh or known["scale"] != self._cloud.clock.scale:
            # At another scale the time starts again, too, but a rate does not run at once again.
            origin = self._cloud.clock.now()
            self._keep(entry, origin, self._first(entry, origin, fresh=fresh))
            return
        now = self._now(known["origin"])
        if known["due"] is None or known["due"] > now:
            return
        following = self._following(entry, known["nominal"], now)
        with self._cloud.store.transaction():
            if entry.end is None or known["nominal"] <= entry.end:
                _fire(self._cloud, entry, known["nominal"])
            self._keep(entry, known["origin"], following)
        if following is None:
            self._complete(entry)

    def _first(self, entry: Entry, now: float, *, fresh: bool) -> float | None:
        expression = _parsed(entry)
        if expression is None:
            return None
        begin = max(now, entry.start or now)
        if isinstance(expression, expressions.Rate) and fresh and entry.at_once:
            return begin
        return _within(entry, expression.next(begin))

    def _following(self, entry: Entry, nominal: float, now: float) -> float | None:
        """Return the next run after ``nominal`` that is still possible, even if late within its window."""
        expression = _parsed(entry)
        if expression is None:
            return None
        if isinstance(expression, expressions.Rate):
            missed = max(0.0, now - entry.window - nominal) // expression.seconds
            return _within(entry, nominal + (missed + 1) * expression.seconds)
        return _within(entry, expression.next(max(nominal, now - entry.window)))

    def _keep(self, entry: Entry, origin: float, nominal: float | None) -> None:
        due = None if nominal is None else nominal + random.uniform(0.0, entry.window)
        known = {
            "arn": entry.arn,
            "region": entry.region,
            "timing": entry.timing,
            "origin": origin,
            "scale": self._cloud.clock.scale,
            "nominal": nominal,
            "due": due,
        }
        self._cloud.store.put(_DUE, entry.region, entry.arn, known)
        self._due[entry.arn] = known

    def _complete(self, entry: Entry) -> None:
        """Delete a schedule without further runs if its ActionAfterCompletion is DELETE."""
        if getattr(entry.source, "action_after_completion", None) != "DELETE":
            return
        try:
            self._cloud.client("scheduler", entry.region).delete_schedule(
                Name=entry.source.name, GroupName=entry.source.group_name
            )
        except (ClientError, BotoCoreError) as error:
            log.warning("%s is complete and could not be deleted: %s", entry.arn, error)


def _entries() -> Iterator[Entry]:
    for region, rule in list_scheduled_rules():
        yield Entry(rule.arn, region, rule, rule.scheduled_expression)
    for region, schedule in mounted.list_schedules():
        window = schedule.flexible_time_window.get("MaximumWindowInMinutes") or 0
        yield Entry(
            schedule.arn,
            region,
            schedule,
            schedule.schedule_expression,
            zone=schedule.schedule_expression_timezone or "UTC",
            at_once=True,
            start=None if schedule.start_date is None else float(schedule.start_date),
            end=None if schedule.end_date is None else float(schedule.end_date),
            window=window * 60.0,
        )


def _parsed(entry: Entry) -> expressions.Expression | None:
    try:
        return expressions.parse(entry.expression, entry.zone, once=True)
    except expressions.ExpressionError as error:
        log.warning("%s never runs: %s", entry.arn, error)
        return None


def _within(entry: Entry, time: float | None) -> float | None:
    over = time is not None and entry.end is not None and time > entry.end
    return None if over else time


def _fire(cloud: Cloud, entry: Entry, nominal: float) -> None:
    if hasattr(entry.source, "targets"):
        event = create_event("aws.events", "Scheduled Event", [entry.arn], {}, entry.region, nominal)
        for target in list(entry.source.targets):
            cloud.events.deliver(region=entry.region, sender=entry.arn, target=target, payload=event)
        return
    cloud.events.deliver(
        region=entry.region,
        sender=entry.arn,
        target=_filled(entry.source.target, entry.arn, nominal),
        payload="{}",
        principal="scheduler.amazonaws.com",
    )


def _filled(target: Mapping[str, Any], arn: str, nominal: float) -> dict[str, Any]:
    """Return the target with the context attributes of this run filled in."""
    text = json.dumps(target)
    for name, value in (
        ("schedule-arn", arn), ("scheduled-time", format_timestamp(nominal)), ("execution-id", str(uuid.uuid4())),
    ):  # fmt: skip
        text = text.replace(f"<aws.scheduler.{name}>", value)
    filled: dict[str, Any] = json.loads(text)
    return filled
