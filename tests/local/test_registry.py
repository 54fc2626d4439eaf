"""The model registry as a boto3 program sees it."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE, REGION, eventually
from tests.local.jobs import ROLE, make_bucket

ARN = f"arn:aws:sagemaker:{REGION}:123456789012"
MODEL = "s3://registry/m/model.tar.gz"
REPORT = {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://registry/q.json"}}


def catch_refusal(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def inference(url: str = MODEL, image: str = IMAGE, **more: Any) -> dict[str, Any]:
    return {
        "Containers": [{"Image": image, "ModelDataUrl": url, **more}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }


@pytest.fixture(scope="module")
def registry(cloud_daemon: CloudDaemon) -> Any:
    """Return a SageMaker client of a cloud in which the model's archive exists."""
    make_bucket(cloud_daemon, "registry").put_object(Bucket="registry", Key="m/model.tar.gz", Body=b"model")
    return cloud_daemon.client("sagemaker")


def create_group(registry: Any, name: str, packages: int = 0, **more: Any) -> list[str]:
    """Create a group with ``packages`` packages and return their ARNs."""
    registry.create_model_package_group(ModelPackageGroupName=name)
    return [create_package(registry, name, **more) for _ in range(packages)]


def create_package(registry: Any, name: str, **more: Any) -> str:
    request = {"ModelPackageGroupName": name, "InferenceSpecification": inference(), **more}
    return str(registry.create_model_package(**request)["ModelPackageArn"])


def list_versions(registry: Any, **params: Any) -> list[tuple[str, int]]:
    found = registry.list_model_packages(**params)["ModelPackageSummaryList"]
    return [(item["ModelPackageGroupName"], item["ModelPackageVersion"]) for item in found]


def test_the_life_cycle_of_a_model_package_group(registry: Any) -> None:
    arn = f"{ARN}:model-package-group/life-one"
    created = registry.create_model_package_group(
        ModelPackageGroupName="Life-One",
        ModelPackageGroupDescription="all about it",
        Tags=[{"Key": "team", "Value": "a"}],
    )
    assert created["ModelPackageGroupArn"] == arn
    for name in ("Life-One", arn):
        described = registry.describe_model_package_group(ModelPackageGroupName=name)
        assert described["ModelPackageGroupName"] == "Life-One"
        assert described["ModelPackageGroupArn"] == arn
        assert described["ModelPackageGroupDescription"] == "all about it"
        assert described["ModelPackageGroupStatus"] == "Completed"
        assert described["CreatedBy"] == {}
        assert not [key for key in described if key.startswith("_")]
    assert registry.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    registry.add_tags(ResourceArn=arn, Tags=[{"Key": "tier", "Value": "1"}])
    assert len(registry.list_tags(ResourceArn=arn)["Tags"]) == 2
    assert catch_refusal(registry.create_model_package_group, ModelPackageGroupName="Life-One") == (
        "ValidationException", f"Model Package Group already exists: {arn}",
    )  # fmt: skip

    registry.create_model_package_group(ModelPackageGroupName="life-two")
    listed = registry.list_model_package_groups(NameContains="life", SortBy="Name", SortOrder="Descending")
    summaries = listed["ModelPackageGroupSummaryList"]
    assert [item["ModelPackageGroupName"] for item in summaries] == ["life-two", "Life-One"]
    assert summaries[1]["ModelPackageGroupStatus"] == "Completed"
    shared = registry.list_model_package_groups(CrossAccountFilterOption="CrossAccount")
    assert shared["ModelPackageGroupSummaryList"] == []
    first = registry.list_model_package_groups(NameContains="life", MaxResults=1)
    rest = registry.list_model_package_groups(NameContains="life", MaxResults=1, NextToken=first["NextToken"])
    pages = first["ModelPackageGroupSummaryList"] + rest["ModelPackageGroupSummaryList"]
    assert [item["ModelPackageGroupName"] for item in pages] == ["Life-One", "life-two"]

    registry.delete_model_package_group(ModelPackageGroupName=arn)
    for call in (registry.describe_model_package_group, registry.delete_model_package_group):
        assert catch_refusal(call, ModelPackageGroupName="Life-One") == (
            "ValidationException", f"ModelPackageGroup {arn} does not exist.",
        )  # fmt: skip
    assert catch_refusal(registry.list_tags, ResourceArn=arn)[0] == "ValidationException"
    code, message = catch_refusal(
        registry.create_model_package_group,
        ModelPackageGroupName="life-managed",
        ManagedConfiguration={"ManagedStorageType": "Restricted"},
    )
    assert (code, message.startswith("ManagedConfiguration of")) == ("ValidationException", True)


