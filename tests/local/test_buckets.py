"""Bucket policies with conditions, and versioned buckets that are emptied."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from .conftest import CloudDaemon


def _deny(condition: dict[str, dict[str, str]]) -> str:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::*/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | {"Condition": condition}]})


def test_a_policy_that_denies_plain_http_lets_this_machine_in(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="tls-only", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_policy(Bucket="tls-only", Policy=_deny({"Bool": {"aws:SecureTransport": "false"}}))
    s3.put_object(Bucket="tls-only", Key="a", Body=b"1")
    assert s3.get_object(Bucket="tls-only", Key="a")["Body"].read() == b"1"


def test_a_policy_that_denies_encrypted_transport_keeps_it_out(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="no-tls", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_policy(Bucket="no-tls", Policy=_deny({"Bool": {"aws:SecureTransport": "true"}}))
    with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
        s3.put_object(Bucket="no-tls", Key="a", Body=b"1")


def test_a_bucket_that_was_versioned_can_be_emptied_to_the_last_marker(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="versioned", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="versioned", Key="a", Body=b"1")
    s3.delete_object(Bucket="versioned", Key="a")
    found = s3.list_object_versions(Bucket="versioned")
    # As `pulumi destroy` does it: versioning goes before the bucket.
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
