"""The registered models of a use case: their figures against the gates, their approval."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlparse

from botocore.exceptions import ClientError

from cli.errors import CliError
from cli.target import Target
from millrace import UseCase

APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"


@dataclass(frozen=True)
class Package:
    """A registered model."""

    arn: str
    version: int
    approval: str
    created: datetime
    description: str
    """What the pipeline said of it when it was registered: the comparison with the champion."""
    reason: str
    """What a person said who approved or rejected it."""
    metadata: Mapping[str, str]
    evaluation_uri: str | None

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Package:
        """From DescribeModelPackage."""
        statistics = described.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
        return cls(
            described["ModelPackageArn"],
            int(described["ModelPackageVersion"]),
            described["ModelApprovalStatus"],
            described["CreationTime"],
            described.get("ModelPackageDescription", ""),
            described.get("ApprovalDescription", ""),
            described.get("CustomerMetadataProperties", {}),
            statistics.get("S3Uri"),
        )

    def document(self, use_case: UseCase) -> dict[str, Any]:
        """For programs."""
        return {
            "arn": self.arn,
            "version": self.version,
            "approval": self.approval,
            "created": self.created,
            "description": self.description,
            "reason": self.reason,
            "gates": gates(use_case, self),
        }


def newest(target: Target, approval: str | None = None) -> Package | None:
    """The newest package, of one approval status or of any; None when there is none, or no group yet."""
    conditions = {"ModelApprovalStatus": approval} if approval else {}
    try:
        pages = target.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=target.names.model_package_group,
            SortBy="CreationTime",
            SortOrder="Descending",
            **conditions,
        )
        # A filtered page may be empty and yet not the last one.
        found = next((package for page in pages for package in page["ModelPackageSummaryList"]), None)
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise
    return describe(target, found["ModelPackageArn"]) if found else None


def pending(target: Target) -> list[Package]:
    """The packages that wait for a person, newest first."""
    try:
        pages = target.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=target.names.model_package_group,
            ModelApprovalStatus=PENDING,
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        arns = [each["ModelPackageArn"] for page in pages for each in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return []
        raise
    return [describe(target, arn) for arn in arns]


def of_version(target: Target, version: int) -> Package:
    """The package of a version.

    Raises:
        CliError: When there is none.
    """
    names = target.names
    partition = target.client("sts").meta.partition
    arn = (
        f"arn:{partition}:sagemaker:{names.region}:{names.account}:model-package/{names.model_package_group}/{version}"
    )
    try:
        return describe(target, arn)
    except ClientError as error:
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        have = newest(target)
        known = f"versions go up to {have.version}" if have else "there is none yet: train with `millrace run`"
        raise CliError(f"{names.model_package_group} has no model version {version}; {known}") from error


def find(target: Target, arn: str | None) -> Package | None:
    """A package by its ARN; None when it has been deleted."""
    try:
        return describe(target, arn) if arn else None
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise


def describe(target: Target, arn: str) -> Package:
    """A package by its ARN."""
    return Package.of(target.sagemaker.describe_model_package(ModelPackageName=arn))


def decide(target: Target, package: Package, approval: str, reason: str) -> None:
    """Approve or reject."""
    described = {"ApprovalDescription": reason} if reason else {}
    target.sagemaker.update_model_package(ModelPackageArn=package.arn, ModelApprovalStatus=approval, **described)


def gates(use_case: UseCase, package: Package) -> list[dict[str, Any]]:
    """Each gate with the model's figure; `passed` is None where the model does not say."""
    found = []
    for gate in use_case.gates:
        value = _number(package.metadata.get(gate.metric))
        low, high = gate.at_least, gate.at_most
        passed = None if value is None else (low is None or value >= low) and (high is None or value <= high)
        found.append(
            {"metric": gate.metric, "value": value, "at_least": low, "at_most": high, "passed": passed},
        )
    return found


def rows_of_gates(use_case: UseCase, package: Package) -> list[tuple[str, ...]]:
    """The gates as a table's rows."""
    rows: list[tuple[str, ...]] = []
    for gate in gates(use_case, package):
        bound = f"at least {gate['at_least']:g}" if gate["at_least"] is not None else f"at most {gate['at_most']:g}"
        value = "unknown" if gate["value"] is None else f"{gate['value']:.4f}"
        mark = {True: "passed", False: "FAILED", None: ""}[gate["passed"]]
        rows.append((gate["metric"], value, bound, mark))
    return rows


def evaluation(target: Target, package: Package) -> dict[str, Any]:
    """The evaluation that the package was registered with; empty when it is no longer there."""
    if not package.evaluation_uri:
        return {}
    url = urlparse(package.evaluation_uri)
    s3 = target.client("s3")
    try:
        body = s3.get_object(Bucket=url.netloc, Key=url.path.lstrip("/"))["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket"):
            return {}
        raise
    return dict(json.loads(body))


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
