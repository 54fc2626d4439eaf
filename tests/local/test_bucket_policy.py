"""Bucket policies with conditions."""

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
