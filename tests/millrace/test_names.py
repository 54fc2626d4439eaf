"""The computed names: each spelt out, and within the limits of AWS for the longest use case and environment."""

from __future__ import annotations

import re

import pytest

from millrace.names import (
    CAPTURE,
    CLOCK_KEY,
    CODE,
    DATASETS,
    EVALUATIONS,
    MODELS,
    MONITOR_REPORTS,
    OFFLINE,
    QUARANTINE,
    SNAPSHOTS,
    VARIANT,
    Names,
)

ACCOUNT = "123456789012"
NAMES = Names("flights", "local", ACCOUNT, "eu-west-1")
LONGEST = Names("u" * 28, "e" * 12, ACCOUNT, "eu-west-1")


def test_the_names_of_flights() -> None:
    assert {
        "stack": NAMES.stack,
        "lake": NAMES.lake,
        "endpoint": NAMES.endpoint,
        "group": NAMES.model_package_group,
        "pipelines": (NAMES.features_pipeline, NAMES.training_pipeline, NAMES.monitor_pipeline),
        "letters": NAMES.dead_letters,
        "schema": NAMES.feature_schema("carrier_departures"),
        "namespace": NAMES.metric_namespace,
        "features": NAMES.feature_group("carrier_departures"),
        "alarm": NAMES.alarm("calibration"),
    } == {
        "stack": "flights-local",
        "lake": "flights-local-lake-123456789012",
        "endpoint": "flights-local",
        "group": "flights-local",
        "pipelines": ("flights-local-features", "flights-local-training", "flights-local-monitor"),
        "letters": "flights-local-dead-letters",
        "schema": "/millrace/flights-local/carrier_departures/schema",
        "namespace": "Millrace/flights-local",
        "features": "flights-local-carrier-departures",
        "alarm": "flights-local-calibration",
    }


def test_names_with_a_dedicated_and_a_shared_lake() -> None:
    shared = Names("flights", "dev", ACCOUNT, "eu-west-1", shared_lake=True)
    assert {
        "bucket": (NAMES.lake, shared.lake),
        "alias": (NAMES.lake_alias, shared.lake_alias),
        "root": (NAMES.root, shared.root),
        "key": (NAMES.key(CAPTURE, "a"), shared.key(CAPTURE, "a")),
        "all": (NAMES.key(), shared.key()),
        "uri": (NAMES.uri(CAPTURE), shared.uri(CAPTURE)),
        "endpoint": (NAMES.endpoint, shared.endpoint),
    } == {
        "bucket": ("flights-local-lake-123456789012", "platform-dev-lake-123456789012"),
        "alias": ("alias/flights-local-lake-123456789012", "alias/platform-dev-lake-123456789012"),
        "root": ("flights-local-lake-123456789012", "platform-dev-lake-123456789012/flights"),
        "key": ("capture/a", "flights/capture/a"),
        "all": ("", "flights"),
        "uri": ("s3://flights-local-lake-123456789012/capture", "s3://platform-dev-lake-123456789012/flights/capture"),
        "endpoint": ("flights-local", "flights-dev"),
    }


def test_the_folders_of_the_lake_and_the_variant() -> None:
    folders = (SNAPSHOTS, DATASETS, MODELS, EVALUATIONS, CAPTURE, MONITOR_REPORTS, QUARANTINE, OFFLINE, CODE)
    assert folders == (
        *("snapshots", "datasets", "models", "evaluations", "capture", "monitor", "quarantine", "offline", "code"),
    )
    assert (VARIANT, CLOCK_KEY) == ("main", "clock.json")


@pytest.mark.parametrize(
    "name",
    [
        LONGEST.endpoint,
        LONGEST.model_package_group,
        LONGEST.features_pipeline,
        LONGEST.training_pipeline,
        LONGEST.monitor_pipeline,
        LONGEST.feature_group("t" * 20),
        # With the suffix that Pulumi adds to the longest logical names of SageMaker resources.
        f"{LONGEST.endpoint}-config-1a2b3c4",
        f"{LONGEST.endpoint}-model-1a2b3c4",
    ],
)
def test_sagemaker_accepts_the_longest_names(name: str) -> None:
    assert len(name) <= 63
    assert re.fullmatch(r"[A-Za-z0-9](-*[A-Za-z0-9])*", name)


def test_s3_accepts_the_longest_bucket_name() -> None:
    assert len(LONGEST.lake) <= 63
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*[a-z0-9]", LONGEST.lake)


def test_iam_and_eventbridge_accept_the_longest_names() -> None:
    assert len(f"{LONGEST.stack}-pipeline-role-1a2b3c4") <= 64
    assert len(f"{LONGEST.training_pipeline}-on-alarm") <= 64
    assert all(len(name) <= 64 for name in LONGEST.schedules)


def test_different_tables_have_different_feature_groups() -> None:
    tables = ["a", "a_b", "a__b", "ab", "a1", "a_1"]
    assert len({NAMES.feature_group(table) for table in tables}) == len(tables)
