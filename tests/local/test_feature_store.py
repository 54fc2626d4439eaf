"""Feature groups and their records, online and offline, as a client of AWS sees them."""

from __future__ import annotations

import io
import itertools
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import CloudDaemon, make_roles

ROLE = "arn:aws:iam::123456789012:role/features"
DEFINITIONS = [
    {"FeatureName": "station", "FeatureType": "String"},
    {"FeatureName": "known_at", "FeatureType": "String"},
    {"FeatureName": "wind", "FeatureType": "Fractional"},
    {"FeatureName": "gusts", "FeatureType": "Integral"},
]

_numbers = itertools.count()


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the condition's first true value; fail when the time is up."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudDaemon]:
    """Yield a cloud in which an hour lasts a second."""
    daemon = CloudDaemon(tmp_path_factory.mktemp("features") / "state", scale=3600.0)
    daemon.start()
    try:
        create_roles_and_bucket(daemon)
        yield daemon
    finally:
        daemon.stop()


def create_roles_and_bucket(daemon: CloudDaemon) -> None:
    make_roles(daemon.client("iam"))
    daemon.client("s3").create_bucket(
        Bucket="lake", CreateBucketConfiguration={"LocationConstraint": daemon.client("s3").meta.region_name}
    )


def create(daemon: CloudDaemon, **changes: Any) -> dict[str, Any]:
    """Create a group, wait until it is Created or has failed, and return its description."""
    sagemaker = daemon.client("sagemaker")
    request = {
        "FeatureGroupName": f"weather-{next(_numbers)}",
        "RecordIdentifierFeatureName": "station",
        "EventTimeFeatureName": "known_at",
        "FeatureDefinitions": DEFINITIONS,
        "OnlineStoreConfig": {"EnableOnlineStore": True},
        **changes,
    }
    sagemaker.create_feature_group(**{key: value for key, value in request.items() if value is not None})
    return wait_until_settled(daemon, request["FeatureGroupName"])


