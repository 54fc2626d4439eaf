"""Training and processing jobs as a boto3 program sees them."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.core.clock import Clock
from local.core.context import Cloud
from local.core.images import Images
from local.core.store import Store
from local.services.sagemaker.jobs.runs import Jobs
from local.services.sagemaker.jobs.training import TrainingRun
from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.jobs import make_bucket, processing, training, wait_for_job


def catch_refusal(call: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def list_keys(s3: Any, name: str, prefix: str = "") -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=name, Prefix=prefix).get("Contents", [])]


def read_object(s3: Any, name: str, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=name, Key=key)["Body"].read())


def read_log_lines(daemon: CloudDaemon, group: str, prefix: str) -> list[str]:
    """Return the lines that a job's hosts have printed so far."""
    logs = daemon.client("logs")
    try:
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    names = [stream["logStreamName"] for stream in streams]
    found = [logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True) for name in names]
    return [event["message"] for events in found for event in events["events"]]


def unpack_archive(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]


COPY = """
model = ml / 'model'
for name in ('hyperparameters', 'inputdataconfig', 'resourceconfig'):
    (model / (name + '.json')).write_bytes((ml / 'input/config' / (name + '.json')).read_bytes())
data = ml / 'input/data'
listing = {str(p.relative_to(data)): p.read_text() for p in sorted(data.rglob('*')) if p.is_file()}
(model / 'listing.json').write_text(json.dumps(listing))
(ml / 'output/data/extra.txt').write_text(os.environ['TRAINING_JOB_NAME'] + os.environ['KIND'])
print('auc=0.5;'); print('auc=0.75;')
"""


def test_a_training_job_follows_the_container_contract(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "train-1"), cloud_daemon.client("sagemaker")
    for key in ("in/a.csv", "in/deep/b.csv", "in_old/c.csv", "in/"):
        s3.put_object(Bucket="train-1", Key=key, Body=key.encode())
    request = training(
        COPY,
        "s3://train-1/models/",
        channels={"train": "s3://train-1/in", "one": "s3://train-1/in/a.csv"},
        HyperParameters={"eta": "0.1", "kind": '"gbt"'},
        Environment={"KIND": "x"},
        algorithm={"MetricDefinitions": [{"Name": "auc", "Regex": "auc=([0-9.]+);"}]},
    )
    request["InputDataConfig"][0]["ContentType"] = "text/csv"
    client.create_training_job(TrainingJobName="Train-1", Tags=[{"Key": "a", "Value": "b"}], **request)
    job = wait_for_job(client, "Train-1")
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed", job.get("FailureReason")
    assert job["TrainingJobArn"].endswith(":training-job/train-1")
    assert [item["Status"] for item in job["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    assert all("EndTime" in item for item in job["SecondaryStatusTransitions"])
    assert job["FinalMetricDataList"][0]["MetricName"] == "auc"
    assert job["FinalMetricDataList"][0]["Value"] == 0.75
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == "s3://train-1/models/Train-1/output/model.tar.gz"
    model = unpack_archive(read_object(s3, "train-1", "models/Train-1/output/model.tar.gz"))
    assert json.loads(model["hyperparameters.json"]) == {"eta": "0.1", "kind": '"gbt"'}
    assert json.loads(model["inputdataconfig.json"])["train"] == {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        "ContentType": "text/csv",
    }
    resources = json.loads(model["resourceconfig.json"])
    assert (resources["current_host"], resources["hosts"]) == ("algo-1", ["algo-1"])
    assert json.loads(model["listing.json"]) == {
        "one/a.csv": "in/a.csv",
        "train/a.csv": "in/a.csv",
        "train/deep/b.csv": "in/deep/b.csv",
        "train/in_old/c.csv": "in_old/c.csv",
    }
    output = unpack_archive(read_object(s3, "train-1", "models/Train-1/output/output.tar.gz"))
    assert output == {"extra.txt": b"Train-1x"}
    logs = cloud_daemon.client("logs")
    (stream,) = logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="Train-1/algo-1-"
    )["logStreams"]
    events = logs.get_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=stream["logStreamName"])
    assert [event["message"] for event in events["events"]] == ["auc=0.5;", "auc=0.75;"]
    metrics = cloud_daemon.client("cloudwatch").list_metrics(
        Namespace="/aws/sagemaker/TrainingJobs", Dimensions=[{"Name": "TrainingJobName", "Value": "Train-1"}]
    )["Metrics"]
    assert [metric["MetricName"] for metric in metrics] == ["auc"]
    assert not (cloud_daemon.state / "jobs" / "eu-west-1" / "training-job" / "Train-1").exists()
    code, message = catch_refusal(client.create_training_job, TrainingJobName="Train-1", **request)
    assert code == "ResourceInUse"
    assert "must be unique" in message
    assert client.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"] == [{"Key": "a", "Value": "b"}]