def test_a_group_policy_is_put_read_and_deleted(registry: Any) -> None:
    create_group(registry, "policy")
    arn = f"{ARN}:model-package-group/policy"
    text = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*"}]})
    nothing = ("ValidationException", f"Cannot find resource policy for: {arn}")
    assert catch_refusal(registry.get_model_package_group_policy, ModelPackageGroupName="policy") == nothing
    put = registry.put_model_package_group_policy(ModelPackageGroupName="policy", ResourcePolicy=text)
    assert put["ModelPackageGroupArn"] == arn
    assert registry.get_model_package_group_policy(ModelPackageGroupName="policy")["ResourcePolicy"] == text
    assert "_policy" not in registry.describe_model_package_group(ModelPackageGroupName="policy")
    registry.delete_model_package_group_policy(ModelPackageGroupName="policy")
    assert catch_refusal(registry.delete_model_package_group_policy, ModelPackageGroupName="policy") == nothing
    for bad in ("{", "[]", '{"Version": "2012-10-17"}'):
        message = catch_refusal(
            registry.put_model_package_group_policy, ModelPackageGroupName="policy", ResourcePolicy=bad
        )[1]
        assert message.startswith("Invalid resource policy: ")
    assert catch_refusal(registry.get_model_package_group_policy, ModelPackageGroupName="no-policy") == (
        "ValidationException", f"Cannot find Model Package Group: {ARN}:model-package-group/no-policy",
    )  # fmt: skip


def test_versions_of_a_group_increase_and_are_never_reused(registry: Any) -> None:
    first, second = create_group(registry, "Counting", 2)
    assert (first, second) == (f"{ARN}:model-package/counting/1", f"{ARN}:model-package/counting/2")
    registry.delete_model_package(ModelPackageName=second)
    for call in (registry.describe_model_package, registry.delete_model_package):
        assert catch_refusal(call, ModelPackageName=second) == (
            "ValidationException", f"ModelPackage {second} does not exist.",
        )  # fmt: skip
    assert create_package(registry, f"{ARN}:model-package-group/counting") == f"{ARN}:model-package/counting/3"
    code, message = catch_refusal(registry.delete_model_package_group, ModelPackageGroupName="Counting")
    assert code == "ConflictException"
    assert f"{ARN}:model-package-group/counting cannot be deleted" in message
    for name in ("counting/1", f"{ARN}:model-package/counting/3"):
        registry.delete_model_package(ModelPackageName=name)
    registry.delete_model_package_group(ModelPackageGroupName="Counting")
    # A new group of the same name counts from 1 again.
    assert create_group(registry, "Counting", 1) == [f"{ARN}:model-package/counting/1"]


def test_concurrently_created_packages_have_distinct_versions(registry: Any) -> None:
    create_group(registry, "at-once")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_package(registry, "at-once"), range(16)))
    assert sorted(int(arn.rpartition("/")[2]) for arn in made) == list(range(1, 17))


