"""Pipelines: their executions and the steps of one."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from queries.client import is_not_found

EXECUTING, SUCCEEDED, FAILED = "Executing", "Succeeded", "Failed"
#: Values of PipelineExecutionStatus while an execution runs.
RUNNING = (EXECUTING, "Stopping")


def list_executions(sagemaker: Any, pipeline: str, count: int | None = 10) -> list[dict[str, Any]] | None:
    """Return the summaries of a pipeline's newest executions, newest first.

    Args:
        sagemaker: A boto3 client.
        pipeline: The pipeline's name.
        count: How many at most; None gives all.

    Returns:
        ListPipelineExecutions' summaries; None where the pipeline does not exist.
    """
    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
        PipelineName=pipeline,
        SortBy="CreationTime",
        SortOrder="Descending",
        PaginationConfig={"MaxItems": count, "PageSize": min(count or 100, 100)},
    )
    try:
        return [execution for page in pages for execution in page["PipelineExecutionSummaries"]]
    except ClientError as error:
        if is_not_found(error):
            return None
        raise


def find_running_execution(sagemaker: Any, pipeline: str) -> str | None:
    """Return the ARN of an execution that runs, among the ten newest; None where none does.

    Args:
        sagemaker: A boto3 client.
        pipeline: The pipeline's name.
    """
    for execution in list_executions(sagemaker, pipeline) or ():
        if execution["PipelineExecutionStatus"] in RUNNING:
            return str(execution["PipelineExecutionArn"])
    return None


def list_steps(sagemaker: Any, execution: str) -> list[dict[str, Any]]:
    """Return the steps that an execution has started, in the order of their start.

    Args:
        sagemaker: A boto3 client.
        execution: The execution's ARN.

    Returns:
        ListPipelineExecutionSteps' summaries, of all pages.
    """
    pages = sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=execution, SortOrder="Ascending"
    )
    return [step for page in pages for step in page["PipelineExecutionSteps"]]


def find_pipeline(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """Return DescribePipeline's answer; None where the pipeline does not exist.

    Args:
        sagemaker: A boto3 client.
        name: The pipeline's name.
    """
    try:
        return dict(sagemaker.describe_pipeline(PipelineName=name))
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
