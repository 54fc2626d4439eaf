"""Alarm evaluation without a cloud: states from data points, statistics, metric math and composite rules.

Times are epoch seconds. A list of points runs from the oldest to the newest period; None is a missing point.
"""

from __future__ import annotations

import ast
import bisect
import itertools
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from local.errors import LocalError

Point = float | None

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"

#: Periods evaluated in addition to EvaluationPeriods, so that late or missing data need not decide the state.
EXTRA_PERIODS = 2

COMPARISONS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


class UnsupportedError(LocalError, ValueError):
    """A part of an alarm or a query that this cloud does not support."""


class RefusedError(LocalError, ValueError):
    """A request for or with metric data that CloudWatch would refuse.

    Attributes:
        code: CloudWatch's error code.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# -- state -----------------------------------------------------------------------------------------------------------


def decide_state(breaches: Sequence[bool | None], *, periods: int, needed: int, missing: str, current: str) -> str:
    """Return the state of an alarm, by the rules for M out of N data points and for missing data.

    With at least ``periods`` real points, the newest of them decide. Otherwise the missing ones are treated as
    ``missing`` says.

    Args:
        breaches: Whether each point of the whole evaluation range breaches; None where it is missing.
        periods: EvaluationPeriods, N.
        needed: DatapointsToAlarm, M.
        missing: TreatMissingData.
        current: The current state, which some cases keep.
    """
    real = [breach for breach in breaches if breach is not None]
    if len(real) >= periods:
        return ALARM if sum(real[-periods:]) >= needed else OK
    breaching = sum(real)
    if missing == "breaching":
        breaching += periods - len(real)
    if breaching >= needed:
        return ALARM
    if missing in ("breaching", "notBreaching"):
        return OK
    if not all(real):
        return OK
    if missing == "ignore":
        return current
    if not real:
        return INSUFFICIENT
    # Every real point breaches: alarm once the oldest of them is at least ``needed`` periods old.
    age = len(breaches) - breaches.index(True)
    return ALARM if age >= needed else current


# -- statistics ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sample:
    """One metric datum: a value, or the statistics of several.

    Attributes:
        single: Whether it is one value, possibly repeated; percentiles can be computed only then.
    """

    time: float
    count: float
    sum: float
    minimum: float
    maximum: float
    unit: str | None = None
    single: bool = True


def aggregate(samples: Sequence[Sample], name: str, *, until: float, width: float, number: int) -> list[Point]:
    """Return one point for each of ``number`` windows, the newest of which ends at ``until``.

    Args:
        samples: The metric data.
        name: The name of a statistic, see :func:`get_statistic`.
        until: The end of the newest window.
        width: The length of a window, seconds.
        number: The number of windows.
    """
    windows: list[list[Sample]] = [[] for _ in range(number)]
    for sample in samples:
        back = math.floor((until - sample.time) / width)
        if 0 <= back < number:
            windows[number - 1 - back].append(sample)
    compute = get_statistic(name)
    return [compute(window) if window else None for window in windows]


def divide_into_windows(samples: Sequence[Sample], *, start: float, width: float, number: int) -> list[list[Sample]]:
    """Return the samples of each of ``number`` windows of ``width`` seconds, the first of which begins at ``start``."""
    windows: list[list[Sample]] = [[] for _ in range(number)]
    for sample in samples:
        place = math.floor((sample.time - start) / width)
        if 0 <= place < number:
            windows[place].append(sample)
    return windows


def get_statistic(name: str) -> Callable[[list[Sample]], Point]:
    """Return the function that computes a statistic of the samples of one period.

    Raises:
        UnsupportedError: It is neither one of CloudWatch's five statistics nor a percentile such as p99.
    """
    if name in _STATISTICS:
        return _STATISTICS[name]
    match = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?|100)", name)
    if match is None:
        raise UnsupportedError(f"statistic {name}; available: {', '.join(_STATISTICS)} and percentiles such as p99")
    return lambda samples: _percentile(samples, float(match[1]))


def _percentile(samples: list[Sample], percent: float) -> Point:
    if not samples or not all(sample.single for sample in samples):
        return None
    ordered = sorted(samples, key=lambda sample: sample.minimum)
    # The value at index i of all sorted values is in the first sample whose cumulative count is more than i.
    ends = list(itertools.accumulate(sample.count for sample in ordered))
    place = max(ends[-1] - 1, 0) * percent / 100
    low, high = (
        ordered[min(bisect.bisect_right(ends, index), len(ends) - 1)].minimum
        for index in (math.floor(place), math.floor(place) + 1)
    )
    return low + (high - low) * (place - math.floor(place))


def _average(samples: list[Sample]) -> Point:
    count = sum(sample.count for sample in samples)
    return sum(sample.sum for sample in samples) / count if count else None


_STATISTICS: Mapping[str, Callable[[list[Sample]], Point]] = {
    "Average": _average,
    "Maximum": lambda samples: max(sample.maximum for sample in samples),
    "Minimum": lambda samples: min(sample.minimum for sample in samples),
    "SampleCount": lambda samples: sum(sample.count for sample in samples),
    "Sum": lambda samples: sum(sample.sum for sample in samples),
}


# -- metric math -----------------------------------------------------------------------------------------------------

_BINARY: Mapping[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def list_operands(expression: str) -> set[str]:
    """Return the names in a metric math expression, ids and functions alike; empty if it cannot be parsed."""
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError:
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def calculate(expression: str, series: Mapping[str, Sequence[Point]], number: int) -> list[Point]:
    """Evaluate a metric math expression point by point; a missing operand or a division by zero gives a missing point.

    Args:
        expression: The expression.
        series: Points by the id of the query that they come from.
        number: The number of points of each series.

    Raises:
        UnsupportedError: The expression uses more than ids, numbers, ``+ - * /``, comparisons, parentheses,
            ``IF(condition, then, else)`` and ``FILL(id, number)``.
    """
    try:
        tree = ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise UnsupportedError(f"expression '{expression}'") from error
    return [_value(tree, {name: points[i] for name, points in series.items()}, expression) for i in range(number)]


def _value(node: ast.expr, points: Mapping[str, Point], text: str) -> Point:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in points:
            return points[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _value(operand, points, text)
            return None if value is None else -value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _both(type(op), _value(left, points, text), _value(right, points, text))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _BINARY:
            return _both(type(op), _value(left, points, text), _value(right, points, text))
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, other], keywords=[]):
            # Evaluate all three, so that an unsupported part is found whatever the condition is.
            chosen, yes, no = (_value(each, points, text) for each in (condition, then, other))
            return None if chosen is None else yes if chosen else no
        case ast.Call(func=ast.Name(id="FILL"), args=[inner, filler], keywords=[]):
            value, fill = _value(inner, points, text), _value(filler, points, text)
            return fill if value is None else value
    raise UnsupportedError(f"'{ast.unparse(node)}' in the expression '{text}'")


def _both(kind: type[ast.AST], left: Point, right: Point) -> Point:
    if left is None or right is None or (kind is ast.Div and right == 0):
        return None
    return float(_BINARY[kind](left, right))


# -- composite alarms ------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'\s*(?:(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:"([^"]+)"|([^\s()"]+))\s*\)|(\w+|[()]))')


def evaluate_rule(rule: str, state_of: Callable[[str], str]) -> bool:
    """Return True if a composite alarm's rule holds.

    Args:
        rule: AlarmRule.
        state_of: Returns the state of an alarm by name or ARN; its exceptions are not caught.

    Raises:
        UnsupportedError: The rule is not made of ``ALARM() OK() INSUFFICIENT_DATA() AND OR NOT TRUE FALSE ()``.
    """
    words: list[str] = []
    position = 0
    rule = rule.strip()
    while position < len(rule):
        match = _TOKEN.match(rule, position)
        if match is None:
            raise UnsupportedError(f"alarm rule '{rule}' at '{rule[position : position + 20]}'")
        if match[1]:
            words.append("TRUE" if state_of(match[2] or match[3]) == match[1] else "FALSE")
        else:
            words.append(match[4].upper() if match[4] not in "()" else match[4])
        position = match.end()
    value, rest = _either(words, rule)
    if rest:
        raise UnsupportedError(f"alarm rule '{rule}' at '{rest[0]}'")
    return value


def list_watched_alarms(rule: str) -> set[str]:
    """Return the alarms that a composite alarm's rule refers to, by name or ARN."""
    found: set[str] = set()

    def state_of(name: str) -> str:
        found.add(name)
        return "OK"

    evaluate_rule(rule, state_of)
    return found


def _either(words: list[str], rule: str) -> tuple[bool, list[str]]:
    value, rest = _both_hold(words, rule)
    while rest[:1] == ["OR"]:
        right, rest = _both_hold(rest[1:], rule)
        value = value or right
    return value, rest


def _both_hold(words: list[str], rule: str) -> tuple[bool, list[str]]:
    value, rest = _single(words, rule)
    while rest[:1] == ["AND"]:
        right, rest = _single(rest[1:], rule)
        value = value and right
    return value, rest


def _single(words: list[str], rule: str) -> tuple[bool, list[str]]:
    match words:
        case ["NOT", *rest]:
            value, rest = _single(rest, rule)
            return not value, rest
        case ["(", *rest]:
            value, rest = _either(rest, rule)
            if rest[:1] != [")"]:
                raise UnsupportedError(f"alarm rule '{rule}': a parenthesis is not closed")
            return value, rest[1:]
        case [("TRUE" | "FALSE") as word, *rest]:
            return word == "TRUE", rest
    raise UnsupportedError(f"alarm rule '{rule}' at '{words[0] if words else 'its end'}'")
