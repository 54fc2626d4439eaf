"""Case-insensitive resource names and ARNs.

Before an operation sees its parameters, each name of an existing resource in them is replaced by the spelling with
which the resource was created, and each ARN by its lower case, as SageMaker writes it. So describing, updating,
stopping, deleting and tagging find a resource by its name in any case, and no two resources differ in case alone.
InvokeEndpoint is the exception: AWS documents that its name must match.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any

from botocore.model import ListShape, Shape, StructureShape

from local.core import protocol
from local.core.context import Call, Handler

#: The store's kind of a resource, by the member that holds the resource's name.
_NAMES: Mapping[str, str] = {
    "ModelName": "model",
    "EndpointConfigName": "endpoint-config",
    "EndpointName": "endpoint",
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "FeatureGroupName": "feature-group",
}
#: Members that hold an ARN, or may hold one.
_ARNS = frozenset(
    {
        "FeatureGroupName",
        "ModelPackageArn",
        "ModelPackageArnList",
        "ModelPackageGroupName",
        "ModelPackageName",
        "PipelineExecutionArn",
        "PipelineName",
        "ResourceArn",
    }
)


def with_stored_names(handler: Handler) -> Handler:
    """Return a handler that gets the stored spelling of all resource names and ARNs in its parameters.

    Args:
        handler: The handler of one of SageMaker's operations.
    """

    @wraps(handler)
    def resolved(call: Call, params: dict[str, Any]) -> dict[str, Any]:
        shape = protocol.load_service_model(call.service).operation_model(call.operation).input_shape
        return handler(call, _resolve(call, "", params, shape))

    return resolved


def find_stored_name(call: Call, kind: str, name: str) -> str:
    """Return the stored spelling of a resource's name, or ``name`` itself if no such resource exists.

    Args:
        call: The request, whose region is searched.
        kind: The store's kind of the resource.
        name: The name, in any case.
    """
    return call.store.find_stored_name(kind, call.region, name) or name


def _resolve(call: Call, member: str, value: Any, shape: Shape | None) -> Any:
    """Return the value with resource names and ARNs replaced by their stored spelling.

    User-defined maps, such as hyperparameters, are not changed.
    """
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {name: _resolve(call, name, each, shape.members.get(name)) for name, each in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_resolve(call, member, each, shape.member) for each in value]
    if not isinstance(value, str):
        return value
    if member in _ARNS and value[:4].lower() == "arn:":
        return value.lower()
    return find_stored_name(call, _NAMES[member], value) if member in _NAMES else value
