"""Event patterns: every operator, on its own."""

from __future__ import annotations

from typing import Any

import pytest

from local.services.eventbridge import patterns

EVENT: dict[str, Any] = {
    "source": "aws.cloudwatch",
    "detail-type": "CloudWatch Alarm State Change",
    "resources": ["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:drift"],
    "detail": {
        "alarmName": "flights-drift",
        "state": {"value": "ALARM"},
        "count": 5,
        "ratio": 0.5,
        "flag": True,
        "nothing": None,
        "ip": "10.1.2.3",
        "path": "a*b/c",
        "tags": ["red", "green"],
        "numbers": [1, 20],
        "empty": "",
        "items": [{"kind": "x", "size": 1}, {"kind": "y", "size": 9}],
    },
}


def matches_event(detail: Any) -> bool:
    pattern = {"detail": detail}
    patterns.check(pattern)
    return patterns.matches(pattern, EVENT)


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        # Literals: entries are alternatives, all fields must match, comparison is exact.
        ({"alarmName": ["flights-drift"]}, True),
        ({"alarmName": ["Flights-Drift"]}, False),
        ({"alarmName": ["other", "flights-drift"]}, True),
        ({"alarmName": ["flights-drift"], "state": {"value": ["ALARM"]}}, True),
        ({"alarmName": ["flights-drift"], "state": {"value": ["OK"]}}, False),
        ({"alarmName": ["flights"]}, False),
        ({"count": [5]}, True),
        ({"count": ["5"]}, False),
        ({"flag": [True]}, True),
        ({"flag": [1]}, False),
        ({"count": [True]}, False),
        ({"nothing": [None]}, True),
        ({"absent": [None]}, False),
        ({"empty": [""]}, True),
        # An array matches when one of its elements does.
        ({"tags": ["green"]}, True),
        ({"tags": ["blue"]}, False),
        ({"items": {"kind": ["y"]}}, True),
        ({"items": {"kind": ["z"]}}, False),
        # prefix, suffix
        ({"alarmName": [{"prefix": "flights-"}]}, True),
        ({"alarmName": [{"prefix": "Flights-"}]}, False),
        ({"alarmName": [{"prefix": {"equals-ignore-case": "FLIGHTS-"}}]}, True),
        ({"alarmName": [{"suffix": "-drift"}]}, True),
        ({"alarmName": [{"suffix": "drift-"}]}, False),
        ({"alarmName": [{"suffix": {"equals-ignore-case": "-DRIFT"}}]}, True),
        ({"tags": [{"prefix": "gr"}]}, True),
        ({"count": [{"prefix": "5"}]}, False),
        # anything-but
        ({"alarmName": [{"anything-but": "other"}]}, True),
        ({"alarmName": [{"anything-but": ["other", "flights-drift"]}]}, False),
        ({"alarmName": [{"anything-but": {"prefix": "flights"}}]}, False),
        ({"alarmName": [{"anything-but": {"prefix": ["a", "b"]}}]}, True),
        ({"alarmName": [{"anything-but": {"suffix": "-drift"}}]}, False),
        ({"alarmName": [{"anything-but": {"wildcard": "*-heartbeat"}}]}, True),
        ({"alarmName": [{"anything-but": {"equals-ignore-case": "FLIGHTS-DRIFT"}}]}, False),
        ({"count": [{"anything-but": [5]}]}, False),
        ({"count": [{"anything-but": 6}]}, True),
        ({"absent": [{"anything-but": "x"}]}, False),
        # exists
        ({"alarmName": [{"exists": True}]}, True),
        ({"alarmName": [{"exists": False}]}, False),
        ({"absent": [{"exists": False}]}, True),
        ({"absent": [{"exists": True}]}, False),
        ({"absent": {"deeper": [{"exists": False}]}}, True),
        ({"state": [{"exists": True}]}, False),
        ({"nothing": [{"exists": True}]}, True),
        # numeric
        ({"count": [{"numeric": ["=", 5]}]}, True),
        ({"count": [{"numeric": [">", 0, "<=", 5]}]}, True),
        ({"count": [{"numeric": [">", 0, "<", 5]}]}, False),
        ({"count": [{"numeric": [">=", 5.0]}]}, True),
        ({"ratio": [{"numeric": ["<", 0.51]}]}, True),
        ({"numbers": [{"numeric": [">", 10]}]}, True),
        ({"alarmName": [{"numeric": [">", 0]}]}, False),
        ({"flag": [{"numeric": [">", 0]}]}, False),
        # equals-ignore-case, wildcard, cidr
        ({"alarmName": [{"equals-ignore-case": "FLIGHTS-drift"}]}, True),
        ({"alarmName": [{"equals-ignore-case": "FLIGHTS"}]}, False),
        ({"alarmName": [{"wildcard": "flights-*"}]}, True),
        ({"alarmName": [{"wildcard": "*-dri*"}]}, True),
        ({"alarmName": [{"wildcard": "light*"}]}, False),
        ({"alarmName": [{"wildcard": "flights.drift"}]}, False),
        ({"path": [{"wildcard": "a\\*b/*"}]}, True),
        ({"alarmName": [{"wildcard": "flights\\*"}]}, False),
        ({"ip": [{"cidr": "10.1.0.0/16"}]}, True),
        ({"ip": [{"cidr": "10.2.0.0/16"}]}, False),
        ({"alarmName": [{"cidr": "10.2.0.0/16"}]}, False),
        # $or
        ({"$or": [{"alarmName": ["x"]}, {"count": [{"numeric": ["<", 6]}]}]}, True),
        ({"$or": [{"alarmName": ["x"]}, {"count": [6]}]}, False),
        ({"flag": [False], "$or": [{"count": [5]}, {"count": [6]}]}, False),
        # Literals and operators mixed in one array.
        ({"alarmName": ["x", {"prefix": "flights"}]}, True),
    ],
)
def test_pattern_operators(detail: dict[str, Any], expected: bool) -> None:
    assert matches_event(detail) is expected


