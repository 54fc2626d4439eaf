"""Pipeline steps that create a resource: the requests that they send, and their results."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError
from local.services.sagemaker import values
from local.services.sagemaker.pipelines import arguments
from local.services.sagemaker.pipelines.policies import classify_service_error


class StepError(LocalError):
    """A failure of a step; the message is its FailureReason.

    Attributes:
        exception: The exception that a retry policy can name, or None.
    """

    def __init__(self, reason: str, exception: str | None = None) -> None:
        super().__init__(reason)
        self.exception = exception


@dataclass(frozen=True)
class Kind:
    """One type of step.

    Attributes:
        operation: The operation that creates the resource.
        named: The request's member for the resource's name, which a definition must not contain; None without a name.
        describe: The operation that describes the resource; its output holds the step's properties.
        asked: The member of that operation's request that identifies the resource.
        arn: The output's member with the ARN.
        metadata: The resource's member in the step's metadata.
        job: The store's kind of the job and the prefix of its members; None if the resource is not a job.
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


def build_request(kind: Kind, given: Any, scope: values.Scope) -> dict[str, Any]:
    """Return the request that a step's arguments result in.

    Raises:
        StepError: A value cannot be resolved.
    """
    try:
        resolved = values.resolve(given, scope)
    except values.ResolveError as error:
        raise StepError(f"ClientError: {error}") from error
    return dict(_convert_to_request_types(arguments.get_shape(kind.operation), given, resolved))


def _convert_to_request_types(shape: Any, given: Any, resolved: Any) -> Any:
    """Return the value without nulls, with results of functions as text where the request expects text."""
    if values.find_function_name(given):
        scalar = isinstance(resolved, bool | int | float)
        return values.as_text(resolved) if shape.type_name == "string" and scalar else resolved
    if isinstance(given, dict) and shape.type_name in ("structure", "map"):
        return {
            key: _convert_to_request_types(
                shape.members[key] if shape.type_name == "structure" else shape.value, item, resolved[key]
            )
            for key, item in given.items()
            if item is not None
        }
    if isinstance(given, list) and shape.type_name == "list":
        return [
            _convert_to_request_types(shape.member, item, after) for item, after in zip(given, resolved, strict=True)
        ]
    return resolved


def call_operation(client: Any, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """Call a SageMaker operation and return its output.

    Raises:
        StepError: The request failed.
    """
    try:
        return dict(getattr(client, xform_name(operation))(**request))
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise StepError(
            _format_failure(operation, f"{message} ({code})"), classify_service_error(code, status)
        ) from error
    except BotoCoreError as error:
        raise StepError(_format_failure(operation, str(error))) from error


def _format_failure(operation: str, details: str) -> str:
    return f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {details}"


def describe_resource(client: Any, kind: Kind, name: str) -> dict[str, Any]:
    """Return the description of a step's resource, as JSON.

    Raises:
        StepError: The resource cannot be described.
    """
    answer = call_operation(client, kind.describe, {kind.asked: name})
    answer.pop("ResponseMetadata", None)
    return dict(_to_json_values(answer))


def _to_json_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_json_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json_values(item) for item in value]
    return value.astimezone(dt.UTC).isoformat() if isinstance(value, dt.datetime) else value


def resource_exists(client: Any, kind: Kind, name: str) -> bool:
    """Return True if a resource with this name exists."""
    try:
        describe_resource(client, kind, name)
    except StepError:
        return False
    return True
