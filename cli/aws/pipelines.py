"""Pipelines: start one, follow its steps, explain a failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import log_streams
from cli.console import interrupts
from cli.console.errors import CliError
from cli.console.output import format_duration, say
from cli.stack.deployable import render_arguments, render_logs_command
from cli.stack.target import Target
from millrace.inventory import PIPELINE_KINDS
from queries.client import is_not_found
from queries.pipelines import RUNNING, SUCCEEDED, find_running_execution, list_executions, list_steps

#: Last lines of a failed job's log that are shown.
_LOG_LINES = 15
#: Seconds between two polls: AWS limits the rate of calls, the local cloud does not.
_LOOK_LOCAL, _LOOK = 0.25, 5.0
#: The job types of steps, by the key of a step's metadata.
_JOBS = {"ProcessingJob": "Processing", "TrainingJob": "Training"}


@dataclass(frozen=True)
class Step:
    """A step of an execution and its progress."""

    name: str
    status: str
    took: float
    reason: str
    metadata: Mapping[str, Any]

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> Step:
        """Return the step of an entry in ListPipelineExecutionSteps' answer."""
        began = described.get("StartTime")
        ended = described.get("EndTime") or datetime.now(UTC)
        took = (ended - began).total_seconds() if began else 0.0
        return cls(
            described["StepName"],
            described["StepStatus"],
            max(took, 0.0),
            described.get("FailureReason", ""),
            described.get("Metadata", {}),
        )

    @property
    def is_over(self) -> bool:
        """True once the step has ended."""
        return self.status not in ("Starting", "Executing", "Stopping")

    @property
    def text(self) -> str:
        """The step's name, status and duration on one line."""
        return f"{self.name:<10} {self.status.lower():<10} {format_duration(self.took)}"


#: A callback that is given a few words to show.
Note = Callable[[str], None]
#: A callback that is given the steps so far at every poll, in the order of their start.
Watcher = Callable[[list[Step]], None]


def start_execution(target: Target, kind: str, **parameters: str) -> str:
    """Start a pipeline.

    Args:
        target: The stack.
        kind: The kind of pipeline, of `PIPELINE_KINDS`.
        **parameters: The pipeline's parameters by name; the others have their defaults.

    Returns:
        The execution's ARN.

    Raises:
        CliError: The pipeline does not exist.
    """
    name = target.names.pipeline(kind)
    try:
        started = target.sagemaker.start_pipeline_execution(
            PipelineName=name,
            PipelineParameters=[{"Name": key, "Value": value} for key, value in parameters.items()],
        )
    except ClientError as error:
        if not is_not_found(error):
            raise
        raise _explain_absence(target, name) from error
    return str(started["PipelineExecutionArn"])


def _explain_absence(target: Target, name: str) -> CliError:
    """Return why a pipeline does not exist: where others do, it was deleted by hand, and `up` would not see that."""
    mine = {target.names.pipeline(kind) for kind in PIPELINE_KINDS}
    pages = target.sagemaker.get_paginator("list_pipelines").paginate(PipelineNamePrefix=target.stack)
    if mine.isdisjoint(each["PipelineName"] for page in pages for each in page["PipelineSummaries"]):
        return CliError(f"pipeline {name}", "does not exist", fix=f"provision the stack first: `{target.up_command}`")
    return CliError(
        f"pipeline {name}",
        f"was deleted by hand, though stack {target.stack} exists",
        fix=f"`millrace deploy {render_arguments(target)} --refresh` recreates it",
    )


def list_newest_executions(target: Target, kind: str, count: int = 10) -> list[dict[str, Any]]:
    """Return the newest executions, newest first; none when the pipeline does not exist.

    Args:
        target: The stack.
        kind: The kind of pipeline, of `PIPELINE_KINDS`.
        count: How many at most.

    Returns:
        ListPipelineExecutions' summaries.
    """
    return list_executions(target.sagemaker, target.names.pipeline(kind), count) or []


def find_running(target: Target, kind: str) -> str | None:
    """Return the ARN of a running execution; None without one.

    Args:
        target: The stack.
        kind: The kind of pipeline, of `PIPELINE_KINDS`.
    """
    return find_running_execution(target.sagemaker, target.names.pipeline(kind))


