"""Endpoints: Create, Update, UpdateWeightsAndCapacities, Describe, Delete, List."""

from __future__ import annotations

import time
from typing import Any

from local.core.context import Call, Handler
from local.core.errors import validation_error
from local.core.store import Document, remove_private_members
from local.services.sagemaker import paging, tags
from local.services.sagemaker.hosting import endpoint_configs
from local.services.sagemaker.hosting.deployment_rules import check_deployment
from local.services.sagemaker.hosting.fleet import Plan
from local.services.sagemaker.hosting.host import HostedEndpoint, Hosting
from local.services.sagemaker.members import refuse_others

#: Statuses in which an endpoint can be changed.
_SETTLED = {"InService", "UpdateRollbackFailed", "OutOfService"}


def create_endpoint(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create an endpoint and return at once; its servers start in the background."""
    name = params["EndpointName"]
    arn = _arn(call, name)
    now = time.time()
    with call.store.transaction():
        if call.store.get("endpoint", call.region, name):
            raise validation_error(f'Cannot create already existing endpoint "{arn}".')
        plan = endpoint_configs.build_plan(call, params["EndpointConfigName"])
        document: Document = {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": params["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
            "_plan": plan,
        }
        deployment = params.get("DeploymentConfig")
        if deployment is not None:
            check_deployment(deployment, None, plan)
            document["LastDeploymentConfig"] = deployment
        tags.merge_tags(call, arn, params.get("Tags"))
        call.store.put("endpoint", call.region, name, document)
    endpoint = _get_hosted_endpoint(call, name)
    endpoint.run_in_background(endpoint.create, plan)
    return {"EndpointArn": arn}


def update_endpoint(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Update an endpoint and return at once; the deployment runs in the background."""
    name = params["EndpointName"]
    with call.store.transaction():
        document = _require_changeable(call, name)
        # A rollback needs the current configuration.
        endpoint_configs.require_config(call, document["EndpointConfigName"])
        plan = endpoint_configs.build_plan(call, params["EndpointConfigName"])
        _retain_properties(document["_plan"], plan, params)
        deployment = params.get("DeploymentConfig")
        if params.get("RetainDeploymentConfig"):
            if deployment is not None:
                raise validation_error("UpdateEndpoint takes either DeploymentConfig or RetainDeploymentConfig.")
            deployment = document.get("LastDeploymentConfig")
        if deployment is not None:
            check_deployment(deployment, document["_plan"], plan)
            document["LastDeploymentConfig"] = deployment
        else:
            document.pop("LastDeploymentConfig", None)
        _set_updating(call, document)
    endpoint = _get_hosted_endpoint(call, name)
    endpoint.run_in_background(endpoint.update, plan, deployment or {})
    return {"EndpointArn": document["EndpointArn"]}


def _retain_properties(old: Plan, new: Plan, params: dict[str, Any]) -> None:
    """Copy the properties that RetainAllVariantProperties keeps from the live endpoint's plan to the new one."""
    excluded = {item["VariantPropertyType"] for item in params.get("ExcludeRetainedVariantProperties", [])}
    if not params.get("RetainAllVariantProperties"):
        if excluded:
            raise validation_error("ExcludeRetainedVariantProperties needs RetainAllVariantProperties.")
        return
    live = {variant["VariantName"]: variant for variant in old["Variants"]}
    for variant in new["Variants"]:
        if kept := live.get(variant["VariantName"]):
            if "DesiredWeight" not in excluded:
                variant["Weight"] = kept["Weight"]
            if "DesiredInstanceCount" not in excluded:
                variant["Count"] = kept["Count"]
    if "DataCaptureConfig" not in excluded:
        new["DataCaptureConfig"] = old["DataCaptureConfig"]


def update_endpoint_weights_and_capacities(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Change the weights and instance counts of an endpoint's variants, in the background."""
    name = params["EndpointName"]
    weights: dict[str, float] = {}
    counts: dict[str, int] = {}
    with call.store.transaction():
        document = _require_changeable(call, name)
        endpoint_configs.require_config(call, document["EndpointConfigName"])
        shown = {variant["VariantName"]: variant for variant in document["ProductionVariants"]}
        for desired in params["DesiredWeightsAndCapacities"]:
            variant = desired["VariantName"]
            refuse_others(desired, {"VariantName", "DesiredWeight", "DesiredInstanceCount"}, f"variant {variant}")
            if variant not in shown:
                raise validation_error(f"Variant {variant} is not in endpoint {name}; it has: {', '.join(shown)}.")
            if "DesiredWeight" in desired:
                weights[variant] = shown[variant]["DesiredWeight"] = desired["DesiredWeight"]
            if "DesiredInstanceCount" in desired:
                count = counts[variant] = desired["DesiredInstanceCount"]
                if count < 1:
                    raise validation_error(f"DesiredInstanceCount of variant {variant} is {count}; expected 1 or more.")
                direction = "out" if count >= shown[variant]["CurrentInstanceCount"] else "in"
                shown[variant]["DesiredInstanceCount"] = count
                text = f"Scaling {direction} desired instance count to {count}."
                shown[variant]["VariantStatus"] = [
                    {"Status": "Updating", "StatusMessage": text, "StartTime": time.time()}
                ]
        _set_updating(call, document)
    endpoint = _get_hosted_endpoint(call, name)
    endpoint.run_in_background(endpoint.scale, weights, counts)
    return {"EndpointArn": document["EndpointArn"]}


def delete_endpoint(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete an endpoint in the background; requests in progress finish."""
    name = params["EndpointName"]
    with call.store.transaction():
        document = require_endpoint(call, name)
        if document["EndpointStatus"] not in _SETTLED | {"Failed"}:
            raise validation_error(f'Cannot update in-progress endpoint "{document["EndpointArn"]}".')
        document["EndpointStatus"] = "Deleting"
        document["LastModifiedTime"] = time.time()
        call.store.put("endpoint", call.region, name, document)
    endpoint = _get_hosted_endpoint(call, name)
    endpoint.run_in_background(endpoint.delete)
    return {}


def describe_endpoint(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe an endpoint.

    Returns:
        The members of the endpoint's document, among them its status and the variants that serve.

    Raises:
        AwsError: The endpoint does not exist.
    """
    return remove_private_members(require_endpoint(call, params["EndpointName"]))


def list_endpoints(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List endpoints."""
    members = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
    status = params.get("StatusEquals")
    items = [
        {member: document[member] for member in members}
        for document in call.store.list("endpoint", call.region)
        if status in (None, document["EndpointStatus"])
    ]
    sort = {"Name": "EndpointName", "CreationTime": "CreationTime", "Status": "EndpointStatus"}
    return paging.build_page(call, params, items, key="Endpoints", sort=sort)


def require_endpoint(call: Call, name: str) -> Document:
    """Return the endpoint's document; raise AWS's error if it does not exist."""
    document = call.store.get("endpoint", call.region, name)
    if document is None:
        raise validation_error(f'Could not find endpoint "{_arn(call, name)}".')
    return document


def _require_changeable(call: Call, name: str) -> Document:
    document = require_endpoint(call, name)
    arn, status = document["EndpointArn"], document["EndpointStatus"]
    if status == "Failed":
        raise validation_error(f'Cannot update endpoint "{arn}": it is Failed. Delete it and create it again.')
    if status not in _SETTLED:
        raise validation_error(f'Cannot update in-progress endpoint "{arn}".')
    return document


def _set_updating(call: Call, document: Document) -> None:
    document["EndpointStatus"] = "Updating"
    document["LastModifiedTime"] = time.time()
    call.store.put("endpoint", call.region, document["EndpointName"], document)


def _get_hosted_endpoint(call: Call, name: str) -> HostedEndpoint:
    return call.cloud.get_part(Hosting).get_endpoint(call.region, name)


def _arn(call: Call, name: str) -> str:
    return call.build_arn(f"endpoint/{name.lower()}")


__all__ = ["OPERATIONS", "require_endpoint"]

OPERATIONS: dict[str, Handler] = {
    "CreateEndpoint": create_endpoint,
    "UpdateEndpoint": update_endpoint,
    "UpdateEndpointWeightsAndCapacities": update_endpoint_weights_and_capacities,
    "DescribeEndpoint": describe_endpoint,
    "DeleteEndpoint": delete_endpoint,
    "ListEndpoints": list_endpoints,
}
