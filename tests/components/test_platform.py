"""Platform: the resources that use cases share, and a stack that uses them; tests/e2e/test_fleet.py has the rest."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from botocore.exceptions import ClientError

import stacks
from components.data_lake import Lake
from components.platform import Platform, PlatformArgs, make_shared_lake
from millrace import Environment, MillraceError, UseCase
from millrace.environment import Lake as Whose
from millrace.names import Names
from millrace.watching import MonitorAlarm
from queries.keys import find_key
from tests.components import flights_stack, mocked

REGION, ACCOUNT = "eu-west-1", mocked.ACCOUNT
BUCKET = f"platform-dev-lake-{ACCOUNT}"
SHARED = Lake(BUCKET, f"arn:aws:s3:::{BUCKET}", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/shared")


def _make_use_case(name: str, **monitoring: Any) -> UseCase:
    return UseCase(name=name, target="y", key="id", event_time="at", monitoring=monitoring)


def _make_platform(*cases: UseCase) -> dict[str, mocked.Registered]:
    dev = flights_stack.environment("dev")
    return mocked.run(lambda: Platform("platform", PlatformArgs(dev, ACCOUNT, "aws", cases)))


def test_the_platform_makes_one_lake_and_one_dashboard() -> None:
    found = _make_platform(_make_use_case("a"), _make_use_case("b"))
    kinds = {each.kind for each in found.values()}
    assert kinds == {
        *("Platform", "DataLake", "Key", "Alias", "Bucket", "BucketOwnershipControls", "BucketPublicAccessBlock"),
        *("BucketVersioning", "BucketServerSideEncryptionConfiguration", "BucketLifecycleConfiguration"),
        *("BucketPolicy", "BucketNotification", "Dashboard"),
    }
    assert found["platform-dev-lake-bucket"].inputs["bucket"] == BUCKET
    assert found["platform-dev-lake-bucket"].options["protect"] is True
    assert found["platform-dev-lake-key-alias"].inputs["name"] == f"alias/{BUCKET}"


def test_the_dashboard_shows_alarms_and_metrics_of_every_use_case() -> None:
    found = _make_platform(_make_use_case("a"), _make_use_case("b", off=("volume",)))
    dashboard = found["platform-dev-dashboard"].inputs
    assert dashboard["dashboardName"] == "platform-dev"
    widgets = json.loads(dashboard["dashboardBody"])["widgets"]
    alarms = [each["properties"]["alarms"] for each in widgets if each["type"] == "alarm"]
    place = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm"
    # Without feature tables nothing can be old.
    everywhere = {*MonitorAlarm, "undelivered", "errors", "latency"} - {"freshness", "volume"}
    assert len(alarms) == 1
    assert sorted(alarms[0]) == sorted(
        [f"{place}:a-dev-volume", *(f"{place}:{each}-dev-{kind}" for each in "ab" for kind in everywhere)]
    )
    [drift] = [
        each["properties"] for each in widgets if each["properties"]["title"] == "Drift (above 1: more than chance)"
    ]
    assert drift["metrics"] == [
        ["Millrace/a-dev", "drift", "Endpoint", "a-dev"],
        ["Millrace/b-dev", "drift", "Endpoint", "b-dev"],
    ]
    places = [(each["x"], each["y"]) for each in widgets]
    assert len(places) == len(set(places))


def test_a_widget_has_no_more_alarms_than_cloudwatch_accepts() -> None:
    found = _make_platform(*(_make_use_case(f"case-{number}") for number in range(24)))
    widgets = json.loads(found["platform-dev-dashboard"].inputs["dashboardBody"])["widgets"]
    assert [len(each["properties"]["alarms"]) for each in widgets if each["type"] == "alarm"] == [100, 100, 100, 60]


@pytest.fixture(scope="module")
def shared() -> dict[str, mocked.Registered]:
    where = flights_stack.environment("dev").model_copy(update={"lake": Whose.SHARED})
    return flights_stack.register_stack(stacks.load("flights"), where, flights_stack.package("dev"), SHARED)


def test_a_stack_with_a_shared_lake_makes_no_lake(shared: dict[str, mocked.Registered]) -> None:
    assert not {"DataLake", "Bucket", "Key"}.intersection(each.kind for each in shared.values())


def test_roles_may_access_only_their_folder_of_a_shared_lake(shared: dict[str, mocked.Registered]) -> None:
    for role in ("job", "endpoint", "pipeline"):
        statements = json.loads(shared[f"flights-dev-{role}-policy"].inputs["policy"])["Statement"]
        objects = [each for each in statements if "s3:GetObject" in each["Action"]]
        assert [each["Resource"] for each in objects] == [[f"{SHARED.bucket_arn}/flights/*"]]
        [listing] = [each for each in statements if "s3:ListBucket" in each["Action"]]
        [own] = listing["Condition"]["StringLike"]["s3:prefix"]
        # S3 lists every key with this prefix, including those of other use cases.
        asked = ("", "flights", "flights-eu/", "flights/", "flights/capture/")
        assert [prefix for prefix in asked if fnmatchcase(prefix, own)] == ["flights/", "flights/capture/"]
        everything = {resource for each in statements for resource in each["Resource"]}
        assert f"{SHARED.bucket_arn}/*" not in everything


def test_all_paths_lie_in_the_folder_of_the_use_case(shared: dict[str, mocked.Registered]) -> None:
    texts = [json.dumps(each.inputs, default=repr) for each in shared.values()]
    uris = {part.split('"')[0].split("\\")[0] for text in texts for part in text.split(f"s3://{BUCKET}")[1:]}
    assert uris
    assert all(uri.startswith("/flights/") for uri in uris)
    assert shared["flights-dev-code"].inputs["key"].startswith("flights/code/")
    assert shared["flights-dev-clock"].inputs["key"] == "flights/clock.json"
    training = json.loads(shared["flights-dev-training-pipeline"].inputs["pipelineDefinition"])
    ingest = next(step for step in training["Steps"] if step["Name"] == "Ingest")["Arguments"]
    assert ingest["Environment"]["MILLRACE_LAKE"] == "shared"
    outputs = ingest["ProcessingOutputConfig"]["Outputs"]
    assert [each["S3Output"]["S3Uri"]["Std:Join"]["Values"][:3] for each in outputs] == [
        ["s3:/", f"{BUCKET}/flights", "snapshots"]
    ] * 2


class _Kms:
    """Fake of KMS in an account that has the key under this alias, or no key."""

    def __init__(self, alias: str | None) -> None:
        self._alias = alias

    def describe_key(self, *, KeyId: str) -> dict[str, Any]:
        if KeyId != self._alias:
            raise ClientError({"Error": {"Code": "NotFoundException", "Message": "no"}}, "DescribeKey")
        return {"KeyMetadata": {"Arn": SHARED.key_arn}}


def test_the_shared_lake_is_found_by_the_alias_of_its_key() -> None:
    names = Names("a", "dev", ACCOUNT, REGION, shared_lake=True)
    assert make_shared_lake(names, "aws", find_key(_Kms(f"alias/{BUCKET}"), names.lake_alias)) == SHARED


def test_without_a_platform_the_error_says_what_to_deploy() -> None:
    names = Names("a", "dev", ACCOUNT, REGION, shared_lake=True)
    assert find_key(_Kms(None), names.lake_alias) is None
    with pytest.raises(MillraceError, match="millrace deploy platform --env dev --create"):
        make_shared_lake(names, "aws", None)


@pytest.mark.parametrize("name", ["platform", "platform-costs"])
def test_the_name_of_the_platform_is_reserved(name: str) -> None:
    with pytest.raises(ValueError, match=f"name='{name}' begins with 'platform', which is reserved"):
        _make_use_case(name)


def test_pull_request_environments_are_ephemeral_and_prod_is_not() -> None:
    image = f"1.dkr.ecr.eu-west-1.amazonaws.com/m@sha256:{'0' * 64}"
    assert Environment(name="pr-7", image=image, force_destroy=True).is_ephemeral
    assert not Environment(name="prod", image=image).is_ephemeral
