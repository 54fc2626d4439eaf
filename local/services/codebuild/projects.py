"""Projects: create, update, delete, read and list."""

from __future__ import annotations

import time
from typing import Any, Final

from botocore.exceptions import ClientError

from local.core.context import Call, Handler
from local.core.errors import AwsError
from local.core.identity import ACCOUNT
from local.core.store import Document, remove_private_members
from local.services.codebuild.documents import PROJECT
from local.services.codebuild.members import check_project, make_input_error
from local.services.eventbridge import access

_PAGE: Final = 100
_TRUSTED = "codebuild.amazonaws.com"


def create_project(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create a project."""
    check_project(params)
    _require_role(call, params["name"], params["serviceRole"])
    name, now = params["name"], time.time()
    document: Document = {
        "timeoutInMinutes": 60,
        "queuedTimeoutInMinutes": 480,
        "encryptionKey": f"arn:aws:kms:{call.region}:{ACCOUNT}:alias/aws/s3",
        "cache": {"type": "NO_CACHE"},
        "badge": {"badgeEnabled": False},
        "logsConfig": {"cloudWatchLogs": {"status": "ENABLED"}, "s3Logs": {"status": "DISABLED"}},
        **{key: value for key, value in params.items() if key not in ("badgeEnabled",)},
        "arn": call.build_arn(f"project/{name}", "codebuild"),
        "created": now,
        "lastModified": now,
        "projectVisibility": "PRIVATE",
    }
    document["environment"] = _complete_environment(document["environment"])
    with call.store.transaction():
        if call.store.get(PROJECT, call.region, name):
            raise AwsError("ResourceAlreadyExistsException", f"Project already exists: {document['arn']}")
        call.store.put(PROJECT, call.region, name, document)
    return {"project": _show(document)}


def update_project(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Change the members that are given."""
    check_project(params)
    if role := params.get("serviceRole"):
        _require_role(call, params["name"], role)

    def changed(document: Document) -> None:
        document |= {key: value for key, value in params.items() if key not in ("name", "badgeEnabled")}
        document["environment"] = _complete_environment(document["environment"])
        # A limit of -1 removes it.
        if document.get("concurrentBuildLimit") == -1:
            del document["concurrentBuildLimit"]
        document["lastModified"] = time.time()

    name = require_project(call, params["name"])["name"]
    document = call.store.update(PROJECT, call.region, name, changed)
    assert document is not None
    return {"project": _show(document)}


def delete_project(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a project; its builds stay. It is no error if it does not exist."""
    call.store.delete(PROJECT, call.region, _strip_arn(params["name"]))
    return {}


def batch_get_projects(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe projects by name or ARN."""
    found = {name: call.store.get(PROJECT, call.region, _strip_arn(name)) for name in params["names"]}
    return {
        "projects": [_show(document) for document in found.values() if document is not None],
        "projectsNotFound": [name for name, document in found.items() if document is None],
    }


def list_projects(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the names of projects, by name, creation or last change."""
    member = {"NAME": "name", "CREATED_TIME": "created", "LAST_MODIFIED_TIME": "lastModified"}[
        params.get("sortBy", "NAME")
    ]
    projects = sorted(call.store.list(PROJECT, call.region), key=lambda each: each[member])
    return make_page(params, [each["name"] for each in projects], "projects")


def require_project(call: Call, name: str) -> Document:
    """Return the document of a project.

    Args:
        call: The request that names it.
        name: Its name or ARN.

    Raises:
        AwsError: ``ResourceNotFoundException``.
    """
    document = call.store.get(PROJECT, call.region, _strip_arn(name))
    if document is None:
        arn = call.build_arn(f"project/{_strip_arn(name)}", "codebuild")
        raise AwsError("ResourceNotFoundException", f"Project cannot be found: {arn}")
    return document


def make_page(params: dict[str, Any], names: list[str], member: str) -> dict[str, Any]:
    """Return one page of a listing.

    Args:
        params: The request's `sortOrder` and `nextToken`.
        names: All names, in ascending order.
        member: The member of the answer that has them.

    Raises:
        AwsError: ``InvalidInputException`` for a token that no page has given.
    """
    if params.get("sortOrder", "ASCENDING") == "DESCENDING":
        names = names[::-1]
    token = params.get("nextToken")
    if token and token not in names:
        raise make_input_error("Invalid token: no page has given it")
    first = names.index(token) if token else 0
    page = {member: names[first : first + _PAGE]}
    return {**page, "nextToken": names[first + _PAGE]} if first + _PAGE < len(names) else page


def _strip_arn(name: str) -> str:
    return name.rpartition(":project/")[2]


def _complete_environment(environment: dict[str, Any]) -> dict[str, Any]:
    variables = [{"type": "PLAINTEXT", **each} for each in environment.get("environmentVariables", [])]
    defaults = {"privilegedMode": False, "imagePullCredentialsType": "CODEBUILD"}
    return {**defaults, **environment, "environmentVariables": variables}


def _show(document: Document) -> dict[str, Any]:
    return remove_private_members(document)


def _require_role(call: Call, project: str, arn: str) -> None:
    """Refuse a role that CodeBuild may not assume for a project.

    Raises:
        AwsError: ``InvalidInputException``, in AWS's words.
    """
    refusal = make_input_error(f"CodeBuild is not authorized to perform: sts:AssumeRole on service role {arn}")
    try:
        role = call.cloud.client("iam", "us-east-1").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        raise refusal from error
    keys = access.make_condition_keys(_TRUSTED, call.build_arn(f"project/{project}", "codebuild"))
    trust = [role["AssumeRolePolicyDocument"]]
    if role["Arn"] != arn or not access.allows(
        trust, action="sts:AssumeRole", resource=arn, principal=_TRUSTED, keys=keys
    ):
        raise refusal


OPERATIONS: dict[str, Handler] = {
    "CreateProject": create_project,
    "UpdateProject": update_project,
    "DeleteProject": delete_project,
    "BatchGetProjects": batch_get_projects,
    "ListProjects": list_projects,
}
