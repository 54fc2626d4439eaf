"""The stored state of executions and all changes of it: documents, steps' records, and the events of both.

An execution's document has the members of ``DescribePipelineExecution`` and is stored under its ARN. ``_steps`` holds
a record of each step that was started, by name, with the members of ``ListPipelineExecutionSteps``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from local.core.event_bus import format_timestamp
from local.core.store import Document, remove_private_members

if TYPE_CHECKING:
    from local.core.context import Cloud

#: The store's kinds.
PIPELINE, VERSION, EXECUTION = "pipeline", "pipeline-version", "pipeline-execution"

#: The statuses of executions that are not finished.
ACTIVE = ("Executing", "Stopping")

#: The statuses of steps that are not finished.
UNSETTLED = ("Starting", "Executing", "Stopping")

#: The default of MaxParallelExecutionSteps.
PARALLEL = 50

FAILED = "Step failure: One or multiple steps failed."

#: The maximum length of a step's FailureReason.
_LIMIT = 1024


def build_version_name(pipeline: str, number: int) -> str:
    """Return the store's name of one version of a pipeline's definition."""
    return f"{pipeline}/{number:09d}"


def list_executions(cloud: Cloud, region: str, pipeline: str) -> list[Document]:
    """Return the executions of a pipeline, oldest first.

    Args:
        cloud: The cloud, whose store holds them.
        region: The pipeline's region.
        pipeline: The store's name of the pipeline, in lower case.
    """
    return [document for document in cloud.store.list(EXECUTION, region) if document["_pipeline"] == pipeline]


def change_execution(cloud: Cloud, region: str, arn: str, changing: Callable[[Document], None]) -> Document:
    """Change an execution's document in one transaction, emit events for changed statuses, and return it."""
    with cloud.store.transaction():
        document = cloud.store.get(EXECUTION, region, arn)
        assert document is not None, arn
        status = document["PipelineExecutionStatus"]
        steps = {name: record["StepStatus"] for name, record in document["_steps"].items()}
        changing(document)
        document["LastModifiedTime"] = time.time()
        cloud.store.put(EXECUTION, region, arn, document)
        for name, record in document["_steps"].items():
            if record["StepStatus"] != steps.get(name):
                _emit_step(cloud, region, document, record, steps.get(name))
        if document["PipelineExecutionStatus"] != status:
            emit_execution_status(cloud, region, document, status)
        return document


def change_step(cloud: Cloud, region: str, arn: str, name: str, status: str | None = None, **members: Any) -> Document:
    """Change the record of one step and return it; without ``status`` the step keeps its own."""

    def changing(document: Document) -> None:
        record = document["_steps"].setdefault(name, {"StepName": name, "StartTime": time.time()})
        record |= members
        if status is not None:
            record["StepStatus"] = status
        if record["StepStatus"] not in UNSETTLED:
            record["EndTime"] = time.time()
        if "FailureReason" in members:
            record["FailureReason"] = members["FailureReason"][:_LIMIT]

    return dict(change_execution(cloud, region, arn, changing)["_steps"][name])


def emit_execution_status(cloud: Cloud, region: str, document: Document, previous: str | None) -> None:
    """Emit the event for an execution's status."""
    detail = {
        "pipelineExecutionDisplayName": document["PipelineExecutionDisplayName"],
        "currentPipelineExecutionStatus": document["PipelineExecutionStatus"],
        "previousPipelineExecutionStatus": previous,
        "executionStartTime": format_timestamp(document["CreationTime"]),
        "executionEndTime": format_timestamp(document["_ended"]) if "_ended" in document else None,
    }
    _emit(cloud, region, document, "Execution Status Change", detail)


def _emit_step(cloud: Cloud, region: str, document: Document, record: Document, previous: str | None) -> None:
    detail = {
        "metadata": _to_camel_case(record.get("Metadata", {})),
        "stepName": record["StepName"],
        "stepType": record["_type"],
        "stepStartTime": format_timestamp(record["StartTime"]),
        "stepEndTime": format_timestamp(record["EndTime"]) if "EndTime" in record else None,
        "previousStepStatus": previous,
        "currentStepStatus": record["StepStatus"],
        "cacheHitResult": _to_camel_case(record["CacheHitResult"]) if "CacheHitResult" in record else None,
        "failureReason": record.get("FailureReason"),
    }
    _emit(cloud, region, document, "Execution Step Status Change", detail)


def _emit(cloud: Cloud, region: str, document: Document, what: str, detail: Document) -> None:
    arns = {"pipelineArn": document["PipelineArn"], "pipelineExecutionArn": document["PipelineExecutionArn"]}
    cloud.events.emit(
        detail_type=f"SageMaker Model Building Pipeline {what}",
        resources=list(arns.values()),
        detail={**{key: value for key, value in detail.items() if value is not None}, **arns},
        region=region,
    )


def _to_camel_case(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _to_camel_case(item) for key, item in value.items()}
    return value


def hide_private_members(record: Document) -> Document:
    """Return a step's record as a client sees it."""
    return remove_private_members(record)