def test_a_package_is_described_with_all_its_fields(registry: Any) -> None:
    create_group(registry, "kept")
    given = {
        "ModelPackageDescription": "first",
        "InferenceSpecification": inference(Environment={"MODE": "fast"}, Framework="XGBOOST"),
        "ModelApprovalStatus": "Approved",
        "MetadataProperties": {"CommitId": "abc", "GeneratedBy": f"{ARN}:pipeline/p/execution/e"},
        "ModelMetrics": {"ModelQuality": REPORT, "Bias": {"Report": REPORT["Statistics"]}},
        "DriftCheckBaselines": {"ModelDataQuality": REPORT},
        "CustomerMetadataProperties": {"auc": "0.7"},
        "ModelLifeCycle": {"Stage": "Development", "StageStatus": "Done", "StageDescription": "ready"},
        "AdditionalInferenceSpecifications": [{"Name": "small", "Containers": [{"Image": IMAGE}]}],
        "ModelCard": {"ModelCardContent": '{"a": 1}', "ModelCardStatus": "Draft"},
        "Domain": "MACHINE_LEARNING",
        "Task": "CLASSIFICATION",
        "SamplePayloadUrl": "s3://registry/payload.tar.gz",
        "SourceUri": MODEL,
        "SkipModelValidation": "All",
        "ModelPackageRegistrationType": "Registered",
    }
    arn = create_package(registry, "kept", **given)
    described = registry.describe_model_package(ModelPackageName="kept/1")
    assert {key: described[key] for key in given} == given
    assert described["ModelPackageArn"] == arn
    assert (described["ModelPackageGroupName"], described["ModelPackageVersion"]) == ("kept", 1)
    assert described["ModelPackageStatus"] == "Completed"
    assert described["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}
    assert "LastModifiedTime" not in described
    assert not [key for key in described if key.startswith("_")]
    redacted = registry.describe_model_package(ModelPackageName=arn, IncludedData="MetadataOnly")["ModelCard"]
    assert redacted == {"ModelCardContent": "{}", "ModelCardStatus": "Draft"}

    (summary,) = registry.list_model_packages(ModelPackageGroupName="kept")["ModelPackageSummaryList"]
    assert summary.pop("CreationTime") == described["CreationTime"]
    assert summary == {
        "ModelPackageGroupName": "kept",
        "ModelPackageVersion": 1,
        "ModelPackageArn": arn,
        "ModelPackageDescription": "first",
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
        "ModelLifeCycle": given["ModelLifeCycle"],
        "ModelPackageRegistrationType": "Registered",
    }
    gone = f"{ARN}:model-package/kept/9"
    answer = registry.batch_describe_model_package(ModelPackageArnList=[arn, gone])
    (batch,) = answer["ModelPackageSummaries"].values()
    assert batch["InferenceSpecification"] == given["InferenceSpecification"]
    assert batch["ModelApprovalStatus"] == "Approved"
    assert answer["BatchDescribeModelPackageErrorMap"] == {
        gone: {"ErrorCode": "ValidationException", "ErrorResponse": f"ModelPackage {gone} does not exist."}
    }


def test_invalid_package_requests_are_refused(registry: Any) -> None:
    create_group(registry, "refers")

    def create(name: str = "refers", **params: Any) -> str:
        request = {"ModelPackageGroupName": name, "InferenceSpecification": inference(), **params}
        code, message = catch_refusal(registry.create_model_package, **request)
        assert code == "ValidationException"
        return message

    assert create("nobody") == f"ModelPackageGroup {ARN}:model-package-group/nobody does not exist."
    elsewhere = "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/refers"
    assert create(elsewhere) == f"ModelPackageGroup {elsewhere} does not exist."
    missing = "s3://registry/m/other.tar.gz"
    assert create(InferenceSpecification=inference(missing)) == f"Could not find model data at {missing}."
    assert create(InferenceSpecification=inference("s3://registry")) == "Could not find model data at s3://registry."
    assert "only s3://" in create(InferenceSpecification=inference("https://a/b"))
    assert "no repository 'nobody'" in create(InferenceSpecification=inference(image="nobody:1"))
    additional = [{"Name": "x", **inference(missing)}]
    assert missing in create(AdditionalInferenceSpecifications=additional)
    source = {"S3DataSource": {"S3Uri": MODEL, "S3DataType": "S3Object", "CompressionType": "Gzip"}}
    assert "ModelDataSource of a model package's container" in create(
        InferenceSpecification=inference(ModelDataSource=source)
    )
    assert "needs Image" in create(InferenceSpecification={"Containers": [{"ModelDataUrl": MODEL}]})
    assert "repeated: x" in create(AdditionalInferenceSpecifications=[{"Name": "x", **inference()}] * 2)
    assert "tag the group instead" in create(Tags=[{"Key": "a", "Value": "b"}])
    assert "packages outside a group" in create(ModelPackageName="alone")
    assert "does not apply to versioned" in create(CertifyForMarketplace=True)
    assert create(SecurityConfig={"KmsKeyId": "k"}).startswith("SecurityConfig of CreateModelPackage")
    message = catch_refusal(registry.create_model_package, ModelPackageGroupName="refers")[1]
    assert message == "CreateModelPackage needs InferenceSpecification or SourceUri."
    assert list_versions(registry, ModelPackageGroupName="refers") == []
    assert create_package(registry, "refers") == f"{ARN}:model-package/refers/1"


def test_a_client_token_creates_only_one_package(registry: Any) -> None:
    create_group(registry, "token")
    first = create_package(registry, "token", ClientToken="once")
    assert create_package(registry, "token", ClientToken="once") == first
    assert list_versions(registry, ModelPackageGroupName="token") == [("token", 1)]
    other = {"ModelPackageGroupName": "token", "InferenceSpecification": inference(), "ModelPackageDescription": "x"}
    code, message = catch_refusal(registry.create_model_package, ClientToken="once", **other)
    assert (code, message) == (
        "ConflictException", "ClientToken 'once' was used for a request with other parameters.",
    )  # fmt: skip
    add = [{"Name": "small", "Containers": [{"Image": IMAGE}]}]
    for _ in range(2):
        registry.update_model_package(
            ModelPackageArn=first, AdditionalInferenceSpecificationsToAdd=add, ClientToken="add"
        )
    described = registry.describe_model_package(ModelPackageName=first)
    assert [item["Name"] for item in described["AdditionalInferenceSpecifications"]] == ["small"]
    code, _ = catch_refusal(
        registry.update_model_package, ModelPackageArn=first, ApprovalDescription="x", ClientToken="add"
    )
    assert code == "ConflictException"


def test_a_package_is_approved_and_rejected(registry: Any) -> None:
    (arn,) = create_group(registry, "approval", 1)
    assert registry.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "PendingManualApproval"
    for status in ("Approved", "Rejected", "Approved"):
        answer = registry.update_model_package(
            ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription=f"now {status}"
        )
        assert answer["ModelPackageArn"] == arn
        described = registry.describe_model_package(ModelPackageName=arn)
        assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == (status, f"now {status}")
        assert described["LastModifiedTime"] >= described["CreationTime"]
    stage = {"Stage": "Production", "StageStatus": "Live"}
    registry.update_model_package(ModelPackageArn=arn, ModelLifeCycle=stage, SourceUri="s3://x/y")
    described = registry.describe_model_package(ModelPackageName=arn)
    assert (described["ModelLifeCycle"], described["SourceUri"]) == (stage, "s3://x/y")
    assert described["ModelApprovalStatus"] == "Approved"
    code, message = catch_refusal(registry.update_model_package, ModelPackageArn=arn)
    assert (code, "nothing to update" in message) == ("ValidationException", True)
    gone = f"{ARN}:model-package/approval/7"
    assert catch_refusal(registry.update_model_package, ModelPackageArn=gone, ModelApprovalStatus="Approved") == (
        "ValidationException", f"ModelPackage {gone} does not exist.",
    )  # fmt: skip


def test_metadata_is_merged_removed_and_limited(registry: Any) -> None:
    (arn,) = create_group(registry, "metadata", 1, CustomerMetadataProperties={"a": "1", "b": "2"})

    def metadata() -> Any:
        return registry.describe_model_package(ModelPackageName=arn).get("CustomerMetadataProperties")

    registry.update_model_package(
        ModelPackageArn=arn,
        CustomerMetadataProperties={"b": "3", "c": "4"},
        CustomerMetadataPropertiesToRemove=["a", "unknown"],
    )
    assert metadata() == {"b": "3", "c": "4"}
    many = {f"k{number}": "v" for number in range(48)}
    registry.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties=many)
    assert len(metadata()) == 50
    code, message = catch_refusal(
        registry.update_model_package, ModelPackageArn=arn, CustomerMetadataProperties={"x": "1"}
    )
    assert (code, message) == (
        "ValidationException", f"{arn} would have 51 CustomerMetadataProperties; the limit is 50.",
    )  # fmt: skip
    both = {"CustomerMetadataProperties": {"b": "1"}, "CustomerMetadataPropertiesToRemove": ["b"]}
    assert "expected one of them" in catch_refusal(registry.update_model_package, ModelPackageArn=arn, **both)[1]
    registry.update_model_package(ModelPackageArn=arn, CustomerMetadataPropertiesToRemove=[*many, "b", "c"])
    assert metadata() is None


