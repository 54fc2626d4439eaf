"""CloudWatch alarms, evaluated once a minute of the cloud's time; changes are announced within half a second.

Each change of state, by evaluation or by ``SetAlarmState``, emits one "CloudWatch Alarm State Change" event and runs
the alarm's actions for the new state. The store keeps what was last announced. Periods run on the cloud's clock while
timestamps are real: a period of P seconds covers P divided by the clock's scale, in real seconds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.context import Cloud
from local.core.identity import ACCOUNT
from local.services.cloudwatch import definitions, metric_retention, metrics, mounted, queue_metrics
from local.services.cloudwatch.evaluation import (
    ALARM,
    COMPARISONS,
    EXTRA_PERIODS,
    INSUFFICIENT,
    OK,
    Point,
    aggregate,
    decide_state,
    evaluate_rule,
)
from local.services.cloudwatch.suppression import Suppression

log = logging.getLogger(__name__)

#: The kind under which the store keeps what was last announced of each alarm.
_ANNOUNCED = "alarm-state"

#: Real seconds between two checks of the states, and the minimum between two evaluations of one alarm.
_LOOK = 0.25
_LEAST = 1.0

#: Seconds of the cloud's time between two evaluations.
_EVERY, _EVERY_HIGH_RESOLUTION = 60.0, 10.0

_ACTIONS = {OK: "ok_actions", ALARM: "alarm_actions", INSUFFICIENT: "insufficient_data_actions"}


def start(cloud: Cloud) -> None:
    """Start the worker, which first announces changes that were not announced before a restart.

    Args:
        cloud: The cloud whose alarms are evaluated; its scale determines how long metrics are kept.
    """
    mounted.install_corrections()
    metric_retention.install_retention(cloud.clock.scale)
    cloud.spawn("alarms", Alarms(cloud).run)


class Alarms:
    """The worker that evaluates every alarm of the cloud and announces its changes of state."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._index = metrics.MetricIndex()
        self._queues = queue_metrics.QueueMetrics(cloud)
        self._suppression = Suppression(cloud)
        self._due: dict[str, float] = {}
        self._announced: dict[str, dict[str, Any]] = {known["arn"]: known for known in cloud.store.list(_ANNOUNCED)}

    def run(self) -> None:
        """Evaluate and announce until the cloud stops."""
        while True:
            alarms = list(mounted.list_alarms())
            # A state set by a client is announced before an evaluation can change it again.
            for region, alarm in alarms:
                with _logged(alarm):
                    self._announce(region, alarm)
            self._run_released_actions(alarms)
            self._queues.publish(alarms)
            self._evaluate(alarms)
            for gone in self._announced.keys() - {alarm.alarm_arn for _, alarm in alarms}:
                self._due.pop(gone, None)
                self._cloud.store.delete(_ANNOUNCED, self._announced.pop(gone)["region"], gone)
            if self._cloud.stopping.wait(_LOOK):
                return

    # -- evaluation --------------------------------------------------------------------------------------------------

    def _evaluate(self, alarms: Sequence[tuple[str, Any]]) -> None:
        now = time.time()
        due = []
        for region, alarm in alarms:
            if alarm.alarm_arn not in self._due:
                self._postpone(alarm)
            elif now >= self._due[alarm.alarm_arn]:
                self._postpone(alarm)
                due.append((region, alarm))
        for region in {region for region, alarm in due if alarm.rule is None}:
            self._index.refresh(region)
        for region, alarm in due:
            if alarm.rule is None:
                with _logged(alarm):
                    self._change(region, alarm, *self._judge(region, alarm, now))
        states = {(region, alarm.name): alarm.state_value for region, alarm in alarms}
        for region, alarm in alarms:
            if alarm.rule is not None:
                with _logged(alarm):
                    self._change(region, alarm, *_judge_composite(region, alarm, states))

    def _postpone(self, alarm: Any) -> None:
        self._due[alarm.alarm_arn] = time.time() + max(_LEAST, self._cloud.clock.to_real_seconds(_interval(alarm)))

    def _judge(self, region: str, alarm: Any, now: float) -> tuple[str, str, str]:
        """Return the state, the reason and the reason data of a metric alarm."""
        period, points = _period(alarm), self._points(region, alarm, now)
        compare, words = COMPARISONS[alarm.comparison_operator]
        threshold, periods = float(alarm.threshold), int(alarm.evaluation_periods)
        needed = int(alarm.datapoints_to_alarm or periods)
        breaches = [None if point is None else compare(point, threshold) for point in points]
        state = decide_state(
            breaches,
            periods=periods,
            needed=needed,
            missing=alarm.treat_missing_data or "missing",
            current=alarm.state_value,
        )
        width = self._cloud.clock.to_real_seconds(period)
        real = [(point, now - (len(points) - place) * width) for place, point in enumerate(points) if point is not None]
        return state, *_reason(alarm, state, real[-periods:], words, period, needed)

    def _points(self, region: str, alarm: Any, now: float) -> list[Point]:
        """Return the points of the alarm's whole evaluation range, oldest first."""
        number = int(alarm.evaluation_periods) + EXTRA_PERIODS
        if not alarm.metric_data_queries:
            return self._window(region, alarm, alarm.statistic or alarm.extended_statistic, now, number)
        found = {
            query.id: self._window(region, query.metric_stat, query.metric_stat.stat, now, number)
            for query in alarm.metric_data_queries
            if query.metric_stat is not None
        }
        definitions.evaluate_expressions(alarm.metric_data_queries, found, number)
        return found[next(query.id for query in alarm.metric_data_queries if definitions.is_watched(query))]

    def _window(self, region: str, source: Any, statistic: str, now: float, number: int) -> list[Point]:
        width = self._cloud.clock.to_real_seconds(float(source.period))
        samples = self._index.list_since(region, metrics.make_source_key(source), now - number * width)
        kept = [sample for sample in samples if not source.unit or sample.unit == source.unit]
        return aggregate(kept, statistic, until=now, width=width, number=number)

    def _change(self, region: str, alarm: Any, state: str, reason: str, data: str) -> None:
        if state == alarm.state_value:
            return
        try:
            self._cloud.client("cloudwatch", region).set_alarm_state(
                AlarmName=alarm.name, StateValue=state, StateReason=reason, StateReasonData=data
            )
        except (ClientError, BotoCoreError) as error:
            log.warning("alarm %s could not be set to %s: %s", alarm.name, state, error)

    # -- announcement ------------------------------------------------------------------------------------------------

    def _announce(self, region: str, alarm: Any) -> None:
        """Announce every change of state that was not announced yet, including several since the last check."""
        known, states = self._announced.get(alarm.alarm_arn), _states(alarm)
        last, first = len(states) - 1, 0
        if known is not None and known["incarnation"] == alarm.incarnation:
            # After a kill, the restored alarm may be older than its last announcement.
            first = min(known["updates"], last)
            if known["updates"] == last:
                return
        known = {"arn": alarm.alarm_arn, "region": region, "incarnation": alarm.incarnation, "updates": last}
        with self._cloud.store.transaction():
            for before, state in itertools.pairwise(states[first:]):
                if before["value"] != state["value"]:
                    self._tell(region, alarm, before, state)
            self._cloud.store.put(_ANNOUNCED, region, alarm.alarm_arn, known)
        self._announced[alarm.alarm_arn] = known
        if last > first:
            self._postpone(alarm)

    def _tell(self, region: str, alarm: Any, before: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        self._cloud.events.emit(
            detail_type="CloudWatch Alarm State Change",
            resources=[alarm.alarm_arn],
            detail={
                "alarmName": alarm.name,
                "configuration": _configuration(alarm),
                "previousState": before,
                "state": state,
            },
            region=region,
            source="aws.cloudwatch",
        )
        has_actions = alarm.actions_enabled and bool(getattr(alarm, _ACTIONS[state["value"]]))
        if not self._suppression.hold(region, alarm, before["value"], state, has_actions=has_actions) and has_actions:
            self._act(region, alarm, before["value"], state)

    def _run_released_actions(self, alarms: Sequence[tuple[str, Any]]) -> None:
        for region, alarm, before, state in self._suppression.release(alarms):
            with _logged(alarm):
                if alarm.actions_enabled:
                    self._act(region, alarm, before, state)

    def _act(self, region: str, alarm: Any, before: str, state: Mapping[str, Any]) -> None:
        for action in getattr(alarm, _ACTIONS[state["value"]]) or []:
            if action.split(":")[2:3] != ["sns"]:
                log.warning("alarm %s: the action %s is not available in the local cloud", alarm.name, action)
                continue
            self._cloud.events.deliver(
                region=region,
                sender=alarm.alarm_arn,
                target={"Arn": action},
                payload=json.dumps(_notification(region, alarm, before, state)),
                principal="cloudwatch.amazonaws.com",
                subject=f'{state["value"]}: "{alarm.name}" in {region}'[:100],
            )


@contextlib.contextmanager
def _logged(alarm: Any) -> Iterator[None]:
    """Log an unexpected error instead of raising it, so that a bug with one alarm does not stop the others."""
    try:
        yield
    except Exception:
        log.exception("alarm %s", alarm.name)


# -- reading moto's alarms -------------------------------------------------------------------------------------------


def _period(alarm: Any) -> float:
    if not alarm.metric_data_queries:
        return float(alarm.period)
    periods = [
        float(query.metric_stat.period if query.metric_stat else query.period or 60)
        for query in alarm.metric_data_queries
    ]
    return max(periods)


def _interval(alarm: Any) -> float:
    if alarm.rule is not None:
        return _EVERY
    if _period(alarm) < 60:
        return _EVERY_HIGH_RESOLUTION
    # AWS evaluates alarms whose range is over a day only once an hour, which is too long to wait for locally.
    return _EVERY


# -- reasons and messages --------------------------------------------------------------------------------------------


def _reason(
    alarm: Any, state: str, real: Sequence[tuple[float, float]], words: str, period: float, needed: int
) -> tuple[str, str]:
    """Return the reason and its data in CloudWatch's wording.

    ``real`` holds the value and the time of each point that decided.
    """
    values = [value for value, _ in real]
    data = {
        "version": "1.0",
        "queryDate": _iso(time.time()),
        "statistic": alarm.statistic or alarm.extended_statistic,
        "period": int(period),
        "recentDatapoints": values,
        "threshold": float(alarm.threshold),
        "evaluatedDatapoints": [{"timestamp": _iso(at), "value": value} for value, at in reversed(real)],
    }
    if not real:
        reason = "Insufficient Data: no datapoints were received."
        if state != INSUFFICIENT:
            treated = "breaching" if state == ALARM else "non-breaching"
            reason = (
                f"Threshold Crossed: no datapoints were received for {alarm.evaluation_periods} period(s) and "
                f"{alarm.evaluation_periods} missing datapoint(s) were treated as [{treated.title()}]."
            )
        return reason, json.dumps(data)
    listed = ", ".join(
        f"{value} ({dt.datetime.fromtimestamp(at, dt.UTC):%d/%m/%y %H:%M:%S})" for value, at in reversed(real)
    )
    verb = "was" if len(values) == 1 else "were"
    negation = "" if state == ALARM else "not "
    transition = f"minimum {needed} datapoint{'s' if needed > 1 else ''} for OK -> ALARM transition"
    reason = (
        f"Threshold Crossed: {len(values)} out of the last {alarm.evaluation_periods} datapoints [{listed}] {verb} "
        f"{negation}{words} the threshold ({float(alarm.threshold)}) ({transition})."
    )
    return reason[:1023], json.dumps(data)


def _judge_composite(region: str, alarm: Any, states: Mapping[tuple[str, str], str]) -> tuple[str, str, str]:
    unknown: list[str] = []

    def state_of(name: str) -> str:
        short = name.rpartition(":alarm:")[2]
        if (region, short) not in states:
            unknown.append(short)
        return states.get((region, short), INSUFFICIENT)

    holds = evaluate_rule(alarm.rule, state_of)
    if unknown:
        return INSUFFICIENT, f"Insufficient Data: no alarm is named {', '.join(unknown)}.", "{}"
    state = ALARM if holds else OK
    return state, f"{alarm.alarm_arn} transitioned to {state}: {alarm.rule}"[:1023], "{}"


def _iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def _states(alarm: Any) -> list[dict[str, Any]]:
    """Return every state that the alarm has been in, the current one last."""
    now = (alarm.state_reason, alarm.state_reason_data, alarm.state_value, alarm.state_updated_timestamp)
    states = []
    for reason, data, value, updated in [*(former[1:] for former in alarm.history), now]:
        state = {"value": value, "reason": reason, "timestamp": _iso(updated.replace(tzinfo=dt.UTC).timestamp())}
        states.append({**state, "reasonData": data} if data else state)
    return states


def _configuration(alarm: Any) -> dict[str, Any]:
    if alarm.rule is not None:
        return {"alarmRule": alarm.rule}
    if not alarm.metric_data_queries:
        queries = [("m1", True, None, alarm, alarm.statistic or alarm.extended_statistic, alarm)]
    else:
        queries = [
            (query.id, definitions.is_watched(query), query.expression, query.metric_stat, None, None)
            for query in alarm.metric_data_queries
        ]
    listed = []
    for name, returns, expression, stat, statistic, simple in queries:
        metric: dict[str, Any] = {"id": name, "returnData": returns}
        if expression:
            metric["expression"] = expression
        else:
            source = simple or stat.metric
            metric["metricStat"] = {
                "period": int(stat.period),
                "stat": statistic or stat.stat,
                "metric": {
                    "namespace": source.namespace,
                    "name": source.metric_name,
                    "dimensions": dict(metrics.sort_dimensions(source.dimensions)),
                },
            }
        listed.append(metric)
    return {"metrics": listed, **({"description": alarm.description} if alarm.description else {})}


def _notification(region: str, alarm: Any, before: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message for an SNS topic."""
    message = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": ACCOUNT,
        "NewStateValue": state["value"],
        "NewStateReason": state["reason"],
        "StateChangeTime": state["timestamp"],
        "Region": region,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": before,
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
    }
    if alarm.rule is not None:
        return {**message, "AlarmRule": alarm.rule}
    trigger = {
        "MetricName": alarm.metric_name,
        "Namespace": alarm.namespace,
        "Statistic": alarm.statistic or alarm.extended_statistic,
        "Unit": alarm.unit,
        "Dimensions": [{"name": name, "value": value} for name, value in metrics.sort_dimensions(alarm.dimensions)],
        "Period": alarm.period and int(alarm.period),
        "EvaluationPeriods": int(alarm.evaluation_periods),
        "ComparisonOperator": alarm.comparison_operator,
        "Threshold": float(alarm.threshold),
        "TreatMissingData": alarm.treat_missing_data or "missing",
    }
    return {**message, "Trigger": {name: value for name, value in trigger.items() if value is not None}}
