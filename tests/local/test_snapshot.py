"""Snapshots of moto's state, which survives a stop, a start and a kill."""

from __future__ import annotations

import datetime as dt
import json
import os
import pickletools
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import client
from local.services.moto.pickles import Bodies, Body
from local.services.moto.snapshot import INTERVAL

from .conftest import CloudDaemon
from .test_daemon import eventually, has_ended

BIG = os.urandom(1024) * 6 * 1024  # 6 MiB


def fill(daemon: CloudDaemon) -> dict[str, Any]:
    """Create something in every service and return what is needed to find it again."""
    s3, kms, iam = daemon.client("s3"), daemon.client("kms"), daemon.client("iam")
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": client.REGION})
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="kept", Key="small", Body=b"one")
    s3.put_object(Bucket="kept", Key="small", Body=b"two", Metadata={"by_whom": "me"})
    s3.put_object(Bucket="kept", Key="big", Body=BIG)
    s3.put_object(Bucket="kept", Key="same", Body=BIG)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    secret = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    signing = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
    iam.create_role(RoleName="role", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
    topic = daemon.client("sns").create_topic(Name="topic")["TopicArn"]
    cloudwatch = daemon.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="alarm",
        Namespace="N",
        MetricName="M",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
    )
    cloudwatch.put_metric_data(Namespace="N", MetricData=[{"MetricName": "M", "Value": 7.0}])
    logs = daemon.client("logs")
    logs.create_log_group(logGroupName="/group")
    logs.create_log_stream(logGroupName="/group", logStreamName="stream")
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    logs.put_log_events(
        logGroupName="/group", logStreamName="stream", logEvents=[{"timestamp": now, "message": "a line"}]
    )
    queue = daemon.client("sqs").create_queue(QueueName="queue")["QueueUrl"]
    daemon.client("sqs").send_message(QueueUrl=queue, MessageBody="a message")
    events = daemon.client("events")
    events.put_rule(Name="rule", EventPattern=json.dumps({"source": ["mine"]}))
    events.put_targets(Rule="rule", Targets=[{"Id": "t", "Arn": topic}])
    daemon.client("scheduler").create_schedule(
        Name="schedule",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": topic, "RoleArn": "arn:aws:iam::123456789012:role/role"},
    )
    daemon.client("ssm").put_parameter(Name="parameter", Value="value", Type="String")
    daemon.client("ecr").create_repository(repositoryName="repository")
    return {"secret": secret, "signing": signing, "topic": topic, "queue": queue.rpartition("/")[2]}