def offline() -> dict[str, Any]:
    return {"OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "s3://lake/features/"}}, "RoleArn": ROLE}


def wait_until_settled(daemon: CloudDaemon, name: str) -> dict[str, Any]:
    def done() -> Any:
        group = daemon.client("sagemaker").describe_feature_group(FeatureGroupName=name)
        busy = (
            group["FeatureGroupStatus"] == "Creating" or group.get("LastUpdateStatus", {}).get("Status") == "InProgress"
        )
        return None if busy else group

    return dict(wait_until(done))


def is_deleted(daemon: CloudDaemon, name: str) -> bool:
    return not daemon.client("sagemaker").list_feature_groups(NameContains=name)["FeatureGroupSummaries"]


def record(**values: str) -> list[dict[str, str]]:
    return [{"FeatureName": name, "ValueAsString": value} for name, value in values.items()]


def put(daemon: CloudDaemon, group: dict[str, Any], station: str, known_at: str, **values: str) -> None:
    daemon.client("sagemaker-featurestore-runtime").put_record(
        FeatureGroupName=group["FeatureGroupName"], Record=record(station=station, known_at=known_at, **values)
    )


def get(daemon: CloudDaemon, group: dict[str, Any], station: str, **options: Any) -> dict[str, str] | None:
    answer = daemon.client("sagemaker-featurestore-runtime").get_record(
        FeatureGroupName=group["FeatureGroupName"], RecordIdentifierValueAsString=station, **options
    )
    found = answer.get("Record")
    return None if found is None else {each["FeatureName"]: each["ValueAsString"] for each in found}


def files(daemon: CloudDaemon, group: dict[str, Any]) -> list[str]:
    uri = group["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]
    listed = daemon.client("s3").list_objects_v2(Bucket="lake", Prefix=uri.removeprefix("s3://lake/"))
    return [each["Key"] for each in listed.get("Contents", [])]


def rows(daemon: CloudDaemon, group: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for key in files(daemon, group):
        body = daemon.client("s3").get_object(Bucket="lake", Key=key)["Body"].read()
        found += pq.read_table(io.BytesIO(body)).to_pylist()
    return found


# -- groups ----------------------------------------------------------------------------------------------------------


def test_a_created_group_is_described_with_its_stores_and_tags(hurried: CloudDaemon) -> None:
    group = create(hurried, **offline(), Tags=[{"Key": "team", "Value": "sky"}], Description="what is known of it")
    assert group["FeatureGroupStatus"] == "Created"
    assert group["OfflineStoreStatus"] == {"Status": "Active"}
    assert group["FeatureDefinitions"] == DEFINITIONS
    assert group["Description"] == "what is known of it"
    epoch = int(group["CreationTime"].timestamp())
    name, region = group["FeatureGroupName"], hurried.client("s3").meta.region_name
    storage = group["OfflineStoreConfig"]["S3StorageConfig"]
    assert storage["ResolvedOutputS3Uri"] == (
        f"s3://lake/features/123456789012/sagemaker/{region}/offline-store/{name}-{epoch}/data"
    )
    assert group["OfflineStoreConfig"]["DataCatalogConfig"] == {
        "TableName": f"{name.replace('-', '_')}_{epoch}",
        "Catalog": "AwsDataCatalog",
        "Database": "sagemaker_featurestore",
    }
    tags = hurried.client("sagemaker").list_tags(ResourceArn=group["FeatureGroupArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "sky"}]
    by_arn = hurried.client("sagemaker").describe_feature_group(FeatureGroupName=group["FeatureGroupArn"])
    assert by_arn["FeatureGroupName"] == name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"OnlineStoreConfig": None}, "needs an OnlineStoreConfig"),
        ({"RecordIdentifierFeatureName": "city"}, "RecordIdentifierFeatureName 'city'"),
        ({"EventTimeFeatureName": "gusts"}, "FeatureType Integral; expected String"),
        ({"FeatureDefinitions": [*DEFINITIONS, {"FeatureName": "Write_Time", "FeatureType": "String"}]}, "reserved"),
        (
            {"FeatureDefinitions": [*DEFINITIONS, {"FeatureName": "WIND", "FeatureType": "String"}]},
            "'WIND' is there twice",
        ),
        ({"OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "s3://lake"}}}, "needs a RoleArn"),
        (
            {
                "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "s3://lake"}, "TableFormat": "Iceberg"},
                "RoleArn": ROLE,
            },
            "TableFormat Iceberg is not available in the local cloud",
        ),
        ({"OnlineStoreConfig": {"EnableOnlineStore": True, "StorageType": "InMemory"}}, "StorageType InMemory"),
        ({"ThroughputConfig": {"ThroughputMode": "Provisioned"}}, "ThroughputMode Provisioned"),
        ({"OnlineStoreConfig": {"EnableOnlineStore": True, "TtlDuration": {"Unit": "Days"}}}, "both Unit and Value"),
    ],
)
def test_invalid_group_definitions_are_refused(hurried: CloudDaemon, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match=said) as refusal:
        create(hurried, **changes)
    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_a_group_whose_bucket_is_missing_fails(hurried: CloudDaemon) -> None:
    group = create(hurried, RoleArn=ROLE, OfflineStoreConfig={"S3StorageConfig": {"S3Uri": "s3://no-such-lake/"}})
    assert group["FeatureGroupStatus"] == "CreateFailed"
    assert "bucket no-such-lake" in group["FailureReason"]


def test_taken_and_unknown_group_names_are_refused(hurried: CloudDaemon) -> None:
    group = create(hurried)
    with pytest.raises(ClientError, match="already exists") as taken:
        create(hurried, FeatureGroupName=group["FeatureGroupName"])
    assert taken.value.response["Error"]["Code"] == "ResourceInUse"
    with pytest.raises(ClientError, match="can't find a FeatureGroup with name nothing") as unknown:
        hurried.client("sagemaker").describe_feature_group(FeatureGroupName="nothing")
    assert unknown.value.response["Error"]["Code"] == "ResourceNotFound"


def test_features_and_time_to_live_can_be_added_later(hurried: CloudDaemon) -> None:
    sagemaker = hurried.client("sagemaker")
    group = create(hurried)
    name = group["FeatureGroupName"]
    added = {"FeatureName": "rain", "FeatureType": "Fractional"}
    sagemaker.update_feature_group(FeatureGroupName=name, FeatureAdditions=[added])
    group = wait_until_settled(hurried, name)
    assert group["LastUpdateStatus"] == {"Status": "Successful"}
    assert group["FeatureDefinitions"] == [*DEFINITIONS, added]
    put(hurried, group, "JFK", "2026-11-02T09:00:00Z", rain="0.5")
    assert get(hurried, group, "JFK", FeatureNames=["rain"]) == {"rain": "0.5"}
    ttl = {"Unit": "Weeks", "Value": 5200}
    sagemaker.update_feature_group(FeatureGroupName=name, OnlineStoreConfig={"TtlDuration": ttl})
    assert wait_until_settled(hurried, name)["OnlineStoreConfig"]["TtlDuration"] == ttl
    with pytest.raises(ClientError, match="'rain' is there twice"):
        sagemaker.update_feature_group(FeatureGroupName=name, FeatureAdditions=[added])
    with pytest.raises(ClientError, match="exactly one of"):
        sagemaker.update_feature_group(FeatureGroupName=name)


def test_a_deleted_group_loses_its_records_and_keeps_its_files(hurried: CloudDaemon) -> None:
    sagemaker = hurried.client("sagemaker")
    group = create(hurried, **offline())
    name = group["FeatureGroupName"]
    put(hurried, group, "JFK", "2026-11-02T09:00:00Z")
    sagemaker.delete_feature_group(FeatureGroupName=name)
    wait_until(partial(is_deleted, hurried, name))
    assert [row["station"] for row in rows(hurried, group)] == ["JFK"]
    again = create(hurried, FeatureGroupName=name)
    assert get(hurried, again, "JFK") is None


def test_groups_are_listed_by_name_and_status(hurried: CloudDaemon) -> None:
    name = create(hurried)["FeatureGroupName"]
    listed = hurried.client("sagemaker").list_feature_groups
    assert [each["FeatureGroupName"] for each in listed(NameContains=name)["FeatureGroupSummaries"]] == [name]
    assert listed(NameContains=name, FeatureGroupStatusEquals="Deleting")["FeatureGroupSummaries"] == []
    assert listed(NameContains=name, OfflineStoreStatusEquals="Active")["FeatureGroupSummaries"] == []


# -- records ---------------------------------------------------------------------------------------------------------


def test_the_newest_event_time_wins_online(hurried: CloudDaemon) -> None:
    group = create(hurried)
    put(hurried, group, "JFK", "2026-11-02T09:00:00Z", wind="1.5", gusts="7")
    assert get(hurried, group, "JFK") == {
        "station": "JFK", "known_at": "2026-11-02T09:00:00Z", "wind": "1.5", "gusts": "7",
    }  # fmt: skip
    put(hurried, group, "JFK", "2026-11-02T08:00:00Z", wind="9")
    assert get(hurried, group, "JFK", FeatureNames=["wind"]) == {"wind": "1.5"}
    put(hurried, group, "JFK", "2026-11-02T09:00:00Z", wind="2")
    assert get(hurried, group, "JFK") == {"station": "JFK", "known_at": "2026-11-02T09:00:00Z", "wind": "2"}
    put(hurried, group, "JFK", "2026-11-02T09:00:00.001Z", wind="3")
    assert get(hurried, group, "JFK", FeatureNames=["wind"]) == {"wind": "3"}
    assert get(hurried, group, "LGA") is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"wind": "fast"}, r"feature named \[wind\] into a FeatureValue of type Fractional"),
        ({"wind": "NaN"}, r"feature named \[wind\] into a FeatureValue of type Fractional"),
        ({"wind": ""}, r"feature named \[wind\] into a FeatureValue of type Fractional"),
        ({"gusts": "1.0"}, r"feature named \[gusts\] into a FeatureValue of type Integral"),
        ({"gusts": "9223372036854775808"}, r"\[gusts\] into a FeatureValue of type Integral"),
        ({"snow": "1"}, r"\[snow\] is not a feature"),
        ({"known_at": "2026-11-02 09:00:00"}, "expected yyyy-MM-dd'T'HH:mm:ssZ"),
        ({"known_at": "2026-13-02T09:00:00Z"}, "expected yyyy-MM-dd'T'HH:mm:ssZ"),
        ({"station": ""}, r"lacks a value of \[station\]"),
    ],
)
def test_an_invalid_feature_value_is_refused(hurried: CloudDaemon, values: dict[str, str], said: str) -> None:
    group = create(hurried)
    with pytest.raises(ClientError, match=said) as refusal:
        put(hurried, group, **{"station": "JFK", "known_at": "2026-11-02T09:00:00Z", **values})
    assert refusal.value.response["Error"]["Code"] == "ValidationError"
    assert get(hurried, group, "JFK") is None


