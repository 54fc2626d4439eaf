"""Endpoints as a boto3 program sees them, in a separate daemon process."""

from __future__ import annotations

import io
import os
import signal
import tarfile
import threading
from collections import Counter
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE, REGION, eventually, variant

ROLE = "arn:aws:iam::123456789012:role/serve"


def create_endpoint_configs(daemon: CloudDaemon, *names: str) -> Any:
    """Create configurations whose models answer their own names, and return a client."""
    s3, sagemaker = daemon.client("s3"), daemon.client("sagemaker")
    s3.create_bucket(Bucket=f"models-{names[0]}", CreateBucketConfiguration={"LocationConstraint": REGION})
    for name in names:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            member = tarfile.TarInfo("answer.txt")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
        s3.put_object(Bucket=f"models-{names[0]}", Key=name, Body=archive.getvalue())
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://models-{names[0]}/{name}"}
        sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant(name)])
    return sagemaker


def test_an_alarm_rolls_back_an_update_under_load(cloud_daemon: CloudDaemon) -> None:
    sagemaker, cloudwatch = create_endpoint_configs(cloud_daemon, "http-1", "http-2"), cloud_daemon.client("cloudwatch")
    runtime = cloud_daemon.client("sagemaker-runtime")
    cloudwatch.put_metric_alarm(
        AlarmName="http-5xx", Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Statistic="Sum",
        Period=60, EvaluationPeriods=1, Threshold=1.0, ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )  # fmt: skip
    sagemaker.create_endpoint(EndpointName="http", EndpointConfigName="http-1", Tags=[{"Key": "a", "Value": "b"}])
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="http", WaiterConfig={"Delay": 1, "MaxAttempts": 20})

    answers: Counter[str] = Counter()
    stop = threading.Event()

    def load() -> None:
        while not stop.wait(0.01):
            try:
                answers[runtime.invoke_endpoint(EndpointName="http", Body=b"who")["Body"].read().decode()] += 1
            except ClientError as error:
                answers[f"failed: {error}"] += 1

    worker = threading.Thread(target=load)
    worker.start()
    try:
        sagemaker.update_endpoint(
            EndpointName="http",
            EndpointConfigName="http-2",
            DeploymentConfig={
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "WaitIntervalInSeconds": 3600,
                        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                    }
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "http-5xx"}]},
            },
        )
        eventually(lambda: answers["http-2"] > 5)
        pending = sagemaker.describe_endpoint(EndpointName="http")["PendingDeploymentSummary"]
        assert pending["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Baking"
        cloudwatch.set_alarm_state(AlarmName="http-5xx", StateValue="ALARM", StateReason="test")
        eventually(lambda: sagemaker.describe_endpoint(EndpointName="http")["EndpointStatus"] == "InService")
    finally:
        stop.set()
        worker.join()
    described = sagemaker.describe_endpoint(EndpointName="http")
    assert described["EndpointConfigName"] == "http-1"
    assert "http-5xx" in described["FailureReason"]
    assert [text for text in answers if text.startswith("failed")] == []

    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName="http", Body=b"status 418")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert caught.value.response["OriginalStatusCode"] == 418
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424

    names = {"Invocations", "Invocation4XXErrors", "ModelLatency"}
    eventually(
        lambda: names <= {m["MetricName"] for m in cloudwatch.list_metrics(Namespace="AWS/SageMaker")["Metrics"]}
    )
    sagemaker.delete_endpoint(EndpointName="http")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="http", WaiterConfig={"Delay": 1, "MaxAttempts": 20})


def test_an_endpoint_survives_a_stop_and_a_kill_of_the_daemon(fresh_daemon: CloudDaemon) -> None:
    sagemaker = create_endpoint_configs(fresh_daemon, "live-1")
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://models-live-1/captured",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    }
    sagemaker.create_endpoint_config(
        EndpointConfigName="live", ProductionVariants=[variant("live-1")], DataCaptureConfig=capture
    )
    sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="live")
    eventually(lambda: sagemaker.describe_endpoint(EndpointName="live")["EndpointStatus"] == "InService")
    # Moto's state is only as new as its last snapshot, which must contain the model's archive.
    eventually(lambda: any((fresh_daemon.state / "objects").iterdir()))
    daemon = psutil.Process(fresh_daemon.running.pid)
    children = daemon.children(recursive=True)
    assert children
    fresh_daemon.client("sagemaker-runtime").invoke_endpoint(EndpointName="live", Body=b"captured")
    fresh_daemon.stop()
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]

    fresh_daemon.start()
    found = fresh_daemon.client("s3").list_objects_v2(Bucket="models-live-1", Prefix="captured/live/main/")
    assert found["KeyCount"] == 1, "what was captured before the stop"
    runtime = fresh_daemon.client("sagemaker-runtime")
    assert runtime.invoke_endpoint(EndpointName="live", Body=b"")["Body"].read() == b"live-1"
    children = psutil.Process(fresh_daemon.running.pid).children(recursive=True)
    os.kill(fresh_daemon.running.pid, signal.SIGKILL)
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]

    fresh_daemon.start()
    runtime = fresh_daemon.client("sagemaker-runtime")
    assert runtime.invoke_endpoint(EndpointName="live", Body=b"")["Body"].read() == b"live-1"
