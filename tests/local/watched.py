"""Queues, roles and alarms for the tests of alarms, rules and schedules."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually

ACCOUNT = "123456789012"
REGION = "eu-west-1"


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@dataclass
class Queue:
    """An SQS queue and what was read from it."""

    daemon: CloudDaemon
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"

    @property
    def url(self) -> str:
        return str(self.daemon.client("sqs").get_queue_url(QueueName=self.name)["QueueUrl"])

    def messages(self) -> list[dict[str, Any]]:
        """Take all messages out of the queue and return them."""
        sqs, url = self.daemon.client("sqs"), self.url
        found: list[dict[str, Any]] = []
        while more := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get(
            "Messages", []
        ):
            for message in more:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                attributes = {key: each["StringValue"] for key, each in message.get("MessageAttributes", {}).items()}
                found.append({"body": message["Body"], "attributes": attributes})
        return found

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message["body"]) for message in self.messages()]

    def collect(self, number: int, seconds: float = 15.0) -> list[dict[str, Any]]:
        """Wait for at least ``number`` events and return all that arrived."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found.extend(self.events())
            return len(found) >= number

        eventually(enough, seconds)
        return found

    def next(self, seconds: float = 15.0) -> dict[str, Any]:
        """Wait for a single message and return it."""
        (message,) = eventually(self.messages, seconds)
        return dict(message)

    def next_event(self, seconds: float = 15.0) -> dict[str, Any]:
        return dict(json.loads(self.next(seconds)["body"]))


def make_queue(daemon: CloudDaemon, *, service: str | None = "events.amazonaws.com") -> Queue:
    """Create a queue that a service may send to."""
    queue = Queue(daemon, unique("watch"))
    attributes = {}
    if service:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": queue.arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
        attributes["Policy"] = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    daemon.client("sqs").create_queue(QueueName=queue.name, Attributes=attributes)
    return queue


def make_topic(daemon: CloudDaemon) -> tuple[str, Queue]:
    """Create a topic; return its ARN and the queue that gets what is published to it."""
    queue = make_queue(daemon, service="sns.amazonaws.com")
    sns = daemon.client("sns")
    topic = str(sns.create_topic(Name=unique("alerts"))["TopicArn"])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    return topic, queue


def notifications(queue: Queue, number: int = 0) -> list[dict[str, Any]]:
    """Return the notifications of alarms to the topic behind the queue, at least ``number``."""
    return [json.loads(event["Message"]) for event in queue.collect(number)]


def make_role(
    daemon: CloudDaemon,
    service: str,
    allowed: dict[str, str],
    *,
    account: str = ACCOUNT,
    conditions: dict[str, Any] | None = None,
) -> str:
    """Create a role that a service may assume for this account; ``allowed`` maps actions to resources."""
    iam, name = daemon.client("iam"), unique("role")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": account}, **(conditions or {})},
    }
    document = {"Version": "2012-10-17", "Statement": [trust]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
    statements = [{"Effect": "Allow", "Action": action, "Resource": on} for action, on in allowed.items()]
    if statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def make_rule(daemon: CloudDaemon, pattern: dict[str, Any], *targets: dict[str, Any], name: str | None = None) -> str:
    """Create a rule with targets and return its ARN."""
    events, name = daemon.client("events"), name or unique("rule")
    arn = str(events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"])
    numbered = [{"Id": str(number), **target} for number, target in enumerate(targets)]
    assert events.put_targets(Rule=name, Targets=numbered)["FailedEntryCount"] == 0
    return arn


def make_pipeline(daemon: CloudDaemon, *parameters: str) -> str:
    """Create a pipeline with text parameters whose only step ends it, and return its ARN."""
    name = unique("train")
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": each, "Type": "String", "DefaultValue": "default"} for each in parameters],
        "Steps": [{"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": "ended"}}],
    }
    return str(
        daemon.client("sagemaker").create_pipeline(
            PipelineName=name,
            PipelineDefinition=json.dumps(definition),
            ClientRequestToken=name.ljust(32, "0"),
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/pipeline",
        )["PipelineArn"]
    )


def list_executions(daemon: CloudDaemon, arn: str) -> list[str]:
    found = daemon.client("sagemaker").list_pipeline_executions(PipelineName=arn.rpartition("/")[2])
    return [each["PipelineExecutionArn"] for each in found["PipelineExecutionSummaries"]]


def list_parameters(daemon: CloudDaemon, execution: str) -> dict[str, str]:
    found = daemon.client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)
    return {each["Name"]: each["Value"] for each in found["PipelineParameters"]}


def is_logged(daemon: CloudDaemon, *words: str) -> bool:
    """Return True if one line of the daemon's log contains all of the words."""
    lines = (daemon.state / "daemon.log").read_text().splitlines()
    return any(all(word in line for word in words) for line in lines)


def alarm_on(metric: str, **more: Any) -> dict[str, Any]:
    """Return an alarm's parameters: the maximum of a test metric over a minute is above 10."""
    defaults = {
        "AlarmName": metric,
        "Namespace": "Watched",
        "MetricName": metric,
        "Statistic": "Maximum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 10.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    return {key: value for key, value in {**defaults, **more}.items() if value is not None}


@dataclass
class Watch:
    """CloudWatch of a daemon."""

    daemon: CloudDaemon

    @property
    def client(self) -> Any:
        return self.daemon.client("cloudwatch")

    def state(self, name: str) -> str:
        answer = self.client.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        (alarm,) = answer["MetricAlarms"] + answer["CompositeAlarms"]
        return str(alarm["StateValue"])

    def becomes(self, name: str, state: str, seconds: float = 12.0) -> None:
        eventually(lambda: self.state(name) == state, seconds)

    def put(self, metric: str, value: float = 20.0, *, ago: float = 0.0, **more: Any) -> None:
        datum = {"MetricName": metric, "Value": value, "Timestamp": time.time() - ago, **more}
        self.client.put_metric_data(Namespace="Watched", MetricData=[datum])

    def evaluated(self) -> None:
        """Wait until every existing alarm has been evaluated once more, by waiting for a new alarm."""
        name = unique("control")
        self.client.put_metric_alarm(**alarm_on(name, TreatMissingData="breaching"))
        self.becomes(name, "ALARM")
        self.client.delete_alarms(AlarmNames=[name])