SECONDS = [
    {"FeatureName": "station", "FeatureType": "String"},
    {"FeatureName": "known_at", "FeatureType": "Fractional"},
]


@pytest.mark.parametrize("known_at", ["1793611677000", "1e18", "1e300", "-1e11", "253402300800"])
def test_an_event_time_that_is_not_a_date_is_refused(hurried: CloudDaemon, known_at: str) -> None:
    runtime = hurried.client("sagemaker-featurestore-runtime")
    group = create(hurried, FeatureDefinitions=SECONDS, **offline())
    name = group["FeatureGroupName"]
    said = rf"\[known_at\] has the value '{known_at}'; expected Unix seconds"
    with pytest.raises(ClientError, match=said) as refusal:
        put(hurried, group, "JFK", known_at)
    assert refusal.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match=said):
        runtime.delete_record(FeatureGroupName=name, RecordIdentifierValueAsString="JFK", EventTime=known_at)
    entry = {"FeatureGroupName": name, "Record": record(station="JFK", known_at=known_at)}
    (error,) = runtime.batch_write_record(Entries=[entry])["Errors"]
    assert error["ErrorCode"] == "ValidationError"
    put(hurried, group, "JFK", "1793611677.5")
    assert get(hurried, group, "JFK") == {"station": "JFK", "known_at": "1793611677.5"}
    wait_until(lambda: [row["known_at"] for row in rows(hurried, group)] == [1793611677.5])


