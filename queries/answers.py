"""A person's answer to the question whether to train, in an SSM parameter that the guard of retraining reads."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, ValidationError

from millrace.documents import Document
from millrace.errors import MillraceError
from queries.parameters import find_parameter


class UnreadableAnswerError(MillraceError):
    """A parameter that `millrace reject` did not write; the question counts as open."""

    def __init__(self, parameter: str, value: str) -> None:
        super().__init__(
            f"SSM parameter {parameter}",
            f"is {value[:200]!r}",
            expected="JSON with version, asked, at, by and reason",
            fix="`millrace reject --retraining` writes a new one",
        )


class Answer(Document):
    """A person's decision not to train.

    Attributes:
        asked: The time of the data on which the person was asked.
        at: When it was answered.
        by: Who answered.
        reason: Why not.
    """

    version: Literal[1] = 1
    asked: AwareDatetime
    at: AwareDatetime
    by: str
    reason: str


def find_answer(ssm: Any, parameter: str) -> Answer | None:
    """Read the newest decision not to train.

    Args:
        ssm: A boto3 client.
        parameter: The parameter's name.

    Returns:
        The decision; None where nobody has decided so.

    Raises:
        UnreadableAnswerError: The parameter's value cannot be understood.
    """
    value = find_parameter(ssm, parameter)
    return None if value is None else parse_answer(parameter, value)


def parse_answer(parameter: str, value: str) -> Answer:
    """Parse a parameter's value.

    Args:
        parameter: The parameter's name, for the error's message.
        value: The JSON of :class:`Answer`.

    Returns:
        The decision.

    Raises:
        UnreadableAnswerError: It cannot be understood.
    """
    try:
        return Answer.model_validate_json(value)
    except ValidationError as error:
        raise UnreadableAnswerError(parameter, value) from error
