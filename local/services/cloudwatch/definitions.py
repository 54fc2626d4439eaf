"""Checks of alarms and metric data when they are put, so that invalid ones are refused instead of silently ignored."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from local.core.identity import ACCOUNT
from local.errors import LocalError
from local.services.cloudwatch.evaluation import (
    COMPARISONS,
    INSUFFICIENT,
    RefusedError,
    UnsupportedError,
    calculate,
    evaluate_rule,
    get_statistic,
)

_HIGH_RESOLUTION = (10, 20, 30)
_MISSING = ("breaching", "notBreaching", "ignore", "missing")
_ACTIONS = {
    "alarm_actions": "AlarmActions",
    "ok_actions": "OKActions",
    "insufficient_data_actions": "InsufficientDataActions",
}

#: CloudWatch's limits: the largest number, the values in one datum, and how far back or ahead a timestamp may be.
_LARGEST = 2.0**360
_VALUES = 150
_BACK, _AHEAD = dt.timedelta(weeks=2), dt.timedelta(hours=2)


class DefinitionError(LocalError, ValueError):
    """An alarm that CloudWatch would refuse, or that this cloud cannot evaluate."""


def check_alarm(params: Mapping[str, Any], existing: Collection[str]) -> None:
    """Check the definition of an alarm.

    Args:
        params: The parameters of moto's ``put_metric_alarm``.
        existing: Names of the alarms of the region.

    Raises:
        DefinitionError: CloudWatch would refuse the alarm, or this cloud cannot evaluate it.
    """
    try:
        _actions(params)
        if params.get("rule") is not None:
            _composite(params["rule"], existing)
        else:
            _metric(params)
    except UnsupportedError as error:
        raise DefinitionError(f"not available in the local cloud: {error}") from error


def _actions(params: Mapping[str, Any]) -> None:
    for member, name in _ACTIONS.items():
        for action in params.get(member) or []:
            if not re.fullmatch(r"arn:aws[a-z-]*:[a-z0-9-]+:[^:\s]*:[^:\s]*:\S+", action):
                raise DefinitionError(f"{name} '{action}' is not an ARN")
            if not re.fullmatch(rf"arn:aws[a-z-]*:sns:[a-z0-9-]+:{ACCOUNT}:[^:\s]+", action):
                raise UnsupportedError(f"{name} '{action}'; available: SNS topics of the account {ACCOUNT}")


def _composite(rule: str, existing: Collection[str]) -> None:
    missing: set[str] = set()

    def state_of(name: str) -> str:
        short = name.rpartition(":alarm:")[2]
        if short not in existing:
            missing.add(short)
        return INSUFFICIENT

    evaluate_rule(rule, state_of)
    if missing:
        listed = ", ".join(sorted(missing))
        raise DefinitionError(f"Could not save the composite alarm as alarms [{listed}] in the alarm rule do not exist")


def check_suppressor(name: str, given: Mapping[str, Any], existing: Collection[str]) -> None:
    """Check the suppressor of a composite alarm's actions.

    Args:
        name: The composite alarm.
        given: The suppressor and its two periods, by attribute; None where a parameter was not sent.
        existing: Names of the alarms of the region.

    Raises:
        DefinitionError: CloudWatch would refuse it.
    """
    suppressor, wait, extension = given.values()
    if suppressor is None:
        if wait is not None or extension is not None:
            raise DefinitionError("ActionsSuppressorWaitPeriod and ExtensionPeriod need an ActionsSuppressor")
        return
    if wait is None or extension is None:
        raise DefinitionError(
            "ActionsSuppressor needs ActionsSuppressorWaitPeriod and ActionsSuppressorExtensionPeriod"
        )
    if suppressor.rpartition(":alarm:")[2] not in set(existing) - {name}:
        raise DefinitionError(f"Could not save the composite alarm as its suppressor {suppressor} does not exist")


#: Parameters of an alarm on a single metric, which exclude Metrics.
_ONE_METRIC = ("metric_name", "namespace", "period", "statistic", "extended_statistic", "dimensions", "unit")
_HOUR, _DAY, _WEEK = 3600, 86_400, 604_800


def _metric(params: Mapping[str, Any]) -> None:
    operator = params.get("comparison_operator")
    if params.get("threshold_metric_id") or operator not in COMPARISONS:
        raise UnsupportedError(f"ComparisonOperator {operator}; available: {', '.join(COMPARISONS)}")
    if params.get("threshold") is None:
        raise DefinitionError("Threshold is required")
    if not math.isfinite(float(params["threshold"])):
        raise DefinitionError(f"Threshold {params['threshold']} must be a finite number")
    treatment = params.get("treat_missing_data")
    if treatment is not None and treatment not in _MISSING:
        raise DefinitionError(f"TreatMissingData '{treatment}' must be one of {', '.join(_MISSING)}")
    if params.get("evaluate_low_sample_count_percentile") == "ignore":
        raise UnsupportedError("EvaluateLowSampleCountPercentile ignore; available: evaluate")
    periods, needed = params.get("evaluation_periods"), params.get("datapoints_to_alarm")
    if periods is None:
        raise DefinitionError("EvaluationPeriods is required")
    if needed is not None and int(needed) > int(periods):
        raise DefinitionError(f"DatapointsToAlarm {needed} must not be greater than EvaluationPeriods {periods}")
    if params.get("metric_data_queries"):
        if both := [name for name in _ONE_METRIC if params.get(name) is not None and params.get(name) != []]:
            named = ", ".join(each.title().replace("_", "") for each in both)
            raise DefinitionError(f"{named} cannot be given together with Metrics")
        _queries(params["metric_data_queries"])
        spans = [query.metric_stat.period for query in params["metric_data_queries"] if query.metric_stat is not None]
        _look_back(max(map(int, spans), default=60), int(periods))
        return
    for name in ("namespace", "metric_name", "period"):
        if params.get(name) is None:
            raise DefinitionError(f"{name.title().replace('_', '')} is required where there are no Metrics")
    _period(params["period"])
    _look_back(int(params["period"]), int(periods))
    given = [params[name] for name in ("statistic", "extended_statistic") if params.get(name)]
    if len(given) != 1:
        raise DefinitionError(f"one of Statistic and ExtendedStatistic is required, got {len(given)}")
    get_statistic(given[0])


def _look_back(period: int, periods: int) -> None:
    """Refuse an alarm whose evaluation range is over a week, or over a day with a period under an hour."""
    longest = _WEEK if period >= _HOUR else _DAY
    if period * periods > longest:
        raise DefinitionError(
            f"Metrics cannot be checked across more than {longest // _DAY} day(s) ({longest} seconds) with a period of "
            f"{period} seconds: EvaluationPeriods {periods} makes {period * periods}"
        )


def _queries(queries: Sequence[Any]) -> None:
    answers = [query.id for query in queries if is_watched(query)]
    if len(answers) != 1:
        raise DefinitionError(f"exactly one of Metrics must have ReturnData true, got {', '.join(answers) or 'none'}")
    names = [query.id for query in queries]
    for query in queries:
        if not re.fullmatch(r"[a-z]\w*", query.id or "") or names.count(query.id) > 1:
            raise DefinitionError(f"the Id '{query.id}' must start with a small letter and be there once")
        if (query.metric_stat is None) is (not query.expression):
            raise DefinitionError(f"the metric '{query.id}' needs either MetricStat or Expression")
        if query.metric_stat is not None:
            _period(query.metric_stat.period)
            get_statistic(query.metric_stat.stat)
    points: dict[str, list[float | None]] = {query.id: [1.0] for query in queries if query.metric_stat is not None}
    evaluate_expressions(queries, points, 1)


def is_watched(query: Any) -> bool:
    """Return True if the alarm watches the query's result."""
    return query.return_data is None or str(query.return_data).lower() == "true"


