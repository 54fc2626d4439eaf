"""The resources of a stack, derived from its declaration."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from millrace import Environment, FeatureTable, Monitoring, Retraining, UseCase, inventory
from millrace.names import Names

NAMES = Names("toy", "dev", "123456789012", "eu-west-1")


def declare(**changes: object) -> UseCase:
    return UseCase(**{"name": "toy", "target": "y", "key": "id", "event_time": "at", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "has_endpoint", "absent"),
    [
        # Without feature tables nothing can be old.
        ({}, True, {"freshness"}),
        ({}, False, {"freshness", "errors", "latency"}),
        ({"problem": "regression"}, True, {"freshness", "calibration"}),
        ({"monitoring": Monitoring(off=("volume", "quality"))}, True, {"freshness", "volume", "quality"}),
    ],
)
def test_alarm_kinds(fields: dict[str, Any], has_endpoint: bool, absent: set[str]) -> None:
    found = inventory.list_alarm_kinds(declare(**fields), has_endpoint=has_endpoint)
    every = {
        "drift", "score-drift", "skew", "quality", "calibration", "labels", "volume", "refusals", "capture", "clock",
        "freshness", "unmeasured", "heartbeat", "errors", "latency", "undelivered",
    }  # fmt: skip
    assert (set(found), len(found)) == (every - absent, len(every - absent))


def test_pipelines_schedules_and_rules() -> None:
    table = FeatureTable("shop", entity="place", columns={"area": "number"}, event_time="known")
    case = declare(
        tables=[table], publish_every=timedelta(hours=2), retraining=Retraining(on=("drift",), every=timedelta(days=30))
    )
    assert inventory.list_pipelines(case, NAMES) == {
        "training": "toy-dev-training", "monitor": "toy-dev-monitor", "features": "toy-dev-features",
    }  # fmt: skip
    assert {(each.kind, each.name, each.every, each.pausable) for each in inventory.list_schedules(case, NAMES)} == {
        ("training", "toy-dev-training-backstop", timedelta(days=30), "retraining"),
        ("training", "toy-dev-training-recheck", timedelta(days=1), "retraining"),
        ("monitor", "toy-dev-monitor", case.monitoring.every, "monitor"),
        ("features", "toy-dev-features", timedelta(hours=2), "features"),
    }
    assert inventory.list_rules(case, NAMES) == ["toy-dev-training-on-alarm"]
    fed = declare(retraining=Retraining(on=("data",)))
    assert inventory.list_rules(fed, NAMES) == ["toy-dev-training-on-data"]
    assert [each.name for each in inventory.list_schedules(fed, NAMES)] == ["toy-dev-monitor"]
    bare = declare(retraining=Retraining(on=(), every=timedelta(days=1)))
    assert list(inventory.list_pipelines(bare, NAMES)) == ["training", "monitor"]
    assert [each.kind for each in inventory.list_schedules(bare, NAMES)] == ["monitor", "training"]
    assert inventory.list_rules(bare, NAMES) == []


def test_job_variables() -> None:
    image = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/x@sha256:{'0' * 64}"
    environment = Environment(name="dev", image=image, variables={"A": "b"})
    assert inventory.make_job_variables(environment, NAMES) == {
        "A": "b", "MILLRACE_ENVIRONMENT": "dev", "MILLRACE_ACCOUNT": "123456789012", "MILLRACE_PROMOTION": "manual",
    }  # fmt: skip
    replayed = environment.model_copy(update={"replay_from": "2013-04-01T00:00:00Z"})
    shared = Names("toy", "dev", "123456789012", "eu-west-1", shared_lake=True)
    found = inventory.make_job_variables(replayed, shared)
    assert found["MILLRACE_CLOCK"] == "s3://platform-dev-lake-123456789012/toy/clock.json"
    assert found["MILLRACE_LAKE"] == "shared"
    assert inventory.is_lake_shared(found)
    assert not inventory.is_lake_shared({"MILLRACE_LAKE": "own"})
