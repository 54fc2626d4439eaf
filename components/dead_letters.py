"""The dead-letter queue for triggers that could not start anything, and the alarm on it."""

import json
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

#: Undelivered triggers are kept this long: the longest that SQS allows, seconds.
_RETENTION = 14 * 86_400


@dataclass
class DeadLettersArgs:
    """Inputs of :class:`DeadLetters`.

    Attributes:
        queue_name: Known before the queue exists, because the triggers' role names it.
        account: The account whose rules may send to it.
        alarm_name: The name of the alarm that fires when a message arrives.
        alarm_actions: ARNs of topics that the alarm notifies.
    """

    queue_name: str
    account: str
    alarm_name: str
    alarm_actions: list[pulumi.Input[str]] = field(default_factory=list)


class DeadLetters(pulumi.ComponentResource):
    """A dead-letter queue with an alarm.

    Creates an encrypted Queue, a QueuePolicy for EventBridge and a MetricAlarm on its length.
    """

    queue_arn: pulumi.Output[str]

    def __init__(self, name: str, args: DeadLettersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:DeadLetters", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        queue = aws.sqs.Queue(
            f"{name}-queue",
            name=args.queue_name,
            message_retention_seconds=_RETENTION,
            sqs_managed_sse_enabled=True,
            opts=child,
        )
        policy = aws.sqs.QueuePolicy(
            f"{name}-policy",
            queue_url=queue.url,
            policy=queue.arn.apply(lambda arn: _only_rules_of(args.account, arn)),
            opts=child,
        )
        aws.cloudwatch.MetricAlarm(
            f"{name}-alarm",
            name=args.alarm_name,
            alarm_description=f"A rule or schedule failed to start its target: see queue {args.queue_name}.",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": args.queue_name},
            statistic="Maximum",
            period=300,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=args.alarm_actions,
            opts=child,
        )
        # The ARN is known only once events may be sent to the queue.
        self.queue_arn = pulumi.Output.all(queue.arn, policy.id).apply(lambda known: str(known[0]))
        self.register_outputs({"queueArn": self.queue_arn})


def _only_rules_of(account: str, queue_arn: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, sort_keys=True)
