"""The question whether to train, which a start of a use case with `retraining.review` asks instead of training."""

from __future__ import annotations

from typing import Any

from millrace.documents import Start
from millrace.names import Names
from queries.documents import find_document
from queries.pipelines import SUCCEEDED, list_executions

#: The newest executions among which one that asks is looked for.
_SEARCHED = 20


def find_question(sagemaker: Any, s3: Any, names: Names) -> Start | None:
    """Return the newest start that asks a person, or remembers who was asked before.

    Of an execution that runs or failed, nothing says that it answers the question.

    Args:
        sagemaker: A boto3 client.
        s3: A boto3 client.
        names: The names of the stack's resources.

    Returns:
        The start; None where nothing is asked.

    Raises:
        DataError: What an execution wrote about its start is not readable.
    """
    for each in list_executions(sagemaker, names.training_pipeline, _SEARCHED) or []:
        if each["PipelineExecutionStatus"] != SUCCEEDED:
            continue
        found = find_document(s3, names.start_uri(each["PipelineExecutionArn"]), Start)
        if found is not None:
            return found if found.question else None
    return None