def read_steps(sagemaker: Any, execution: str) -> list[Step]:
    """Return the steps that were started, in the order of their start.

    Args:
        sagemaker: The SageMaker client.
        execution: The execution's ARN.
    """
    return [Step.from_description(step) for step in list_steps(sagemaker, execution)]


def wait_until_over(target: Target, execution: str, watch: Watcher) -> str:
    """Wait until an execution ends and return its status.

    Ctrl-C ends the waiting, not the execution.
    """
    pause = _LOOK_LOCAL if target.is_local else _LOOK
    sagemaker = target.sagemaker
    try:
        while True:
            # Read the status first: if the execution is over, the steps read afterwards are complete.
            status = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)["PipelineExecutionStatus"]
            watch(read_steps(sagemaker, execution))
            if status not in RUNNING:
                return str(status)
            interrupts.sleep(pause)
    except KeyboardInterrupt:
        say(f"{execution} continues; `millrace status {render_arguments(target)}` shows it", err=True)
        raise


def wait_with_progress(target: Target, execution: str, note: Note, line: Note, steps: list[Step] | None = None) -> str:
    """Wait until an execution ends.

    Ctrl-C ends the waiting, not the execution.

    Args:
        target: The stack.
        execution: The execution's ARN.
        note: Called at each poll with the names of the steps that run.
        line: Called once for each step that is over, with its name, status and duration.
        steps: A list whose content is replaced at each poll by the steps so far; None if it is not needed.

    Returns:
        The PipelineExecutionStatus at the end.
    """
    told: set[str] = set()

    def watch(found: list[Step]) -> None:
        if steps is not None:
            steps[:] = found
        for step in found:
            if step.is_over and step.name not in told:
                told.add(step.name)
                line(step.text)
        note(", ".join(step.name for step in found if not step.is_over) or "waiting for the next step")

    return wait_until_over(target, execution, watch)


def require_success(target: Target, execution: str, status: str) -> None:
    """Raise when an execution did not succeed.

    Args:
        target: The stack.
        execution: The execution's ARN.
        status: The PipelineExecutionStatus at its end.

    Raises:
        CliError: With the failed step's reason and the last lines of its job's log.
    """
    if status == SUCCEEDED:
        return
    lines = []
    failed = [step for step in read_steps(target.sagemaker, execution) if step.status == "Failed"]
    for step in failed:
        lines.append(f"step {step.name} failed: {step.reason or 'no reason given'}")
        if job := find_job(target.sagemaker, step):
            kind, name = job
            lines += [f"  | {line}" for line in _tail(target, f"/aws/sagemaker/{kind}Jobs", f"{name}/")]
            lines.append(f"full log: {render_logs_command(target, name)}")
    if not failed:
        described = target.sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
        lines.append(described.get("FailureReason", "no step reports a reason"))
    raise CliError(f"pipeline execution {execution}", "\n".join([f"is {status}", *lines]))


def _tail(target: Target, group: str, prefix: str) -> list[str]:
    logs = target.client("logs")
    streams = log_streams.list_streams(logs, group, prefix)
    return log_streams.read_last_lines(logs, group, streams[-1], _LOG_LINES) if streams else []


def find_job(sagemaker: Any, step: Step) -> tuple[str, str] | None:
    """Return the kind and name of the job that a step ran; None where it ran none.

    The ARN may have the name in lower case; the name of its log has the original case, so the job is looked up.

    Args:
        sagemaker: The SageMaker client.
        step: The step.

    Returns:
        The kind, `Processing` or `Training`, and the name.
    """
    for key, kind in _JOBS.items():
        if arn := step.metadata.get(key, {}).get("Arn"):
            name = str(arn).rpartition("/")[2]
            listing = getattr(sagemaker, f"list_{kind.lower()}_jobs")
            found = listing(NameContains=name)[f"{kind}JobSummaries"]
            exact = [each[f"{kind}JobName"] for each in found if each[f"{kind}JobName"].lower() == name.lower()]
            return kind, str(exact[0] if exact else name)
    return None
