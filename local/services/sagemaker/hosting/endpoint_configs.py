"""Endpoint configurations: Create, Describe, Delete and List, and the plans for their fleets.

Variants have instances. Serverless, asynchronous and shadow variants, explainers and inference components
are refused by name.
"""

from __future__ import annotations

import time
from typing import Any

from local.core.context import Call, Handler
from local.core.errors import validation_error
from local.core.store import Document, remove_private_members
from local.services.sagemaker import paging, tags
from local.services.sagemaker.hosting.fleet import STARTUP_TIMEOUT, Plan
from local.services.sagemaker.members import check_members
from local.services.sagemaker.models import require_model


def create_endpoint_config(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create an endpoint configuration; all its models must exist."""
    check_members("CreateEndpointConfig", params)
    name = params["EndpointConfigName"]
    arn = _arn(call, name)
    variants = [_check_variant(call, variant) for variant in params["ProductionVariants"]]
    names = [variant["VariantName"] for variant in variants]
    if repeated := sorted({variant for variant in names if names.count(variant) > 1}):
        raise validation_error(f"VariantName must be unique in ProductionVariants; repeated: {', '.join(repeated)}.")
    document = {
        **{key: value for key, value in params.items() if key != "Tags"},
        "ProductionVariants": variants,
        "EndpointConfigArn": arn,
        "CreationTime": time.time(),
    }
    if capture := params.get("DataCaptureConfig"):
        document["DataCaptureConfig"] = {"EnableCapture": True, **capture}
    with call.store.transaction():
        if call.store.get("endpoint-config", call.region, name):
            raise validation_error(f'Cannot create already existing endpoint configuration "{arn}".')
        tags.merge_tags(call, arn, params.get("Tags"))
        call.store.put("endpoint-config", call.region, name, document)
    return {"EndpointConfigArn": arn}


def _check_variant(call: Call, variant: dict[str, Any]) -> dict[str, Any]:
    where = f"production variant {variant['VariantName']}"
    for member in ("ModelName", "InitialInstanceCount", "InstanceType"):
        if member not in variant:
            raise validation_error(f"{member} is required for {where}.")
    if variant["InitialInstanceCount"] < 1:
        raise validation_error(
            f"InitialInstanceCount of {where} is {variant['InitialInstanceCount']}; expected 1 or more."
        )
    require_model(call, variant["ModelName"])
    return {"InitialVariantWeight": 1.0, **variant}


def build_plan(call: Call, name: str) -> Plan:
    """Return everything that the configuration's servers need; see :mod:`local.services.sagemaker.hosting.fleet`.

    Raises:
        AwsError: The configuration or one of its models does not exist.
    """
    config = require_config(call, name)
    variants = []
    for variant in config["ProductionVariants"]:
        model = require_model(call, variant["ModelName"])
        container = model["_container"]
        variants.append(
            {
                **container,
                "VariantName": variant["VariantName"],
                "Weight": variant["InitialVariantWeight"],
                "Count": variant["InitialInstanceCount"],
                "InstanceType": variant["InstanceType"],
                "Isolated": model["EnableNetworkIsolation"],
                "StartupTimeout": variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_TIMEOUT),
                "Routing": variant.get("RoutingConfig", {}).get("RoutingStrategy", "LEAST_OUTSTANDING_REQUESTS"),
                "DeployedImages": [
                    {
                        "SpecifiedImage": container["Image"],
                        "ResolvedImage": call.cloud.images.resolve_uri(container["Image"]),
                        "ResolutionTime": time.time(),
                    }
                ],
            }
        )
    return {
        "EndpointConfigName": name,
        "DataCaptureConfig": config.get("DataCaptureConfig"),
        "Variants": variants,
    }


def require_config(call: Call, name: str) -> Document:
    """Return the configuration's document; raise AWS's error if it does not exist."""
    document = call.store.get("endpoint-config", call.region, name)
    if document is None:
        raise validation_error(f'Could not find endpoint configuration "{_arn(call, name)}".')
    return document


def _arn(call: Call, name: str) -> str:
    return call.build_arn(f"endpoint-config/{name.lower()}")


def describe_endpoint_config(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe an endpoint configuration, with default values.

    Returns:
        The members with which it was created, its ARN and its creation time.

    Raises:
        AwsError: The configuration does not exist.
    """
    return remove_private_members(require_config(call, params["EndpointConfigName"]))


def delete_endpoint_config(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete an endpoint configuration.

    As on AWS, it may be in use: its endpoint continues to serve and can no longer be updated.

    Returns:
        An empty output.

    Raises:
        AwsError: The configuration does not exist.
    """
    with call.store.transaction():
        document = require_config(call, params["EndpointConfigName"])
        call.store.delete("endpoint-config", call.region, params["EndpointConfigName"])
        tags.delete_all_tags(call, document["EndpointConfigArn"])
    return {}


def list_endpoint_configs(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List endpoint configurations."""
    members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
    items = [
        {member: document[member] for member in members} for document in call.store.list("endpoint-config", call.region)
    ]
    return paging.build_page(
        call,
        params,
        items,
        key="EndpointConfigs",
        sort={"Name": "EndpointConfigName", "CreationTime": "CreationTime"},
    )


OPERATIONS: dict[str, Handler] = {
    "CreateEndpointConfig": create_endpoint_config,
    "DescribeEndpointConfig": describe_endpoint_config,
    "DeleteEndpointConfig": delete_endpoint_config,
    "ListEndpointConfigs": list_endpoint_configs,
}