def test_an_unknown_group_is_404_for_reads_and_invalid_for_writes(hurried: CloudDaemon) -> None:
    unknown = {"FeatureGroupName": "nothing"}
    with pytest.raises(ClientError, match="can't find a FeatureGroup") as read:
        get(hurried, unknown, "JFK")
    assert read.value.response["Error"]["Code"] == "ResourceNotFound"
    assert read.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(ClientError, match="can't find a FeatureGroup") as written:
        put(hurried, unknown, "JFK", "2026-11-02T09:00:00Z")
    assert written.value.response["Error"]["Code"] == "ValidationError"


def test_soft_deletion_keeps_the_event_time_and_hard_deletion_does_not(hurried: CloudDaemon) -> None:
    runtime = hurried.client("sagemaker-featurestore-runtime")
    group = create(hurried)
    name = group["FeatureGroupName"]

    def delete(time: str, mode: str) -> None:
        runtime.delete_record(
            FeatureGroupName=name, RecordIdentifierValueAsString="JFK", EventTime=time, DeletionMode=mode
        )

    put(hurried, group, "JFK", "2026-11-02T09:00:00Z")
    delete("2026-11-02T08:00:00Z", "SoftDelete")
    assert get(hurried, group, "JFK") is not None
    delete("2026-11-02T10:00:00Z", "SoftDelete")
    assert get(hurried, group, "JFK") is None
    assert runtime.list_records(FeatureGroupName=name)["RecordIdentifiers"] == []
    assert runtime.list_records(FeatureGroupName=name, IncludeSoftDeletedRecords=True)["RecordIdentifiers"] == ["JFK"]
    put(hurried, group, "JFK", "2026-11-02T09:30:00Z")
    assert get(hurried, group, "JFK") is None, "the deletion is newer"
    put(hurried, group, "JFK", "2026-11-02T11:00:00Z")
    with pytest.raises(ClientError, match="newer event time"):
        delete("2026-11-02T10:00:00Z", "HardDelete")
    delete("2026-11-02T11:00:00Z", "HardDelete")
    put(hurried, group, "JFK", "2026-11-02T09:30:00Z")
    assert get(hurried, group, "JFK") is not None, "a hard deletion forgets event times"


