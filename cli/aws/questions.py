"""The question whether to train, which a use case with `retraining.review` asks a person instead of training."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.aws import pauses
from cli.aws.parameters import write_parameter
from cli.console.errors import CliError
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.documents import Start
from queries.answers import Answer
from queries.documents import find_document
from queries.pipelines import SUCCEEDED, list_executions

#: The newest executions among which one that asks is looked for.
_SEARCHED = 20


def find_question(target: Target) -> Start:
    """Return the open question whether to train.

    Args:
        target: The stack.

    Returns:
        The start that asks, or that remembers who was asked before.

    Raises:
        CliError: When nothing is asked.
    """
    found = None
    for each in list_executions(target.sagemaker, target.names.training_pipeline, _SEARCHED) or []:
        # Of one that runs or failed, nothing says that it answers the question.
        if each["PipelineExecutionStatus"] != SUCCEEDED:
            continue
        found = find_document(target.client("s3"), target.names.start_uri(each["PipelineExecutionArn"]), Start)
        if found is not None:
            break
    if found is None or not found.question:
        raise CliError(
            f"stack {target.stack}",
            "asks nobody whether to train",
            fix=f"to train: millrace retrain {render_arguments(target)}",
        )
    return found


def decline(target: Target, question: Start, reason: str) -> Answer:
    """Record that a person decided not to train.

    Args:
        target: The stack.
        question: The open question.
        reason: Why not.

    Returns:
        The decision as it was written.
    """
    asked = datetime.fromisoformat(question.question)
    answer = Answer(
        version=1,
        asked=asked,
        at=datetime.now(UTC),
        by=pauses.find_caller(target),
        reason=reason,
    )
    about = f"A person's newest decision not to train {target.stack}; millrace reject --retraining writes it"
    write_parameter(target, target.names.answer_parameter, answer.model_dump_json(), about)
    return answer
