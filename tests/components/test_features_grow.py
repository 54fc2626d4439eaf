"""FeatureStore with the real engine: features are added in place, and a removed one is refused at preview."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from local import client
from tests.local.conftest import CloudDaemon, fresh_daemon
from tests.local.test_engine import SETTINGS, Pulumi

__all__ = ["fresh_daemon"]

REPOSITORY = Path(__file__).parents[2]
BUCKET = "features-grow"

PROGRAM = f"""
import json, pulumi, pulumi_aws as aws
from components.feature_store import FeatureStore, FeatureStoreArgs

key = aws.kms.Key("key")
role = aws.iam.Role("role", assume_role_policy=json.dumps({{"Version": "2012-10-17", "Statement": []}}))
FeatureStore("weather", FeatureStoreArgs(
    group_name="weather", record_identifier="origin", event_time="known_at",
    features=json.loads(pulumi.Config().require("features")), offline_uri="s3://{BUCKET}/offline",
    kms_key_arn=key.arn, role_arn=role.arn, region="{client.REGION}", parameter_name="/weather/schema", protect=False,
))
"""


@pytest.fixture
def pulumi(tmp_path: Path, fresh_daemon: CloudDaemon) -> Pulumi:
    """Return the CLI in a project with one FeatureStore, whose features are configured."""
    folder = tmp_path / "project"
    (folder / "config").mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text(SETTINGS)
    (folder / "__main__.py").write_text(PROGRAM)
    location = {"LocationConstraint": client.REGION}
    fresh_daemon.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
    pulumi = Pulumi(folder, fresh_daemon)
    pulumi.environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    pulumi("stack", "init", "test")
    pulumi("config", "set", "aws:region", client.REGION)
    return pulumi


def declare(pulumi: Pulumi, *columns: str) -> None:
    """Configure the features other than entity and event time."""
    features = ",".join(f'"{name}":"Fractional"' for name in columns)
    pulumi("config", "set", "features", f'{{"origin":"String","known_at":"String",{features}}}')


def test_features_only_grow(pulumi: Pulumi, fresh_daemon: CloudDaemon) -> None:
    sagemaker = fresh_daemon.client("sagemaker")

    def group() -> dict[str, Any]:
        described: dict[str, Any] = sagemaker.describe_feature_group(FeatureGroupName="weather")
        return described

    def features() -> list[str]:
        return [each["FeatureName"] for each in group()["FeatureDefinitions"]]

    declare(pulumi, "temp")
    pulumi("up", "--yes")
    assert features() == ["origin", "known_at", "temp"]
    created = group()["CreationTime"]

    declare(pulumi, "temp", "wind", "rain")
    assert pulumi.steps() == {"same": 5, "update": 1}
    assert features() == ["origin", "known_at", "temp"]
    pulumi("up", "--yes")
    assert features() == ["origin", "known_at", "temp", "rain", "wind"]
    assert group()["CreationTime"] == created
    assert pulumi.steps() == {"same": 6}

    declare(pulumi, "temp", "rain")
    refused = pulumi("preview", code=1)
    assert "feature group 'weather': 'wind' was removed. A group cannot lose a feature" in refused
    assert features() == ["origin", "known_at", "temp", "rain", "wind"]
