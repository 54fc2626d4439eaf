"""The run of a training job: channels, ``train``, archives of model and output, metrics from the log lines."""

from __future__ import annotations

import datetime as dt
import json
import logging
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.regex import compile_regex
from local.core.store import Document
from local.services.containers.container import MOUNT, replace_mount_path
from local.services.sagemaker.jobs import transfer
from local.services.sagemaker.jobs.continuous import Continuous, Place
from local.services.sagemaker.jobs.documents import Outcome, enter_secondary_status
from local.services.sagemaker.jobs.runs import Ended, JobRun

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: The default of MaxRuntimeInSeconds.
MAX_RUNTIME = 86_400

_GROUP = "homogeneousCluster"

#: The maximum characters of a FailureReason that quotes the failure file.
_FAILURE = 1024

#: The default folders of checkpoints and of TensorBoard's events.
_CHECKPOINTS, _TENSORBOARD = f"{MOUNT}/checkpoints", f"{MOUNT}/output/tensorboard"

#: The channel of the scripts with which the SageMaker SDK starts a user's code; they contain absolute paths.
_DRIVERS = "sm_drivers"

#: The data points of one PutMetricData request.
_BATCH = 500


class TrainingRun(JobRun):
    """One run of a training job."""

    kind = "training-job"
    label = "Training"
    log_group = "/aws/sagemaker/TrainingJobs"
    stop_signal = signal.SIGTERM

    @property
    def instances(self) -> int:
        """The number of hosts."""
        return int(self.document["ResourceConfig"].get("InstanceCount", 1))

    @property
    def max_runtime(self) -> float:
        """The maximum run time of the containers, in seconds."""
        return float(self.document["StoppingCondition"]["MaxRuntimeInSeconds"])

    def work(self) -> Outcome:
        """Download the channels, run the containers, upload the artifacts, and return the outcome."""
        self._enter("Downloading", "Downloading input data", TrainingStartTime=time.time())
        for number, host in enumerate(self.hosts):
            self._prepare(number, host)
        algorithm = self.document["AlgorithmSpecification"]
        metrics = Metrics(self.cloud, self.region, self.name, algorithm.get("MetricDefinitions", []))
        if self.stop_requested:
            return Outcome("Stopped", "Stopped")
        self._enter("Training", "Training image download completed. Training in progress.")
        arguments = algorithm.get("ContainerArguments", [])
        kept = Continuous(self.s3, self._places())
        ended = self.execute(
            [*algorithm.get("ContainerEntrypoint", [] if arguments else ["train"]), *arguments],
            {
                "TRAINING_JOB_NAME": self.name,
                "TRAINING_JOB_ARN": self.document["TrainingJobArn"],
                **self.document.get("Environment", {}),
            },
            image=algorithm["TrainingImage"],
            isolated=self.document["EnableNetworkIsolation"],
            on_line=metrics.extract_values if metrics.definitions else None,
            meanwhile=kept.upload if kept else None,
        )
        kept.upload()
        metrics.publish()
        self._enter("Uploading", "Uploading generated training model")
        members = self._upload()
        if final := metrics.list_final_values():
            members["FinalMetricDataList"] = final
        return self._outcome(ended, members)

    def _enter(self, secondary: str, message: str, **members: float) -> None:
        def change(document: Document) -> None:
            # A stopping job still uploads its artifacts, but enters no other status.
            if document["TrainingJobStatus"] != "Stopping" or secondary == "Uploading":
                enter_secondary_status(document, secondary, message)
            document.update(members)

        self.change_document(change)

    def _outcome(self, ended: Ended, members: Document) -> Outcome:
        if host := ended.failed_host:
            file = self.get_host_folder(host) / "output" / "failure"
            text = ""
            if file.is_file():
                with file.open(encoding="utf-8", errors="replace") as said:
                    text = said.read(_FAILURE)
            code = f", exit code: {ended.to_shell_exit_code(host)}"
            start = "AlgorithmError: "
            reason = start + text[: _FAILURE - len(start) - len(code)] + code
            return Outcome("Failed", "Failed", reason, members)
        if ended.stopped:
            return Outcome("Stopped", ended.stopped, members=members)
        return Outcome("Completed", "Completed", members=members)

    # -- inputs ------------------------------------------------------------------------------------------------------

    def _prepare(self, number: int, host: str) -> None:
        root = self.get_host_folder(host)
        for folder in ("input/config", "input/data", "model", "output/data", "code", "checkpoints"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name, content in self._configuration(host).items():
            (root / "input" / "config" / f"{name}.json").write_text(json.dumps(content))
        for channel in self.document.get("InputDataConfig", []):
            source = channel["DataSource"]["S3DataSource"]
            items = transfer.require_objects(self.s3, source["S3Uri"], source["S3DataType"])
            if source.get("S3DataDistributionType") == "ShardedByS3Key":
                items = transfer.select_shard(items, number, self.instances)
            folder = root / "input" / "data" / channel["ChannelName"]
            transfer.download(self.s3, items, folder)
            if channel["ChannelName"] == _DRIVERS:
                _move_paths(folder, root)
        if checkpoints := self.document.get("CheckpointConfig"):
            # Restore the checkpoints of an earlier run of the job, if any exist.
            items = transfer.list_objects(self.s3, checkpoints["S3Uri"])
            transfer.download(self.s3, items, self._local(root, checkpoints, _CHECKPOINTS))

    def _places(self) -> list[Place]:
        """Return the folders that are uploaded while the job runs."""
        document, roots = self.document, [self.get_host_folder(host) for host in self.hosts]
        places = []
        if given := document.get("CheckpointConfig"):
            folders = [self._local(root, given, _CHECKPOINTS) for root in roots]
            places.append(Place(folders, given["S3Uri"]))
        if given := document.get("TensorBoardOutputConfig"):
            folders = [self._local(root, given, _TENSORBOARD) for root in roots]
            places.append(Place(folders, given["S3OutputPath"]))
        return places

    @staticmethod
    def _local(root: Path, given: Mapping[str, str], default: str) -> Path:
        return root / given.get("LocalPath", default).removeprefix(MOUNT).lstrip("/")

    def _configuration(self, host: str) -> dict[str, Any]:
        instance = self.document["ResourceConfig"]["InstanceType"]
        group = {"instance_group_name": _GROUP, "instance_type": instance, "hosts": self.hosts}
        channels = {}
        for channel in self.document.get("InputDataConfig", []):
            source = channel["DataSource"]["S3DataSource"]
            channels[channel["ChannelName"]] = {
                "TrainingInputMode": "File",
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            }
            if "ContentType" in channel:
                channels[channel["ChannelName"]]["ContentType"] = channel["ContentType"]
        return {
            "hyperparameters": self.document.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": host,
                "hosts": self.hosts,
                "network_interface_name": "lo",
                "current_instance_type": instance,
                "current_group_name": _GROUP,
                "instance_groups": [group],
            },
        }

    # -- outputs -----------------------------------------------------------------------------------------------------

    def _upload(self) -> Document:
        """Upload the artifacts of all hosts, even after a failure; return the members with their location."""
        output = self.document["OutputDataConfig"]
        url = f"{output['S3OutputPath'].rstrip('/')}/{self.name}/output"
        key = output.get("KmsKeyId")
        roots = [self.get_host_folder(host) for host in self.hosts]
        data = transfer.list_files(*(root / "output" / "data" for root in roots))
        if data:
            self._put_archive("output.tar.gz", data, url, key)
        model = transfer.list_files(*(root / "model" for root in roots))
        if not model:
            return {}
        if output.get("CompressionType", "GZIP") == "NONE":
            transfer.upload(self.s3, model, f"{url}/model", key)
            return {"ModelArtifacts": {"S3ModelArtifacts": f"{url}/model/"}}
        self._put_archive("model.tar.gz", model, url, key)
        return {"ModelArtifacts": {"S3ModelArtifacts": f"{url}/model.tar.gz"}}

    def _put_archive(self, name: str, files: dict[str, Any], url: str, key: str | None) -> None:
        target = self.folder / name
        transfer.write_archive(files, target)
        transfer.upload(self.s3, {name: target}, url, key)
        target.unlink()


