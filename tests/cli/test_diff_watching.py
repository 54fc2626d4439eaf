"""Alarms, schedules and rules that watch or start less than before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.previewed import UNKNOWN, comment, risks, step, told

ABOVE = {
    "name": "drift", "metricName": "psi_max", "comparisonOperator": "GreaterThanThreshold", "threshold": 0.25,
    "evaluationPeriods": 1, "treatMissingData": "breaching", "alarmActions": ["topic"],
}  # fmt: skip
BELOW = {**ABOVE, "comparisonOperator": "LessThanThreshold"}


@pytest.mark.parametrize(
    ("old", "new", "loosened"),
    [
        (ABOVE, {"threshold": 0.5}, True),
        (ABOVE, {"threshold": 0.1}, False),
        (BELOW, {"threshold": 0.1}, True),
        (BELOW, {"threshold": 0.5}, False),
        (ABOVE, {"evaluationPeriods": 3}, True),
        (ABOVE, {"datapointsToAlarm": 1}, False),
        (ABOVE, {"treatMissingData": "notBreaching"}, True),
        ({**ABOVE, "treatMissingData": "missing"}, {"treatMissingData": "breaching"}, False),
        (ABOVE, {"actionsEnabled": False}, True),
        (ABOVE, {"alarmActions": []}, True),
        (ABOVE, {"metricName": "psi_mean"}, True),
        (ABOVE, {"alarmDescription": "Another."}, False),
    ],
)
def test_an_alarm_that_fires_later_or_less_often(old: dict[str, Any], new: dict[str, Any], loosened: bool) -> None:
    found = risks(step("update", "Alarm", "a", old, {**old, **new}))

    assert found == ([("alarm-loosened", "drift")] if loosened else [])


def test_an_alarm_that_goes() -> None:
    document = told(step("delete", "Alarm", "a", ABOVE))

    assert [(each["kind"], each["name"]) for each in document["risks"]] == [("alarm-removed", "drift")]
    assert "psi_max > 0.25" in document["risks"][0]["consequence"]
    assert document["watching"][0]["operation"] == "delete"


@pytest.mark.parametrize(
    ("old", "new", "is_risk"),
    [
        ({"state": "ENABLED"}, {"state": "DISABLED"}, True),
        ({"state": "ENABLED"}, None, True),
        ({"state": "DISABLED"}, None, False),
        ({"state": "DISABLED"}, {"state": "ENABLED"}, False),
        ({"state": "ENABLED", "scheduleExpression": "rate(1 hour)"}, {"scheduleExpression": "rate(1 day)"}, False),
    ],
)
@pytest.mark.parametrize("kind", ["Schedule", "Rule"])
def test_what_starts_nothing_any_more(
    kind: str, old: dict[str, Any], new: dict[str, Any] | None, is_risk: bool
) -> None:
    found = risks(step("update" if new else "delete", kind, "s", {"name": "monitor", **old}, new))

    assert found == ([("trigger-off", "monitor")] if is_risk else [])


def heard(**detail: Any) -> dict[str, Any]:
    return {"eventPattern": json.dumps({"source": ["aws.cloudwatch"], "detail": detail})}


FIRED = heard(alarmName=["drift", "calibration"], state={"value": ["ALARM"]})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (heard(alarmName=["drift", "calibration"], state={"value": ["NEVER"]}), "detail.state.value ALARM."),
        (heard(alarmName=["drift", "calibration"], state={"value": []}), "detail.state.value ALARM."),
        (heard(alarmName=["errors"], state={"value": ["ALARM"]}), "detail.alarmName drift or calibration."),
        # It listens for less, for more, or for what is not known yet, which is told with the rule.
        (heard(alarmName=["drift"], state={"value": ["ALARM"]}), None),
        (heard(alarmName=["drift", "calibration"]), None),
        (heard(alarmName=[{"prefix": "d"}], state={"value": ["ALARM", "OK"]}), None),
        (heard(alarmName=[UNKNOWN], state={"value": ["ALARM"]}), None),
        ({"eventPattern": UNKNOWN}, None),
    ],
)
def test_a_rule_that_listens_for_something_else(now: dict[str, Any], said: str | None) -> None:
    changed = step("update", "Rule", "r", {"name": "retrain", **FIRED}, {"name": "retrain", **now})
    document = told(changed)

    assert [(each["kind"], each["name"]) for each in document["risks"]] == (
        [] if said is None else [("trigger-off", "retrain")]
    )
    assert said is None or f"It no longer matches {said}" in document["risks"][0]["consequence"]
    assert document["watching"][0]["changes"][0]["path"].startswith("eventPattern")


def test_a_schedule_that_gets_an_end() -> None:
    def ends(old: str | None, new: str | None) -> list[tuple[str, str]]:
        sides = [{"name": "monitor", "state": "ENABLED", "endDate": each} for each in (old, new)]
        return risks(step("update", "Schedule", "s", *sides))

    soon, later = "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"
    assert ends(None, soon) == ends(later, soon) == [("trigger-off", "monitor")]
    assert ends(soon, None) == ends(soon, later) == ends(soon, soon) == []


# -- alarms ------------------------------------------------------------------------------------------------------------


def p(number: float) -> dict[str, Any]:
    return {"statistic": None, "extendedStatistic": f"p{number:g}"}


MAXIMUM, MINIMUM, AVERAGE, SUM = ({"statistic": each} for each in ("Maximum", "Minimum", "Average", "Sum"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({**ABOVE, "period": 60}, {"period": 86_400}, "it evaluates 86400 seconds per period instead of 60"),
        ({**ABOVE, "period": 300}, {"period": 60}, None),
        ({**ABOVE, **p(99)}, p(50), "it measures p50 instead of p99"),
        ({**ABOVE, **p(50)}, p(99.9), None),
        ({**BELOW, **p(1)}, p(50), "it measures p50 instead of p1"),
        ({**BELOW, **p(50)}, p(1), None),
        ({**ABOVE, **MAXIMUM}, MINIMUM, "it measures Minimum instead of Maximum"),
        ({**ABOVE, **MINIMUM}, MAXIMUM, None),
        ({**BELOW, **MAXIMUM}, MINIMUM, None),
        ({**ABOVE, **MAXIMUM}, AVERAGE, "it measures Average instead of Maximum"),
        ({**ABOVE, **AVERAGE}, MAXIMUM, None),
        ({**ABOVE, **MAXIMUM}, p(99), "it measures p99 instead of Maximum"),
        # How the two compare depends on the values.
        ({**ABOVE, **AVERAGE}, p(90), "it measures p90 instead of Average"),
        ({**ABOVE, **SUM}, AVERAGE, "it measures Average instead of Sum"),
        (
            ABOVE, {"comparisonOperator": "LessThanThreshold"},
            "its comparison changes from GreaterThanThreshold to LessThanThreshold",
        ),
        (
            {**ABOVE, "comparisonOperator": "GreaterThanOrEqualToThreshold"},
            {"comparisonOperator": "GreaterThanThreshold"},
            "its comparison changes from GreaterThanOrEqualToThreshold to GreaterThanThreshold",
        ),
        (ABOVE, {"comparisonOperator": "GreaterThanOrEqualToThreshold"}, None),
        ({**ABOVE, "alarmActions": ["topic", "pager"]}, {"alarmActions": ["topic"]}, "it no longer notifies pager"),
        (ABOVE, {"alarmActions": ["pager", "topic"]}, None),
        # The topic is made anew, which is told with the topic.
        (ABOVE, {"alarmActions": [UNKNOWN]}, None),
        ({**ABOVE, "metricQueries": [{"id": "a"}]}, {"metricQueries": [{"id": "b"}]}, "it monitors a different metric"),
    ],
)  # fmt: skip
def test_an_alarm_that_measures_or_tells_less(old: dict[str, Any], new: dict[str, Any], said: str | None) -> None:
    found = told(step("update", "Alarm", "a", old, {**old, **new}))["risks"]

    assert [each["kind"] for each in found] == ([] if said is None else ["alarm-loosened"])
    assert said is None or f"{said}." in found[0]["consequence"]


EITHER = {"alarmName": "any", "alarmRule": "ALARM(a) OR ALARM(b)", "alarmActions": ["topic", "pager"]}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"actionsEnabled": False}, "it no longer notifies anybody"),
        ({"alarmActions": []}, "it no longer notifies anybody"),
        ({"alarmActions": ["topic"]}, "it no longer notifies pager"),
        ({"alarmRule": "ALARM(a)"}, "its rule is different"),
        ({"alarmRule": "ALARM(a) AND ALARM(b)"}, "its rule is different"),
        ({"alarmRule": "ALARM(b) OR ALARM(c) OR ALARM(a)"}, None),
        ({"actionsSuppressor": {"alarm": "night"}}, "it notifies nobody while night fires"),
        ({"alarmDescription": "Another."}, None),
    ],
)
def test_a_composite_alarm_that_tells_less(new: dict[str, Any], said: str | None) -> None:
    found = told(step("update", "aws:cloudwatch/compositeAlarm:CompositeAlarm", "a", EITHER, {**EITHER, **new}))

    assert [(each["kind"], each["name"]) for each in found["risks"]] == (
        [] if said is None else [("alarm-loosened", "any")]
    )
    assert said is None or f"{said}." in found["risks"][0]["consequence"]


# -- targets -----------------------------------------------------------------------------------------------------------

RULE = {"name": "on-drift", "eventPattern": json.dumps({"source": ["aws.cloudwatch"]})}
TARGET = {"rule": "on-drift", "arn": "pipeline"}


def test_a_rule_whose_target_goes_starts_nothing() -> None:
    gone = step("delete", "Target", "t", TARGET)

    for steps in ([gone], [gone, step("same", "Rule", "r", RULE, RULE)]):
        [risk] = told(*steps)["risks"]
        assert (risk["kind"], risk["name"]) == ("trigger-off", "on-drift")
        assert risk["title"] == "Removes the target of the rule"
        text = comment(*steps)
        assert "Target of a rule `on-drift` is deleted" in text
        assert "alarms, schedules and pipelines" not in text.partition("Unchanged: ")[2]


@pytest.mark.parametrize(
    "other",
    [
        # It is told with its rule.
        step("delete", "Rule", "r", {**RULE, "state": "DISABLED"}),
        step("same", "Rule", "r", {**RULE, "state": "DISABLED"}, {**RULE, "state": "DISABLED"}),
        # It only got another name in the program.
        step("create", "Target", "u", None, TARGET),
    ],
    ids=["with its rule", "of a rule that was off", "under another name"],
)
def test_a_target_that_is_no_loss(other: dict[str, Any]) -> None:
    assert risks(step("delete", "Target", "t", TARGET), other) == []


def test_a_rule_that_goes_with_its_target_is_told_once() -> None:
    steps = [step("delete", "Target", "t", TARGET), step("delete", "Rule", "r", RULE)]

    assert risks(*steps) == [("trigger-off", "on-drift")]
    assert [each["what"] for each in told(*steps)["watching"]] == ["rule"]
