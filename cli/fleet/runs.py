"""The runs of a stack's pipelines: the newest executions, and the next one that a schedule starts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from cli.fleet.account_lists import Listed
from cli.fleet.accounts import Account, try_query
from cli.fleet.document import NextRun, RunPart, name_runs
from cli.stack.target import Target
from millrace.documents import Start
from millrace.errors import DataError
from millrace.inventory import PIPELINE_KINDS, list_pipelines, list_schedules
from millrace.names import TRAINING, Names
from queries.answers import UnreadableAnswerError, parse_answer
from queries.documents import find_document
from queries.pipelines import FAILED, SUCCEEDED, list_executions, list_steps
from queries.questions import find_question


def list_runs(target: Target, names: Names, kind: str, count: int) -> list[RunPart]:
    """Return the newest executions of a pipeline, newest first; none if the pipeline does not exist.

    Args:
        target: The stack, with the clients of its account.
        names: The names of the stack's resources.
        kind: The kind of pipeline, of `PIPELINE_KINDS`.
        count: Maximum number of executions.
    """
    found = list_executions(target.sagemaker, names.pipeline(kind), count) or ()
    return [_describe_run(target, names, kind, each) for each in found]


def _describe_run(target: Target, names: Names, kind: str, summary: Mapping[str, Any]) -> RunPart:
    """Return the document of one execution: which step failed, or why it was skipped."""
    document: RunPart = {
        "execution": summary["PipelineExecutionArn"],
        "status": summary["PipelineExecutionStatus"],
        "started": summary["StartTime"],
        "step": None,
        "skipped": None,
        "reason": summary.get("PipelineExecutionFailureReason", ""),
        "asked": "",
        "asked_because": "",
    }
    if document["status"] == FAILED:
        # The execution reports only that a step failed; the reason is in the step.
        steps = [step for step in list_steps(target.sagemaker, document["execution"]) if step["StepStatus"] == FAILED]
        if steps:
            document["step"] = steps[0]["StepName"]
            document["reason"] = steps[0].get("FailureReason") or document["reason"]
    if document["status"] == SUCCEEDED and kind == TRAINING:
        try:
            start = find_document(target.client("s3"), names.start_uri(document["execution"]), Start)
        except (ClientError, DataError) as error:
            document["reason"] = f"whether it trained is unknown: {error}"
            return document
        if start and start.code:
            document["skipped"], document["reason"] = start.code, start.reason
            document["asked"], document["asked_because"] = start.question, start.reason
    return document


def find_last_runs(target: Target, names: Names, listed: Listed, unknown: dict[str, str]) -> dict[str, RunPart | None]:
    """Return the newest execution of each pipeline of the stack, by kind of pipeline; None if it is not known.

    Args:
        target: The stack, with the clients of its account.
        names: The names of the stack's resources.
        listed: The lists of the account.
        unknown: Receives the reason for each pipeline whose executions cannot be queried.
    """
    found: dict[str, RunPart | None] = {}
    for kind, name in list_pipelines(target.use_case, names).items():
        there = listed.pipelines is None or name in listed.pipelines
        runs = try_query(partial(list_runs, target, names, kind, 1), unknown, name_runs(kind)) if there else []
        found[kind] = runs[0] if runs else None
    if last := found.get(TRAINING):
        if last["status"] == FAILED:
            # It does not answer what an earlier one asked.
            question = try_query(
                partial(find_question, target.sagemaker, target.client("s3"), names), unknown, name_runs(TRAINING)
            )
            if question:
                last["asked"], last["asked_because"] = question.question, question.reason
        if last["asked"] and _is_declined(names, listed, last["asked"], unknown):
            last["asked"] = last["asked_because"] = ""
    return found


def _is_declined(names: Names, listed: Listed, asked: str, unknown: dict[str, str]) -> bool:
    """Tell whether a person has decided not to train on data as of the time of the question, or later."""
    if (text := (listed.decided or {}).get(names.answer_parameter)) is None:
        return False
    try:
        answer = parse_answer(names.answer_parameter, text)
    except UnreadableAnswerError as error:
        unknown["answered"] = str(error)
        return False
    return answer.asked >= datetime.fromisoformat(asked)


def find_next_runs(target: Target, names: Names, account: Account, schedules: Mapping[str, Any]) -> dict[str, NextRun]:
    """Return when a schedule starts each pipeline next, with its state (None if no schedule exists) and interval.

    Where several schedules start a pipeline, it is the one that starts it first.

    Args:
        target: The stack.
        names: The names of the stack's resources.
        account: The account, whose clock may run faster than real time.
        schedules: The account's schedules by name.
    """
    found: dict[str, NextRun] = {kind: {"at": None, "state": None, "every_seconds": None} for kind in PIPELINE_KINDS}
    for declared in list_schedules(target.use_case, names):
        schedule, seconds = schedules.get(declared.name), declared.every.total_seconds()
        state, at = (schedule["State"] if schedule else None), None
        if schedule and state == "ENABLED" and account.scale:
            at = compute_next_run(schedule["LastModificationDate"], seconds / account.scale)
        known = found[declared.kind]
        if known["every_seconds"] is None or (at is not None and (known["at"] is None or at < known["at"])):
            found[declared.kind] = {"at": at, "state": state, "every_seconds": seconds}
    return found


def compute_next_run(changed: datetime, interval: float) -> datetime:
    """Return the next run of a rate schedule, as EventBridge counts.

    Args:
        changed: When the schedule was last changed, from which it counts.
        interval: Real seconds between two runs.
    """
    now = datetime.now(UTC)
    passed = max((now - changed).total_seconds(), 0.0)
    return datetime.fromtimestamp(changed.timestamp() + (passed // interval + 1) * interval, UTC)
