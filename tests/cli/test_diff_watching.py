"""Tests of risks from alarms, schedules and rules that watch or start less than before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.previewed import UNKNOWN, comment_on, diff_steps, find_risks, make_step

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
def test_an_alarm_that_fires_later_or_less_often_is_a_risk(
    old: dict[str, Any], new: dict[str, Any], loosened: bool
) -> None:
    found = find_risks(make_step("update", "Alarm", "a", old, {**old, **new}))

    assert found == ([("alarm-loosened", "drift")] if loosened else [])


def test_a_removed_alarm_is_a_risk() -> None:
    document = diff_steps(make_step("delete", "Alarm", "a", ABOVE))

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
def test_disabled_and_removed_triggers_are_risks(
    kind: str, old: dict[str, Any], new: dict[str, Any] | None, is_risk: bool
) -> None:
    found = find_risks(make_step("update" if new else "delete", kind, "s", {"name": "monitor", **old}, new))

    assert found == ([("trigger-off", "monitor")] if is_risk else [])


def make_event_pattern(**detail: Any) -> dict[str, Any]:
    return {"eventPattern": json.dumps({"source": ["aws.cloudwatch"], "detail": detail})}


FIRED = make_event_pattern(alarmName=["drift", "calibration"], state={"value": ["ALARM"]})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (
            make_event_pattern(alarmName=["drift", "calibration"], state={"value": ["NEVER"]}),
            "detail.state.value ALARM.",
        ),
        (make_event_pattern(alarmName=["drift", "calibration"], state={"value": []}), "detail.state.value ALARM."),
        (
            make_event_pattern(alarmName=["errors"], state={"value": ["ALARM"]}),
            "detail.alarmName drift or calibration.",
        ),
        # A narrower, wider or still unknown pattern, which is reported with the rule.
        (make_event_pattern(alarmName=["drift"], state={"value": ["ALARM"]}), None),
        (make_event_pattern(alarmName=["drift", "calibration"]), None),
        (make_event_pattern(alarmName=[{"prefix": "d"}], state={"value": ["ALARM", "OK"]}), None),
        (make_event_pattern(alarmName=[UNKNOWN], state={"value": ["ALARM"]}), None),
        ({"eventPattern": UNKNOWN}, None),
    ],
)
def test_a_rule_that_no_longer_matches_its_events_is_a_risk(now: dict[str, Any], said: str | None) -> None:
    changed = make_step("update", "Rule", "r", {"name": "retrain", **FIRED}, {"name": "retrain", **now})
    document = diff_steps(changed)

    assert [(each["kind"], each["name"]) for each in document["risks"]] == (
        [] if said is None else [("trigger-off", "retrain")]
    )
    assert said is None or f"It no longer matches {said}" in document["risks"][0]["consequence"]
    assert document["watching"][0]["changes"][0]["path"].startswith("eventPattern")


def test_a_schedule_that_ends_earlier_is_a_risk() -> None:
    def ends(old: str | None, new: str | None) -> list[tuple[str, str]]:
        sides = [{"name": "monitor", "state": "ENABLED", "endDate": each} for each in (old, new)]
        return find_risks(make_step("update", "Schedule", "s", *sides))

    soon, later = "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"
    assert ends(None, soon) == ends(later, soon) == [("trigger-off", "monitor")]
    assert ends(soon, None) == ends(soon, later) == ends(soon, soon) == []


# -- alarms ------------------------------------------------------------------------------------------------------------


def percentile(number: float) -> dict[str, Any]:
    return {"statistic": None, "extendedStatistic": f"p{number:g}"}


MAXIMUM, MINIMUM, AVERAGE, SUM = ({"statistic": each} for each in ("Maximum", "Minimum", "Average", "Sum"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({**ABOVE, "period": 60}, {"period": 86_400}, "it evaluates 86400 seconds per period instead of 60"),
        ({**ABOVE, "period": 300}, {"period": 60}, None),
        ({**ABOVE, **percentile(99)}, percentile(50), "it measures p50 instead of p99"),
        ({**ABOVE, **percentile(50)}, percentile(99.9), None),
        ({**BELOW, **percentile(1)}, percentile(50), "it measures p50 instead of p1"),
        ({**BELOW, **percentile(50)}, percentile(1), None),
        ({**ABOVE, **MAXIMUM}, MINIMUM, "it measures Minimum instead of Maximum"),
        ({**ABOVE, **MINIMUM}, MAXIMUM, None),
        ({**BELOW, **MAXIMUM}, MINIMUM, None),
        ({**ABOVE, **MAXIMUM}, AVERAGE, "it measures Average instead of Maximum"),
        ({**ABOVE, **AVERAGE}, MAXIMUM, None),
        ({**ABOVE, **MAXIMUM}, percentile(99), "it measures p99 instead of Maximum"),
        # How the two compare depends on the values.
        ({**ABOVE, **AVERAGE}, percentile(90), "it measures p90 instead of Average"),
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
        # The topic is recreated, which is reported with the topic.
        (ABOVE, {"alarmActions": [UNKNOWN]}, None),
        ({**ABOVE, "metricQueries": [{"id": "a"}]}, {"metricQueries": [{"id": "b"}]}, "it monitors a different metric"),
    ],
)  # fmt: skip
def test_an_alarm_that_measures_or_notifies_less_is_a_risk(
    old: dict[str, Any], new: dict[str, Any], said: str | None
) -> None:
    found = diff_steps(make_step("update", "Alarm", "a", old, {**old, **new}))["risks"]

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
def test_a_composite_alarm_that_notifies_less_is_a_risk(new: dict[str, Any], said: str | None) -> None:
    found = diff_steps(
        make_step("update", "aws:cloudwatch/compositeAlarm:CompositeAlarm", "a", EITHER, {**EITHER, **new})
    )

    assert [(each["kind"], each["name"]) for each in found["risks"]] == (
        [] if said is None else [("alarm-loosened", "any")]
    )
    assert said is None or f"{said}." in found["risks"][0]["consequence"]


# -- targets -----------------------------------------------------------------------------------------------------------

RULE = {"name": "on-drift", "eventPattern": json.dumps({"source": ["aws.cloudwatch"]})}
TARGET = {"rule": "on-drift", "arn": "pipeline"}


def test_removing_the_target_of_a_rule_is_a_risk() -> None:
    gone = make_step("delete", "Target", "t", TARGET)

    for steps in ([gone], [gone, make_step("same", "Rule", "r", RULE, RULE)]):
        [risk] = diff_steps(*steps)["risks"]
        assert (risk["kind"], risk["name"]) == ("trigger-off", "on-drift")
        assert risk["title"] == "Removes the target of the rule"
        text = comment_on(*steps)
        assert "Target of a rule `on-drift` is deleted" in text
        assert "alarms, schedules and pipelines" not in text.partition("Unchanged: ")[2]


@pytest.mark.parametrize(
    "other",
    [
        # It is reported with its rule.
        make_step("delete", "Rule", "r", {**RULE, "state": "DISABLED"}),
        make_step("same", "Rule", "r", {**RULE, "state": "DISABLED"}, {**RULE, "state": "DISABLED"}),
        # Only its name in the program changes.
        make_step("create", "Target", "u", None, TARGET),
    ],
    ids=["with its rule", "of a rule that was off", "under another name"],
)
def test_removing_a_target_without_effect_is_no_risk(other: dict[str, Any]) -> None:
    assert find_risks(make_step("delete", "Target", "t", TARGET), other) == []


def test_a_rule_removed_with_its_target_is_reported_once() -> None:
    steps = [make_step("delete", "Target", "t", TARGET), make_step("delete", "Rule", "r", RULE)]

    assert find_risks(*steps) == [("trigger-off", "on-drift")]
    assert [each["what"] for each in diff_steps(*steps)["watching"]] == ["rule"]
