"""One identity for every resource: its name in any case, and its ARN, which SageMaker writes in lower case.

Before an operation sees its parameters, every name in them that a resource already has is replaced by that resource's
own spelling, and every ARN by the ARN as SageMaker writes it. So describing, updating, stopping, deleting and tagging
find a resource however a client came by its name, and no two resources differ in case alone. InvokeEndpoint is the
exception: AWS documents that its name must match.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any

from botocore.model import ListShape, Shape, StructureShape

from local.core import protocol
from local.core.context import Call, Handler

#: Members that hold the name of a resource → the store's kind of it.
_NAMES: Mapping[str, str] = {
    "ModelName": "model",
    "EndpointConfigName": "endpoint-config",
    "EndpointName": "endpoint",
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "FeatureGroupName": "feature-group",
}
#: Members that hold an ARN, or may do so.
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


def resolving(handler: Handler) -> Handler:
    """Return the handler of an operation, given the own spelling of every resource that its parameters name."""

    @wraps(handler)
    def resolved(call: Call, params: dict[str, Any]) -> dict[str, Any]:
        shape = protocol.service_model(call.service).operation_model(call.operation).input_shape
        return handler(call, _resolve(call, "", params, shape))

    return resolved


def own_spelling(call: Call, kind: str, name: str) -> str:
    """Return the name of the resource that ``name`` means, in its own spelling; the given one when there is none."""
    return call.store.spelling(kind, call.region, name) or name


def _resolve(call: Call, member: str, value: Any, shape: Shape | None) -> Any:
    """The value with names replaced; what users keep in maps, such as hyperparameters, is left alone."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {name: _resolve(call, name, each, shape.members.get(name)) for name, each in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_resolve(call, member, each, shape.member) for each in value]
    if not isinstance(value, str):
        return value
    if member in _ARNS and value[:4].lower() == "arn:":
        return value.lower()
    return own_spelling(call, _NAMES[member], value) if member in _NAMES else value