def test_inference_specifications_are_added_up_to_their_limit(registry: Any) -> None:
    (arn,) = create_group(registry, "additional", 1)
    specifications = [{"Name": f"s{number}", "Containers": [{"Image": IMAGE}]} for number in range(16)]
    for part in (specifications[:1], specifications[1:15]):
        registry.update_model_package(ModelPackageArn=arn, AdditionalInferenceSpecificationsToAdd=part)
    described = registry.describe_model_package(ModelPackageName=arn)
    assert described["AdditionalInferenceSpecifications"] == specifications[:15]
    for extra, reason in ((specifications[15], "the limit is 15"), (specifications[0], "repeated: s0")):
        code, message = catch_refusal(
            registry.update_model_package, ModelPackageArn=arn, AdditionalInferenceSpecificationsToAdd=[extra]
        )
        assert (code, reason in message) == ("ValidationException", True)
    new = inference(Environment={"A": "1"})
    registry.update_model_package(ModelPackageArn=arn, InferenceSpecification=new)
    assert registry.describe_model_package(ModelPackageName=arn)["InferenceSpecification"] == new
    missing = inference("s3://registry/none")
    assert catch_refusal(registry.update_model_package, ModelPackageArn=arn, InferenceSpecification=missing) == (
        "ValidationException", "Could not find model data at s3://registry/none.",
    )  # fmt: skip


