"""Buckets: policies with conditions, deletion of versions, names."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from .conftest import CloudDaemon


def _deny(condition: dict[str, dict[str, str]]) -> str:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::*/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | {"Condition": condition}]})


def test_a_policy_that_denies_plain_http_allows_local_requests(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="tls-only", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_policy(Bucket="tls-only", Policy=_deny({"Bool": {"aws:SecureTransport": "false"}}))
    s3.put_object(Bucket="tls-only", Key="a", Body=b"1")
    assert s3.get_object(Bucket="tls-only", Key="a")["Body"].read() == b"1"


def test_a_policy_that_denies_https_refuses_local_requests(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="no-tls", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_policy(Bucket="no-tls", Policy=_deny({"Bool": {"aws:SecureTransport": "true"}}))
    with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
        s3.put_object(Bucket="no-tls", Key="a", Body=b"1")


def test_a_bucket_with_suspended_versioning_can_be_emptied_and_deleted(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="versioned", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="versioned", Key="a", Body=b"1")
    s3.delete_object(Bucket="versioned", Key="a")
    found = s3.list_object_versions(Bucket="versioned")
    # As `pulumi destroy` does it: versioning is suspended before the bucket is deleted.
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Suspended"})
    for kind in ("DeleteMarkers", "Versions"):
        which = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found[kind]]
        assert len(which) == 1
        assert "Errors" not in s3.delete_objects(Bucket="versioned", Delete={"Objects": which})
    left = s3.list_object_versions(Bucket="versioned")
    assert "Versions" not in left
    assert "DeleteMarkers" not in left
    s3.delete_bucket(Bucket="versioned")
    assert "versioned" not in [each["Name"] for each in s3.list_buckets()["Buckets"]]


IRELAND = {"LocationConstraint": "eu-west-1"}


@pytest.mark.parametrize("status", [None, "Enabled", "Suspended"])
def test_an_invalid_version_id_deletes_nothing(cloud_daemon: CloudDaemon, status: str | None) -> None:
    s3, bucket = cloud_daemon.client("s3"), f"no-version-{str(status).lower()}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=IRELAND)
    if status:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="a&b", Body=b"1")
    s3.put_object(Bucket=bucket, Key="c", Body=b"2")
    if status == "Suspended":
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    with pytest.raises(ClientError, match=r"InvalidArgument.*Invalid version id specified"):
        s3.delete_object(Bucket=bucket, Key="a&b", VersionId="zz")
    objects = [{"Key": "a&b", "VersionId": "zz"}, {"Key": "c"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    (error,) = answer["Errors"]
    assert (error["Key"], error["VersionId"], error["Code"]) == ("a&b", "zz", "InvalidArgument")
    assert [each["Key"] for each in answer["Deleted"]] == ["c"]
    alone = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects[:1]})
    assert [each["Key"] for each in alone["Errors"]] == ["a&b"]
    assert s3.get_object(Bucket=bucket, Key="a&b")["Body"].read() == b"1"


def test_deleting_one_version_of_a_suspended_bucket_keeps_the_others(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="suspended-versions", CreateBucketConfiguration=IRELAND)
    s3.put_bucket_versioning(Bucket="suspended-versions", VersioningConfiguration={"Status": "Enabled"})
    first, second = (
        s3.put_object(Bucket="suspended-versions", Key="a", Body=body)["VersionId"] for body in (b"1", b"2")
    )
    s3.put_bucket_versioning(Bucket="suspended-versions", VersioningConfiguration={"Status": "Suspended"})
    s3.delete_object(Bucket="suspended-versions", Key="a", VersionId=second)
    assert s3.get_object(Bucket="suspended-versions", Key="a")["Body"].read() == b"1"
    left = s3.list_object_versions(Bucket="suspended-versions")["Versions"]
    assert [each["VersionId"] for each in left] == [first]


@pytest.mark.parametrize(
    "name",
    [
        "Upper",
        "a_b",
        "x..y",
        "192.168.5.4",
        "-abc",
        "abc-",
        "xn--abc",
        "x-s3alias",
        "sthree-x",
        "ab",
        "a" * 64,
        "x--ol-s3",
    ],
)
def test_an_invalid_bucket_name_is_refused(cloud_daemon: CloudDaemon, name: str) -> None:
    s3 = cloud_daemon.client("s3")
    with pytest.raises(ClientError, match="InvalidBucketName"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=IRELAND)
    assert name not in [each["Name"] for each in s3.list_buckets()["Buckets"]]


def test_a_key_has_at_most_1024_bytes(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="long.keys-1", CreateBucketConfiguration=IRELAND)
    s3.put_object(Bucket="long.keys-1", Key="ü" * 512, Body=b"1")
    with pytest.raises(ClientError, match="KeyTooLongError"):
        s3.put_object(Bucket="long.keys-1", Key="ü" * 512 + "a", Body=b"1")
