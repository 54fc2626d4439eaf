"""The steps of a pipeline that make something: which requests they send, and what comes of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError
from local.services.sagemaker import values
from local.services.sagemaker.pipelines import arguments
from local.services.sagemaker.pipelines.policies import service_exception


class StepError(LocalError):
    """The step has failed; the message is its FailureReason.

    Attributes:
        exception: What a retry policy would call it.
    """

    def __init__(self, reason: str, exception: str | None = None) -> None:
        super().__init__(reason)
        self.exception = exception


@dataclass(frozen=True)
class Kind:
    """One type of step.

    Attributes:
        operation: What it calls.
        named: The request's member for the name, which a definition must not give.
        describe: The operation that describes what was made, whose answer is the step's properties.
        asked: Its request's member.
        arn: The answer's member with the ARN.
        metadata: What the step's metadata calls it.
        job: Whether it runs for a while; then the store's kind of it, and what its members start with.
    """

    operation: str
    named: str | None
    describe: str
    asked: str
    arn: str
    metadata: str
    job: tuple[str, str] | None = None


KINDS = {
    "Processing": Kind(
        "CreateProcessingJob", "ProcessingJobName", "DescribeProcessingJob", "ProcessingJobName", "ProcessingJobArn",
        "ProcessingJob", ("processing-job", "Processing"),
    ),
    "Training": Kind(
        "CreateTrainingJob", "TrainingJobName", "DescribeTrainingJob", "TrainingJobName", "TrainingJobArn",
        "TrainingJob", ("training-job", "Training"),
    ),
    "Model": Kind("CreateModel", "ModelName", "DescribeModel", "ModelName", "ModelArn", "Model"),
    "RegisterModel": Kind(
        "CreateModelPackage", None, "DescribeModelPackage", "ModelPackageName", "ModelPackageArn", "RegisterModel"
    ),
}  # fmt: skip


def request_of(kind: Kind, given: Any, scope: values.Scope) -> dict[str, Any]:
    """The request that a step's arguments come to.

    Raises:
        StepError: When a value cannot be had.
    """
    try:
        resolved = values.resolve(given, scope)
    except values.ResolveError as error:
        raise StepError(f"ClientError: {error}") from error
    return dict(_as_asked(arguments.shape_of(kind.operation), given, resolved))


def _as_asked(shape: Any, given: Any, resolved: Any) -> Any:
    """Results of functions as text where the request has text; anything else as it is."""
    if values.function(given):
        scalar = isinstance(resolved, bool | int | float)
        return values.as_text(resolved) if shape.type_name == "string" and scalar else resolved
    if isinstance(given, dict) and shape.type_name in ("structure", "map"):
        return {
            key: _as_asked(shape.members[key] if shape.type_name == "structure" else shape.value, item, resolved[key])
            for key, item in given.items()
            if item is not None
        }
    if isinstance(given, list) and shape.type_name == "list":
        return [_as_asked(shape.member, item, after) for item, after in zip(given, resolved, strict=True)]
    return resolved


def call(client: Any, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """The answer of a SageMaker operation.

    Raises:
        StepError: When it is refused.
    """
    try:
        return dict(getattr(client, xform_name(operation))(**request))
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise StepError(_failed(operation, f"{message} ({code})"), service_exception(code, status)) from error
    except BotoCoreError as error:
        raise StepError(_failed(operation, str(error))) from error


def _failed(operation: str, details: str) -> str:
    return f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {details}"


def describe(client: Any, kind: Kind, name: str) -> dict[str, Any]:
    """What a step made, as JSON.

    Raises:
        StepError: When it is not there.
    """
    answer = call(client, kind.describe, {kind.asked: name})
    answer.pop("ResponseMetadata", None)
    return dict(_plain(answer))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.astimezone(dt.UTC).isoformat() if isinstance(value, dt.datetime) else value


def exists(client: Any, kind: Kind, name: str) -> bool:
    """Whether something of the name is there, made by an attempt that the end of the cloud interrupted."""
    try:
        describe(client, kind, name)
    except StepError:
        return False
    return True