def test_package_lists_support_every_filter_and_sort_order(registry: Any) -> None:
    arns = create_group(registry, "list-b", 11)
    create_group(registry, "list-a", 1, ModelApprovalStatus="Rejected")
    for arn in (arns[1], arns[9]):
        registry.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    ours = {"ModelPackageGroupName": "list-b"}
    assert list_versions(registry, **ours, MaxResults=100) == [("list-b", number) for number in range(1, 12)]
    assert len(list_versions(registry, **ours)) == 10
    newest = list_versions(
        registry, **ours, ModelApprovalStatus="Approved", SortBy="CreationTime", SortOrder="Descending", MaxResults=1
    )
    assert newest == [("list-b", 10)]
    assert list_versions(registry, ModelPackageGroupName=f"{ARN}:model-package-group/list-a") == [("list-a", 1)]
    assert list_versions(registry, **ours, ModelApprovalStatus="Rejected") == []
    everything = list_versions(
        registry, ModelPackageType="Both", NameContains="LIST-", SortBy="Name", SortOrder="Descending", MaxResults=100
    )
    assert everything == [*(("list-b", number) for number in range(11, 0, -1)), ("list-a", 1)]
    assert list_versions(registry, ModelPackageType="Versioned", NameContains="list-a") == [("list-a", 1)]
    assert (
        list_versions(registry, NameContains="list-") == list_versions(registry, ModelPackageType="Unversioned") == []
    )
    pages = registry.get_paginator("list_model_packages").paginate(
        **ours, SortOrder="Descending", PaginationConfig={"PageSize": 3}
    )
    found = [item["ModelPackageVersion"] for page in pages for item in page["ModelPackageSummaryList"]]
    assert found == list(range(11, 0, -1))
    made = registry.describe_model_package(ModelPackageName=arns[5])["CreationTime"]
    before, after = made - dt.timedelta(hours=1), made + dt.timedelta(hours=1)
    assert (
        len(list_versions(registry, **ours, CreationTimeAfter=before, CreationTimeBefore=after, MaxResults=100)) == 11
    )
    assert list_versions(registry, **ours, CreationTimeAfter=after) == []
    assert list_versions(registry, **ours, CreationTimeBefore=before) == []
    assert catch_refusal(registry.list_model_packages, ModelPackageGroupName="nobody") == (
        "ValidationException", f"ModelPackageGroup {ARN}:model-package-group/nobody does not exist.",
    )  # fmt: skip


