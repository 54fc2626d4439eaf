"""Pipelines: their executions and the steps of one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from queries.client import is_not_found

EXECUTING, SUCCEEDED, FAILED = "Executing", "Succeeded", "Failed"
#: Values of PipelineExecutionStatus while an execution runs.
RUNNING = (EXECUTING, "Stopping")
#: The longest that an execution runs: the components let each job run for an hour, and a pipeline has fewer than 24.
_LONGEST = timedelta(days=1)


def list_executions(sagemaker: Any, pipeline: str, count: int | None = 10) -> list[dict[str, Any]] | None:
    """Return the summaries of a pipeline's newest executions, newest first.

    Args:
        sagemaker: A boto3 client.
        pipeline: The pipeline's name.
        count: How many at most; None gives all.

    Returns:
        ListPipelineExecutions' summaries; None where the pipeline does not exist.
    """
    try:
        pages = _list_pages_of_executions(sagemaker, pipeline, count)
        return [execution for page in pages for execution in page]
    except ClientError as error:
        if is_not_found(error):
            return None
        raise


def _list_pages_of_executions(sagemaker: Any, pipeline: str, count: int | None) -> Iterator[list[dict[str, Any]]]:
    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
        PipelineName=pipeline,
        SortBy="CreationTime",
        SortOrder="Descending",
        PaginationConfig={"MaxItems": count, "PageSize": min(count or 100, 100)},
    )
    for page in pages:
        yield page["PipelineExecutionSummaries"]


def find_running_execution(sagemaker: Any, pipeline: str) -> str | None:
    """Return the ARN of the newest execution that runs; None where none does, or the pipeline does not exist.

    The hundred newest are looked at, and all that were started in the last day.

    Args:
        sagemaker: A boto3 client.
        pipeline: The pipeline's name.
    """
    oldest = datetime.now(UTC) - _LONGEST
    try:
        for page in _list_pages_of_executions(sagemaker, pipeline, None):
            for execution in page:
                if execution["PipelineExecutionStatus"] in RUNNING:
                    return str(execution["PipelineExecutionArn"])
            if page and page[-1]["StartTime"] < oldest:
                return None
    except ClientError as error:
        if not is_not_found(error):
            raise
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
