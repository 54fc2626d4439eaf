"""Retraining: a rule that hears these alarms alone, and a backstop."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

from components.retraining import Retraining, RetrainingArgs
from tests.components import mocked
from tests.components.flights_stack import flights


def retraining(**changes: Any) -> dict[str, mocked.Registered]:
    """Called `r`, of the pipeline `p`."""
    args = RetrainingArgs("p", "arn:pipeline", "arn:role", "arn:queue", "p-on-alarm", "p-backstop", **changes)
    return mocked.run(lambda: Retraining("r", args))


def test_a_rule_for_alarms_and_a_schedule_as_the_backstop() -> None:
    found = retraining(alarm_names=["x-drift", "x-calibration"], every=timedelta(days=7))
    parent = "Retraining:r"
    assert mocked.tree(found) == {
        ("r", "Retraining", None),
        ("r-on-alarm", "EventRule", parent),
        ("r-on-alarm-target", "EventTarget", parent),
        ("r-backstop", "Schedule", parent),
    }
    assert found[parent].outputs == {}


def test_the_rule_hears_only_these_alarms_going_to_alarm() -> None:
    inputs = retraining(alarm_names=["x-drift", "x-calibration"])["r-on-alarm"].inputs
    assert inputs["name"] == "p-on-alarm"
    assert json.loads(inputs["eventPattern"]) == {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "detail": {"alarmName": ["x-drift", "x-calibration"], "state": {"value": ["ALARM"]}},
    }


def test_the_target_starts_the_pipeline_and_says_which_alarm_did() -> None:
    inputs = retraining(alarm_names=["x-drift"])["r-on-alarm-target"].inputs
    assert inputs == {
        "rule": "p-on-alarm",
        "targetId": "training-pipeline",
        "arn": "arn:pipeline",
        "roleArn": "arn:role",
        "sagemakerPipelineTarget": {"pipelineParameterLists": [{"name": "Trigger", "value": "$.detail.alarmName"}]},
        "deadLetterConfig": {"arn": "arn:queue"},
    }


def test_the_backstop_says_that_a_schedule_did() -> None:
    found = retraining(every=timedelta(days=7), enabled=False)
    assert [each.kind for each in found.values() if each.kind != "Retraining"] == ["Schedule"]
    inputs = found["r-backstop"].inputs
    assert (inputs["name"], inputs["scheduleExpression"], inputs["state"]) == ("p-backstop", "rate(7 days)", "DISABLED")
    assert inputs["target"]["deadLetterConfig"] == {"arn": "arn:queue"}
    assert inputs["target"]["sagemakerPipelineParameters"] == {
        "pipelineParameters": [{"name": "Trigger", "value": "schedule"}]
    }


def test_nobody_asked_nothing_made() -> None:
    assert set(retraining()) == {"Retraining:r"}


def test_every_rule_of_the_stack_is_filtered_and_its_target_has_a_role_and_a_dead_letter_queue() -> None:
    found = flights("dev")
    pattern = mocked.document(found, "flights-dev-retraining-on-alarm", "eventPattern")
    # The pattern names alarms that the stack makes, by their exact names.
    made = {each.inputs["name"] for each in mocked.of_kind(found, "MetricAlarm")}
    assert pattern["detail"]["alarmName"] == ["flights-dev-calibration"]
    assert set(pattern["detail"]["alarmName"]) <= made
    target = found["flights-dev-retraining-on-alarm-target"]
    assert target.inputs["roleArn"] == "arn:of:Role:flights-dev-trigger-role"
    assert target.inputs["deadLetterConfig"] == {"arn": "arn:of:Queue:flights-dev-dead-letters-queue"}
    assert target.inputs["arn"] == "arn:of:Pipeline:flights-dev-training-pipeline"


def test_what_triggers_name_are_parameters_of_the_pipeline_and_whole_paths_or_constants() -> None:
    found = flights("dev")
    target = found["flights-dev-retraining-on-alarm-target"]
    definition = mocked.document(found, "flights-dev-training-pipeline", "pipelineDefinition")
    parameters = {each["Name"] for each in definition["Parameters"]}
    given = target.inputs["sagemakerPipelineTarget"]["pipelineParameterLists"]
    assert given
    for each in given:
        assert each["name"] in parameters
        assert "$" not in each["value"] or re.fullmatch(r"\$(\.[A-Za-z]+)+", each["value"])