def evaluate_expressions(queries: Sequence[Any], found: dict[str, list[float | None]], number: int) -> None:
    """Compute the queries that are expressions, each after those that it depends on.

    Args:
        queries: All queries of the alarm.
        found: The points of each computed query by its id; the expressions' points are added.
        number: The number of points of each query.

    Raises:
        UnsupportedError: An expression uses what this cloud lacks, or expressions depend on each other in a circle.
    """
    left = [query for query in queries if query.metric_stat is None]
    while left:
        failed = []
        for query in left:
            try:
                found[query.id] = calculate(query.expression, found, number)
            except UnsupportedError as error:
                failed.append((query, error))
        if len(failed) == len(left):
            raise failed[0][1]
        left = [query for query, _ in failed]


def _period(period: Any) -> None:
    seconds = int(period)
    if seconds not in _HIGH_RESOLUTION and (seconds < 60 or seconds % 60):
        raise DefinitionError(f"Period {seconds} must be 10, 20, 30 or a multiple of 60")


# -- data ------------------------------------------------------------------------------------------------------------


def check_data(namespace: str, data: Sequence[Mapping[str, Any]], *, ours: bool) -> None:
    """Check metric data that are being put.

    Args:
        namespace: The namespace of the data.
        data: MetricData in the API's form.
        ours: Whether the cloud itself puts them; only it may use AWS's own namespaces.

    Raises:
        RefusedError: CloudWatch would refuse the namespace or a datum; the message names the first problem.
    """
    if namespace.startswith("AWS/") and not ours:
        raise RefusedError("InvalidParameterValue", "The value AWS/ for parameter Namespace is invalid.")
    now = dt.datetime.now(dt.UTC)
    for number, datum in enumerate(data, 1):
        _datum(f"MetricData.member.{number}", datum)
        if datum.get("Timestamp") is not None:
            _timestamp(f"MetricData.member.{number}.Timestamp", datum["Timestamp"], now)


