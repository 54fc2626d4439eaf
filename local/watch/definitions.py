"""What an alarm may say: refused when it is put, rather than never heard of again."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from local.watch.evaluation import COMPARISONS, INSUFFICIENT, UnsupportedError, calculate, compose, statistic

_HIGH_RESOLUTION = (10, 20, 30)


class DefinitionError(ValueError):
    """An alarm that CloudWatch would refuse, or that this cloud cannot evaluate."""


def check(params: Mapping[str, Any], existing: Collection[str]) -> None:
    """Check an alarm.

    Args:
        params: As moto's ``put_metric_alarm`` has them.
        existing: Names of the alarms of the region.

    Raises:
        DefinitionError: Says what is wrong.
    """
    try:
        if params.get("rule") is not None:
            _composite(params["rule"], existing)
        else:
            _metric(params)
    except UnsupportedError as error:
        raise DefinitionError(f"not available in the local cloud: {error}") from error


def _composite(rule: str, existing: Collection[str]) -> None:
    missing: set[str] = set()

    def state_of(name: str) -> str:
        short = name.rpartition(":alarm:")[2]
        if short not in existing:
            missing.add(short)
        return INSUFFICIENT

    compose(rule, state_of)
    if missing:
        listed = ", ".join(sorted(missing))
        raise DefinitionError(f"Could not save the composite alarm as alarms [{listed}] in the alarm rule do not exist")


def _metric(params: Mapping[str, Any]) -> None:
    operator = params.get("comparison_operator")
    if params.get("threshold_metric_id") or operator not in COMPARISONS:
        raise UnsupportedError(f"ComparisonOperator {operator}; available: {', '.join(COMPARISONS)}")
    if params.get("threshold") is None:
        raise DefinitionError("Threshold is required")
    if params.get("evaluate_low_sample_count_percentile") == "ignore":
        raise UnsupportedError("EvaluateLowSampleCountPercentile ignore; available: evaluate")
    periods, needed = params.get("evaluation_periods"), params.get("datapoints_to_alarm")
    if periods is None:
        raise DefinitionError("EvaluationPeriods is required")
    if needed is not None and int(needed) > int(periods):
        raise DefinitionError(f"DatapointsToAlarm {needed} must not be greater than EvaluationPeriods {periods}")
    if params.get("metric_data_queries"):
        _queries(params["metric_data_queries"])
        return
    for name in ("namespace", "metric_name", "period"):
        if params.get(name) is None:
            raise DefinitionError(f"{name.title().replace('_', '')} is required where there are no Metrics")
    _period(params["period"])
    given = [params[name] for name in ("statistic", "extended_statistic") if params.get(name)]
    if len(given) != 1:
        raise DefinitionError(f"one of Statistic and ExtendedStatistic is required, got {len(given)}")
    statistic(given[0])


def _queries(queries: Sequence[Any]) -> None:
    answers = [query.id for query in queries if returns(query)]
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
            statistic(query.metric_stat.stat)
    points: dict[str, list[float | None]] = {query.id: [1.0] for query in queries if query.metric_stat is not None}
    evaluate(queries, points, 1)


def returns(query: Any) -> bool:
    """Whether a query is the one that the alarm watches."""
    return query.return_data is None or str(query.return_data).lower() == "true"


def evaluate(queries: Sequence[Any], found: dict[str, list[float | None]], number: int) -> None:
    """Add the points of the queries that are expressions, each after those that it needs.

    Args:
        found: ``number`` points by the id of their query.

    Raises:
        UnsupportedError: When an expression uses what this cloud lacks, or they need one another in a circle.
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
