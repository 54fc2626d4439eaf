"""Notifications: who may publish to the topic, its subscribers, and the reports of failed executions."""

from __future__ import annotations

import json

from components.notifications import Notifications, NotificationsArgs
from tests.components import mocked
from tests.components.flights_stack import flights

ARN = "arn:of:Topic:n-topic"


def notifications(**more: object) -> dict[str, mocked.Registered]:
    args = NotificationsArgs("alerts", "123456789012", **more)  # type: ignore[arg-type]
    return mocked.run(lambda: Notifications("n", args))


def test_only_alarms_and_rules_of_this_account_may_publish() -> None:
    found = notifications()
    assert set(found) == {"Notifications:n", "n-topic", "n-policy"}
    (statement,) = mocked.document(found, "n-policy", "policy")["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]},
        "Action": "sns:Publish",
        "Resource": ARN,
        "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
    }


def test_each_address_is_subscribed() -> None:
    found = notifications(emails=["a@example.com", "b@example.com"])
    subscribed = {
        each.inputs["endpoint"]: each.inputs["topic"] for each in mocked.find_by_kind(found, "TopicSubscription")
    }
    assert subscribed == {"a@example.com": ARN, "b@example.com": ARN}


def test_a_failed_execution_of_a_listed_pipeline_is_published() -> None:
    pipeline = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p"
    found = notifications(pipeline_arns=[pipeline], dead_letter_arn="arn:queue")
    assert json.loads(found["n-failures"].inputs["eventPattern"]) == {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Building Pipeline Execution Status Change"],
        "detail": {"pipelineArn": [pipeline], "currentPipelineExecutionStatus": ["Failed"]},
    }
    target = found["n-failures-target"].inputs
    assert (target["rule"], target["arn"]) == (found["n-failures"].inputs["name"], ARN)
    assert target["deadLetterConfig"] == {"arn": "arn:queue"}


def test_the_stack_reports_failures_of_all_its_pipelines() -> None:
    found = flights("dev")
    told = mocked.document(found, "flights-dev-notifications-failures", "eventPattern")["detail"]["pipelineArn"]
    made = {each.inputs["pipelineName"] for each in mocked.find_by_kind(found, "Pipeline")}
    assert {arn.rpartition("/")[2] for arn in told} == made
