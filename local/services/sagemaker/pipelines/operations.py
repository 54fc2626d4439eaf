"""Pipelines: Create, Update, Describe, Delete, List; and the table of all pipeline operations.

Every definition of a pipeline is kept as a version, for the executions that run it. Refused by name: version aliases,
callbacks, MLflow.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.context import Call, Cloud, Handler
from local.core.errors import AwsError, not_found_error, validation_error
from local.core.store import Document, remove_private_members
from local.services.sagemaker import paging, tags
from local.services.sagemaker.members import refuse_others
from local.services.sagemaker.pipelines import definition, execution_operations
from local.services.sagemaker.pipelines.execution import Executions
from local.services.sagemaker.pipelines.execution_operations import (
    TOKEN,
    build_store_name,
    hash_request,
    require_pipeline,
)
from local.services.sagemaker.pipelines.state import (
    ACTIVE,
    EXECUTION,
    PIPELINE,
    VERSION,
    build_version_name,
    list_executions,
)
from local.services.sagemaker.roles import require_role

_KEPT = ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")
_DEFINITION = {"PipelineDefinition", "PipelineDefinitionS3Location"}


def create_pipeline(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create a pipeline; refuse a definition that could not run."""
    refuse_others(params, {"PipelineName", "ClientRequestToken", "Tags", *_KEPT, *_DEFINITION}, "CreatePipeline")
    name = params["PipelineName"]
    arn = call.build_arn(f"pipeline/{name.lower()}")
    text = _read_definition(call, params)
    if text is None:
        raise validation_error("Either PipelineDefinition or PipelineDefinitionS3Location is required.")
    require_role(call, params["RoleArn"])
    now = time.time()
    asked = hash_request(params)
    document: Document = {
        "PipelineArn": arn,
        "PipelineName": name,
        "PipelineDisplayName": name,
        **{key: params[key] for key in _KEPT if key in params},
        "PipelineStatus": "Active",
        "CreationTime": now,
        "LastModifiedTime": now,
        "_version": 1,
        "_token": params.get("ClientRequestToken"),
        "_asked": asked,
    }
    with call.store.transaction():
        if there := call.store.get(PIPELINE, call.region, build_store_name(name)):
            if document["_token"] and document["_token"] == there["_token"] and asked == there["_asked"]:
                return {"PipelineArn": arn}
            raise validation_error(
                "Pipeline names must be unique within an AWS account and region. "
                f"Pipeline with name ({name}) already exists."
            )
        tags.merge_tags(call, arn, params.get("Tags"))
        call.store.put(PIPELINE, call.region, build_store_name(name), document)
        _put_version(call, document, text)
    return {"PipelineArn": arn}


def _read_definition(call: Call, params: Mapping[str, Any]) -> str | None:
    """Return the checked definition text of a request, or None if the request has none."""
    if given := sorted(_DEFINITION & set(params)):
        if len(given) > 1:
            raise validation_error(f"Expected either {given[0]} or {given[1]}, and not both.")
        text = (
            str(params["PipelineDefinition"])
            if given[0] == "PipelineDefinition"
            else _read_from_s3(call, params[given[0]])
        )
        definition.parse_definition(text)
        return text
    return None


