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
from queries.questions import find_question


def require_question(target: Target) -> Start:
    """Return the open question whether to train.

    Args:
        target: The stack.

    Returns:
        The start that asks, or that remembers who was asked before.

    Raises:
        CliError: When nothing is asked.
    """
    found = find_question(target.sagemaker, target.client("s3"), target.names)
    if found is None:
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
