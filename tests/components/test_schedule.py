"""Schedules: the EventBridge expression of an interval, and the target that starts a pipeline."""

from __future__ import annotations

from datetime import timedelta

import pulumi
import pytest

from components.schedule import ScheduleArgs, format_rate, make_schedule
from tests.components import mocked
from tests.components.flights_stack import flights


@pytest.mark.parametrize(
    ("every", "words"),
    [
        (timedelta(minutes=1), "rate(1 minute)"),
        (timedelta(minutes=5), "rate(5 minutes)"),
        (timedelta(minutes=59), "rate(59 minutes)"),
        (timedelta(minutes=60), "rate(1 hour)"),
        (timedelta(minutes=90), "rate(90 minutes)"),
        (timedelta(hours=23), "rate(23 hours)"),
        (timedelta(hours=24), "rate(1 day)"),
        (timedelta(hours=36), "rate(36 hours)"),
        (timedelta(days=1, minutes=1), "rate(1441 minutes)"),
        (timedelta(weeks=1), "rate(7 days)"),
        (timedelta(days=30), "rate(30 days)"),
    ],
)
def test_an_interval_is_formatted_as_a_rate(every: timedelta, words: str) -> None:
    assert format_rate(every) == words


@pytest.mark.parametrize("every", [timedelta(0), timedelta(seconds=30), timedelta(seconds=90), -timedelta(hours=1)])
def test_an_interval_that_is_not_whole_minutes_is_refused(every: timedelta) -> None:
    with pytest.raises(ValueError, match=r"every=.*; expected whole minutes, at least one"):
        format_rate(every)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_schedule_starts_the_pipeline_and_has_a_dead_letter_queue(enabled: bool) -> None:
    args = ScheduleArgs("s", "arn:role", "arn:queue", timedelta(hours=1), enabled, {"Trigger": "schedule"})
    found = mocked.run(lambda: make_schedule("logical", args, "arn:pipeline", pulumi.ResourceOptions()))
    assert mocked.tree(found) == {("logical", "Schedule", None)}
    assert found["logical"].inputs == {
        "name": "s",
        "scheduleExpression": "rate(1 hour)",
        "flexibleTimeWindow": {"mode": "OFF"},
        "state": "ENABLED" if enabled else "DISABLED",
        "target": {
            "arn": "arn:pipeline",
            "roleArn": "arn:role",
            "deadLetterConfig": {"arn": "arn:queue"},
            "retryPolicy": {"maximumRetryAttempts": 10, "maximumEventAgeInSeconds": 3600},
            "sagemakerPipelineParameters": {"pipelineParameters": [{"name": "Trigger", "value": "schedule"}]},
        },
    }


@pytest.mark.parametrize("name", ["local", "dev"])
def test_every_schedule_of_a_stack_has_the_trigger_role_and_the_dead_letter_queue(name: str) -> None:
    schedules = mocked.find_by_kind(flights(name), "Schedule")
    assert {each.name for each in schedules} == {
        f"flights-{name}-features-schedule",
        f"flights-{name}-monitor-schedule",
        f"flights-{name}-retraining-recheck",
    }
    for schedule in schedules:
        target = schedule.inputs["target"]
        kind = schedule.name.split("-")[2].replace("retraining", "training")
        assert target["arn"] == f"arn:of:Pipeline:flights-{name}-{kind}-pipeline"
        assert target["roleArn"] == f"arn:of:Role:flights-{name}-trigger-role"
        assert target["deadLetterConfig"] == {"arn": f"arn:of:Queue:flights-{name}-dead-letters-queue"}


def test_a_message_in_the_dead_letter_queue_raises_an_alarm() -> None:
    found = flights("dev")
    queue, alarm = found["flights-dev-dead-letters-queue"].inputs, found["flights-dev-dead-letters-alarm"].inputs
    assert queue["name"] == "flights-dev-dead-letters"
    assert queue["sqsManagedSseEnabled"] is True
    assert queue["messageRetentionSeconds"] == 14 * 24 * 3600
    assert (alarm["namespace"], alarm["metricName"]) == ("AWS/SQS", "ApproximateNumberOfMessagesVisible")
    assert alarm["dimensions"] == {"QueueName": queue["name"]}
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("GreaterThanThreshold", 0)
    (statement,) = mocked.document(found, "flights-dev-dead-letters-policy", "policy")["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "arn:of:Queue:flights-dev-dead-letters-queue",
        "Condition": {"StringEquals": {"aws:SourceAccount": mocked.ACCOUNT}},
    }
