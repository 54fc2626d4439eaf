"""ModelRegistry: a group that is kept, and the one package that should serve."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from components.model_registry import ModelRegistry, ModelRegistryArgs, newest_approved
from local import client
from tests.components import mocked
from tests.components.flights_stack import flights
from tests.local.conftest import CloudDaemon, cloud_daemon

__all__ = ["cloud_daemon"]

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/echo:1"


@pytest.mark.parametrize("protect", [True, False])
def test_one_group_protected_by_default(protect: bool) -> None:
    found = mocked.run(lambda: ModelRegistry("r", ModelRegistryArgs("models", "Models of x", "eu-west-1", protect)))
    assert mocked.tree(found) == {("r", "ModelRegistry", None), ("r-group", "ModelPackageGroup", "ModelRegistry:r")}
    assert found["r-group"].inputs == {
        "modelPackageGroupName": "models",
        "modelPackageGroupDescription": "Models of x",
    }
    assert found["r-group"].options == {"protect": protect}
    assert found["ModelRegistry:r"].outputs == {
        "groupName": "models",
        "groupArn": "arn:of:ModelPackageGroup:r-group",
    }
    assert ModelRegistryArgs("models", "Models of x", "eu-west-1").protect


def test_description_and_name_of_the_stack_s_group_say_nothing_that_changes() -> None:
    # A change of either replaces the group and with it all history.
    for approved in (True, False):
        inputs = flights("dev", approved)["flights-dev-group"].inputs
        assert inputs == {
            "modelPackageGroupName": "flights-dev",
            "modelPackageGroupDescription": "Models of flights",
        }


@pytest.fixture
def sagemaker(cloud_daemon: CloudDaemon, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the local cloud, to which this process's boto3 speaks too."""
    for name, value in client.environment(cloud_daemon.running, cloud_daemon.state).items():
        monkeypatch.setenv(name, value)
    s3 = cloud_daemon.client("s3")
    if "newest" not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket="newest", CreateBucketConfiguration={"LocationConstraint": client.REGION})
        s3.put_object(Bucket="newest", Key="model.tar.gz", Body=b"model")
    return cloud_daemon.client("sagemaker")


def register(sagemaker: Any, group: str, status: str) -> str:
    """A package; its ARN."""
    container = {"Image": IMAGE, "ModelDataUrl": "s3://newest/model.tar.gz"}
    types = {"SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}
    return str(
        sagemaker.create_model_package(
            ModelPackageGroupName=group,
            InferenceSpecification={"Containers": [container], **types},
            ModelApprovalStatus=status,
        )["ModelPackageArn"]
    )


def test_without_a_group_or_an_approval_nothing_serves(sagemaker: Any) -> None:
    assert newest_approved(client.REGION, "there-is-none") is None
    sagemaker.create_model_package_group(ModelPackageGroupName="nobody")
    assert newest_approved(client.REGION, "nobody") is None
    register(sagemaker, "nobody", "PendingManualApproval")
    register(sagemaker, "nobody", "Rejected")
    assert newest_approved(client.REGION, "nobody") is None


def test_the_newest_approved_one_serves_and_rejecting_it_brings_the_one_before_back(sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="somebody")
    first, second = register(sagemaker, "somebody", "Approved"), register(sagemaker, "somebody", "Approved")
    register(sagemaker, "somebody", "PendingManualApproval")
    assert newest_approved(client.REGION, "somebody") == second
    sagemaker.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Rejected")
    assert newest_approved(client.REGION, "somebody") == first


def test_an_empty_page_is_not_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = boto3.session.Session(aws_access_key_id="a", aws_secret_access_key="b").client("sagemaker", "eu-west-1")
    approved = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/paged/1"
    summary = {
        "ModelPackageArn": approved, "ModelPackageVersion": 1, "CreationTime": 0, "ModelPackageStatus": "Completed",
    }  # fmt: skip
    monkeypatch.setattr("components.api.client", lambda service, region: real)
    with Stubber(real) as stub:
        stub.add_response("list_model_packages", {"ModelPackageSummaryList": [], "NextToken": "more"})
        stub.add_response("list_model_packages", {"ModelPackageSummaryList": [summary]})
        assert newest_approved("eu-west-1", "paged") == approved
