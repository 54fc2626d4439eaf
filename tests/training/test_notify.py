"""Messages of jobs: a topic that cannot be reached costs nothing of what a job has made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from training.notify import tell_people


def test_a_topic_that_cannot_be_reached_is_a_line_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    def make_client(service: str) -> Any:
        return boto3.client(service, region_name="eu-west-1", endpoint_url="http://127.0.0.1:9",
                            aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip

    topic = "arn:aws:sns:eu-west-1:123456789012:gone"
    job: Any = SimpleNamespace(environment={"MILLRACE_TOPIC": topic}, make_client=make_client)
    tell_people(job, "a model waits", "decide")
    said = capsys.readouterr().out
    assert "a model waits: decide" in said
    assert f"warning: nobody was told, because {topic} could not be reached" in said
