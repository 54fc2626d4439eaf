"""Builds: start, stop, retry, read, list and delete."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, Final

from local.core.context import Call, Cloud, Handler
from local.core.errors import AwsError
from local.core.store import Document, remove_private_members
from local.services.codebuild import documents
from local.services.codebuild.documents import BUILD, IN_PROGRESS
from local.services.codebuild.members import check_project, check_source, check_start, make_input_error
from local.services.codebuild.projects import make_page, require_project
from local.services.codebuild.run import BuildRun, Builds

#: Seconds for which a token stands for the same build.
_TOKEN_AGE: Final = 300.0
#: Override in StartBuild → its member of the build's environment.
_OF_ENVIRONMENT = {
    "imageOverride": "image",
    "computeTypeOverride": "computeType",
    "environmentTypeOverride": "type",
    "privilegedModeOverride": "privilegedMode",
}
#: Override in StartBuild → its member of the build.
_OF_BUILD = {
    "serviceRoleOverride": "serviceRole",
    "timeoutInMinutesOverride": "timeoutInMinutes",
    "queuedTimeoutInMinutesOverride": "queuedTimeoutInMinutes",
    "encryptionKeyOverride": "encryptionKey",
}
_OF_SOURCE = {"sourceTypeOverride": "type", "sourceLocationOverride": "location", "buildspecOverride": "buildspec"}


def start_build(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Start a build of a project and return at once; it runs in the background.

    Returns:
        The build, which is in progress.
    """
    check_start(params)
    project = require_project(call, params["projectName"])
    with call.store.transaction():
        if again := _find_repeated(call, params):
            return {"build": _show(again)}
        _require_room(call, project)
        document = _make_build(call, project, params)
        check_source(document["source"])
        check_project({"environment": document["environment"]})
        call.store.put(BUILD, call.region, document["id"], document)
    documents.emit_state_change(call.cloud, call.region, document)
    for phase in ("SUBMITTED", "QUEUED"):
        documents.enter_phase(call.cloud, call.region, document["id"], phase)
    call.cloud.get_part(Builds).start(BuildRun(call.cloud, call.region, document["id"]))
    return {"build": _show(call.store.get(BUILD, call.region, document["id"]) or document)}


def _find_repeated(call: Call, params: dict[str, Any]) -> Document | None:
    """Return the build that an earlier request with the same token has started.

    Raises:
        AwsError: ``InvalidInputException`` where that request had other parameters.
    """
    if not (token := params.get("idempotencyToken")):
        return None
    for build in call.store.list(BUILD, call.region):
        if build.get("_token") == token and time.time() - build["startTime"] < _TOKEN_AGE:
            if build["_request"] != json.dumps(params, sort_keys=True):
                raise make_input_error(f"Parameters do not match those of the earlier request with token {token}")
            return build
    return None


def _require_room(call: Call, project: Document) -> None:
    limit = project.get("concurrentBuildLimit")
    running = [
        build
        for build in call.store.list(BUILD, call.region)
        if build["projectName"] == project["name"] and not build["buildComplete"]
    ]
    if limit and len(running) >= limit:
        raise AwsError(
            "AccountLimitExceededException",
            f"Cannot have more than {limit} active builds for the project {project['name']}",
        )


def _make_build(call: Call, project: Document, params: dict[str, Any]) -> Document:
    name = f"{project['name']}:{uuid.uuid4()}"
    taken: Document = {
        key: project[key]
        for key in (
            "source", "sourceVersion", "cache", "environment", "serviceRole", "timeoutInMinutes",
            "queuedTimeoutInMinutes", "encryptionKey",
        )
        if key in project
    }  # fmt: skip
    overrides = {member: params[given] for given, member in _OF_BUILD.items() if given in params}
    source = {member: params[given] for given, member in _OF_SOURCE.items() if given in params}
    environment = {member: params[given] for given, member in _OF_ENVIRONMENT.items() if given in params}
    variables = {each["name"]: each for each in project["environment"]["environmentVariables"]}
    variables |= {
        each["name"]: {"type": "PLAINTEXT", **each} for each in params.get("environmentVariablesOverride", [])
    }
    version = {"sourceVersion": params["sourceVersion"]} if "sourceVersion" in params else {}
    token = params.get("idempotencyToken")
    return {
        **taken,
        **overrides,
        **version,
        "source": {**project["source"], **source},
        "environment": {**project["environment"], **environment, "environmentVariables": list(variables.values())},
        "id": name,
        "arn": call.build_arn(f"build/{name}", "codebuild"),
        "buildNumber": call.store.increment_counter(f"codebuild/{call.region}/{project['name']}"),
        "projectName": project["name"],
        "startTime": time.time(),
        "currentPhase": "SUBMITTED",
        "buildStatus": IN_PROGRESS,
        "buildComplete": False,
        "initiator": "root",
        # Without artifacts; this is how a description says so.
        "artifacts": {"location": ""},
        "phases": [],
        "logs": _make_logs(call, project, name),
        **({"_token": token, "_request": json.dumps(params, sort_keys=True)} if token else {}),
    }


