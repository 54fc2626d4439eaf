"""Model packages, which are the versions of a group: Create, Describe, List, Update, Delete.

Documents are kept under their ARN. Packages outside a group, Marketplace products and validation are refused by name.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from local.core.context import Call, Handler
from local.core.errors import AwsError, validation_error
from local.core.store import Document, remove_private_members
from local.services.sagemaker import paging
from local.services.sagemaker.members import refuse_others, select_members
from local.services.sagemaker.model_package_groups import GROUP, PACKAGE, list_group_packages, require_group
from local.services.sagemaker.models import require_object

_ADDITIONAL_LIMIT = 15
_METADATA_LIMIT = 50

#: The members of a request that a package keeps unchanged.
_KEPT = (
    "ModelPackageDescription", "ModelPackageRegistrationType", "InferenceSpecification", "MetadataProperties",
    "ModelMetrics", "Domain", "Task", "SamplePayloadUrl", "CustomerMetadataProperties", "DriftCheckBaselines",
    "AdditionalInferenceSpecifications", "SkipModelValidation", "SourceUri", "ModelCard", "ModelLifeCycle",
)  # fmt: skip
_REQUEST = {*_KEPT, "ModelPackageGroupName", "ModelApprovalStatus", "CertifyForMarketplace", "Tags", "ClientToken"}
_CONTAINER = {
    "ContainerHostname", "Image", "ImageDigest", "ModelDataUrl", "Environment", "ModelInput", "Framework",
    "FrameworkVersion", "NearestModelName", "ModelDataETag",
}  # fmt: skip
_UPDATE = {
    "ModelPackageArn", "ModelApprovalStatus", "ModelPackageRegistrationType", "ApprovalDescription",
    "CustomerMetadataProperties", "CustomerMetadataPropertiesToRemove", "AdditionalInferenceSpecificationsToAdd",
    "InferenceSpecification", "SourceUri", "ModelCard", "ModelLifeCycle", "ClientToken",
}  # fmt: skip
#: The members that an update replaces completely.
_REPLACED = (
    "ModelApprovalStatus", "ModelPackageRegistrationType", "ApprovalDescription", "InferenceSpecification", "SourceUri",
    "ModelCard", "ModelLifeCycle",
)  # fmt: skip
_SUMMARY = (
    "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime",
    "ModelPackageStatus", "ModelApprovalStatus", "ModelLifeCycle", "ModelPackageRegistrationType",
)  # fmt: skip
_BATCH = (*_SUMMARY[:5], "InferenceSpecification", *_SUMMARY[5:7], "ModelPackageRegistrationType")
_EVENT = (
    "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "InferenceSpecification", "ModelPackageStatus",
    "ModelPackageStatusDetails", "ModelApprovalStatus", "ModelMetrics", "ModelLifeCycle",
)  # fmt: skip


def create_model_package(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create the next version of a group after checking its images and model data."""
    _check_request(params)
    specifications = [params.get("InferenceSpecification"), *params.get("AdditionalInferenceSpecifications", [])]
    require_group(call, params["ModelPackageGroupName"])
    if known := _find_repeated_request(call, params):
        return {"ModelPackageArn": known}
    _check_names(params.get("AdditionalInferenceSpecifications", []))
    _check_containers(call, specifications)
    with call.store.transaction():
        group = require_group(call, params["ModelPackageGroupName"])
        # Check again: the same request may have arrived while the model data was checked.
        if known := _find_repeated_request(call, params):
            return {"ModelPackageArn": known}
        package = _new_package(group, params)
        call.store.put(GROUP, call.region, group["ModelPackageGroupArn"], group)
        call.store.put(PACKAGE, call.region, package["ModelPackageArn"], package)
        _emit_state_change(call, package, [])
    return {"ModelPackageArn": package["ModelPackageArn"]}


def _check_request(params: Mapping[str, Any]) -> None:
    if "ModelPackageName" in params:
        raise validation_error(
            f"ModelPackageName '{params['ModelPackageName']}': packages outside a group are not available in the local "
            "cloud; give ModelPackageGroupName for a version of a group."
        )
    refuse_others(params, _REQUEST, "CreateModelPackage")
    if "ModelPackageGroupName" not in params:
        raise validation_error("CreateModelPackage needs ModelPackageGroupName, the group of the new version.")
    if params.get("Tags"):
        raise validation_error("Tags of a versioned model package are those of its group: tag the group instead.")
    if params.get("CertifyForMarketplace"):
        raise validation_error("CertifyForMarketplace does not apply to versioned model packages.")
    if "InferenceSpecification" not in params and "SourceUri" not in params:
        raise validation_error("CreateModelPackage needs InferenceSpecification or SourceUri.")


