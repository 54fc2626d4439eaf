"""Executions of pipelines: Start, Stop, Retry, Update, Describe, List; `execution.py` runs them.

Refused by name: selective execution, version aliases, MLflow experiments.
"""

from __future__ import annotations

import hashlib
import json
import random
import string
import time
from collections.abc import Callable, Mapping
from typing import Any

from local.core.context import Call
from local.core.errors import AwsError, not_found_error, validation_error
from local.core.store import Document, remove_private_members
from local.services.sagemaker import paging, values
from local.services.sagemaker.members import refuse_others
from local.services.sagemaker.pipelines import state as state
from local.services.sagemaker.pipelines.execution import Executions
from local.services.sagemaker.pipelines.graph import parse_parameter
from local.services.sagemaker.pipelines.scope import RunScope

#: The store's kind of the idempotency tokens of StartPipelineExecution.
TOKEN = "pipeline-token"

_START = {
    "PipelineName", "PipelineExecutionDisplayName", "PipelineParameters", "PipelineExecutionDescription",
    "ClientRequestToken", "ParallelismConfiguration", "PipelineVersionId", "RoleArn",
}  # fmt: skip
#: The default of MaxResults for steps and parameters.
_PAGE = 100

_RANDOM = random.SystemRandom()


def build_store_name(name: str) -> str:
    """Return the store's name of a pipeline from its name or ARN, in lower case like ARNs."""
    return name.rpartition("/")[2].lower()