def check(daemon: CloudDaemon, made: dict[str, Any]) -> None:
    s3, kms = daemon.client("s3"), daemon.client("kms")
    found = s3.get_object(Bucket="kept", Key="small")
    assert (found["Body"].read(), found["Metadata"]) == (b"two", {"by_whom": "me"})
    assert len(s3.list_object_versions(Bucket="kept", Prefix="small")["Versions"]) == 2
    for key in ("big", "same"):
        assert s3.get_object(Bucket="kept", Key=key)["Body"].read() == BIG
    assert kms.decrypt(CiphertextBlob=made["secret"])["Plaintext"] == b"secret"
    algorithm = {"KeyId": made["signing"], "Message": b"m", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
    assert kms.verify(**algorithm, Signature=kms.sign(**algorithm)["Signature"])["SignatureValid"]
    assert daemon.client("iam").get_role(RoleName="role")["Role"]["RoleName"] == "role"
    cloudwatch = daemon.client("cloudwatch")
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=["alarm"])["MetricAlarms"]
    assert alarm["AlarmActions"] == [made["topic"]]
    now = dt.datetime.now(dt.UTC)
    (point,) = cloudwatch.get_metric_statistics(
        Namespace="N",
        MetricName="M",
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(hours=1),
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    assert point["Sum"] == 7.0
    (line,) = daemon.client("logs").get_log_events(logGroupName="/group", logStreamName="stream")["events"]
    assert line["message"] == "a line"
    queue = daemon.client("sqs").get_queue_url(QueueName=made["queue"])["QueueUrl"]
    (message,) = daemon.client("sqs").receive_message(QueueUrl=queue, VisibilityTimeout=0)["Messages"]
    assert message["Body"] == "a message"
    (target,) = daemon.client("events").list_targets_by_rule(Rule="rule")["Targets"]
    assert target["Arn"] == made["topic"]
    assert daemon.client("scheduler").get_schedule(Name="schedule")["ScheduleExpression"] == "rate(1 day)"
    assert daemon.client("ssm").get_parameter(Name="parameter")["Parameter"]["Value"] == "value"
    assert daemon.client("ecr").describe_repositories()["repositories"][0]["repositoryName"] == "repository"


def test_everything_survives_two_restarts(fresh_daemon: CloudDaemon) -> None:
    made = fill(fresh_daemon)
    for _ in range(2):
        fresh_daemon.stop()
        fresh_daemon.start()
        check(fresh_daemon, made)
    assert "cannot be saved" not in (fresh_daemon.state / "daemon.log").read_text()


def test_everything_survives_a_kill_after_a_snapshot(fresh_daemon: CloudDaemon) -> None:
    made = fill(fresh_daemon)
    moto = fresh_daemon.state / "moto"
    fresh_daemon.client("ssm").put_parameter(Name="written-last", Value="v", Type="String")
    file = moto / "ssm.pickle"
    # A newer file would not be enough: its writing may have started before.
    eventually(lambda: file.exists() and b"written-last" in file.read_bytes(), INTERVAL * 4)
    os.kill(fresh_daemon.running.pid, signal.SIGKILL)
    eventually(lambda: has_ended(fresh_daemon.running.pid))
    fresh_daemon.start()
    check(fresh_daemon, made)
    assert fresh_daemon.client("ssm").get_parameter(Name="written-last")["Parameter"]["Value"] == "v"


def test_bodies_are_stored_once_and_removed_when_unused(fresh_daemon: CloudDaemon) -> None:
    s3 = fresh_daemon.client("s3")
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": client.REGION})
    for key in ("a", "b"):
        s3.put_object(Bucket="kept", Key=key, Body=BIG)
    s3.put_object(Bucket="kept", Key="c", Body=b"other")
    objects = fresh_daemon.state / "objects"
    assert sorted(path.stat().st_size for path in objects.iterdir()) == [5, len(BIG)]
    s3.delete_object(Bucket="kept", Key="a")
    s3.delete_object(Bucket="kept", Key="c")
    fresh_daemon.stop()
    assert sum(path.stat().st_size for path in (fresh_daemon.state / "moto").iterdir()) < 100_000
    fresh_daemon.start()
    assert [path.stat().st_size for path in objects.iterdir()] == [len(BIG)]
    assert fresh_daemon.client("s3").get_object(Bucket="kept", Key="b")["Body"].read() == BIG


def test_an_unreadable_snapshot_is_set_aside_and_logged(fresh_daemon: CloudDaemon) -> None:
    fill(fresh_daemon)
    fresh_daemon.stop()
    moto = fresh_daemon.state / "moto"
    header, _, rest = (moto / "s3.pickle").read_bytes().partition(b"\n")
    old = json.dumps({**json.loads(header), "moto": "1.0"}).encode()
    (moto / "s3.pickle").write_bytes(old + b"\n" + rest)
    (moto / "iam.pickle").write_bytes((moto / "iam.pickle").read_bytes()[:200])
    bodies = set((fresh_daemon.state / "objects").iterdir())
    fresh_daemon.start()
    assert fresh_daemon.client("s3").list_buckets()["Buckets"] == []
    with pytest.raises(ClientError, match="NoSuchEntity"):
        fresh_daemon.client("iam").get_role(RoleName="role")
    assert fresh_daemon.client("ssm").get_parameter(Name="parameter")["Parameter"]["Value"] == "value"
    assert len(list(moto.glob("s3.pickle.unreadable-*"))) == len(list(moto.glob("iam.pickle.unreadable-*"))) == 1
    assert set((fresh_daemon.state / "objects").iterdir()) == bodies
    log = (fresh_daemon.state / "daemon.log").read_text()
    assert 'the state of s3 could not be read (it was written by {"format": 1, "moto": "1.0"' in log
    assert "the state of iam could not be read" in log


def test_a_message_delivered_by_another_service_survives_a_restart(fresh_daemon: CloudDaemon) -> None:
    sqs, sns = fresh_daemon.client("sqs"), fresh_daemon.client("sns")
    queue = sqs.create_queue(QueueName="queue")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name="topic")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    saved = fresh_daemon.state / "moto" / "sqs.pickle"
    eventually(saved.exists, INTERVAL * 4)
    sns.publish(TopicArn=topic, Message="hello")
    fresh_daemon.stop()
    fresh_daemon.start()
    sqs = fresh_daemon.client("sqs")
    queue = sqs.get_queue_url(QueueName="queue")["QueueUrl"]
    assert "hello" in sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"]


