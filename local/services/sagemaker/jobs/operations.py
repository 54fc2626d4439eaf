"""Training and processing jobs: Create, Describe, Stop, Delete, List.

Refused by name: Pipe mode, file systems, instance groups, rules of debugger and profiler, and inputs and outputs that
are not in S3; see :mod:`local.services.sagemaker.members`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from local.core.context import Call, Cloud, Handler
from local.core.errors import in_use_error, validation_error
from local.core.regex import RegexError, compile_regex
from local.core.store import Document, remove_private_members
from local.services.sagemaker import paging, tags
from local.services.sagemaker.jobs import documents, processing, training
from local.services.sagemaker.jobs.runs import JobRun, Jobs
from local.services.sagemaker.members import check_members, refuse_others
from local.services.sagemaker.roles import require_role

_RUNS: dict[str, type[JobRun]] = {"Training": training.TrainingRun, "Processing": processing.ProcessingRun}


# -- training --------------------------------------------------------------------------------------------------------


def create_training_job(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create a training job and return at once; the job runs in the background."""
    _check_training(call, params)
    now = time.time()
    document: Document = {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **{key: value for key, value in params.items() if key != "Tags"},
        "StoppingCondition": {
            "MaxRuntimeInSeconds": training.MAX_RUNTIME,
            **params.get("StoppingCondition", {}),
        },
        "TrainingJobStatus": "InProgress",
        # The SageMaker SDK expects the member even without a key.
        "OutputDataConfig": {"KmsKeyId": "", **params["OutputDataConfig"]},
    }
    documents.enter_secondary_status(document, "Starting", "Starting the training job")
    return _create(call, "Training", document, params, now)


def _check_training(call: Call, params: dict[str, Any]) -> None:
    check_members("CreateTrainingJob", params)
    algorithm = params["AlgorithmSpecification"]
    call.cloud.images.resolve(algorithm["TrainingImage"])
    _refuse_pipe(algorithm["TrainingInputMode"], "TrainingInputMode of AlgorithmSpecification")
    for metric in algorithm.get("MetricDefinitions", []):
        _check_regex(metric)
    resources = params["ResourceConfig"]
    _check_instances(resources, "ResourceConfig")
    _check_spot(params)
    _check_s3(params["OutputDataConfig"]["S3OutputPath"], "S3OutputPath of OutputDataConfig")
    require_role(call, params["RoleArn"])
    names = [channel["ChannelName"] for channel in params.get("InputDataConfig", [])]
    _refuse_repeated(names, "ChannelName", "InputDataConfig")
    for channel in params.get("InputDataConfig", []):
        where = f"channel {channel['ChannelName']}"
        source = channel["DataSource"]["S3DataSource"]
        _refuse_pipe(channel.get("InputMode", "File"), f"InputMode of {where}")
        _check_source(source, where)


def _check_regex(metric: Mapping[str, str]) -> None:
    where = f"Regex of metric {metric['Name']}"
    try:
        groups = compile_regex(metric["Regex"]).groups
    except RegexError as error:
        raise validation_error(f"{where}: '{metric['Regex']}' is not a regular expression: {error}.") from error
    if groups < 1:
        raise validation_error(f"{where}: '{metric['Regex']}' has no group; expected one around the value.")


def _check_spot(params: Mapping[str, Any]) -> None:
    stopping = params.get("StoppingCondition", {})
    wait = stopping.get("MaxWaitTimeInSeconds")
    if not params.get("EnableManagedSpotTraining"):
        if wait is not None:
            raise validation_error("MaxWaitTimeInSeconds must not be set for EnableManagedSpotTraining false.")
    elif wait is None or wait < stopping.get("MaxRuntimeInSeconds", training.MAX_RUNTIME):
        raise validation_error(
            f"MaxWaitTimeInSeconds is {wait} with EnableManagedSpotTraining; expected MaxRuntimeInSeconds or more."
        )


# -- processing ------------------------------------------------------------------------------------------------------


