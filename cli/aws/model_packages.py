"""The registered models of a use case, their approval and what keeps one from serving."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlparse

from botocore.exceptions import ClientError

from cli.console.errors import CliError
from cli.console.output import format_time
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.documents import Evaluation
from queries.client import is_not_found
from queries.documents import find_document
from queries.packages import COMPLETED, describe_package, find_newest_package, list_packages

#: The metadata key of a package that a rollback rejected. Its value is the version that the rollback returned to, a
#: colon and a digest of the decision's reason.
ROLLED_BACK_TO = "rolled_back_to"
_LEGACY_ROLLBACK = re.compile(r"rolled back to version (\d+)(?:: |$)")


@dataclass(frozen=True)
class Package:
    """A registered model."""

    arn: str
    version: int
    approval: str
    created: datetime
    description: str
    """The pipeline's text at registration: the comparison with the champion."""
    reason: str
    """The reason given for its approval or rejection."""
    metadata: Mapping[str, str]
    evaluation_uri: str | None
    status: str = COMPLETED
    model_data: str | None = None
    """The URI of its archive, `s3://…`."""
    code_uri: str | None = None
    changed: datetime | None = None
    """When its registration last changed; None where it never did, or where AWS does not report it."""
    changed_by: str = ""

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> Package:
        """Return the package of DescribeModelPackage's answer."""
        statistics = described.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
        containers = described.get("InferenceSpecification", {}).get("Containers", [])
        metadata = described.get("CustomerMetadataProperties", {})
        return cls(
            described["ModelPackageArn"],
            int(described["ModelPackageVersion"]),
            described.get("ModelApprovalStatus", "without approval status"),
            described["CreationTime"],
            described.get("ModelPackageDescription", ""),
            described.get("ApprovalDescription", ""),
            metadata,
            statistics.get("S3Uri"),
            described.get("ModelPackageStatus", COMPLETED),
            containers[0].get("ModelDataUrl") if containers else None,
            metadata.get("code_uri"),
            described.get("LastModifiedTime"),
            _who(described.get("LastModifiedBy", {})),
        )

    @property
    def execution(self) -> str | None:
        """The id of the pipeline execution that made it, which also names its folders in the lake."""
        arn = self.metadata.get("execution", "")
        return arn.rpartition("/")[2] or None

    @property
    def rolled_back_to(self) -> int | None:
        """The version that a rollback returned to when it rejected this one; None where none did."""
        if kept := self.metadata.get(ROLLED_BACK_TO):
            version, _, digest = kept.partition(":")
            # A later decision by other means changes the reason but leaves the metadata.
            return int(version) if digest == _digest(self.reason) else None
        # Before version 0.2 only the reason recorded a rollback.
        found = _LEGACY_ROLLBACK.match(self.reason)
        return int(found[1]) if found else None

    def has_same_decision(self, other: Package) -> bool:
        """Tell whether the other describes the same decision."""
        return (self.approval, self.reason, self.changed) == (other.approval, other.reason, other.changed)

    @property
    def change(self) -> str:
        """The time and author of its last change, as far as AWS reports them."""
        by = f" by {self.changed_by}" if self.changed_by else ""
        return f"{format_time(self.changed)}{by}" if self.changed else "at an unknown time"


def find_newest(target: Target, approval: str | None = None) -> Package | None:
    """Return the newest package, of one approval status or of any; None when none exists, or no group yet.

    Args:
        target: The stack.
        approval: The ModelApprovalStatus that it must have; None accepts any.
    """
    return find_package(target, find_newest_package(target.sagemaker, target.names.model_package_group, approval))


def list_group_packages(target: Target, approval: str | None = None) -> list[Package]:
    """Return all packages, of one approval status or of any, newest first; none when no group exists yet.

    Args:
        target: The stack.
        approval: The ModelApprovalStatus that they must have; None accepts any.
    """
    return [package for arn in list_arns(target, approval) if (package := find_package(target, arn))]


def list_arns(target: Target, approval: str | None = None) -> list[str]:
    """Return the ARNs of all packages, of one approval status or of any, newest first.

    Args:
        target: The stack.
        approval: The ModelApprovalStatus that they must have; None accepts any.
    """
    found = list_packages(target.sagemaker, target.names.model_package_group, approval)
    return [each["ModelPackageArn"] for each in found]


def find_registered_by(target: Target, execution: str) -> Package | None:
    """Return the package that a training execution registered; None when it is not among the newest 20.

    Args:
        target: The stack.
        execution: The execution's ARN; upper and lower case do not matter.
    """
    # Other executions may have registered packages after it.
    for arn in list_arns(target)[:20]:
        package = find_package(target, arn)
        # An ARN may have the execution's id in lower case.
        if package and package.metadata.get("execution", "").lower() == execution.lower():
            return package
    return None


def require_group(target: Target) -> None:
    """Raise when the use case's model package group does not exist.

    Args:
        target: The stack.

    Raises:
        CliError: The stack is not provisioned, or its group was deleted.
    """
    group = target.names.model_package_group
    try:
        target.sagemaker.describe_model_package_group(ModelPackageGroupName=group)
    except ClientError as error:
        if not is_not_found(error):
            raise
        # A lake that the platform shares exists without this stack, too.
        if target.names.shared_lake or not target.is_provisioned():
            raise target.make_absence_error() from error
        raise CliError(
            f"model package group {group}",
            f"was deleted, though stack {target.stack} exists",
            fix=(
                f"`millrace deploy {render_arguments(target)} --refresh` recreates it without its models; if an "
                "endpoint exists, add --remove-endpoint, because the endpoint is then deleted too"
            ),
        ) from error


