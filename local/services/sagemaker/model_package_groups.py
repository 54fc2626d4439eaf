"""Model package groups: Create, Describe, List, Delete, and their resource policies.

Documents are kept under their ARN.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from local.core.context import Call, Handler
from local.core.errors import AwsError, validation_error
from local.core.store import Document, remove_private_members
from local.services.sagemaker import paging, tags
from local.services.sagemaker.members import refuse_others, select_members

#: The store's kinds.
GROUP = "model-package-group"
PACKAGE = "model-package"


def create_model_package_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create a model package group."""
    refuse_others(params, {"ModelPackageGroupName", "ModelPackageGroupDescription", "Tags"}, "CreateModelPackageGroup")
    arn = _group_arn(call, params["ModelPackageGroupName"])
    document: Document = {
        **{key: value for key, value in params.items() if key != "Tags"},
        "ModelPackageGroupArn": arn,
        "ModelPackageGroupStatus": "Completed",
        "CreationTime": time.time(),
        "CreatedBy": {},
        "_last_version": 0,
    }
    with call.store.transaction():
        if call.store.get(GROUP, call.region, arn):
            raise validation_error(f"Model Package Group already exists: {arn}")
        tags.merge_tags(call, arn, params.get("Tags"))
        call.store.put(GROUP, call.region, arn, document)
    return {"ModelPackageGroupArn": arn}


def describe_model_package_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe a model package group, by name or ARN.

    Returns:
        The members with which it was created, its ARN, its status and its creation time.
    """
    return remove_private_members(require_group(call, params["ModelPackageGroupName"]))


def list_model_package_groups(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List model package groups; none is shared by another account."""
    members = (
        "ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime",
        "ModelPackageGroupStatus",
    )  # fmt: skip
    shared = params.get("CrossAccountFilterOption") == "CrossAccount"
    groups = [] if shared else call.store.list(GROUP, call.region)
    return paging.build_page(
        call,
        params,
        [select_members(group, members) for group in groups],
        key="ModelPackageGroupSummaryList",
        sort={"Name": "ModelPackageGroupName", "CreationTime": "CreationTime"},
        order="Ascending",
    )


def delete_model_package_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a model package group; refuse it while the group has packages."""
    with call.store.transaction():
        group = require_group(call, params["ModelPackageGroupName"])
        arn = group["ModelPackageGroupArn"]
        if count := len(list_group_packages(call, group)):
            raise AwsError(
                "ConflictException",
                f"Model Package Group {arn} cannot be deleted: it still contains Model Packages ({count}). "
                "Delete them first.",
            )
        call.store.delete(GROUP, call.region, arn)
        tags.delete_all_tags(call, arn)
    return {}


def put_model_package_group_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Store the policy of a model package group.

    The policy is not enforced, because the whole local cloud is one account.
    """
    try:
        policy = json.loads(params["ResourcePolicy"])
    except ValueError as error:
        raise validation_error(f"Invalid resource policy: it is not JSON ({error}).") from error
    if not isinstance(policy, dict) or not policy.get("Statement"):
        raise validation_error("Invalid resource policy: expected a JSON object with a Statement.")
    with call.store.transaction():
        group = _require_group_for_policy(call, params)
        group["_policy"] = params["ResourcePolicy"]
        call.store.put(GROUP, call.region, group["ModelPackageGroupArn"], group)
    return {"ModelPackageGroupArn": group["ModelPackageGroupArn"]}


def get_model_package_group_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Return the policy of a model package group."""
    return {"ResourcePolicy": _require_policy(_require_group_for_policy(call, params))["_policy"]}


def delete_model_package_group_policy(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete the policy of a model package group."""
    with call.store.transaction():
        group = _require_policy(_require_group_for_policy(call, params))
        del group["_policy"]
        call.store.put(GROUP, call.region, group["ModelPackageGroupArn"], group)
    return {}


def _require_group_for_policy(call: Call, params: Mapping[str, Any]) -> Document:
    arn = _group_arn(call, params["ModelPackageGroupName"])
    group = call.store.get(GROUP, call.region, arn)
    if group is None:
        raise validation_error(f"Cannot find Model Package Group: {arn}")
    return group


def _require_policy(group: Document) -> Document:
    if "_policy" not in group:
        raise validation_error(f"Cannot find resource policy for: {group['ModelPackageGroupArn']}")
    return group


def require_group(call: Call, name: str) -> Document:
    """Return the document of a model package group.

    Args:
        call: The call, in whose region the group is.
        name: The group's name or ARN.

    Raises:
        AwsError: ``ValidationException``: the group does not exist.
    """
    arn = _group_arn(call, name)
    group = call.store.get(GROUP, call.region, arn)
    if group is None:
        raise validation_error(f"ModelPackageGroup {arn} does not exist.")
    return group


def _group_arn(call: Call, name: str) -> str:
    return name if name.startswith("arn:") else call.build_arn(f"model-package-group/{name.lower()}")


def list_group_packages(call: Call, group: Document) -> list[Document]:
    """Return the documents of all packages of a group, in the order of their versions.

    Args:
        call: The call, in whose region the group is.
        group: The group's document.
    """
    name = group["ModelPackageGroupName"]
    return [item for item in call.store.list(PACKAGE, call.region) if item["ModelPackageGroupName"] == name]


OPERATIONS: dict[str, Handler] = {
    "CreateModelPackageGroup": create_model_package_group,
    "DescribeModelPackageGroup": describe_model_package_group,
    "ListModelPackageGroups": list_model_package_groups,
    "DeleteModelPackageGroup": delete_model_package_group,
    "PutModelPackageGroupPolicy": put_model_package_group_policy,
    "GetModelPackageGroupPolicy": get_model_package_group_policy,
    "DeleteModelPackageGroupPolicy": delete_model_package_group_policy,
}