def test_envelope_fields_are_matched() -> None:
    pattern = {"source": ["aws.cloudwatch"], "resources": [{"suffix": ":alarm:drift"}]}
    assert patterns.matches(pattern, EVENT)
    assert not patterns.matches({"source": ["aws.sagemaker"]}, EVENT)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ([], "not an object"),
        ({"source": "aws.cloudwatch"}, "'source' must be an object or an array"),
        ({"source": []}, "not empty"),
        ({"source": [{"prefiks": "x"}]}, "unknown operator 'prefiks'"),
        ({"source": [{"prefix": "x", "suffix": "y"}]}, "one operator"),
        ({"source": [{"prefix": 1}]}, "prefix must be text"),
        ({"source": [{"prefix": {"equals-ignore-case": "x", "other": "y"}}]}, "prefix can hold"),
        ({"source": [{"numeric": [">"]}]}, "pairs"),
        ({"source": [{"numeric": ["!=", 1]}]}, "'!= 1'"),
        ({"source": [{"numeric": [">", "1"]}]}, "number"),
        ({"source": [{"exists": "true"}]}, "true or false"),
        ({"source": [{"anything-but": {"numeric": ["=", 1]}}]}, "anything-but cannot hold"),
        ({"source": [{"anything-but": []}]}, "anything-but must be"),
        ({"source": [{"wildcard": "a**"}]}, "consecutive"),
        ({"source": [{"cidr": "10.0.0.0/99"}]}, "cidr"),
        ({"$or": [{"source": ["x"]}]}, "at least two"),
    ],
)
def test_invalid_patterns_are_refused(pattern: Any, message: str) -> None:
    with pytest.raises(patterns.PatternError, match=message.replace("(", r"\(")):
        patterns.check(pattern)