def _make_logs(call: Call, project: Document, name: str) -> dict[str, Any]:
    declared = project["logsConfig"].get("cloudWatchLogs", {})
    group = declared.get("groupName", f"/aws/codebuild/{project['name']}")
    own = name.rpartition(":")[2]
    stream = f"{declared['streamName']}/{own}" if declared.get("streamName") else own
    return {
        "groupName": group,
        "streamName": stream,
        "deepLink": f"https://console.aws.amazon.com/cloudwatch/home?region={call.region}#logsV2:log-groups/log-group/"
        f"{group.replace('/', '$252F')}/log-events/{stream.replace('/', '$252F')}",
        "cloudWatchLogsArn": call.build_arn(f"log-group:{group}:log-stream:{stream}", "logs"),
        "cloudWatchLogs": {"status": "ENABLED", **declared},
        "s3Logs": {"status": "DISABLED"},
    }


def stop_build(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Stop a build: SIGTERM, 30 s, SIGKILL; a complete one stays as it is."""
    build = _require(call, params["id"])
    call.cloud.get_part(Builds).stop(call.region, build["id"])
    return {"build": _show(build)}


def retry_build(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Start a build once more, with what it was started with."""
    if not params.get("id"):
        raise make_input_error("id is required")
    build = _require(call, params["id"])
    again: dict[str, Any] = {
        "projectName": build["projectName"],
        "environmentVariablesOverride": build["environment"]["environmentVariables"],
        **{given: build["source"][member] for given, member in _OF_SOURCE.items() if member in build["source"]},
        **{given: build["environment"][member] for given, member in _OF_ENVIRONMENT.items()},
        **{given: build[member] for given, member in _OF_BUILD.items()},
        **({"sourceVersion": build["sourceVersion"]} if "sourceVersion" in build else {}),
        **({"idempotencyToken": params["idempotencyToken"]} if "idempotencyToken" in params else {}),
    }
    return start_build(call, again)


def batch_get_builds(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe builds by id or ARN."""
    found = {name: call.store.get(BUILD, call.region, _strip_arn(name)) for name in params["ids"]}
    return {
        "builds": [_show(build) for build in found.values() if build is not None],
        "buildsNotFound": [name for name, build in found.items() if build is None],
    }


def list_builds(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the ids of all builds, the newest first unless asked otherwise."""
    names = [build["id"] for build in call.store.list(BUILD, call.region)]
    return make_page({"sortOrder": "DESCENDING", **params}, names, "ids")


def list_builds_for_project(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the ids of a project's builds, the newest first unless asked otherwise."""
    name = require_project(call, params["projectName"])["name"]
    names = [build["id"] for build in call.store.list(BUILD, call.region) if build["projectName"] == name]
    return make_page({"sortOrder": "DESCENDING", **params}, names, "ids")


def batch_delete_builds(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete builds that are complete."""
    deleted, kept = [], []
    for name in params["ids"]:
        build = call.store.get(BUILD, call.region, _strip_arn(name))
        if build is None or not build["buildComplete"]:
            code = "BUILD_NOT_FOUND" if build is None else "BUILD_IN_PROGRESS"
            kept.append({"id": name, "statusCode": code})
            continue
        call.store.delete(BUILD, call.region, build["id"])
        deleted.append(name)
    return {"buildsDeleted": deleted, "buildsNotDeleted": kept}


def _require(call: Call, name: str) -> Document:
    build = call.store.get(BUILD, call.region, _strip_arn(name))
    if build is None:
        raise AwsError("ResourceNotFoundException", f"Build {name} was not found")
    return build


def _strip_arn(name: str) -> str:
    return name.rpartition(":build/")[2]


def _show(build: Document) -> dict[str, Any]:
    return remove_private_members(build)


def recover(cloud: Cloud) -> None:
    """End the builds that the last shutdown of the local cloud interrupted.

    Args:
        cloud: The cloud, which has just started.
    """
    documents.settle_interrupted_builds(cloud)


OPERATIONS: dict[str, Handler] = {
    "StartBuild": start_build,
    "StopBuild": stop_build,
    "RetryBuild": retry_build,
    "BatchGetBuilds": batch_get_builds,
    "ListBuilds": list_builds,
    "ListBuildsForProject": list_builds_for_project,
    "BatchDeleteBuilds": batch_delete_builds,
}