def _new_package(group: Document, params: Mapping[str, Any]) -> Document:
    """Return the document of the group's next version, and count the version in ``group``."""
    group["_last_version"] += 1
    version = group["_last_version"]
    arn = f"{group['ModelPackageGroupArn'].replace(':model-package-group/', ':model-package/')}/{version}"
    package: Document = {
        **select_members(params, _KEPT),
        "ModelPackageName": group["ModelPackageGroupName"],
        "ModelPackageGroupName": group["ModelPackageGroupName"],
        "ModelPackageVersion": version,
        "ModelPackageArn": arn,
        "CreationTime": time.time(),
        "CreatedBy": {},
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "ModelApprovalStatus": params.get("ModelApprovalStatus", "PendingManualApproval"),
    }
    if token := params.get("ClientToken"):
        package["_created_by"] = [token, _hash_request(params)]
    return package


def _find_repeated_request(call: Call, params: Mapping[str, Any]) -> str | None:
    """Return the ARN that an earlier request with the same ClientToken created, or None."""
    if token := params.get("ClientToken"):
        for package in call.store.list(PACKAGE, call.region):
            if package.get("_created_by", [None])[0] == token:
                _check_same_request(token, package["_created_by"][1], params)
                return str(package["ModelPackageArn"])
    return None


def _check_same_request(token: str, digest: str, params: Mapping[str, Any]) -> None:
    if digest != _hash_request(params):
        raise AwsError("ConflictException", f"ClientToken '{token}' was used for a request with other parameters.")