def test_a_model_is_created_only_from_an_approved_package(registry: Any) -> None:
    (arn,) = create_group(
        registry, "Deploy", 1, InferenceSpecification=inference(Environment={"MODE": "fast"}, Framework="X")
    )
    container = {"ModelPackageName": arn, "Environment": {"MORE": "1"}}

    def create(name: str, package: str) -> dict[str, Any]:
        return {
            "ModelName": name,
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {**container, "ModelPackageName": package},
        }

    message = catch_refusal(registry.create_model, **create("deploy-0", arn))[1]
    assert "has ModelApprovalStatus PendingManualApproval; only an Approved one" in message
    registry.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    registry.create_model(**create("deploy-1", arn))
    registry.create_model(**create("deploy-2", "Deploy/1"))
    assert registry.describe_model(ModelName="deploy-1")["PrimaryContainer"] == container
    registry.delete_model_package(ModelPackageName=arn)
    message = catch_refusal(registry.create_model, **create("deploy-3", arn))[1]
    assert message == f"ModelPackage {arn} does not exist."


def test_creation_and_update_of_a_package_send_events(cloud_daemon: CloudDaemon, registry: Any) -> None:
    sqs, events = cloud_daemon.client("sqs"), cloud_daemon.client("events")
    queue = sqs.create_queue(QueueName="registry-events")["QueueUrl"]
    target = f"arn:aws:sqs:{REGION}:123456789012:registry-events"
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allow, "Resource": target}]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": ["eventful"]},
    }
    events.put_rule(Name="registry-events", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="registry-events", Targets=[{"Id": "t", "Arn": target}])

    (arn,) = create_group(registry, "eventful", 1, ModelMetrics={"ModelQuality": REPORT})
    for _ in range(2):
        # The second update changes nothing and sends no event.
        registry.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="good")
    registry.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"a": "1"})
    seen: list[dict[str, Any]] = []

    def three() -> bool:
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        seen.extend(json.loads(message["Body"]) for message in received.get("Messages", []))
        return len(seen) >= 3

    eventually(three)
    assert [event["detail"]["UpdatedModelPackageFields"] for event in seen] == [
        [], ["ModelApprovalStatus", "ApprovalDescription"], ["CustomerMetadataProperties"],
    ]  # fmt: skip
    event = seen[1]
    assert (event["source"], event["resources"]) == ("aws.sagemaker", [arn])
    detail = event["detail"]
    described = registry.describe_model_package(ModelPackageName=arn)
    created = described["CreationTime"].astimezone(dt.UTC)
    assert re.fullmatch(created.strftime(r"%Y-%m-%dT%H:%M:%S\.\d{3}Z"), detail.pop("CreationTime"))
    assert detail == {
        "ModelPackageGroupName": "eventful",
        "ModelPackageVersion": 1,
        "ModelPackageArn": arn,
        "InferenceSpecification": inference(),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "ModelApprovalStatus": "Approved",
        "ModelMetrics": {"ModelQuality": REPORT},
        "UpdatedModelPackageFields": ["ModelApprovalStatus", "ApprovalDescription"],
    }
    assert seen[0]["detail"]["ModelApprovalStatus"] == "PendingManualApproval"


def test_the_registry_survives_a_restart(fresh_daemon: CloudDaemon) -> None:
    make_bucket(fresh_daemon, "registry").put_object(Bucket="registry", Key="m/model.tar.gz", Body=b"model")
    first, second = create_group(fresh_daemon.client("sagemaker"), "lasting", 2)
    fresh_daemon.client("sagemaker").delete_model_package(ModelPackageName=second)
    fresh_daemon.stop()
    fresh_daemon.start()
    again = fresh_daemon.client("sagemaker")
    assert again.describe_model_package(ModelPackageName=first)["ModelPackageVersion"] == 1
    assert create_package(again, "lasting") == f"{ARN}:model-package/lasting/3"
