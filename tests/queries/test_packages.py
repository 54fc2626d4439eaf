"""Model packages: the newest one is found regardless of the registry's pages."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from local import client
from queries.packages import APPROVED, describe_package, find_newest_package, parse_group, parse_version
from tests.local.conftest import CloudDaemon, cloud_daemon

__all__ = ["cloud_daemon"]

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/echo:1"


@pytest.fixture
def sagemaker(cloud_daemon: CloudDaemon) -> Any:
    s3 = cloud_daemon.client("s3")
    if "newest" not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket="newest", CreateBucketConfiguration={"LocationConstraint": client.REGION})
        s3.put_object(Bucket="newest", Key="model.tar.gz", Body=b"model")
    return cloud_daemon.client("sagemaker")


def register_package(sagemaker: Any, group: str, status: str) -> str:
    """Register a package and return its ARN."""
    container = {"Image": IMAGE, "ModelDataUrl": "s3://newest/model.tar.gz"}
    types = {"SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}
    return str(
        sagemaker.create_model_package(
            ModelPackageGroupName=group,
            InferenceSpecification={"Containers": [container], **types},
            ModelApprovalStatus=status,
        )["ModelPackageArn"]
    )


def test_no_package_is_found_without_group_or_approval(sagemaker: Any) -> None:
    assert find_newest_package(sagemaker, "there-is-none", APPROVED) is None
    sagemaker.create_model_package_group(ModelPackageGroupName="nobody")
    assert find_newest_package(sagemaker, "nobody", APPROVED) is None
    register_package(sagemaker, "nobody", "PendingManualApproval")
    register_package(sagemaker, "nobody", "Rejected")
    assert find_newest_package(sagemaker, "nobody", APPROVED) is None


def test_the_newest_approved_package_is_found_before_and_after_a_rejection(sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="somebody")
    first, second = (
        register_package(sagemaker, "somebody", "Approved"),
        register_package(sagemaker, "somebody", "Approved"),
    )
    register_package(sagemaker, "somebody", "PendingManualApproval")
    assert find_newest_package(sagemaker, "somebody", APPROVED) == second
    sagemaker.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Rejected")
    assert find_newest_package(sagemaker, "somebody", APPROVED) == first


def test_an_empty_page_is_not_the_last_one() -> None:
    real = boto3.session.Session(aws_access_key_id="a", aws_secret_access_key="b").client("sagemaker", "eu-west-1")
    approved = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/paged/1"
    summary = {
        "ModelPackageArn": approved, "ModelPackageVersion": 1, "CreationTime": 0, "ModelPackageStatus": "Completed",
    }  # fmt: skip
    with Stubber(real) as stub:
        stub.add_response("list_model_packages", {"ModelPackageSummaryList": [], "NextToken": "more"})
        stub.add_response("list_model_packages", {"ModelPackageSummaryList": [summary]})
        assert find_newest_package(real, "paged", APPROVED) == approved


def test_a_deleted_package_is_not_found(sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="brief")
    arn = register_package(sagemaker, "brief", "Approved")
    described = describe_package(sagemaker, arn)
    assert described is not None
    assert described["ModelPackageArn"] == arn
    assert (parse_group(arn), parse_version(arn)) == ("brief", 1)
    sagemaker.delete_model_package(ModelPackageName=arn)
    assert describe_package(sagemaker, arn) is None
