"""The SSM parameter that records a pause, on the local cloud."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from millrace.names import PAUSABLE
from queries.pauses import Pause, UnreadablePauseError, find_pause, parse_pause
from tests.local.conftest import CloudDaemon, cloud_daemon

__all__ = ["cloud_daemon"]

NAME = "/millrace/small-local/paused"
DOCUMENT = {"since": "2026-11-23T08:00:00Z", "by": "anna", "reason": ""}


@pytest.fixture
def ssm(cloud_daemon: CloudDaemon) -> Any:
    return cloud_daemon.client("ssm")


def test_the_parameter_says_what_is_paused(ssm: Any) -> None:
    assert find_pause(ssm, NAME) is None
    ssm.put_parameter(Name=NAME, Type="String", Value=json.dumps(DOCUMENT))
    assert find_pause(ssm, NAME) == Pause(datetime(2026, 11, 23, 8, tzinfo=UTC), "anna", "", PAUSABLE)
    ssm.put_parameter(Name=NAME, Value=json.dumps({**DOCUMENT, "only": ["retraining"]}), Overwrite=True)
    found = find_pause(ssm, NAME)
    assert found is not None
    assert found.only == ("retraining",)
    assert not found.is_complete
    ssm.delete_parameter(Name=NAME)
    assert find_pause(ssm, NAME) is None


@pytest.mark.parametrize(
    "text",
    ["yes", "[]", "{}", '{"only": ["lunch"]}', '{"only": 3}', json.dumps({**DOCUMENT, "since": "yesterday"}),
     json.dumps({**DOCUMENT, "only": ["monitor", "lunch"]})],
)  # fmt: skip
def test_an_unreadable_value_is_refused(ssm: Any, text: str) -> None:
    ssm.put_parameter(Name="/odd", Type="String", Value=text, Overwrite=True)
    with pytest.raises(
        UnreadablePauseError, match=r"SSM parameter /odd is .*; expected JSON .* `millrace resume` deletes it"
    ):
        find_pause(ssm, "/odd")


@pytest.mark.parametrize("only", [PAUSABLE, ("monitor",), ("retraining", "features")])
def test_a_pause_round_trips(only: tuple[str, ...]) -> None:
    pause = Pause(datetime(2026, 11, 23, 8, 1, 2, tzinfo=UTC), "anna", "the source is down", only)
    assert parse_pause(NAME, pause.dump()) == pause
    assert ("only" in json.loads(pause.dump())) == (only != PAUSABLE)