def test_records_expire_after_their_time_to_live(hurried: CloudDaemon) -> None:
    runtime = hurried.client("sagemaker-featurestore-runtime")
    group = create(
        hurried, OnlineStoreConfig={"EnableOnlineStore": True, "TtlDuration": {"Unit": "Days", "Value": 36500}}
    )
    put(hurried, group, "JFK", "2026-11-02T09:00:00Z")
    answer = runtime.get_record(
        FeatureGroupName=group["FeatureGroupName"],
        RecordIdentifierValueAsString="JFK",
        ExpirationTimeResponse="Enabled",
    )
    assert answer["ExpiresAt"] == "2126-10-09T09:00:00Z"
    runtime.put_record(
        FeatureGroupName=group["FeatureGroupName"],
        Record=record(station="JFK", known_at="2026-11-02T10:00:00Z"),
        TtlDuration={"Unit": "Seconds", "Value": 1},
    )
    assert get(hurried, group, "JFK") is None, "the record's own time to live is over"


def test_an_excessive_time_to_live_is_refused(hurried: CloudDaemon) -> None:
    runtime = hurried.client("sagemaker-featurestore-runtime")
    group, ever = create(hurried), {"Unit": "Weeks", "Value": 2**31 - 1}
    name = group["FeatureGroupName"]
    values = record(station="JFK", known_at="2026-11-02T09:00:00Z")
    with pytest.raises(ClientError, match="TtlDuration of 2147483647 Weeks") as refusal:
        runtime.put_record(FeatureGroupName=name, Record=values, TtlDuration=ever)
    assert refusal.value.response["Error"]["Code"] == "ValidationError"
    assert get(hurried, group, "JFK") is None
    for change in (
        lambda: create(hurried, OnlineStoreConfig={"EnableOnlineStore": True, "TtlDuration": ever}),
        lambda: hurried.client("sagemaker").update_feature_group(
            FeatureGroupName=name, OnlineStoreConfig={"TtlDuration": ever}
        ),
    ):
        with pytest.raises(ClientError, match="TtlDuration of 2147483647 Weeks") as refusal:
            change()
        assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_records_are_written_read_and_listed_in_batches(hurried: CloudDaemon) -> None:
    runtime = hurried.client("sagemaker-featurestore-runtime")
    group = create(hurried)
    name = group["FeatureGroupName"]
    stations = ["JFK", "LGA", "EWR"]
    entries = [
        {"FeatureGroupName": name, "Record": record(station=station, known_at="2026-11-02T09:00:00Z", wind=wind)}
        for station, wind in zip(stations, ("1", "2", "calm"), strict=True)
    ]
    answer = runtime.batch_write_record(Entries=entries)
    assert [each["Entry"]["Record"][0]["ValueAsString"] for each in answer["Errors"]] == ["EWR"]
    assert answer["Errors"][0]["ErrorCode"] == "ValidationError"
    answer = runtime.batch_get_record(
        Identifiers=[
            {"FeatureGroupName": name, "RecordIdentifiersValueAsString": stations, "FeatureNames": ["wind"]},
            {"FeatureGroupName": "nothing", "RecordIdentifiersValueAsString": ["JFK"]},
        ]
    )
    assert [(each["RecordIdentifierValueAsString"], each["Record"]) for each in answer["Records"]] == [
        ("JFK", record(wind="1")), ("LGA", record(wind="2")),
    ]  # fmt: skip
    assert [each["ErrorCode"] for each in answer["Errors"]] == ["ResourceNotFound"]
    page = runtime.list_records(FeatureGroupName=name, MaxResults=1)
    assert page["RecordIdentifiers"] == ["JFK"]
    page = runtime.list_records(FeatureGroupName=name, NextToken=page["NextToken"])
    assert page["RecordIdentifiers"] == ["LGA"]
    assert "NextToken" not in page


