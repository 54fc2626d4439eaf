"""Models: CreateModel, DescribeModel, DeleteModel, ListModels.

A model has one container, from an image or from an approved model package. Pipelines of containers,
multi-model containers and data sources other than ``ModelDataUrl`` are refused.
"""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from local.core.context import Call, Handler
from local.core.errors import validation_error
from local.core.store import Document, remove_private_members
from local.services.sagemaker import paging, tags
from local.services.sagemaker.members import check_members
from local.services.sagemaker.roles import require_role


def create_model(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create a model after checking its image and model data."""
    check_members("CreateModel", params)
    name = params["ModelName"]
    arn = call.build_arn(f"model/{name.lower()}")
    containers = params.get("Containers", [])
    if ("PrimaryContainer" in params) == bool(containers):
        raise validation_error("CreateModel needs either PrimaryContainer or Containers, and not both.")
    if len(containers) > 1:
        raise validation_error(
            "Inference pipelines (more than one of Containers) are not available in the local cloud."
        )
    if role := params.get("ExecutionRoleArn"):
        require_role(call, role)
    resolved = _resolve_container(call, params.get("PrimaryContainer") or containers[0])
    document = {
        **{key: value for key, value in params.items() if key != "Tags"},
        "ModelArn": arn,
        "CreationTime": time.time(),
        "EnableNetworkIsolation": params.get("EnableNetworkIsolation", False),
        "_container": resolved,
    }
    with call.store.transaction():
        if call.store.get("model", call.region, name):
            raise validation_error(f'Cannot create already existing model "{arn}".')
        tags.merge_tags(call, arn, params.get("Tags"))
        call.store.put("model", call.region, name, document)
    return {"ModelArn": arn}


def _resolve_container(call: Call, container: dict[str, Any]) -> dict[str, Any]:
    """Check a container definition and return its image, model data URL and environment."""
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise validation_error("Containers of Mode MultiModel are not available in the local cloud.")
    if package := container.get("ModelPackageName"):
        if "Image" in container or "ModelDataUrl" in container:
            raise validation_error("A container has either ModelPackageName or Image and ModelDataUrl, and not both.")
        source = _require_approved_container(call, package)
    elif "Image" in container:
        source = container
    else:
        raise validation_error("A container needs Image or ModelPackageName.")
    call.cloud.images.resolve(source["Image"])
    if url := source.get("ModelDataUrl"):
        require_object(call, url)
    return {
        "Image": source["Image"],
        "ModelDataUrl": url,
        "Environment": {**source.get("Environment", {}), **container.get("Environment", {})},
    }


def _require_approved_container(call: Call, name: str) -> dict[str, Any]:
    arn = name if name.startswith("arn:") else call.build_arn(f"model-package/{name.lower()}")
    package = call.store.get("model-package", call.region, arn)
    if package is None:
        raise validation_error(f"ModelPackage {arn} does not exist.")
    approval = package.get("ModelApprovalStatus")
    if approval != "Approved":
        raise validation_error(
            f'Model package "{arn}" has ModelApprovalStatus {approval}; only an Approved one can be deployed.'
        )
    containers = package.get("InferenceSpecification", {}).get("Containers", [])
    if len(containers) != 1:
        raise validation_error(
            f'Model package "{arn}" has {len(containers)} containers in its InferenceSpecification; expected one.'
        )
    return dict(containers[0])


def require_object(call: Call, url: str) -> None:
    """Refuse model data that does not exist in S3."""
    if not url.startswith("s3://"):
        raise validation_error(f"Model data at {url}: only s3://<bucket>/<key> is available in the local cloud.")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    try:
        call.cloud.client("s3", call.region).head_object(Bucket=bucket, Key=key)
    except (ClientError, ParamValidationError) as error:
        raise validation_error(f"Could not find model data at {url}.") from error


def require_model(call: Call, name: str) -> Document:
    """Return the model's document.

    Args:
        call: The request, in whose region the model must be.
        name: The model's name, in its stored spelling.

    Raises:
        AwsError: ``ValidationException``, in AWS's words, if it does not exist.
    """
    document = call.store.get("model", call.region, name)
    if document is None:
        raise validation_error(f'Could not find model "{call.build_arn(f"model/{name.lower()}")}".')
    return document


def describe_model(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe a model.

    Returns:
        The members with which it was created, its ARN and its creation time.

    Raises:
        AwsError: The model does not exist.
    """
    return remove_private_members(require_model(call, params["ModelName"]))


def delete_model(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a model; endpoints that serve it continue to serve.

    Returns:
        An empty output.

    Raises:
        AwsError: The model does not exist.
    """
    with call.store.transaction():
        document = require_model(call, params["ModelName"])
        call.store.delete("model", call.region, params["ModelName"])
        tags.delete_all_tags(call, document["ModelArn"])
    return {}


def list_models(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List models."""
    members = ("ModelName", "ModelArn", "CreationTime")
    items = [{member: document[member] for member in members} for document in call.store.list("model", call.region)]
    return paging.build_page(
        call, params, items, key="Models", sort={"Name": "ModelName", "CreationTime": "CreationTime"}
    )


OPERATIONS: dict[str, Handler] = {
    "CreateModel": create_model,
    "DescribeModel": describe_model,
    "DeleteModel": delete_model,
    "ListModels": list_models,
}