def test_equal_models_have_identical_archives(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "bytes"), cloud_daemon.client("sagemaker")
    source = """
    order = 'abc' if os.environ['TRAINING_JOB_NAME'] == 'bytes-1' else 'cba'
    for name in order:
        (ml / 'model' / name).mkdir()
        (ml / 'model' / name / 'file').write_text(name * 1000)
        os.utime(ml / 'model' / name / 'file', (len(order), ord(order[0])))
    """
    archives = []
    for name in ("bytes-1", "bytes-2"):
        client.create_training_job(TrainingJobName=name, **training(source, "s3://bytes/m"))
        assert wait_for_job(client, name)["TrainingJobStatus"] == "Completed"
        archives.append(read_object(s3, "bytes", f"m/{name}/output/model.tar.gz"))
    assert archives[0] == archives[1]
    assert sorted(unpack_archive(archives[0])) == ["a/file", "b/file", "c/file"]


def test_a_failed_job_reports_the_reason_and_keeps_its_artifacts(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "failing"), cloud_daemon.client("sagemaker")
    source = """
    (ml / 'model/half').write_text('half')
    (ml / 'output/failure').write_text('row 7: ' + 'x' * 2000)
    sys.exit(3)
    """
    client.create_training_job(TrainingJobName="failing", **training(source, "s3://failing/m"))
    job = wait_for_job(client, "failing")
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: row 7: xxx")
    assert job["FailureReason"].endswith(", exit code: 3")
    assert len(job["FailureReason"]) == 1024
    assert list_keys(s3, "failing") == ["m/failing/output/model.tar.gz"]
    client.create_training_job(TrainingJobName="killed", **training("os.kill(0, 9)", "s3://failing/m"))
    assert wait_for_job(client, "killed")["FailureReason"] == "AlgorithmError: , exit code: 137"
    request = training("", "s3://failing/m", channels={"train": "s3://failing/none"})
    client.create_training_job(TrainingJobName="no-data", **request)
    reason = wait_for_job(client, "no-data")["FailureReason"]
    assert reason.startswith("ClientError: Data download failed: No S3 objects found under")
    assert "s3://failing/none" in reason
    request = training("", "s3://failing/m", algorithm={"ContainerEntrypoint": ["nothing"]})
    client.create_training_job(TrainingJobName="no-command", **request)
    assert "ClientError: executable 'nothing' is not in image" in wait_for_job(client, "no-command")["FailureReason"]


