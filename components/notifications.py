"""The topic that alarms and failed pipelines publish to, and its subscriptions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws


@dataclass
class NotificationsArgs:
    """Inputs of :class:`Notifications`.

    Attributes:
        topic_name: The topic's name.
        account: The account whose alarms and rules may publish to it.
        emails: Addresses that are subscribed; each must confirm once.
        pipeline_arns: Pipelines whose failed executions are reported; computed, so that the topic can be created first.
        dead_letter_arn: Queue for what could not be published; computed, too, because its alarm notifies the topic.
    """

    topic_name: str
    account: str
    emails: Sequence[str] = field(default_factory=list)
    pipeline_arns: Sequence[str] = field(default_factory=list)
    dead_letter_arn: str | None = None


class Notifications(pulumi.ComponentResource):
    """A topic with its subscriptions.

    Creates a Topic, its TopicPolicy and a TopicSubscription for each address. If pipelines are named, it also creates
    an EventRule and an EventTarget: an execution that a rule or a schedule started would otherwise fail unnoticed.
    """

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: NotificationsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:Notifications", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        topic = aws.sns.Topic(f"{name}-topic", name=args.topic_name, opts=child)
        policy = aws.sns.TopicPolicy(
            f"{name}-policy",
            arn=topic.arn,
            policy=topic.arn.apply(lambda arn: _speakers(args.account, arn)),
            opts=child,
        )
        for email in args.emails:
            aws.sns.TopicSubscription(f"{name}-{email}", topic=topic.arn, protocol="email", endpoint=email, opts=child)
        # The ARN is known only once the topic may be published to.
        self.topic_arn = pulumi.Output.all(topic.arn, policy.id).apply(lambda known: str(known[0]))
        if args.pipeline_arns:
            rule = aws.cloudwatch.EventRule(
                f"{name}-failures",
                name=f"{args.topic_name}-failures",
                description="Reports failed executions",
                event_pattern=_failed(args.pipeline_arns),
                opts=child,
            )
            letters = args.dead_letter_arn
            aws.cloudwatch.EventTarget(
                f"{name}-failures-target",
                rule=rule.name,
                target_id="topic",
                arn=self.topic_arn,
                dead_letter_config={"arn": letters} if letters else None,
                opts=child,
            )
        self.register_outputs({"topicArn": self.topic_arn})


def _speakers(account: str, topic_arn: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]},
        "Action": "sns:Publish",
        "Resource": topic_arn,
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, sort_keys=True)


def _failed(pipeline_arns: Sequence[str]) -> str:
    return json.dumps(
        {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Model Building Pipeline Execution Status Change"],
            "detail": {"pipelineArn": list(pipeline_arns), "currentPipelineExecutionStatus": ["Failed"]},
        },
        sort_keys=True,
    )