def _read_from_s3(call: Call, location: dict[str, str]) -> str:
    place = f"s3://{location['Bucket']}/{location['ObjectKey']}"
    request = {"Bucket": location["Bucket"], "Key": location["ObjectKey"]}
    if "VersionId" in location:
        request["VersionId"] = location["VersionId"]
    try:
        body = call.cloud.client("s3", call.region).get_object(**request)["Body"].read()
        return str(body.decode())
    except (ClientError, BotoCoreError) as error:
        raise validation_error(f"The pipeline definition at {place} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise validation_error(f"The pipeline definition at {place} is not UTF-8: {error}") from error


def _put_version(call: Call, document: Document, text: str) -> None:
    key = build_store_name(document["PipelineName"])
    version = {
        "PipelineArn": document["PipelineArn"],
        "PipelineVersionId": document["_version"],
        "PipelineDefinition": text,
        "CreationTime": document["LastModifiedTime"],
    }
    call.store.put(VERSION, call.region, build_version_name(key, document["_version"]), version)


def update_pipeline(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Update a pipeline; a changed definition becomes the next version, and executions keep theirs."""
    refuse_others(params, {"PipelineName", *_KEPT, *_DEFINITION}, "UpdatePipeline")
    require_pipeline(call, params["PipelineName"])
    text = _read_definition(call, params)
    if role := params.get("RoleArn"):
        require_role(call, role)
    with call.store.transaction():
        document = require_pipeline(call, params["PipelineName"])
        document |= {key: params[key] for key in _KEPT if key in params}
        document["LastModifiedTime"] = time.time()
        if text is not None and text != _require_version(call, document, document["_version"])["PipelineDefinition"]:
            document["_version"] += 1
            _put_version(call, document, text)
        call.store.put(PIPELINE, call.region, build_store_name(document["PipelineName"]), document)
    return {"PipelineArn": document["PipelineArn"], "PipelineVersionId": document["_version"]}


def _require_version(call: Call, document: Document, number: int) -> Document:
    version = call.store.get(
        VERSION, call.region, build_version_name(build_store_name(document["PipelineName"]), number)
    )
    if version is None:
        raise not_found_error(f"Version {number} of pipeline {document['PipelineArn']} does not exist.")
    return version


def describe_pipeline(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe a pipeline with the requested version of its definition, by default the newest one.

    Returns:
        The members of the pipeline's document, and the text of the definition as ``PipelineDefinition``.

    Raises:
        AwsError: The pipeline or the version does not exist.
    """
    refuse_others(params, {"PipelineName", "PipelineVersionId"}, "DescribePipeline")
    document = require_pipeline(call, params["PipelineName"])
    number: int = params.get("PipelineVersionId") or document["_version"]
    version = _require_version(call, document, number)
    return {**remove_private_members(document), "PipelineDefinition": version["PipelineDefinition"]}


def delete_pipeline(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a pipeline and its executions; refuse it while an execution runs."""
    with call.store.transaction():
        document = require_pipeline(call, params["PipelineName"])
        key = build_store_name(document["PipelineName"])
        executions = list_executions(call.cloud, call.region, key)
        active = [one["PipelineExecutionArn"] for one in executions if one["PipelineExecutionStatus"] in ACTIVE]
        if active:
            raise AwsError(
                "ConflictException",
                f"Pipeline {document['PipelineArn']} has running executions: {', '.join(active)}. Stop them first.",
            )
        for execution in executions:
            call.store.delete(EXECUTION, call.region, execution["PipelineExecutionArn"])
            call.store.delete(TOKEN, call.region, f"{key}/{execution['_token']}")
        for number in range(1, document["_version"] + 1):
            call.store.delete(VERSION, call.region, build_version_name(key, number))
        call.store.delete(PIPELINE, call.region, key)
        tags.delete_all_tags(call, document["PipelineArn"])
    return {"PipelineArn": document["PipelineArn"]}


def list_pipelines(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List pipelines; none is managed by AWS.

    Returns:
        ``PipelineSummaries`` of one page, and ``NextToken`` if more exist.
    """
    members = ("PipelineArn", "PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn", "CreationTime")
    prefix = params.get("PipelineNamePrefix", "")
    items = [
        {
            **{key: document[key] for key in (*members, "LastModifiedTime") if key in document},
            **({"LastExecutionTime": document["LastRunTime"]} if "LastRunTime" in document else {}),
        }
        for document in call.store.list(PIPELINE, call.region)
        if document["PipelineName"].lower().startswith(prefix.lower())
        and params.get("ManagedBy", "CUSTOMER") == "CUSTOMER"
        and execution_operations.is_created_within(document, params)
    ]
    sort = {"Name": "PipelineName", "CreationTime": "CreationTime"}
    return paging.build_page(call, params, items, key="PipelineSummaries", sort=sort)


def list_pipeline_versions(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the versions of a pipeline, newest first."""
    document = require_pipeline(call, params["PipelineName"])
    last: dict[int, str] = {}
    for execution in list_executions(call.cloud, call.region, build_store_name(document["PipelineName"])):
        last[execution["PipelineVersionId"]] = execution["PipelineExecutionArn"]
    versions = [_require_version(call, document, number) for number in range(1, document["_version"] + 1)]
    items = [
        {
            **{key: version[key] for key in ("PipelineArn", "PipelineVersionId", "CreationTime")},
            **(
                {"LastExecutionPipelineExecutionArn": last[version["PipelineVersionId"]]}
                if version["PipelineVersionId"] in last
                else {}
            ),
        }
        for version in versions
        if execution_operations.is_created_within(version, params)
    ]
    return paging.build_page(
        call, params, items, key="PipelineVersionSummaries", sort={"Version": "PipelineVersionId"}, by="Version"
    )


def recover(cloud: Cloud) -> None:
    """Resume the executions that the last shutdown interrupted; call it after their jobs were settled.

    Args:
        cloud: The cloud, which has just started.
    """
    for document in cloud.store.list(EXECUTION):
        if document["PipelineExecutionStatus"] in ACTIVE:
            arn = document["PipelineExecutionArn"]
            cloud.get_part(Executions).start(arn.split(":")[3], arn, recovered=True)


OPERATIONS: dict[str, Handler] = {
    "CreatePipeline": create_pipeline,
    "UpdatePipeline": update_pipeline,
    "DescribePipeline": describe_pipeline,
    "DeletePipeline": delete_pipeline,
    "ListPipelines": list_pipelines,
    "ListPipelineVersions": list_pipeline_versions,
    "StartPipelineExecution": execution_operations.start_pipeline_execution,
    "StopPipelineExecution": execution_operations.stop_pipeline_execution,
    "RetryPipelineExecution": execution_operations.retry_pipeline_execution,
    "UpdatePipelineExecution": execution_operations.update_pipeline_execution,
    "DescribePipelineExecution": execution_operations.describe_pipeline_execution,
    "DescribePipelineDefinitionForExecution": execution_operations.describe_pipeline_definition_for_execution,
    "ListPipelineExecutions": execution_operations.list_pipeline_executions,
    "ListPipelineExecutionSteps": execution_operations.list_pipeline_execution_steps,
    "ListPipelineParametersForExecution": execution_operations.list_pipeline_parameters_for_execution,
}