def test_a_stopped_training_job_uploads_its_model(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "stopping"), cloud_daemon.client("sagemaker")
    source = """
    def last(*_):
        (ml / 'model/checkpoint').write_text('saved')
        sys.exit(0)
    signal.signal(signal.SIGTERM, last)
    print('ready')
    time.sleep(60)
    """
    client.create_training_job(TrainingJobName="stopping", **training(source, "s3://stopping/m"))
    eventually(lambda: read_log_lines(cloud_daemon, "/aws/sagemaker/TrainingJobs", "stopping/") == ["ready"])
    client.stop_training_job(TrainingJobName="stopping")
    job = wait_for_job(client, "stopping")
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert [item["Status"] for item in job["SecondaryStatusTransitions"]][-3:] == [
        "Stopping", "Uploading", "Stopped",
    ]  # fmt: skip
    assert unpack_archive(read_object(s3, "stopping", "m/stopping/output/model.tar.gz")) == {"checkpoint": b"saved"}
    code, message = catch_refusal(client.stop_training_job, TrainingJobName="stopping")
    assert code == "ValidationException"
    assert message == "The request was rejected because the training job is in status Stopped."
    client.delete_training_job(TrainingJobName="stopping")
    assert catch_refusal(client.describe_training_job, TrainingJobName="stopping")[1] == "Requested resource not found."


def test_a_reused_job_name_starts_with_empty_folders(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "again"), cloud_daemon.client("sagemaker")
    source = "(ml / 'model/old').write_text('old'); sys.exit(1)"
    client.create_training_job(TrainingJobName="again", **training(source, "s3://again/one"))
    assert wait_for_job(client, "again")["TrainingJobStatus"] == "Failed"
    client.delete_training_job(TrainingJobName="again")
    source = "(ml / 'model/new').write_text('new')"
    client.create_training_job(TrainingJobName="again", **training(source, "s3://again/two"))
    assert wait_for_job(client, "again")["TrainingJobStatus"] == "Completed"
    assert unpack_archive(read_object(s3, "again", "two/again/output/model.tar.gz")) == {"new": b"new"}


def test_a_continuous_upload_tolerates_files_that_disappear(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "busy"), cloud_daemon.client("sagemaker")
    source = """
    out = ml / 'processing/out'
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for n in range(50):
            (out / f'd{n}').mkdir()
            (out / f'd{n}/partial').write_text('x')
        for n in range(50):
            (out / f'd{n}/partial').unlink()
            (out / f'd{n}').rmdir()
    (out / 'whole').write_text('whole')
    """
    request = processing(source, outputs={"out": "s3://busy/live"})
    request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3UploadMode"] = "Continuous"
    client.create_processing_job(ProcessingJobName="busy", **request)
    job = wait_for_job(client, "busy", "Processing")
    assert job["ProcessingJobStatus"] == "Completed", job["FailureReason"]
    assert "live/whole" in list_keys(s3, "busy")