def _hash_request(params: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def _check_names(additional: list[dict[str, Any]]) -> None:
    names = [item["Name"] for item in additional]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise validation_error(
            f"Name must be unique in AdditionalInferenceSpecifications; repeated: {', '.join(repeated)}."
        )
    if len(names) > _ADDITIONAL_LIMIT:
        raise validation_error(
            f"The model package would have {len(names)} AdditionalInferenceSpecifications; the limit is "
            f"{_ADDITIONAL_LIMIT}."
        )


def _check_containers(call: Call, specifications: Iterable[Mapping[str, Any] | None]) -> None:
    """Refuse unknown images and model data that does not exist.

    It calls S3, so it must not run within a transaction.
    """
    for specification in specifications:
        for container in (specification or {}).get("Containers", []):
            refuse_others(container, _CONTAINER, "a model package's container")
            if "Image" not in container:
                raise validation_error("A model package's container needs Image.")
            call.cloud.images.resolve(container["Image"])
            if url := container.get("ModelDataUrl"):
                require_object(call, url)


def describe_model_package(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe a model package; with MetadataOnly, the content of its model card is empty.

    Returns:
        The members of the package's document.
    """
    package = remove_private_members(_require_package(call, params["ModelPackageName"]))
    if params.get("IncludedData") == "MetadataOnly" and "ModelCard" in package:
        package["ModelCard"] = {**package["ModelCard"], "ModelCardContent": "{}"}
    return package


def batch_describe_model_package(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Return the summaries of model packages, and errors, by ARN."""
    found, errors = {}, {}
    for arn in params["ModelPackageArnList"]:
        try:
            # A summary always has an InferenceSpecification.
            found[arn] = {"InferenceSpecification": {"Containers": []}} | select_members(
                _require_package(call, arn), _BATCH
            )
        except AwsError as error:
            errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": errors}


def list_model_packages(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the versions of a group, or of all groups if ModelPackageType is Versioned or Both."""
    group = params.get("ModelPackageGroupName")
    kind = params.get("ModelPackageType", "Versioned" if group else "Unversioned")
    packages = list_group_packages(call, require_group(call, group)) if group else call.store.list(PACKAGE, call.region)
    approval = params.get("ModelApprovalStatus")
    wanted = params.get("NameContains", "").lower()
    items = [
        {**select_members(package, _SUMMARY), "_place": [package["ModelPackageName"], package["ModelPackageVersion"]]}
        for package in packages
        if kind != "Unversioned"
        and approval in (None, package["ModelApprovalStatus"])
        and wanted in package["ModelPackageName"].lower()
    ]
    key = "ModelPackageSummaryList"
    sort = {"Name": "_place", "CreationTime": "CreationTime"}
    answer = paging.build_page(call, params, items, key=key, sort=sort, order="Ascending")
    return {**answer, key: [remove_private_members(item) for item in answer[key]]}


def update_model_package(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Update a model package; if members changed, emit an event that names them.

    Returns:
        ``ModelPackageArn``.

    Raises:
        AwsError: The package does not exist, or the update is empty or not valid.
    """
    refuse_others(params, _UPDATE, "UpdateModelPackage")
    arn = params["ModelPackageArn"]
    added = params.get("AdditionalInferenceSpecificationsToAdd", [])
    if not params.keys() - {"ModelPackageArn", "ClientToken"}:
        raise validation_error(f"UpdateModelPackage of {arn} has nothing to update; expected {', '.join(_REPLACED)}, …")
    _require_package(call, arn)
    _check_containers(call, [params.get("InferenceSpecification"), *added])
    with call.store.transaction():
        package = _require_package(call, arn)
        updates = package.setdefault("_updates", {})
        if token := params.get("ClientToken"):
            if token in updates:
                _check_same_request(token, updates[token], params)
                return {"ModelPackageArn": arn}
            updates[token] = _hash_request(params)
        changed = _apply_update(package, params)
        if changed:
            package["LastModifiedTime"] = time.time()
            package["LastModifiedBy"] = {}
            _emit_state_change(call, package, changed)
        call.store.put(PACKAGE, call.region, arn, package)
    return {"ModelPackageArn": arn}


def _apply_update(package: Document, params: Mapping[str, Any]) -> list[str]:
    """Apply a request to the document and return the names of the members that changed."""
    new = select_members(params, _REPLACED)
    if "CustomerMetadataProperties" in params or "CustomerMetadataPropertiesToRemove" in params:
        new["CustomerMetadataProperties"] = _merge_metadata(package, params)
    if added := params.get("AdditionalInferenceSpecificationsToAdd"):
        additional = [*package.get("AdditionalInferenceSpecifications", []), *added]
        _check_names(additional)
        new["AdditionalInferenceSpecifications"] = additional
    changed = [member for member, value in new.items() if package.get(member) != value]
    package.update(new)
    if not package.get("CustomerMetadataProperties", True):
        del package["CustomerMetadataProperties"]
    return changed


def _merge_metadata(package: Document, params: Mapping[str, Any]) -> dict[str, str]:
    given = params.get("CustomerMetadataProperties", {})
    removed = set(params.get("CustomerMetadataPropertiesToRemove", []))
    if both := sorted(removed & given.keys()):
        raise validation_error(
            f"{', '.join(both)} is in CustomerMetadataProperties and in CustomerMetadataPropertiesToRemove; "
            "expected one of them."
        )
    kept = {key: value for key, value in package.get("CustomerMetadataProperties", {}).items() if key not in removed}
    merged = {**kept, **given}
    if len(merged) > _METADATA_LIMIT:
        raise validation_error(
            f"{package['ModelPackageArn']} would have {len(merged)} CustomerMetadataProperties; the limit is "
            f"{_METADATA_LIMIT}."
        )
    return merged


def delete_model_package(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a model package; models created from it remain.

    Returns:
        An empty output.
    """
    with call.store.transaction():
        package = _require_package(call, params["ModelPackageName"])
        call.store.delete(PACKAGE, call.region, package["ModelPackageArn"])
    return {}


def _require_package(call: Call, name: str) -> Document:
    """Return the package's document by ARN or ``<group>/<version>``; raise AWS's error if it is missing."""
    arn = name if name.startswith("arn:") else call.build_arn(f"model-package/{name.lower()}")
    package = call.store.get(PACKAGE, call.region, arn)
    if package is None:
        raise validation_error(f"ModelPackage {arn} does not exist.")
    return package


def _emit_state_change(call: Call, package: Document, changed: list[str]) -> None:
    created = dt.datetime.fromtimestamp(package["CreationTime"], dt.UTC)
    call.cloud.events.emit(
        detail_type="SageMaker Model Package State Change",
        resources=[package["ModelPackageArn"]],
        detail={
            **select_members(package, _EVENT),
            "CreationTime": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "UpdatedModelPackageFields": changed,
        },
        region=call.region,
    )


OPERATIONS: dict[str, Handler] = {
    "CreateModelPackage": create_model_package,
    "DescribeModelPackage": describe_model_package,
    "ListModelPackages": list_model_packages,
    "UpdateModelPackage": update_model_package,
    "DeleteModelPackage": delete_model_package,
    "BatchDescribeModelPackage": batch_describe_model_package,
}