# -- offline ---------------------------------------------------------------------------------------------------------


def test_every_write_reaches_the_offline_store(hurried: CloudDaemon) -> None:
    group = create(hurried, **offline())
    put(hurried, group, "JFK", "2026-11-02T09:27:57Z", wind="1.5", gusts="7")
    put(hurried, group, "JFK", "2026-11-02T08:00:00Z", wind="9")
    hurried.client("sagemaker-featurestore-runtime").delete_record(
        FeatureGroupName=group["FeatureGroupName"],
        RecordIdentifierValueAsString="JFK",
        EventTime="2026-11-02T10:00:00Z",
    )
    wait_until(lambda: len(files(hurried, group)) == 3)
    first, second, third = sorted(rows(hurried, group), key=lambda row: row["known_at"])
    assert (first["station"], first["wind"], first["gusts"], first["is_deleted"]) == ("JFK", 9.0, None, False)
    assert (second["known_at"], second["wind"], second["gusts"]) == ("2026-11-02T09:27:57Z", 1.5, 7)
    assert second["api_invocation_time"] <= second["write_time"]
    assert (third["station"], third["wind"], third["is_deleted"]) == ("JFK", None, True)
    data = group["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"].removeprefix("s3://lake/")
    keys = [key for key in files(hurried, group) if "hour=09" in key]
    assert len(keys) == 1
    folder, _, file = keys[0].rpartition("/")
    assert folder == f"{data}/year=2026/month=11/day=02/hour=09"
    stamp, _, suffix = file.removesuffix(".parquet").partition("_")
    assert stamp == "20261102T092757Z"
    assert len(suffix) == 16
    assert suffix.isalnum()


def test_a_write_reaches_only_its_target_stores(hurried: CloudDaemon) -> None:
    runtime = hurried.client("sagemaker-featurestore-runtime")
    group = create(hurried, **offline())
    values = record(station="JFK", known_at="2026-11-02T09:00:00Z")
    runtime.put_record(FeatureGroupName=group["FeatureGroupName"], Record=values, TargetStores=["OfflineStore"])
    assert get(hurried, group, "JFK") is None
    wait_until(lambda: [row["station"] for row in rows(hurried, group)] == ["JFK"])
    online = create(hurried)
    with pytest.raises(ClientError, match="has no OfflineStore"):
        runtime.put_record(FeatureGroupName=online["FeatureGroupName"], Record=values, TargetStores=["OfflineStore"])


def test_offline_rows_wait_until_a_missing_bucket_exists_again(hurried: CloudDaemon) -> None:
    s3, place = hurried.client("s3"), {"LocationConstraint": hurried.client("s3").meta.region_name}
    s3.create_bucket(Bucket="puddle", CreateBucketConfiguration=place)
    store = {"S3StorageConfig": {"S3Uri": "s3://puddle"}}
    group = create(hurried, RoleArn=ROLE, OfflineStoreConfig=store)
    name = group["FeatureGroupName"]

    def status() -> str:
        described = hurried.client("sagemaker").describe_feature_group(FeatureGroupName=name)
        return str(described["OfflineStoreStatus"]["Status"])

    s3.delete_bucket(Bucket="puddle")
    put(hurried, group, "JFK", "2026-11-02T09:00:00Z")
    wait_until(lambda: status() == "Blocked")
    s3.create_bucket(Bucket="puddle", CreateBucketConfiguration=place)
    wait_until(lambda: status() == "Active")
    assert len(s3.list_objects_v2(Bucket="puddle")["Contents"]) == 1