def test_a_job_is_stopped_at_its_maximum_runtime(cloud_daemon: CloudDaemon) -> None:
    make_bucket(cloud_daemon, "runtime")
    client = cloud_daemon.client("sagemaker")
    request = training("time.sleep(60)", "s3://runtime/m") | {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    begun = time.monotonic()
    client.create_training_job(TrainingJobName="runtime", **request)
    job = wait_for_job(client, "runtime")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert time.monotonic() - begun < 10


def test_data_are_sharded_and_one_failing_host_fails_the_job(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "hosts"), cloud_daemon.client("sagemaker")
    for number in range(4):
        s3.put_object(Bucket="hosts", Key=f"in/{number}", Body=b"x")
    source = """
    host = json.loads((ml / 'input/config/resourceconfig.json').read_text())['current_host']
    seen = sorted(p.name for p in (ml / 'input/data/train').iterdir())
    (ml / 'model' / host).write_text(' '.join(seen))
    """
    request = training(source, "s3://hosts/m", channels={"train": "s3://hosts/in/"}, cluster={"InstanceCount": 2})
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    client.create_training_job(TrainingJobName="hosts", **request)
    assert wait_for_job(client, "hosts")["TrainingJobStatus"] == "Completed"
    model = unpack_archive(read_object(s3, "hosts", "m/hosts/output/model.tar.gz"))
    assert model == {"algo-1": b"0 2", "algo-2": b"1 3"}
    request = training("print(1); sys.exit(int('-2' in str(ml)[-2:])) or time.sleep(60)", "s3://hosts/m")
    source = """
    host = json.loads((ml / 'input/config/resourceconfig.json').read_text())['current_host']
    sys.exit(4) if host == 'algo-2' else time.sleep(60)
    """
    request = training(source, "s3://hosts/m", cluster={"InstanceCount": 2})
    client.create_training_job(TrainingJobName="one-host-fails", **request)
    assert wait_for_job(client, "one-host-fails")["FailureReason"] == "AlgorithmError: , exit code: 4"


def test_uncompressed_models_and_manifests(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "plain", a="A", b="B"), cloud_daemon.client("sagemaker")
    s3.put_object(Bucket="plain", Key="manifest", Body=json.dumps([{"prefix": "s3://plain/"}, "b"]).encode())
    source = """
    for path in (ml / 'input/data/train').iterdir():
        (ml / 'model' / path.name).write_bytes(path.read_bytes())
    """
    request = training(
        source, "s3://plain/m", channels={"train": "s3://plain/manifest"}, output={"CompressionType": "NONE"}
    )
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    client.create_training_job(TrainingJobName="plain", **request)
    assert wait_for_job(client, "plain")["ModelArtifacts"]["S3ModelArtifacts"] == "s3://plain/m/plain/output/model/"
    assert list_keys(s3, "plain", "m/") == ["m/plain/output/model/b"]


def test_a_processing_job_follows_the_container_contract(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "process"), cloud_daemon.client("sagemaker")
    s3.put_object(Bucket="process", Key="in/sub/a.txt", Body=b"A")
    source = """
    config = json.loads((ml / 'config/processingjobconfig.json').read_text())
    out = ml / 'processing/out'
    (out / 'config.json').write_text(json.dumps(config))
    (out / 'deep').mkdir()
    (out / 'deep/copy').write_bytes((ml / 'processing/raw/sub/a.txt').read_bytes())
    (ml / 'output/message').write_text('fine')
    """
    request = processing(source, inputs={"raw": "s3://process/in/"}, outputs={"out": "s3://process/out"})
    client.create_processing_job(ProcessingJobName="process", Environment={"A": "1"}, **request)
    job = wait_for_job(client, "process", "Processing")
    assert job["ProcessingJobStatus"] == "Completed", job
    assert job["ExitMessage"] == "fine"
    assert read_object(s3, "process", "out/deep/copy") == b"A"
    config = json.loads(read_object(s3, "process", "out/config.json"))
    assert config["ProcessingJobName"] == "process"
    assert config["Environment"] == {"A": "1"}
    assert config["ProcessingInputs"][0]["S3Input"]["S3DownloadMode"] == "StartOfJob"
    assert config["ProcessingInputs"][0]["S3Input"]["LocalPath"] == "/opt/ml/processing/raw"
    assert config["ProcessingOutputConfig"]["KmsKeyId"] is None


def test_processing_jobs_can_fail_and_be_stopped(cloud_daemon: CloudDaemon) -> None:
    s3, client = make_bucket(cloud_daemon, "process-2"), cloud_daemon.client("sagemaker")
    source = """
    (ml / 'processing/out/x').write_text('x')
    (ml / 'output/message').write_bytes('é'.encode() * 600)
    sys.exit(1)
    """
    request = processing(source, outputs={"out": "s3://process-2/out"})
    client.create_processing_job(ProcessingJobName="process-fails", **request)
    job = wait_for_job(client, "process-fails", "Processing")
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert job["ExitMessage"] == "é" * 512
    assert list_keys(s3, "process-2") == []

    source = "(ml / 'processing/out/x').write_text('x'); time.sleep(60)"
    request = processing(source, outputs={"out": "s3://process-2/live"})
    request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3UploadMode"] = "Continuous"
    client.create_processing_job(ProcessingJobName="process-stops", **request)
    eventually(lambda: list_keys(s3, "process-2") == ["live/x"])
    client.stop_processing_job(ProcessingJobName="process-stops")
    assert wait_for_job(client, "process-stops", "Processing")["ProcessingJobStatus"] == "Stopped"
    summaries = client.list_processing_jobs(NameContains="process-", SortBy="Name")["ProcessingJobSummaries"]
    assert [item["ProcessingJobName"] for item in summaries] == ["process-stops", "process-fails"]
    stopped = client.list_processing_jobs(StatusEquals="Stopped")["ProcessingJobSummaries"]
    assert "process-stops" in {item["ProcessingJobName"] for item in stopped}


def test_unsupported_job_options_are_refused_by_name(cloud_daemon: CloudDaemon) -> None:
    client = cloud_daemon.client("sagemaker")

    def create(**changes: Any) -> str:
        request = training("", "s3://b/m", channels={"train": "s3://b/in"}, algorithm=changes.pop("algorithm", {}))
        code, message = catch_refusal(client.create_training_job, TrainingJobName="refused", **request | changes)
        assert code == "ValidationException"
        return message

    assert "no repository 'nobody'" in create(algorithm={"TrainingImage": "nobody:1"})
    assert "Pipe is not available" in create(algorithm={"TrainingInputMode": "Pipe"})
    app = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEFGHIJKL"
    assert "MlflowConfig of CreateTrainingJob" in create(MlflowConfig={"MlflowResourceArn": app})
    regex = [{"Name": "auc", "Regex": "auc"}]
    assert "Regex of metric auc: 'auc' has no group" in create(algorithm={"MetricDefinitions": regex})
    assert "MaxWaitTimeInSeconds is None" in create(EnableManagedSpotTraining=True)
    request = processing("", outputs={"out": "s3://b/out"})
    request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["LocalPath"] = "/tmp/out"
    message = catch_refusal(client.create_processing_job, ProcessingJobName="refused", **request)[1]
    assert message == "LocalPath of output out is '/tmp/out'; expected a path below /opt/ml/processing/."
    message = catch_refusal(client.describe_processing_job, ProcessingJobName="refused")[1]
    assert message == "Could not find requested job with name: refused"


@pytest.mark.parametrize("hard", [True, False])
def test_a_job_interrupted_by_a_restart_of_the_cloud_fails(fresh_daemon: CloudDaemon, hard: bool) -> None:
    import os
    import signal

    make_bucket(fresh_daemon, "gone")
    client = fresh_daemon.client("sagemaker")
    client.create_training_job(TrainingJobName="gone", **training("time.sleep(600)", "s3://gone/m"))

    def trains() -> bool:
        return bool(client.describe_training_job(TrainingJobName="gone")["SecondaryStatus"] == "Training")

    eventually(trains)
    if hard:
        os.kill(fresh_daemon.running.pid, signal.SIGKILL)
    else:
        fresh_daemon.stop()
    fresh_daemon.start()
    job = wait_for_job(fresh_daemon.client("sagemaker"), "gone")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "InternalServerError: the local cloud was restarted while the job ran"


def test_a_job_recreated_under_its_name_can_be_stopped_after_the_old_run_has_ended(tmp_path: Path) -> None:
    class Waiting(TrainingRun):
        def run(self) -> None:
            self._changed.wait(10)
            self.finished.set()

    store = Store(tmp_path / "store.sqlite")
    store.put("training-job", "eu-west-1", "again", {"TrainingJobStatus": "InProgress"})
    cloud = Cloud(tmp_path, "http://127.0.0.1:1", store, Clock(), Images({}))
    try:
        old, new = (Waiting(cloud, "eu-west-1", "again") for _ in range(2))
        jobs = cloud.get_part(Jobs)
        jobs.start(old)
        jobs.start(new)
        old.request_stop()
        eventually(lambda: [thread.name for thread in threading.enumerate()].count("job-again") == 1)
        jobs.stop("training-job", "eu-west-1", "again")
        assert new.finished.wait(5)
    finally:
        cloud.stopping.set()
        store.close()