def _move_paths(folder: Path, root: Path) -> None:
    """Replace ``/opt/ml`` in the text of scripts by the host's folder ``root``."""
    for path in folder.rglob("*"):
        if path.suffix in (".py", ".sh", ".json") and path.is_file():
            path.write_text(replace_mount_path(path.read_text(encoding="utf-8"), root), encoding="utf-8")


class Metrics:
    """Values that the algorithm prints, found by the job's regular expressions; group 1 is the value."""

    def __init__(self, cloud: Cloud, region: str, job: str, definitions: list[dict[str, str]]) -> None:
        self.definitions = [(item["Name"], compile_regex(item["Regex"])) for item in definitions]
        self._cloud = cloud
        self._region = region
        self._job = job
        self._lock = threading.Lock()
        self._points: list[tuple[str, float, float]] = []
        self._last: dict[str, tuple[float, float]] = {}

    def extract_values(self, line: str) -> None:
        """Extract the values of one line; several threads may call it at once."""
        found = []
        for name, pattern in self.definitions:
            for match in pattern.finditer(line):
                try:
                    found.append((name, float(match[1]), time.time()))
                except (ValueError, TypeError):
                    log.warning("metric %s of %s: %r is not a number", name, self._job, match[1])
        with self._lock:
            self._points += found
            self._last |= {name: (value, at) for name, value, at in found}

    def list_final_values(self) -> list[dict[str, Any]]:
        """Return the last value of each metric."""
        return [{"MetricName": name, "Value": value, "Timestamp": at} for name, (value, at) in self._last.items()]

    def publish(self) -> None:
        """Publish all values to CloudWatch; values that it refuses are logged and do not fail the job."""
        dimensions = [{"Name": "TrainingJobName", "Value": self._job}]
        data = [
            {
                "MetricName": name,
                "Dimensions": dimensions,
                "Timestamp": dt.datetime.fromtimestamp(at, dt.UTC),
                "Value": value,
            }
            for name, value, at in self._points
        ]
        cloudwatch = self._cloud.client("cloudwatch", self._region)
        for start in range(0, len(data), _BATCH):
            try:
                cloudwatch.put_metric_data(Namespace="/aws/sagemaker/TrainingJobs", MetricData=data[start:][:_BATCH])
            except (ClientError, BotoCoreError) as error:
                log.warning("metrics of %s lost: %s", self._job, error)
