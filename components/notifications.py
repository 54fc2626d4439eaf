"""The topic that alarms speak to, and who hears it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws


@dataclass
class NotificationsArgs:
    """Inputs of :class:`Notifications`.

    Attributes:
        topic_name: Of the topic.
        emails: Addresses that are subscribed; each must confirm once.
    """

    topic_name: str
    emails: Sequence[str] = field(default_factory=list)


class Notifications(pulumi.ComponentResource):
    """Makes a Topic and a TopicSubscription for each address. The topic's own policy lets this account's alarms in."""

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: NotificationsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:Notifications", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        topic = aws.sns.Topic(f"{name}-topic", name=args.topic_name, opts=child)
        for email in args.emails:
            aws.sns.TopicSubscription(f"{name}-{email}", topic=topic.arn, protocol="email", endpoint=email, opts=child)
        self.topic_arn = topic.arn
        self.register_outputs({"topicArn": topic.arn})