def hash_request(params: Mapping[str, Any]) -> str:
    """Return a hash of a request without its token, to recognize a repeated request."""
    asked = {key: value for key, value in params.items() if key != "ClientRequestToken"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def require_pipeline(call: Call, name: str) -> Document:
    """Return the pipeline's document by name or ARN; raise AWS's error if it does not exist."""
    document = call.store.get(state.PIPELINE, call.region, build_store_name(name))
    arn = call.build_arn(f"pipeline/{build_store_name(name)}")
    if document is None or (name.startswith("arn:") and name.lower() != document["PipelineArn"]):
        raise not_found_error(f"Pipeline {name if name.startswith('arn:') else arn} does not exist.")
    return document


def is_created_within(document: Document, params: Mapping[str, Any]) -> bool:
    """Return True if CreatedAfter and CreatedBefore of a listing include the document."""
    after, before = params.get("CreatedAfter"), params.get("CreatedBefore")
    created = document["CreationTime"]
    return (after is None or created > after.timestamp()) and (before is None or created < before.timestamp())


def _require_execution(call: Call, arn: str) -> Document:
    document = call.store.get(state.EXECUTION, call.region, arn)
    if document is None:
        raise not_found_error(f"Pipeline execution {arn} does not exist.")
    return document


# -- start -----------------------------------------------------------------------------------------------------------


def start_pipeline_execution(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Start an execution and return at once; its steps run in the background.

    Returns:
        ``PipelineExecutionArn``; that of the first execution if the request is repeated with its token.

    Raises:
        AwsError: ``ConflictException`` if the token was used for another request; other codes if the pipeline does not
            exist or the request is not valid.
    """
    refuse_others(params, _START, "StartPipelineExecution")
    pipeline = require_pipeline(call, params["PipelineName"])
    key = build_store_name(pipeline["PipelineName"])
    token = params.get("ClientRequestToken")
    asked = hash_request(params)
    with call.store.transaction():
        if token and (repeated := call.store.get(TOKEN, call.region, f"{key}/{token}")):
            if repeated["asked"] != asked:
                raise AwsError(
                    "ConflictException",
                    f"ClientRequestToken {token} was used for another StartPipelineExecution of {key}.",
                )
            return {"PipelineExecutionArn": repeated["arn"]}
        pipeline = require_pipeline(call, params["PipelineName"])
        document = _build_execution(call, pipeline, params)
        arn = document["PipelineExecutionArn"]
        call.store.put(state.EXECUTION, call.region, arn, document)
        if token:
            call.store.put(TOKEN, call.region, f"{key}/{token}", {"arn": arn, "asked": asked})
        pipeline["LastRunTime"] = document["CreationTime"]
        call.store.put(state.PIPELINE, call.region, key, pipeline)
        state.emit_execution_status(call.cloud, call.region, document, None)
    call.cloud.get_part(Executions).start(call.region, arn)
    return {"PipelineExecutionArn": arn}


def _build_execution(call: Call, pipeline: Document, params: Mapping[str, Any]) -> Document:
    number = params.get("PipelineVersionId", pipeline["_version"])
    key = build_store_name(pipeline["PipelineName"])
    definition = _load_definition(call, key, number)
    now = time.time()
    identity = "".join(_RANDOM.choices(string.ascii_lowercase + string.digits, k=12))
    document: Document = {
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineExecutionArn": f"{pipeline['PipelineArn']}/execution/{identity}",
        "PipelineExecutionDisplayName": params.get("PipelineExecutionDisplayName", f"execution-{int(now * 1000)}"),
        "PipelineExecutionStatus": "Executing",
        "PipelineVersionId": number,
        "RoleArn": params.get("RoleArn", pipeline["RoleArn"]),
        "CreationTime": now,
        "LastModifiedTime": now,
        "_name": pipeline["PipelineName"],
        "_pipeline": key,
        "_parameters": _resolve_parameters(definition, params.get("PipelineParameters", [])),
        "_steps": {},
        "_token": params.get("ClientRequestToken"),
        "_tokens": {},
    }
    parallelism = params.get("ParallelismConfiguration") or pipeline.get("ParallelismConfiguration")
    if parallelism:
        document["ParallelismConfiguration"] = parallelism
    if "PipelineExecutionDescription" in params:
        document["PipelineExecutionDescription"] = params["PipelineExecutionDescription"]
    names = {"ExperimentName": key, "TrialName": identity}
    config = definition.get("PipelineExperimentConfig", names)
    if config:
        document["PipelineExperimentConfig"] = _resolve_experiment(call, document, config)
    return document


def _resolve_experiment(call: Call, document: Document, config: Document) -> Document:
    try:
        return dict(values.resolve(config, RunScope(call.cloud, call.region, document, {})))
    except values.ResolveError as error:
        raise validation_error(f"PipelineExperimentConfig: {error}") from error


def _load_definition(call: Call, key: str, number: int) -> Document:
    version = call.store.get(state.VERSION, call.region, state.build_version_name(key, number))
    if version is None:
        raise not_found_error(f"Version {number} of pipeline {call.build_arn(f'pipeline/{key}')} does not exist.")
    return dict(json.loads(version["PipelineDefinition"]))


def _resolve_parameters(definition: Document, given: list[dict[str, str]]) -> Document:
    """Return the typed value of every parameter, given or default."""
    declared = {parameter["Name"]: parameter for parameter in definition.get("Parameters", [])}
    names = [entry["Name"] for entry in given]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise validation_error(f"Parameters {', '.join(repeated)} are given twice; expected each once.")
    if unknown := sorted(set(names) - set(declared)):
        known = ", ".join(declared) or "none"
        raise validation_error(f"Unknown pipeline parameters: {', '.join(unknown)}; the definition has: {known}.")
    values_given = {entry["Name"]: entry["Value"] for entry in given}
    without = [name for name in declared if name not in values_given and "DefaultValue" not in declared[name]]
    if without:
        raise validation_error(
            f"Parameters {', '.join(without)} have no default value; give one in PipelineParameters."
        )
    return {
        name: _parse_value(parameter, values_given[name]) if name in values_given else parameter["DefaultValue"]
        for name, parameter in declared.items()
    }


def _parse_value(parameter: Document, text: str) -> Any:
    try:
        value = parse_parameter(parameter["Type"], text)
    except ValueError as error:
        raise validation_error(f"Value of pipeline parameter {parameter['Name']}: {error}.") from error
    if "EnumValues" in parameter and value not in parameter["EnumValues"]:
        allowed = ", ".join(map(values.as_text, parameter["EnumValues"]))
        raise validation_error(
            f"Value '{text}' of pipeline parameter {parameter['Name']} is not among its EnumValues: [{allowed}]."
        )
    return value


# -- change ----------------------------------------------------------------------------------------------------------


def stop_pipeline_execution(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Stop an execution and its jobs; its status is Stopping, then Stopped.

    Returns:
        ``PipelineExecutionArn``; the execution ends in the background.

    Raises:
        AwsError: The execution does not exist or is not executing.
    """

    def stopping(document: Document) -> None:
        document["PipelineExecutionStatus"] = "Stopping"

    if _change_once(call, params, ("Executing",), stopping):
        call.cloud.get_part(Executions).stop(params["PipelineExecutionArn"])
    return {"PipelineExecutionArn": params["PipelineExecutionArn"]}


def retry_pipeline_execution(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Retry an execution: keep the steps that succeeded and run the others."""

    def again(document: Document) -> None:
        if failed := [record["StepName"] for record in document["_steps"].values() if _is_fail(record)]:
            raise validation_error(
                f"Pipeline execution {document['PipelineExecutionArn']} was ended by the Fail step {failed[0]}; "
                "it cannot be retried. Start a new execution."
            )
        document["PipelineExecutionStatus"] = "Executing"
        document.pop("FailureReason", None)
        document.pop("_ended", None)
        kept = {name: record for name, record in document["_steps"].items() if record["StepStatus"] == "Succeeded"}
        document["_steps"] = kept
        if "ParallelismConfiguration" in params:
            document["ParallelismConfiguration"] = params["ParallelismConfiguration"]

    if _change_once(call, params, ("Failed", "Stopped"), again):
        call.cloud.get_part(Executions).start(call.region, params["PipelineExecutionArn"])
    return {"PipelineExecutionArn": params["PipelineExecutionArn"]}


def _is_fail(record: Document) -> bool:
    return bool(record["_type"] == "Fail" and record["StepStatus"] == "Failed")


def _change_once(
    call: Call, params: Mapping[str, Any], statuses: tuple[str, ...], changing: Callable[[Document], None]
) -> bool:
    """Change an execution that is in one of the statuses; return False if the same token did so before."""
    arn, token = params["PipelineExecutionArn"], params.get("ClientRequestToken")
    with call.store.transaction():
        document = _require_execution(call, arn)
        if token and document["_tokens"].get(call.operation) == token:
            return False
        status = document["PipelineExecutionStatus"]
        if status not in statuses:
            raise validation_error(
                f"{call.operation} of {arn}: the execution is in status {status}; expected {' or '.join(statuses)}."
            )

        def change(document: Document) -> None:
            changing(document)
            document["_tokens"][call.operation] = token

        state.change_execution(call.cloud, call.region, arn, change)
    return True


def update_pipeline_execution(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Update the display name, description and parallelism of an execution."""
    arn = params["PipelineExecutionArn"]
    members = ("PipelineExecutionDescription", "PipelineExecutionDisplayName", "ParallelismConfiguration")
    with call.store.transaction():
        _require_execution(call, arn)
        state.change_execution(
            call.cloud,
            call.region,
            arn,
            lambda document: document.update({key: params[key] for key in members if key in params}),
        )
    return {"PipelineExecutionArn": arn}


# -- describe and list -----------------------------------------------------------------------------------------------


def describe_pipeline_execution(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe an execution.

    Returns:
        The members of the execution's document, without its steps and parameters.

    Raises:
        AwsError: The execution does not exist.
    """
    return remove_private_members(_require_execution(call, params["PipelineExecutionArn"]))


def describe_pipeline_definition_for_execution(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Return the definition with which an execution was started."""
    document = _require_execution(call, params["PipelineExecutionArn"])
    name = state.build_version_name(document["_pipeline"], document["PipelineVersionId"])
    version = call.store.get(state.VERSION, call.region, name) or {}
    return {key: version[key] for key in ("PipelineDefinition", "CreationTime")}


def list_pipeline_executions(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the executions of a pipeline, newest first."""
    refuse_others(params, set(params) - {"PipelineVersionAlias"}, "ListPipelineExecutions")
    key = build_store_name(require_pipeline(call, params["PipelineName"])["PipelineName"])
    members = {
        "PipelineExecutionArn": "PipelineExecutionArn",
        "CreationTime": "StartTime",
        "PipelineExecutionStatus": "PipelineExecutionStatus",
        "PipelineExecutionDescription": "PipelineExecutionDescription",
        "PipelineExecutionDisplayName": "PipelineExecutionDisplayName",
        "FailureReason": "PipelineExecutionFailureReason",
    }
    items = [
        {shown: document[member] for member, shown in members.items() if member in document}
        for document in state.list_executions(call.cloud, call.region, key)
        if is_created_within(document, params)
    ]
    sort = {"PipelineExecutionArn": "PipelineExecutionArn", "CreationTime": "StartTime", "Name": "PipelineExecutionArn"}
    return paging.build_page(call, params, items, key="PipelineExecutionSummaries", sort=sort)


def list_pipeline_execution_steps(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the steps of an execution that were started, newest first."""
    if "PipelineExecutionArn" not in params:
        raise validation_error("PipelineExecutionArn is required for ListPipelineExecutionSteps.")
    document = _require_execution(call, params["PipelineExecutionArn"])
    items = [state.hide_private_members(record) for record in document["_steps"].values()]
    sort = {"CreationTime": "StartTime", "Name": "StepName"}
    return paging.build_page(call, params, items, key="PipelineExecutionSteps", sort=sort, size=_PAGE)


def list_pipeline_parameters_for_execution(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the parameters of an execution as text, including default values."""
    document = _require_execution(call, params["PipelineExecutionArn"])
    items = [{"Name": name, "Value": values.as_text(value)} for name, value in document["_parameters"].items()]
    sort = {"Name": "Name"}
    return paging.build_page(
        call, params, items, key="PipelineParameters", sort=sort, by="Name", order="Ascending", size=_PAGE
    )
