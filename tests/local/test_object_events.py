"""Events of new objects: a bucket that tells EventBridge starts what a rule says, and another does not."""

from __future__ import annotations

import pytest

from tests.local.conftest import CloudDaemon
from tests.local.watched import make_queue, make_rule, unique


def make_bucket(daemon: CloudDaemon, *, tells: bool) -> str:
    s3, name = daemon.client("s3"), unique("told")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    if tells:
        s3.put_bucket_notification_configuration(
            Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
    return name


@pytest.mark.parametrize("how", ["put", "multipart", "copy"])
def test_a_new_object_below_the_prefix_is_told_once(cloud_daemon: CloudDaemon, how: str) -> None:
    s3, bucket, inbox = cloud_daemon.client("s3"), make_bucket(cloud_daemon, tells=True), make_queue(cloud_daemon)
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": "incoming/"}]}},
    }
    make_rule(cloud_daemon, pattern, {"Arn": inbox.arn})
    s3.put_object(Bucket=bucket, Key="elsewhere/one.csv", Body=b"a")
    key = "incoming/one.csv"
    if how == "put":
        s3.put_object(Bucket=bucket, Key=key, Body=b"id\n1\n")
    elif how == "copy":
        s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": "elsewhere/one.csv"})
    else:
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"id\n1\n")
        parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
        s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts)
    event = inbox.next_event()
    assert event["resources"] == [f"arn:aws:s3:::{bucket}"]
    assert event["detail"]["object"]["key"] == key
    reasons = {"put": "PutObject", "copy": "CopyObject", "multipart": "CompleteMultipartUpload"}
    assert event["detail"]["reason"] == reasons[how]
    s3.put_object(Bucket=bucket, Key="incoming/two.csv", Body=b"a")
    assert [each["detail"]["object"]["key"] for each in [inbox.next_event()]] == ["incoming/two.csv"]


def test_a_bucket_that_does_not_tell_starts_nothing(cloud_daemon: CloudDaemon) -> None:
    s3, inbox = cloud_daemon.client("s3"), make_queue(cloud_daemon)
    silent, told = make_bucket(cloud_daemon, tells=False), make_bucket(cloud_daemon, tells=True)
    make_rule(cloud_daemon, {"source": ["aws.s3"]}, {"Arn": inbox.arn})
    s3.put_object(Bucket=silent, Key="one", Body=b"a")
    s3.put_object(Bucket=told, Key="two", Body=b"a")
    assert inbox.next_event()["detail"]["bucket"] == {"name": told}
    assert inbox.events() == []
