"""Messages of commands to the people of a stack, on its notification topic."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from cli.stack.target import Target

#: Limits of SNS.
_LONGEST_SUBJECT, _LONGEST_TEXT = 100, 60_000


def tell_people(target: Target, subject: str, text: str) -> str | None:
    """Publish a message; a topic that cannot be reached ends nothing.

    Args:
        target: The stack.
        subject: A few words in ASCII.
        text: The message.

    Returns:
        Why nobody was told; None where the message was published.
    """
    names, partition = target.names, target.client("sts").meta.partition
    topic = f"arn:{partition}:sns:{names.region}:{names.account}:{names.stack}"
    try:
        target.client("sns").publish(TopicArn=topic, Subject=subject[:_LONGEST_SUBJECT], Message=text[:_LONGEST_TEXT])
    except (ClientError, BotoCoreError) as error:
        return f"nobody was told, because topic {topic} could not be reached: {error}"
    return None
