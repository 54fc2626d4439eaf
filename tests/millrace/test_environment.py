"""Environments: what a stack's configuration may say, and what it must not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from millrace import DeclarationError, Environment
from millrace.environment import Promotion, Rollout, Traffic

DIGEST = "repository@sha256:0123"


def test_the_defaults_are_those_of_a_careful_team() -> None:
    local = Environment(name="local")
    assert local.promotion is Promotion.MANUAL
    assert local.force_destroy is False
    assert local.capture_percent == 100
    assert local.rollout == Rollout(traffic=Traffic.ALL_AT_ONCE, step_percent=10, bake_seconds=300, max_seconds=3000)
    assert (local.replay_from, local.notify, local.endpoint_count) == (None, (), 1)


def test_a_configuration_is_read_whole() -> None:
    configured = {
        "name": "prod-eu",
        "region": "eu-central-1",
        "image": DIGEST,
        "promotion": "automatic",
        "rollout": {"traffic": "linear", "step_percent": 25, "bake_seconds": 120},
        "endpoint_count": 4,
        "notify": ["team@example.org"],
        "replay_from": "2013-04-01T00:00:00Z",
    }
    read = Environment.of_stack("churn-eu-prod-eu", configured)
    assert read.name == "prod-eu"
    assert read.promotion is Promotion.AUTOMATIC
    assert read.rollout.traffic is Traffic.LINEAR
    assert read.replay_from == datetime(2013, 4, 1, tzinfo=UTC)
    assert Environment(**read.model_dump(mode="json")) == read


#: What is configured for the stack `churn-dev`, and the pieces that the error must hold.
REFUSED: list[tuple[str, Any, list[str]]] = [
    ("nothing", None, ["is None", "expected an object with at least `name`"]),
    ("a text", "dev", ["is 'dev'", "expected an object"]),
    ("no name", {"image": DIGEST}, ["name: is missing; add it"]),
    (
        "unknown field",
        {"name": "dev", "imag": DIGEST},
        ["imag = 'repository", "no such field", "did you mean 'image'?"],
    ),
    (
        "unknown field of a part",
        {"name": "dev", "image": DIGEST, "rollout": {"trafic": "canary"}},
        ["rollout.trafic = 'canary'", "no such field", "did you mean 'traffic'?"],
    ),
    (
        "another environment's",
        {"name": "prod", "image": DIGEST},
        ["name='prod'", "the stack is 'churn-dev'", "expected <use case>-prod"],
    ),
    ("long name", {"name": "d" * 13, "image": DIGEST}, ["name = 'ddd", "at most 12 characters", "shorten it"]),
    ("odd name", {"name": "Dev", "image": DIGEST}, ["name = 'Dev'", "should match pattern", "spell it so"]),
    (
        "odd region",
        {"name": "dev", "image": DIGEST, "region": "Ireland"},
        ["region = 'Ireland'", "pattern", "spell it so"],
    ),
    (
        "an image that can move",
        {"name": "dev", "image": "repository:latest"},
        ["image='repository:latest'", "can move", "expected a digest", "set `environment.image`"],
    ),
    ("the default image", {"name": "dev"}, ["image='123456789012", "expected a digest", "set `environment.image`"]),
    (
        "data that may go",
        {"name": "dev", "image": DIGEST, "force_destroy": True},
        ["force_destroy=True", "deletes data", "only the environment 'local'", "remove it"],
    ),
    (
        "promotion by nobody",
        {"name": "dev", "image": DIGEST, "promotion": "auto"},
        ["promotion = 'auto'", "'manual' or 'automatic'", "choose one of them"],
    ),
    (
        "a time of nowhere",
        {"name": "dev", "image": DIGEST, "replay_from": "2013-04-01T00:00:00"},
        ["replay_from='2013-04-01T00:00:00'", "no time zone", "add 'Z'"],
    ),
    (
        "no address",
        {"name": "dev", "image": DIGEST, "notify": ["team"]},
        ["notify.0 = 'team'", "pattern", "spell it so"],
    ),
    (
        "a step too large",
        {"name": "dev", "image": DIGEST, "rollout": {"traffic": "canary", "step_percent": 60}},
        ["rollout.step_percent = 60", "less than or equal to 50", "change it"],
    ),
    (
        "a variable that is ours",
        {"name": "local", "variables": {"MILLRACE_CLOCK": "1"}},
        ["variables: MILLRACE_CLOCK would be overwritten", "must not start with", "rename it"],
    ),
    (
        "shares of one instance",
        {"name": "dev", "image": DIGEST, "rollout": {"traffic": "canary"}},
        ["endpoint_count=1", "traffic 'canary'", "expected at least 2", "add an instance"],
    ),
    (
        "a linear step too small",
        {"name": "dev", "image": DIGEST, "rollout": {"traffic": "linear", "step_percent": 5, "bake_seconds": 0}},
        ["rollout: step_percent=5", "expected 10 to 50", "take larger steps"],
    ),
    (
        "longer than the provider waits",
        {"name": "dev", "image": DIGEST, "rollout": {"max_seconds": 3600}},
        ["rollout.max_seconds = 3600", "less than or equal to 3300", "change it"],
    ),
    (
        "bakes that do not fit",
        {"name": "dev", "image": DIGEST, "rollout": {"traffic": "linear", "bake_seconds": 300}},
        ["rollout: bake_seconds=300", "10 step(s)", "takes 3300 s", "less than max_seconds=3000", "shorten the bake"],
    ),
    (
        "no instance",
        {"name": "dev", "image": DIGEST, "endpoint_count": 0},
        ["endpoint_count = 0", "greater than or equal to 1", "change it"],
    ),
]


@pytest.mark.parametrize(("configured", "pieces"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_cannot_be_meant_is_refused_naming_the_stack(configured: Any, pieces: list[str]) -> None:
    with pytest.raises(DeclarationError) as refused:
        Environment.of_stack("churn-dev", configured)
    message = str(refused.value)
    assert message.startswith("stack 'churn-dev', millrace:environment:\n  - ")
    assert [piece for piece in pieces if piece not in message] == [], message


@pytest.mark.parametrize("name", ["dev", "staging", "prod", "team-a"])
def test_outside_local_images_are_pinned_and_data_is_kept(name: str) -> None:
    assert Environment(name=name, image=DIGEST).force_destroy is False
    for wrong in ({"image": "repository:1"}, {"image": DIGEST, "force_destroy": True}):
        with pytest.raises(ValueError, match=r"digest|force_destroy"):
            Environment(name=name, **wrong)


def test_local_may_use_a_tag_and_throw_its_data_away() -> None:
    local = Environment(name="local", image="millrace:local", force_destroy=True)
    assert local.force_destroy
