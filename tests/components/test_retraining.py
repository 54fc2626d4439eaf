"""Retraining: a rule that matches only the given alarms, a schedule that looks at them again, and a backstop."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from components.retraining import Retraining, RetrainingArgs
from millrace import Retraining as Declared
from stacks.flights import USE_CASE
from tests.components import mocked
from tests.components.flights_stack import environment, flights, register_stack


def retraining(**changes: Any) -> dict[str, mocked.Registered]:
    """Return the resources of a component called `r` for the pipeline `p`."""
    arns = ("arn:pipeline", "arn:role", "arn:queue")
    args = RetrainingArgs("p", *arns, "p-on-alarm", "p-on-data", "p-backstop", "p-recheck", **changes)
    return mocked.run(lambda: Retraining("r", args))


def test_children_are_a_rule_for_alarms_and_two_schedules() -> None:
    found = retraining(alarm_names=["x-drift", "x-calibration"], every=timedelta(days=7))
    parent = "Retraining:r"
    assert mocked.tree(found) == {
        ("r", "Retraining", None),
        ("r-on-alarm", "EventRule", parent),
        ("r-on-alarm-target", "EventTarget", parent),
        ("r-recheck", "Schedule", parent),
        ("r-backstop", "Schedule", parent),
    }
    assert found[parent].outputs == {}


def test_the_rule_matches_only_listed_alarms_entering_alarm_state() -> None:
    inputs = retraining(alarm_names=["x-drift", "x-calibration"])["r-on-alarm"].inputs
    assert inputs["name"] == "p-on-alarm"
    assert json.loads(inputs["eventPattern"]) == {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "detail": {"alarmName": ["x-drift", "x-calibration"], "state": {"value": ["ALARM"]}},
    }


def test_the_target_passes_the_name_of_the_alarm_as_trigger() -> None:
    inputs = retraining(alarm_names=["x-drift"])["r-on-alarm-target"].inputs
    assert inputs == {
        "rule": "p-on-alarm",
        "targetId": "training-pipeline",
        "arn": "arn:pipeline",
        "roleArn": "arn:role",
        "sagemakerPipelineTarget": {"pipelineParameterLists": [{"name": "Trigger", "value": "$.detail.alarmName"}]},
        "deadLetterConfig": {"arn": "arn:queue"},
    }


def test_the_backstop_passes_schedule_as_trigger() -> None:
    found = retraining(every=timedelta(days=7), enabled=False)
    assert [each.kind for each in found.values() if each.kind != "Retraining"] == ["Schedule"]
    inputs = found["r-backstop"].inputs
    assert (inputs["name"], inputs["scheduleExpression"], inputs["state"]) == ("p-backstop", "rate(7 days)", "DISABLED")
    assert inputs["target"]["deadLetterConfig"] == {"arn": "arn:queue"}
    assert inputs["target"]["sagemakerPipelineParameters"] == {
        "pipelineParameters": [{"name": "Trigger", "value": "schedule"}]
    }


def test_the_recheck_of_alarms_passes_recheck_as_trigger() -> None:
    found = retraining(alarm_names=["x-drift"], recheck=timedelta(hours=12))
    inputs = found["r-recheck"].inputs
    assert (inputs["name"], inputs["scheduleExpression"], inputs["state"]) == ("p-recheck", "rate(12 hours)", "ENABLED")
    assert inputs["target"]["deadLetterConfig"] == {"arn": "arn:queue"}
    assert inputs["target"]["sagemakerPipelineParameters"] == {
        "pipelineParameters": [{"name": "Trigger", "value": "recheck"}]
    }
    assert retraining(alarm_names=["x-drift"], paused=True)["r-recheck"].inputs["state"] == "DISABLED"


def test_an_event_about_new_data_of_the_stack_starts_it() -> None:
    found = retraining(data_of="x-dev")
    assert mocked.tree(found) == {
        ("r", "Retraining", None),
        ("r-on-data", "EventRule", "Retraining:r"),
        ("r-on-data-target", "EventTarget", "Retraining:r"),
    }
    inputs = found["r-on-data"].inputs
    assert (inputs["name"], inputs["state"]) == ("p-on-data", "ENABLED")
    assert json.loads(inputs["eventPattern"]) == {
        "source": ["millrace"], "detail-type": ["Data Ready"], "detail": {"stack": ["x-dev"]}
    }  # fmt: skip
    target = found["r-on-data-target"].inputs
    assert target["sagemakerPipelineTarget"] == {"pipelineParameterLists": [{"name": "Trigger", "value": "data"}]}
    assert target["deadLetterConfig"] == {"arn": "arn:queue"}


def test_a_new_object_in_the_declared_folder_starts_it_too() -> None:
    pattern = json.loads(retraining(data_of="x-dev", data_at=("raw", "orders/"))["r-on-data"].inputs["eventPattern"])
    assert pattern == {
        "$or": [
            {"source": ["millrace"], "detail-type": ["Data Ready"], "detail": {"stack": ["x-dev"]}},
            {
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {"bucket": {"name": ["raw"]}, "object": {"key": [{"prefix": "orders/"}]}},
            },
        ]
    }


@pytest.mark.parametrize(
    ("place", "bucket", "key", "tells"),
    [
        ("incoming/", f"flights-dev-lake-{mocked.ACCOUNT}", "incoming/", True),
        ("s3://raw-{environment}/flights/", "raw-dev", "flights/", False),
    ],
)
def test_the_lake_tells_of_its_objects_where_they_start_a_training(
    place: str, bucket: str, key: str, tells: bool
) -> None:
    triggered = USE_CASE.model_copy(update={"retraining": Declared(on=("data",), data_at=place)})
    found = register_stack(triggered, environment("dev"))
    created = mocked.document(found, "flights-dev-retraining-on-data", "eventPattern")["$or"][1]["detail"]
    assert created == {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": key}]}}
    told = mocked.find_by_kind(found, "BucketNotification")
    assert [each.inputs["eventbridge"] for each in told] == ([True] if tells else [])


def test_without_triggers_nothing_is_made() -> None:
    assert set(retraining()) == {"Retraining:r"}


def test_the_rule_of_the_stack_has_alarms_role_and_dead_letter_queue() -> None:
    found = flights("dev")
    pattern = mocked.document(found, "flights-dev-retraining-on-alarm", "eventPattern")
    # The pattern contains the exact names of alarms that the stack makes.
    made = {each.inputs["name"] for each in mocked.find_by_kind(found, "MetricAlarm")}
    assert pattern["detail"]["alarmName"] == ["flights-dev-calibration"]
    assert set(pattern["detail"]["alarmName"]) <= made
    target = found["flights-dev-retraining-on-alarm-target"]
    assert target.inputs["roleArn"] == "arn:of:Role:flights-dev-trigger-role"
    assert target.inputs["deadLetterConfig"] == {"arn": "arn:of:Queue:flights-dev-dead-letters-queue"}
    assert target.inputs["arn"] == "arn:of:Pipeline:flights-dev-training-pipeline"


def test_trigger_parameters_exist_in_the_pipeline_and_are_valid() -> None:
    found = flights("dev")
    target = found["flights-dev-retraining-on-alarm-target"]
    definition = mocked.document(found, "flights-dev-training-pipeline", "pipelineDefinition")
    parameters = {each["Name"] for each in definition["Parameters"]}
    given = target.inputs["sagemakerPipelineTarget"]["pipelineParameterLists"]
    assert given
    for each in given:
        assert each["name"] in parameters
        assert "$" not in each["value"] or re.fullmatch(r"\$(\.[A-Za-z]+)+", each["value"])
