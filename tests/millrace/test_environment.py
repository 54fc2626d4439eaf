"""Environments: the configuration that a stack may have, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest

from millrace import DeclarationError, Environment
from millrace.environment import ApprovalMode
from millrace.rollout import Rollout, Traffic

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DIGEST = f"{REGISTRY}/millrace@sha256:{'0' * 64}"
REGION = "eu-west-1"


def test_the_defaults_are_safe() -> None:
    local = Environment(name="local")
    assert local.promotion.approval is ApprovalMode.MANUAL
    assert local.force_destroy is False
    assert local.capture_percent == 100
    assert local.rollout == Rollout(traffic=Traffic.ALL_AT_ONCE, step_percent=10, bake_seconds=300, max_seconds=3000)
    assert (local.replay_from, local.notify, local.endpoint_count) == (None, (), 1)


def test_a_full_configuration_is_read_and_round_trips() -> None:
    configured = {
        "name": "prod-eu",
        "image": DIGEST,
        "promotion": "automatic",
        "rollout": {"traffic": "linear", "step_percent": 25, "bake_seconds": 120},
        "endpoint_count": 4,
        "notify": ["team@example.org"],
        "replay_from": "2013-04-01T00:00:00Z",
    }
    read = Environment.from_stack("churn-eu-prod-eu", configured, REGION)
    assert read.name == "prod-eu"
    assert read.promotion.approval is ApprovalMode.AUTOMATIC
    assert read.rollout.traffic is Traffic.LINEAR
    assert read.replay_from == datetime(2013, 4, 1, tzinfo=UTC)
    assert Environment(**read.model_dump(mode="json")) == read


#: An invalid configuration of the stack `churn-dev`, and the parts that its error must contain.
REFUSED: list[tuple[str, Any, list[str]]] = [
    ("nothing", None, ["is None", "expected an object with at least `name`"]),
    ("a text", "dev", ["is 'dev'", "expected an object"]),
    ("no name", {"image": DIGEST}, ["name is missing; add it"]),
    (
        "unknown field",
        {"name": "dev", "imag": DIGEST},
        ["imag = '123456789012.dkr", "is not a field", "did you mean 'image'?"],
    ),
    (
        "unknown field of a part",
        {"name": "dev", "image": DIGEST, "rollout": {"trafic": "canary"}},
        ["rollout.trafic = 'canary'", "is not a field", "did you mean 'traffic'?"],
    ),
    (
        "another environment's",
        {"name": "prod", "image": DIGEST},
        ["name='prod'", "the stack's name 'churn-dev'", "expected <use case>-prod"],
    ),
    ("long name", {"name": "d" * 13, "image": DIGEST}, ["name = 'ddd", "at most 12 characters", "shorten it"]),
    ("odd name", {"name": "Dev", "image": DIGEST}, ["name = 'Dev'", "should match pattern", "correct it"]),
    (
        "two regions",
        {"name": "dev", "image": DIGEST, "region": "us-east-1"},
        ["region = 'us-east-1'", "aws:region, which is 'eu-west-1'", "expected the region in one place", "remove this"],
    ),
    (
        "an image that can move",
        {"name": "dev", "image": f"{REGISTRY}/millrace:latest"},
        [f"image='{REGISTRY}/millrace:latest'", "is a mutable tag", "by its digest", "set `environment.image`"],
    ),
    ("the default image", {"name": "dev"}, ["image='123456789012", "by its digest", "set `environment.image`"]),
    (
        "data that may go",
        {"name": "dev", "image": DIGEST, "force_destroy": True},
        ["force_destroy=True", "deletes data", "only the environments 'local' and 'pr-…'", "remove it"],
    ),
    (
        "promotion by nobody",
        {"name": "dev", "image": DIGEST, "promotion": "auto"},
        ["promotion.approval = 'auto'", "'manual' or 'automatic'", "choose one of them"],
    ),
    (
        "a time of nowhere",
        {"name": "dev", "image": DIGEST, "replay_from": "2013-04-01T00:00:00"},
        ["replay_from='2013-04-01T00:00:00'", "no time zone", "add 'Z'"],
    ),
    (
        "no address",
        {"name": "dev", "image": DIGEST, "notify": ["team"]},
        ["notify.0 = 'team'", "pattern", "correct it"],
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
    *(
        (
            f"an image that is {name}",
            {"name": "local", "image": image},
            [f"image: {image!r} is not an image of a registry", "expected <registry>/<repository>", "correct it"],
        )
        for name, image in (
            ("a name alone", "millrace:local"),
            ("of no registry", f"millrace@sha256:{'0' * 64}"),
            ("of any version", f"{REGISTRY}/millrace"),
            ("of an empty version", f"{REGISTRY}/millrace:"),
            ("of a short digest", f"{REGISTRY}/millrace@sha256:0123"),
            ("a web address", f"https://{REGISTRY}/millrace:1"),
            ("spelt in capitals", f"{REGISTRY}/Millrace:1"),
            ("spaced", f"{REGISTRY}/millrace:1 "),
            ("nothing", ""),
        )
    ),
    *(
        (
            f"{field} {instance!r}",
            {"name": "local", field: instance},
            [f"{field}: {instance!r} is not an instance type of SageMaker", "ml.<family>.<size>", "ml.m5.large"],
        )
        for field in ("job_instance", "endpoint_instance")
        for instance in ("m5.large", "ml.m5", "ml.m5.huge", "ML.m5.large", "ml.m5.large ", "")
    ),
    (
        "an address twice",
        {"name": "local", "notify": ["team@example.org", "b@example.org", "Team@example.org"]},
        ["notify: 'Team@example.org' is listed twice", "each address once", "remove one"],
    ),
    *(
        (
            f"a start that is {value!r}",
            {"name": "local", "replay_from": value},
            [f"replay_from: {value!r} is not a time", "text such as '2013-04-01T00:00:00Z'"],
        )
        for value in (1364774400, 1364774400.5, True, "1364774400", "spring", datetime(2013, 4, 1, tzinfo=UTC))
    ),
    (
        "a start on a day of nowhere",
        {"name": "local", "replay_from": "2013-04-01"},
        ["replay_from='2013-04-01T00:00:00'", "no time zone", "add 'Z'"],
    ),
    (
        "a start in the future",
        {"name": "local", "replay_from": "2999-01-01T00:00:00Z"},
        ["replay_from='2999-01-01T00:00:00+00:00' is in the future", "expected a time in the past", "correct it"],
    ),
]


@pytest.mark.parametrize(("configured", "pieces"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_an_invalid_configuration_is_refused_and_names_the_stack(configured: Any, pieces: list[str]) -> None:
    with pytest.raises(DeclarationError) as refused:
        Environment.from_stack("churn-dev", configured, REGION)
    message = str(refused.value)
    assert message.startswith("stack 'churn-dev', millrace:environment:\n  - ")
    assert [piece for piece in pieces if piece not in message] == [], message


@pytest.mark.parametrize("name", ["dev", "staging", "prod", "team-a"])
def test_outside_local_images_are_pinned_and_data_is_kept(name: str) -> None:
    assert Environment(name=name, image=DIGEST).force_destroy is False
    for wrong in ({"image": f"{REGISTRY}/millrace:1"}, {"image": DIGEST, "force_destroy": True}):
        with pytest.raises(ValueError, match=r"digest|force_destroy"):
            Environment(name=name, **wrong)


def test_local_may_use_a_tag_and_force_destroy() -> None:
    local = Environment(name="local", image="localhost:5000/team/millrace:local", force_destroy=True)
    assert local.force_destroy


@pytest.mark.parametrize(
    ("region", "said"), [(None, "aws:region: is missing; expected a region"), ("Ireland", "region = 'Ireland'")]
)
def test_the_region_comes_from_the_provider_configuration(region: str | None, said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        Environment.from_stack("churn-local", {"name": "local"}, region)
    assert said in str(refused.value)
    assert Environment.from_stack("churn-local", {"name": "local"}, "us-east-1").region == "us-east-1"


@pytest.mark.parametrize(
    "image",
    [f"{REGISTRY}/millrace:1.2_b-3", f"{REGISTRY}/team/mill-race:1@sha256:{'a' * 64}", "registry.example.org:5000/m:1"],
)
def test_an_image_may_come_from_any_registry(image: str) -> None:
    assert Environment(name="local", image=image).image == image


@pytest.mark.parametrize(
    ("field", "shape"),
    [("job_instance", "TrainingInstanceType"), ("job_instance", "ProcessingInstanceType"),
     ("endpoint_instance", "ProductionVariantInstanceType")],
)  # fmt: skip
def test_every_sagemaker_instance_type_is_accepted(field: str, shape: str) -> None:
    known = botocore.session.get_session().get_service_model("sagemaker").shape_for(shape).enum
    assert len(known) > 100
    for instance in known:
        assert Environment(name="local", **{field: instance})