def _datum(place: str, datum: Mapping[str, Any]) -> None:
    given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) not in (None, [], {})]
    if not given:
        message = f"One of {place}.Value, {place}.Values and {place}.StatisticValues must be specified."
        raise RefusedError("MissingParameter", message)
    if len(given) > 1:
        listed = " and ".join(f"{place}.{name}" for name in given)
        message = f"The parameters {listed} are mutually exclusive and you have specified more than one."
        raise RefusedError("InvalidParameterCombination", message)
    if "Value" in given:
        _number(f"{place}.Value", datum["Value"])
    for name, value in (datum.get("StatisticValues") or {}).items():
        _number(f"{place}.StatisticValues.{name}", value)
    values, counts = datum.get("Values") or [], datum.get("Counts") or []
    if len(values) > _VALUES:
        message = f"The collection {place}.Values must not have a size greater than {_VALUES}, got {len(values)}."
        raise RefusedError("InvalidParameterValue", message)
    if counts and len(counts) != len(values):
        message = f"The parameters {place}.Values and {place}.Counts must be of the same size."
        raise RefusedError("InvalidParameterValue", message)
    for value in values:
        _number(f"{place}.Values", value)
    for count in counts:
        _number(f"{place}.Counts", count, least=0.0)


def _number(place: str, value: Any, least: float = -_LARGEST) -> None:
    if not math.isfinite(value) or not least <= value <= _LARGEST:
        raise RefusedError("InvalidParameterValue", f"The value {value} for parameter {place} is invalid.")


def _timestamp(place: str, given: dt.datetime, now: dt.datetime) -> None:
    at = given if given.tzinfo else given.replace(tzinfo=dt.UTC)
    if at < now - _BACK:
        wanted = "a time within the past two weeks"
    elif at > now + _AHEAD:
        wanted = "a time no more than two hours in the future"
    else:
        return
    raise RefusedError("InvalidParameterValue", f"The parameter {place} must specify {wanted}, got {at.isoformat()}.")
