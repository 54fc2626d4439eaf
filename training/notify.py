"""Messages of jobs to the people of a use case, on its notification topic."""

from __future__ import annotations

from millrace.inventory import JobVariable
from training.io import print_progress
from training.job import Job

#: The longest subject that SNS accepts, and the characters of a message, of which SNS accepts 256 KB.
_LONGEST, _LONGEST_TEXT = 100, 60_000


def tell_people(job: Job, subject: str, text: str) -> None:
    """Publish a message to the use case's topic, and print it; a topic that cannot be reached ends nothing.

    Args:
        job: The job that has something to tell.
        subject: What it is about, in one line.
        text: The message, with all that its reader needs.
    """
    print_progress(f"{subject}: {text}")
    topic = job.environment.get(JobVariable.TOPIC)
    if not topic:
        return
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        job.make_client("sns").publish(TopicArn=topic, Subject=subject[:_LONGEST], Message=text[:_LONGEST_TEXT])
    except (BotoCoreError, ClientError) as error:
        # What the job has made is worth more than the message, which is in the log.
        print_progress(f"warning: nobody was told, because {topic} could not be reached: {error}")