def create_processing_job(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create a processing job and return at once; the job runs in the background."""
    _check_processing(call, params)
    now = time.time()
    document: Document = {
        **{key: value for key, value in params.items() if key != "Tags"},
        "StoppingCondition": params.get("StoppingCondition", {"MaxRuntimeInSeconds": processing.MAX_RUNTIME}),
        "ProcessingJobStatus": "InProgress",
        "ProcessingStartTime": now,
    }
    return _create(call, "Processing", document, params, now)


def _check_processing(call: Call, params: dict[str, Any]) -> None:
    check_members("CreateProcessingJob", params)
    call.cloud.images.resolve(params["AppSpecification"]["ImageUri"])
    cluster = params["ProcessingResources"]["ClusterConfig"]
    _check_instances(cluster, "ClusterConfig")
    inputs = params.get("ProcessingInputs", [])
    _refuse_repeated([given["InputName"] for given in inputs], "InputName", "ProcessingInputs")
    for given in inputs:
        where = f"input {given['InputName']}"
        _refuse_pipe(given["S3Input"].get("S3InputMode", "File"), f"S3InputMode of {where}")
        _check_source(given["S3Input"], where)
        _check_local_path(given["S3Input"], where)
    require_role(call, params["RoleArn"])
    outputs = params.get("ProcessingOutputConfig", {}).get("Outputs", [])
    _refuse_repeated([output["OutputName"] for output in outputs], "OutputName", "ProcessingOutputConfig")
    for output in outputs:
        where = f"output {output['OutputName']}"
        _check_s3(output["S3Output"]["S3Uri"], f"S3Uri of {where}")
        _check_local_path(output["S3Output"], where)


def _check_local_path(place: Mapping[str, Any], where: str) -> None:
    path = place.get("LocalPath")
    if path is None:
        raise validation_error(f"LocalPath is required for {where}.")
    if not path.startswith("/opt/ml/processing/") or ".." in PurePosixPath(path).parts:
        raise validation_error(f"LocalPath of {where} is '{path}'; expected a path below /opt/ml/processing/.")


# -- training and processing -----------------------------------------------------------------------------------------


def _check_instances(resources: Mapping[str, Any], where: str) -> None:
    for member in ("InstanceType", "InstanceCount"):
        if not resources.get(member):
            raise validation_error(f"{member} of {where} is required and above 0.")


def _check_source(source: Mapping[str, Any], where: str) -> None:
    _refuse_value(source["S3DataType"], {"S3Prefix", "ManifestFile"}, f"S3DataType of {where}")
    _check_s3(source["S3Uri"], f"S3Uri of {where}")


def _check_s3(url: str, where: str) -> None:
    if not re.fullmatch(r"s3://[^/]+(/.*)?", url, re.DOTALL):
        raise validation_error(f"{where} is '{url}'; expected s3://bucket/prefix.")


def _refuse_pipe(mode: str, where: str) -> None:
    _refuse_value(mode, {"File", "FastFile"}, where)


def _refuse_value(value: str, available: set[str], where: str) -> None:
    if value not in available:
        known = ", ".join(sorted(available))
        raise validation_error(f"{where}: {value} is not available in the local cloud; available: {known}.")


def _refuse_repeated(names: list[str], member: str, where: str) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise validation_error(f"{member} must be unique in {where}; repeated: {', '.join(repeated)}.")


def _create(call: Call, label: str, document: Document, params: Mapping[str, Any], now: float) -> dict[str, Any]:
    kind = _RUNS[label].kind
    name = params[f"{label}JobName"]
    arn = call.build_arn(f"{kind}/{name.lower()}")
    document |= {f"{label}JobArn": arn, "CreationTime": now, "LastModifiedTime": now}
    with call.store.transaction():
        if call.store.get(kind, call.region, name):
            raise in_use_error(
                f"{label} job names must be unique within an AWS account and region, and a {label.lower()} job with "
                f"this name already exists ({arn})"
            )
        tags.merge_tags(call, arn, params.get("Tags"))
        call.store.put(kind, call.region, name, document)
    documents.emit_state_change(call.cloud, label, call.region, document)
    call.cloud.get_part(Jobs).start(_RUNS[label](call.cloud, call.region, name))
    return {f"{label}JobArn": arn}


def _require(call: Call, label: str, name: str) -> Document:
    document = call.store.get(_RUNS[label].kind, call.region, name)
    if document is None:
        training = label == "Training"
        missing = "Requested resource not found." if training else f"Could not find requested job with name: {name}"
        raise validation_error(missing)
    return document


def _stop(call: Call, label: str, name: str) -> dict[str, Any]:
    kind = _RUNS[label].kind

    def stopping(document: Document) -> None:
        if label == "Training":
            documents.enter_secondary_status(document, "Stopping", "Stopping the training job")
        document[f"{label}JobStatus"] = "Stopping"

    with call.store.transaction():
        status = _require(call, label, name)[f"{label}JobStatus"]
        if status != "InProgress":
            raise validation_error(f"The request was rejected because the {label.lower()} job is in status {status}.")
        documents.update_job(call.cloud, kind, label, call.region, name, stopping)
    call.cloud.get_part(Jobs).stop(kind, call.region, name)
    return {}


def _delete(call: Call, label: str, name: str) -> dict[str, Any]:
    with call.store.transaction():
        document = _require(call, label, name)
        status = document[f"{label}JobStatus"]
        if status not in documents.ENDED:
            raise in_use_error(f"The {label.lower()} job {name} is in status {status}; stop it before it is deleted.")
        call.store.delete(_RUNS[label].kind, call.region, name)
        tags.delete_all_tags(call, document[f"{label}JobArn"])
    return {}


def _list(call: Call, params: dict[str, Any], label: str, members: tuple[str, ...]) -> dict[str, Any]:
    names = (f"{label}JobName", f"{label}JobArn", f"{label}JobStatus", f"{label}EndTime", "CreationTime")
    status = params.get("StatusEquals")
    items = [
        {key: document[key] for key in (*names, "LastModifiedTime", *members) if key in document}
        for document in call.store.list(_RUNS[label].kind, call.region)
        if status in (None, document[f"{label}JobStatus"])
    ]
    sort = {"Name": f"{label}JobName", "CreationTime": "CreationTime", "Status": f"{label}JobStatus"}
    return paging.build_page(call, params, items, key=f"{label}JobSummaries", sort=sort)


def describe_training_job(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe a training job."""
    document = remove_private_members(_require(call, "Training", params["TrainingJobName"]))
    # Earlier versions stored it empty until it was known; clients expect it to be complete.
    if not document.get("ModelArtifacts"):
        document.pop("ModelArtifacts", None)
    document["OutputDataConfig"].setdefault("KmsKeyId", "")
    return document


def stop_training_job(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Stop a training job: SIGTERM, 120 s for a last checkpoint, SIGKILL.

    Its artifacts are uploaded.
    """
    return _stop(call, "Training", params["TrainingJobName"])


def delete_training_job(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a training job; its artifacts remain."""
    return _delete(call, "Training", params["TrainingJobName"])


def list_training_jobs(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List training jobs."""
    refuse_others(params, set(params) - {"WarmPoolStatusEquals", "TrainingPlanArnEquals"}, "ListTrainingJobs")
    return _list(call, params, "Training", ("SecondaryStatus",))


def describe_processing_job(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe a processing job.

    Returns:
        The members of the job's document: those of its request, its ARN, its status and its times.

    Raises:
        AwsError: The job does not exist.
    """
    return remove_private_members(_require(call, "Processing", params["ProcessingJobName"]))


def stop_processing_job(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Stop a processing job: SIGINT, 120 s, SIGKILL."""
    return _stop(call, "Processing", params["ProcessingJobName"])


def delete_processing_job(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a processing job; its outputs remain."""
    return _delete(call, "Processing", params["ProcessingJobName"])


def list_processing_jobs(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List processing jobs."""
    return _list(call, params, "Processing", ("FailureReason", "ExitMessage"))


def recover(cloud: Cloud) -> None:
    """Settle the jobs that the last shutdown of the local cloud interrupted.

    Args:
        cloud: The cloud, which has just started.
    """
    for label, run in _RUNS.items():
        documents.settle_interrupted_jobs(cloud, run.kind, label)


OPERATIONS: dict[str, Handler] = {
    "CreateTrainingJob": create_training_job,
    "DescribeTrainingJob": describe_training_job,
    "StopTrainingJob": stop_training_job,
    "DeleteTrainingJob": delete_training_job,
    "ListTrainingJobs": list_training_jobs,
    "CreateProcessingJob": create_processing_job,
    "DescribeProcessingJob": describe_processing_job,
    "StopProcessingJob": stop_processing_job,
    "DeleteProcessingJob": delete_processing_job,
    "ListProcessingJobs": list_processing_jobs,
}
