"""Model packages: the packages of a group, the description of one, and the parts of an ARN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from queries.client import is_not_found

#: Values of ModelApprovalStatus.
APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"
#: The ModelPackageStatus of a package that can serve.
COMPLETED = "Completed"


def list_packages(sagemaker: Any, group: str, approval: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the summaries of a group's packages, newest first, requesting pages as they are read.

    Yields nothing where the group does not exist.

    Args:
        sagemaker: A boto3 client.
        group: The name of the model package group.
        approval: Only packages with this ModelApprovalStatus.
    """
    conditions = {"ModelApprovalStatus": approval} if approval else {}
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group,
        SortBy="CreationTime",
        SortOrder="Descending",
        # A filtered page may be empty and not the last one; without a page size SageMaker returns ten.
        PaginationConfig={"PageSize": 100},
        **conditions,
    )
    try:
        for page in pages:
            yield from page["ModelPackageSummaryList"]
    except ClientError as error:
        if not is_not_found(error):
            raise


def find_newest_package(sagemaker: Any, group: str, approval: str | None = None) -> str | None:
    """Return the ARN of a group's newest package; None where there is no such package, or no group.

    Args:
        sagemaker: A boto3 client.
        group: The name of the model package group.
        approval: Only packages with this ModelApprovalStatus; None for any.
    """
    found = next(list_packages(sagemaker, group, approval), None)
    return str(found["ModelPackageArn"]) if found else None


def describe_package(sagemaker: Any, arn: str) -> dict[str, Any] | None:
    """Return DescribeModelPackage's answer; None where the package does not exist.

    Args:
        sagemaker: A boto3 client.
        arn: The package's ARN.
    """
    try:
        return dict(sagemaker.describe_model_package(ModelPackageName=arn))
    except ClientError as error:
        if is_not_found(error):
            return None
        raise


def parse_version(arn: str | None) -> int | None:
    """Return the version in a package's ARN; None where it has none.

    Args:
        arn: A package's ARN; None has no version.
    """
    last = (arn or "").rpartition("/")[2]
    return int(last) if last.isdigit() else None


def parse_group(arn: str) -> str:
    """Return the group's name in a package's ARN; empty where it has none.

    Args:
        arn: The ARN of a version of a group.
    """
    return arn.partition(":model-package/")[2].rpartition("/")[0]