def test_an_added_feature_becomes_an_offline_column(hurried: CloudDaemon) -> None:
    group = create(hurried, **offline())
    put(hurried, group, "JFK", "2026-11-02T09:00:00Z")
    added = [{"FeatureName": "rain", "FeatureType": "Fractional"}]
    hurried.client("sagemaker").update_feature_group(FeatureGroupName=group["FeatureGroupName"], FeatureAdditions=added)
    group = wait_until_settled(hurried, group["FeatureGroupName"])
    put(hurried, group, "LGA", "2026-11-02T09:00:00Z", rain="0.5")
    wait_until(lambda: len(rows(hurried, group)) == 2)
    assert {row["station"]: row.get("rain") for row in rows(hurried, group)} == {"JFK": None, "LGA": 0.5}


def test_no_record_is_lost_when_the_cloud_is_killed(tmp_path: Path) -> None:
    daemon = CloudDaemon(tmp_path / "state", scale=1.0)
    running = daemon.start()
    try:
        create_roles_and_bucket(daemon)
        group = create(daemon, **offline())
        put(daemon, group, "LGA", "2026-11-02T09:00:00Z", wind="4")
        daemon.stop()
        daemon.start()
        assert [row["wind"] for row in rows(daemon, group)] == [4.0], "a stop writes what waits"
        put(daemon, group, "JFK", "2026-11-02T09:00:00Z", wind="5")
        assert len(files(daemon, group)) == 1, "a quarter of an hour has not passed"
        process = psutil.Process(daemon.running.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        daemon.start()
        assert get(daemon, group, "JFK", FeatureNames=["wind"]) == {"wind": "5"}
        wait_until(lambda: sorted(row["wind"] for row in rows(daemon, group)) == [4.0, 5.0])
    finally:
        daemon.stop()
    assert running.pid != daemon.running.pid


def test_a_group_that_cannot_be_written_does_not_block_the_others(tmp_path: Path) -> None:
    daemon = CloudDaemon(tmp_path / "state", scale=3600.0)
    daemon.start()
    try:
        create_roles_and_bucket(daemon)
        bad = create(daemon, FeatureDefinitions=SECONDS, **offline())
        good, last = create(daemon, **offline()), create(daemon, **offline())
        daemon.stop()
        # Rows as an earlier version stored them, which did not validate event times.
        with sqlite3.connect(daemon.state / "online.sqlite") as db:
            db.execute(
                "INSERT INTO buffer (feature_group, event_time, hour, written, body) VALUES (?, ?, ?, ?, ?)",
                (bad["FeatureGroupArn"], 1.8e12, 5 * 10**8, time.time(), '{"station": "JFK", "known_at": 1.8e12}'),
            )
            db.execute(
                "INSERT INTO online (feature_group, id, event_time, deleted, expires, body) VALUES (?, ?, ?, ?, ?, ?)",
                (bad["FeatureGroupArn"], "EWR", 1.8e12, 0, 1e18, '{"station": "EWR"}'),
            )
        db.close()
        daemon.start()
        answer = daemon.client("sagemaker-featurestore-runtime").get_record(
            FeatureGroupName=bad["FeatureGroupName"],
            RecordIdentifierValueAsString="EWR",
            ExpirationTimeResponse="Enabled",
        )
        assert answer["ExpiresAt"] == "9999-12-31T23:59:59Z"
        put(daemon, good, "LGA", "2026-11-02T09:00:00Z")
        put(daemon, bad, "LGA", "1793611677")
        wait_until(lambda: [row["station"] for row in rows(daemon, good)] == ["LGA"])
        wait_until(lambda: [row["station"] for row in rows(daemon, bad)] == ["LGA"])
        sagemaker = daemon.client("sagemaker")
        status = sagemaker.describe_feature_group(FeatureGroupName=bad["FeatureGroupName"])["OfflineStoreStatus"]
        assert status["Status"] == "Blocked"
        assert "1800000000000.0" in status["BlockedReason"]
        for group in (last, bad):
            name = group["FeatureGroupName"]
            sagemaker.delete_feature_group(FeatureGroupName=name)
            wait_until(partial(is_deleted, daemon, name))
        put(daemon, good, "EWR", "2026-11-02T09:00:00Z")
        wait_until(lambda: len(rows(daemon, good)) == 2)
        log = (daemon.state / "daemon.log").read_text()
        assert "died" not in log
        assert "could not be taken up again" not in log
    finally:
        daemon.stop()