def get_version(target: Target, version: int) -> Package:
    """Return the package of a version.

    Args:
        target: The stack.
        version: The number of the version, from 1.

    Raises:
        CliError: The version does not exist.
    """
    names = target.names
    partition = target.client("sts").meta.partition
    arn = (
        f"arn:{partition}:sagemaker:{names.region}:{names.account}:model-package/{names.model_package_group}/{version}"
    )
    try:
        return get_package(target, arn)
    except ClientError as error:
        if not is_not_found(error):
            raise
        have = find_newest(target)
        name = render_arguments(target)
        known = f"the newest is version {have.version}" if have else f"train the first one: millrace retrain {name}"
        if have and version < have.version:
            known += "; the requested one was deleted"
        raise CliError(names.model_package_group, f"has no model version {version}", fix=known) from error


def find_package(target: Target, arn: str | None) -> Package | None:
    """Return the package with this ARN; None without an ARN, or when the package has been deleted.

    Args:
        target: The stack.
        arn: The package's ARN, if there is one.
    """
    described = describe_package(target.sagemaker, arn) if arn else None
    return Package.from_description(described) if described else None


def get_package(target: Target, arn: str) -> Package:
    """Return the package with this ARN, which must exist."""
    return Package.from_description(target.sagemaker.describe_model_package(ModelPackageName=arn))


def set_approval(
    target: Target, package: Package, approval: str, reason: str, *, rolled_back_to: int | None = None
) -> Package:
    """Approve or reject a package that is still as it was shown.

    AWS has no conditional write: somebody else's decision between the check and the write is detected by reading the
    package again afterwards.

    Args:
        target: The stack.
        package: The package as it was shown.
        approval: The ModelApprovalStatus to set.
        reason: The reason, for people.
        rolled_back_to: The version that a rollback returns to, if this is its decision; kept for programs.

    Returns:
        The package as it is now.

    Raises:
        CliError: Somebody else has decided meanwhile; with the author and time, as far as AWS reports them.
    """
    require_unchanged(target, package)
    metadata: dict[str, Any] = {}
    if rolled_back_to is not None:
        metadata = {"CustomerMetadataProperties": {ROLLED_BACK_TO: f"{rolled_back_to}:{_digest(reason)}"}}
    elif ROLLED_BACK_TO in package.metadata:
        metadata = {"CustomerMetadataPropertiesToRemove": [ROLLED_BACK_TO]}
    target.sagemaker.update_model_package(
        ModelPackageArn=package.arn, ModelApprovalStatus=approval, ApprovalDescription=reason, **metadata
    )
    written = get_package(target, package.arn)
    if (written.approval, written.reason) != (approval, reason):
        raise CliError(
            f"version {package.version} of {target.names.model_package_group}",
            (
                f"was set to {written.approval} {written.change} at the same time as it was set to "
                f"{approval} here, and the other decision is kept{_because(written)}"
            ),
            fix="agree with its author, then decide again",
        )
    return written


def require_unchanged(target: Target, package: Package) -> None:
    """Raise when a package was deleted or decided on after it was shown.

    Args:
        target: The stack.
        package: The package as it was shown.

    Raises:
        CliError: With its present status, and the author and time of the change, as far as AWS reports them.
    """
    now = find_package(target, package.arn)
    which = f"version {package.version} of {target.names.model_package_group}"
    if now is None:
        raise CliError(which, "was deleted in the meantime; nothing was changed")
    if not now.has_same_decision(package):
        was = "" if now.approval != package.approval else " again"
        raise CliError(
            which,
            (
                f"was set to {now.approval}{was} {now.change}{_because(now)}, after it was shown as "
                f"{package.approval}; nothing was changed here"
            ),
            fix="review it and decide again",
        )


def _digest(reason: str) -> str:
    return hashlib.sha256(reason.encode()).hexdigest()[:16]


def _because(package: Package) -> str:
    return f", because: {package.reason}" if package.reason else ""


def _who(changed_by: Mapping[str, Any]) -> str:
    """Return a change's author: the user profile, else the ARN after its first slash, else the ARN or principal."""
    identity = changed_by.get("IamIdentity", {})
    arn = str(identity.get("Arn", ""))
    return str(changed_by.get("UserProfileName") or arn.partition("/")[2] or arn or identity.get("PrincipalId", ""))


def find_obstacle(target: Target, package: Package) -> str | None:
    """Return the reason why a package cannot serve even if approved; None when it can.

    Args:
        target: The stack.
        package: The package, whatever its approval.
    """
    if package.status != COMPLETED:
        return f"its registration is {package.status}, not {COMPLETED}"
    if not package.model_data:
        return "it has no model archive, perhaps because it was registered by hand"
    url = urlparse(package.model_data)
    try:
        target.client("s3").head_object(Bucket=url.netloc, Key=url.path.lstrip("/"))
    except ClientError as error:
        # Without permission to look it is unknown; the deployment will find out.
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NoSuchBucket"):
            return None
        return f"its archive {package.model_data} does not exist"
    return None


def find_evaluation(target: Target, package: Package) -> Evaluation | None:
    """Return the evaluation that the package was registered with; None when it does not exist.

    Args:
        target: The stack.
        package: The package, which may record the evaluation's URI.

    Raises:
        DataError: The document is not an evaluation.
    """
    if not package.evaluation_uri:
        return None
    return find_document(target.client("s3"), package.evaluation_uri, Evaluation)
