"""The run of a processing job: inputs, the container, outputs at the end or continuously."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from local.services.containers.container import MOUNT
from local.services.sagemaker.jobs import transfer
from local.services.sagemaker.jobs.continuous import Continuous, Place
from local.services.sagemaker.jobs.documents import Outcome
from local.services.sagemaker.jobs.runs import Ended, JobError, JobRun

#: The default of MaxRuntimeInSeconds.
MAX_RUNTIME = 86_400

_MESSAGE = 1024


class ProcessingRun(JobRun):
    """One run of a processing job."""

    kind = "processing-job"
    label = "Processing"
    log_group = "/aws/sagemaker/ProcessingJobs"
    stop_signal = signal.SIGINT

    @property
    def instances(self) -> int:
        """The number of hosts."""
        return int(self.document["ProcessingResources"]["ClusterConfig"]["InstanceCount"])

    @property
    def max_runtime(self) -> float:
        """The maximum run time of the containers, in seconds."""
        return float(self.document["StoppingCondition"]["MaxRuntimeInSeconds"])

    def work(self) -> Outcome:
        """Download the inputs, run the containers, upload the outputs, and return the outcome."""
        for number, host in enumerate(self.hosts):
            self._prepare(number, host)
        if self.stop_requested:
            return Outcome("Stopped", "Stopped")
        application = self.document["AppSpecification"]
        arguments = application.get("ContainerArguments", [])
        key = self.document.get("ProcessingOutputConfig", {}).get("KmsKeyId")
        places = [Place(self.list_folders(output), output["S3Uri"], key) for output in self._outputs("Continuous")]
        continuous = Continuous(self.s3, places)
        ended = self.execute(
            [*application.get("ContainerEntrypoint", [] if arguments else ["process"]), *arguments],
            self.document.get("Environment", {}),
            image=application["ImageUri"],
            isolated=self.document.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
            meanwhile=continuous.upload if continuous else None,
        )
        continuous.upload()
        outcome = self._outcome(ended)
        if outcome.status == "Completed":
            for output in self._outputs("EndOfJob"):
                transfer.upload(self.s3, transfer.list_files(*self.list_folders(output)), output["S3Uri"], key)
        return outcome

    def _outcome(self, ended: Ended) -> Outcome:
        message = self._exit_message()
        members = {"ExitMessage": message} if message else {}
        if ended.failed_host:
            return Outcome("Failed", "Failed", "AlgorithmError: See job logs for more information", members)
        if ended.stopped:
            return Outcome("Stopped", ended.stopped, members=members)
        return Outcome("Completed", "Completed", members=members)

    def _exit_message(self) -> str:
        said = []
        for host in self.hosts:
            file = self.get_host_folder(host) / "output" / "message"
            if file.is_file():
                with file.open("rb") as content:
                    said.append(_decode_message(content.read(_MESSAGE)))
        return "".join(said)[:_MESSAGE]

    # -- inputs ------------------------------------------------------------------------------------------------------

    def _prepare(self, number: int, host: str) -> None:
        root = self.get_host_folder(host)
        for folder in ("config", "processing", "output"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "config" / "processingjobconfig.json").write_text(json.dumps(self._configuration()))
        resources = {"current_host": host, "hosts": self.hosts}
        (root / "config" / "resourceconfig.json").write_text(json.dumps(resources))
        for output in self._outputs("EndOfJob") + self._outputs("Continuous"):
            resolve_local_path(root, output).mkdir(parents=True, exist_ok=True)
        for given in self.document.get("ProcessingInputs", []):
            source = given["S3Input"]
            items = transfer.require_objects(self.s3, source["S3Uri"], source["S3DataType"])
            if source.get("S3DataDistributionType") == "ShardedByS3Key":
                items = transfer.select_shard(items, number, self.instances)
            transfer.download(self.s3, items, resolve_local_path(root, source))

    def _configuration(self) -> dict[str, Any]:
        """Return the content of ``processingjobconfig.json``: the request, completed by nulls and defaults."""
        document = self.document
        defaults = {
            "S3DataDistributionType": "FullyReplicated",
            "S3InputMode": "File",
            "S3CompressionType": "None",
            "S3DownloadMode": "StartOfJob",
        }
        return {
            "ProcessingJobArn": document["ProcessingJobArn"],
            "ProcessingJobName": self.name,
            "AppSpecification": {
                "ContainerEntrypoint": None,
                "ContainerArguments": None,
                **document["AppSpecification"],
            },
            "Environment": document.get("Environment", {}),
            "ProcessingInputs": [
                {**given, "S3Input": {**defaults, **given["S3Input"]}} for given in document.get("ProcessingInputs", [])
            ],
            "ProcessingOutputConfig": {"Outputs": [], "KmsKeyId": None, **document.get("ProcessingOutputConfig", {})},
            "ProcessingResources": document["ProcessingResources"],
            "RoleArn": document["RoleArn"],
            "StoppingCondition": document["StoppingCondition"],
        }

    # -- outputs -----------------------------------------------------------------------------------------------------

    def _outputs(self, mode: str) -> list[dict[str, Any]]:
        outputs = self.document.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return [output["S3Output"] for output in outputs if output["S3Output"]["S3UploadMode"] == mode]

    def list_folders(self, output: dict[str, Any]) -> list[Path]:
        """Return an output's folder on each host."""
        return [resolve_local_path(self.get_host_folder(host), output) for host in self.hosts]


def resolve_local_path(root: Path, place: dict[str, Any]) -> Path:
    """Return the path of a ``LocalPath`` below a host's folder ``root``."""
    return root / str(place["LocalPath"]).removeprefix(MOUNT).lstrip("/")


def _decode_message(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        # The limit may have cut the last character.
        if error.reason == "unexpected end of data" and len(data) == _MESSAGE:
            return data[: error.start].decode()
        raise JobError("/opt/ml/output/message is not UTF-8") from error