def test_an_existing_bucket_cannot_be_created_again_after_a_restart(fresh_daemon: CloudDaemon) -> None:
    def create(name: str) -> None:
        where = {"LocationConstraint": client.REGION}
        fresh_daemon.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)

    s3 = fresh_daemon.client("s3")
    create("kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="kept", Key="small", Body=b"two")
    create("gone")
    s3.delete_bucket(Bucket="gone")
    for _ in range(2):
        fresh_daemon.stop()
        fresh_daemon.start()
        with pytest.raises(ClientError) as refused:
            create("kept")
        assert refused.value.response["Error"]["Code"] == "BucketAlreadyOwnedByYou"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
        s3 = fresh_daemon.client("s3")
        assert s3.get_object(Bucket="kept", Key="small")["Body"].read() == b"two"
        assert s3.get_bucket_versioning(Bucket="kept")["Status"] == "Enabled"
        # A deleted bucket may be created again.
        create("gone")
        s3.delete_bucket(Bucket="gone")


def test_log_events_have_unique_ids_across_a_restart(fresh_daemon: CloudDaemon) -> None:
    where, now = {"logGroupName": "/group", "logStreamName": "stream"}, int(dt.datetime.now(dt.UTC).timestamp() * 1000)

    def put(*messages: str) -> None:
        events = [{"timestamp": now, "message": message} for message in messages]
        fresh_daemon.client("logs").put_log_events(**where, logEvents=events)

    fresh_daemon.client("logs").create_log_group(logGroupName="/group")
    fresh_daemon.client("logs").create_log_stream(**where)
    put("a", "b")
    fresh_daemon.stop()
    fresh_daemon.start()
    put("c", "d")
    pages = fresh_daemon.client("logs").get_paginator("filter_log_events")
    # One event on each page: the next page is found by the id of the last event.
    found = [
        event
        for page in pages.paginate(logGroupName="/group", PaginationConfig={"PageSize": 1, "MaxItems": 9})
        for event in page["events"]
    ]
    assert [event["message"] for event in found] == ["a", "b", "c", "d"]
    assert len({event["eventId"] for event in found}) == 4


def test_a_body_reads_like_the_file_it_replaces(tmp_path: Path) -> None:
    bodies = Bodies(tmp_path)
    body = Body(bodies)
    assert body.read() == b""
    assert body.write(b"0123456789") == 10
    body.seek(2)
    assert (body.read(3), body.read(3), body.read()) == (b"234", b"567", b"89")
    body.seek(0)
    body.truncate()
    body.write(b"new")
    body.seek(0)
    assert body.read() == b"new"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_body_stored_by_many_threads_is_complete(tmp_path: Path) -> None:
    bodies = Bodies(tmp_path)
    threads = [threading.Thread(target=bodies.put, args=(BIG,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == BIG


def test_snapshots_name_only_the_module_that_earlier_versions_know(cloud_daemon: CloudDaemon) -> None:
    fill_once = cloud_daemon.client("s3")
    fill_once.create_bucket(Bucket="named", CreateBucketConfiguration={"LocationConstraint": client.REGION})
    fill_once.put_object(Bucket="named", Key="a", Body=b"a")
    eventually(lambda: any(b"named" in path.read_bytes() for path in cloud_daemon.state.rglob("s3.pickle")), 30)
    [file] = cloud_daemon.state.rglob("s3.pickle")
    with file.open("rb") as opened:
        opened.readline()
        names = {text for op, text, _ in pickletools.genops(opened) if op.name == "SHORT_BINUNICODE"}
    ours = {name for name in names if isinstance(name, str) and name.startswith("local.")}
    assert ours == {"local.cloud.snapshot"}
