"""Identity of resources: each is found by name or ARN, in any letter case."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.core.store import Store

from .conftest import CloudDaemon
from .hosted import IMAGE, eventually
from .jobs import ROLE, make_bucket, processing, training

CONTAINER = {"Image": IMAGE, "ModelDataUrl": "s3://names/model.tar.gz"}
DEFINITION = '{"Version": "2020-12-01", "Steps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}]}'


def from_arn(arn: str) -> str:
    """Return the name as clients take it from an ARN."""
    return arn.split("/")[-1]


def group(name: str) -> dict[str, Any]:
    return {
        "FeatureGroupName": name, "RecordIdentifierFeatureName": "id", "EventTimeFeatureName": "at", "RoleArn": ROLE,
        "FeatureDefinitions": [
            {"FeatureName": "id", "FeatureType": "String"}, {"FeatureName": "at", "FeatureType": "String"},
        ],
        "OnlineStoreConfig": {"EnableOnlineStore": True},
    }  # fmt: skip


@pytest.fixture(scope="module")
def sagemaker(cloud_daemon: CloudDaemon) -> Any:
    """Return a client, after creating one resource of each kind with capitals in its name."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("answer.txt")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"ok"))
    s3 = make_bucket(cloud_daemon, "names", **{"in/a": "1"})
    s3.put_object(Bucket="names", Key="model.tar.gz", Body=archive.getvalue())
    client = cloud_daemon.client("sagemaker")
    client.create_model(ModelName="Shop-Model", PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "V", "ModelName": "shop-MODEL", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName="Shop-Config", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="Shop-Endpoint", EndpointConfigName="SHOP-config")
    client.create_feature_group(**group("Orders"))
    client.create_model_package_group(ModelPackageGroupName="Shop-Packages")
    client.create_pipeline(
        PipelineName="Shop-Pipeline", PipelineDefinition=DEFINITION, RoleArn=ROLE, ClientRequestToken="t" * 32
    )
    client.create_training_job(TrainingJobName="Train-A", **training("print('trained')", "s3://names/out"))
    client.create_processing_job(
        ProcessingJobName="Handle-A", **processing("print('done')", inputs={"in": "s3://names/in"})
    )
    client.get_waiter("endpoint_in_service").wait(EndpointName="Shop-Endpoint", WaiterConfig={"Delay": 1})
    eventually(lambda: status(client.describe_training_job(TrainingJobName="Train-A")) == "Completed", 60)
    eventually(lambda: status(client.describe_processing_job(ProcessingJobName="Handle-A")) == "Completed", 60)
    eventually(lambda: status(client.describe_feature_group(FeatureGroupName="Orders")) == "Created", 60)
    return client


def status(described: dict[str, Any]) -> str:
    return str(
        next(value for name, value in described.items() if name.endswith("Status") and name != "SecondaryStatus")
    )


KINDS = {
    "model": ("ModelName", "ModelArn", "Shop-Model"),
    "endpoint_config": ("EndpointConfigName", "EndpointConfigArn", "Shop-Config"),
    "endpoint": ("EndpointName", "EndpointArn", "Shop-Endpoint"),
    "feature_group": ("FeatureGroupName", "FeatureGroupArn", "Orders"),
    "model_package_group": ("ModelPackageGroupName", "ModelPackageGroupArn", "Shop-Packages"),
    "pipeline": ("PipelineName", "PipelineArn", "Shop-Pipeline"),
    "training_job": ("TrainingJobName", "TrainingJobArn", "Train-A"),
    "processing_job": ("ProcessingJobName", "ProcessingJobArn", "Handle-A"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_resources_are_described_by_the_name_from_their_arn(sagemaker: Any, kind: str) -> None:
    member, arn, name = KINDS[kind]
    describe = getattr(sagemaker, f"describe_{kind}")
    found = describe(**{member: name})
    assert found[member] == name
    assert from_arn(found[arn]) == name.lower()
    for given in (from_arn(found[arn]), name.upper()):
        again = describe(**{member: given})
        assert (again[member], again[arn]) == (name, found[arn])


@pytest.mark.parametrize("kind", ["feature_group", "model_package_group", "pipeline"])
def test_resources_are_described_by_an_arn_in_any_case(sagemaker: Any, kind: str) -> None:
    member, arn, name = KINDS[kind]
    describe = getattr(sagemaker, f"describe_{kind}")
    own = describe(**{member: name})[arn]
    for given in (own, own.replace(name.lower(), name)):
        assert describe(**{member: given})[member] == name


@pytest.mark.parametrize("kind", KINDS)
def test_tags_are_found_by_the_arn_in_any_case(sagemaker: Any, kind: str) -> None:
    member, arn, name = KINDS[kind]
    own = getattr(sagemaker, f"describe_{kind}")(**{member: name})[arn]
    sagemaker.add_tags(ResourceArn=own.replace(name.lower(), name), Tags=[{"Key": "of", "Value": kind}])
    assert sagemaker.list_tags(ResourceArn=own)["Tags"] == [{"Key": "of", "Value": kind}]
    sagemaker.delete_tags(ResourceArn=own.replace(name.lower(), name.upper()), TagKeys=["of"])
    assert sagemaker.list_tags(ResourceArn=own)["Tags"] == []


CREATES: dict[str, Callable[[Any], object]] = {
    "model": lambda client: client.create_model(
        ModelName="shop-model", PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE
    ),
    "endpoint_config": lambda client: client.create_endpoint_config(
        EndpointConfigName="shop-config",
        ProductionVariants=[
            {"VariantName": "V", "ModelName": "Shop-Model", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        ],
    ),
    "endpoint": lambda client: client.create_endpoint(EndpointName="shop-ENDPOINT", EndpointConfigName="Shop-Config"),
    "feature_group": lambda client: client.create_feature_group(**group("orders")),
    "model_package_group": lambda client: client.create_model_package_group(ModelPackageGroupName="shop-packages"),
    "pipeline": lambda client: client.create_pipeline(
        PipelineName="shop-pipeline", PipelineDefinition=DEFINITION, RoleArn=ROLE, ClientRequestToken="u" * 32
    ),
    "training_job": lambda client: client.create_training_job(
        TrainingJobName="train-a", **training("print()", "s3://names/out")
    ),
    "processing_job": lambda client: client.create_processing_job(
        ProcessingJobName="HANDLE-A", **processing("print()")
    ),
}


@pytest.mark.parametrize("kind", CREATES)
def test_names_that_differ_only_in_case_cannot_coexist(sagemaker: Any, kind: str) -> None:
    with pytest.raises(ClientError, match=r"(?i)already exist"):
        CREATES[kind](sagemaker)
    listing = getattr(sagemaker, f"list_{kind}s")(NameContains=KINDS[kind][2]) if kind != "pipeline" else (
        sagemaker.list_pipelines(PipelineNamePrefix="shop-PIPE")
    )  # fmt: skip
    (names,) = (value for value in listing.values() if isinstance(value, list))
    assert len(names) == 1


def test_a_name_that_differs_by_more_than_case_is_available(sagemaker: Any) -> None:
    sagemaker.create_model(ModelName="Shop-Mode", PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE)
    sagemaker.delete_model(ModelName="shop-mode")
    assert sagemaker.describe_model(ModelName="Shop-Model")["ModelName"] == "Shop-Model"


def test_an_endpoint_is_invoked_only_by_its_exact_name(cloud_daemon: CloudDaemon, sagemaker: Any) -> None:
    assert sagemaker.describe_endpoint(EndpointName="shop-endpoint")["EndpointConfigName"] == "Shop-Config"
    runtime = cloud_daemon.client("sagemaker-runtime")
    assert runtime.invoke_endpoint(EndpointName="Shop-Endpoint", Body=b"{}")["Body"].read()
    with pytest.raises(ClientError, match="shop-endpoint of account 123456789012 not found"):
        runtime.invoke_endpoint(EndpointName="shop-endpoint", Body=b"{}")


def test_an_endpoint_is_changed_and_deleted_by_a_name_in_another_case(
    cloud_daemon: CloudDaemon, sagemaker: Any
) -> None:
    sagemaker.create_endpoint(EndpointName="Once", EndpointConfigName="Shop-Config")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="once", WaiterConfig={"Delay": 1})
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="ONCE", DesiredWeightsAndCapacities=[{"VariantName": "V", "DesiredWeight": 3}]
    )
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="once", WaiterConfig={"Delay": 1})
    (variant,) = sagemaker.describe_endpoint(EndpointName="Once")["ProductionVariants"]
    assert variant["CurrentWeight"] == 3
    assert cloud_daemon.client("sagemaker-runtime").invoke_endpoint(EndpointName="Once", Body=b"{}")
    sagemaker.delete_endpoint(EndpointName="once")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="Once", WaiterConfig={"Delay": 1})


def test_jobs_are_stopped_and_deleted_by_a_name_in_another_case(sagemaker: Any) -> None:
    sagemaker.create_training_job(TrainingJobName="Long", **training("time.sleep(60)", "s3://names/out"))
    sagemaker.create_processing_job(ProcessingJobName="Slow", **processing("time.sleep(60)"))
    sagemaker.stop_training_job(TrainingJobName="lONG")
    sagemaker.stop_processing_job(ProcessingJobName="sLOW")
    eventually(lambda: sagemaker.describe_training_job(TrainingJobName="long")["TrainingJobStatus"] == "Stopped", 60)
    eventually(
        lambda: sagemaker.describe_processing_job(ProcessingJobName="Slow")["ProcessingJobStatus"] == "Stopped", 60
    )
    sagemaker.delete_training_job(TrainingJobName="LONG")
    sagemaker.delete_processing_job(ProcessingJobName="SLOW")
    with pytest.raises(ClientError, match="not found"):
        sagemaker.describe_training_job(TrainingJobName="Long")
    with pytest.raises(ClientError, match="Could not find"):
        sagemaker.describe_processing_job(ProcessingJobName="Slow")


def test_everything_is_updated_and_deleted_by_a_name_in_another_case(sagemaker: Any) -> None:
    variant = {"VariantName": "V", "ModelName": "Shop-Model", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    for name in ("First", "Second"):
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="Changed", EndpointConfigName="First")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="changed", WaiterConfig={"Delay": 1})
    sagemaker.update_endpoint(EndpointName="CHANGED", EndpointConfigName="sECOND")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="Changed", WaiterConfig={"Delay": 1})
    assert sagemaker.describe_endpoint(EndpointName="Changed")["EndpointConfigName"] == "Second"
    sagemaker.delete_endpoint_config(EndpointConfigName="fIRST")

    sagemaker.create_pipeline(
        PipelineName="Piped", PipelineDefinition=DEFINITION, RoleArn=ROLE, ClientRequestToken="u" * 32
    )
    sagemaker.update_pipeline(PipelineName="PIPED", PipelineDescription="new")
    assert sagemaker.describe_pipeline(PipelineName="Piped")["PipelineDescription"] == "new"
    sagemaker.delete_pipeline(PipelineName="piped", ClientRequestToken="v" * 32)

    sagemaker.create_feature_group(**group("Grown"))
    eventually(
        lambda: sagemaker.describe_feature_group(FeatureGroupName="Grown")["FeatureGroupStatus"] == "Created", 60
    )
    added = {"FeatureName": "more", "FeatureType": "Integral"}
    sagemaker.update_feature_group(FeatureGroupName="GROWN", FeatureAdditions=[added])
    eventually(lambda: added in sagemaker.describe_feature_group(FeatureGroupName="Grown")["FeatureDefinitions"], 60)
    sagemaker.delete_feature_group(FeatureGroupName="grown")

    sagemaker.create_model_package_group(ModelPackageGroupName="Packed")
    sagemaker.delete_model_package_group(ModelPackageGroupName="PACKED")
    for found in (
        lambda: sagemaker.describe_endpoint_config(EndpointConfigName="First"),
        lambda: sagemaker.describe_pipeline(PipelineName="Piped"),
        lambda: sagemaker.describe_model_package_group(ModelPackageGroupName="Packed"),
    ):
        with pytest.raises(ClientError, match=r"Could not find|does not exist"):
            found()
    eventually(
        lambda: (
            "Grown"
            not in [each["FeatureGroupName"] for each in sagemaker.list_feature_groups()["FeatureGroupSummaries"]]
        ),
        60,
    )


def test_job_logs_are_found_by_the_name_from_the_job_arn(cloud_daemon: CloudDaemon, sagemaker: Any) -> None:
    logs, place = cloud_daemon.client("logs"), "/aws/sagemaker/TrainingJobs"
    name = from_arn(sagemaker.describe_training_job(TrainingJobName="Train-A")["TrainingJobArn"])
    (stream,) = logs.describe_log_streams(logGroupName=place, logStreamNamePrefix=f"{name}/")["logStreams"]
    assert stream["logStreamName"].startswith("Train-A/")
    lower = stream["logStreamName"].lower()
    events = logs.get_log_events(logGroupName=place, logStreamName=lower)["events"]
    assert [event["message"] for event in events] == ["trained"]
    found = logs.filter_log_events(logGroupName=place.replace("TrainingJobs", "trainingjobs"), logStreamNames=[lower])
    assert [event["message"] for event in found["events"]] == ["trained"]
    # In other log groups case matters, as on AWS.
    logs.create_log_group(logGroupName="/mine/Group")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        logs.describe_log_streams(logGroupName="/mine/group")


def test_records_of_a_group_are_found_by_any_spelling_of_its_name(cloud_daemon: CloudDaemon, sagemaker: Any) -> None:
    store = cloud_daemon.client("sagemaker-featurestore-runtime")
    record = [
        {"FeatureName": "id", "ValueAsString": "1"},
        {"FeatureName": "at", "ValueAsString": "2030-01-01T00:00:00Z"},
    ]
    store.put_record(FeatureGroupName="orders", Record=record)
    arn = sagemaker.describe_feature_group(FeatureGroupName="Orders")["FeatureGroupArn"]
    for given in ("Orders", "ORDERS", arn, arn.replace("orders", "Orders")):
        assert store.get_record(FeatureGroupName=given, RecordIdentifierValueAsString="1")["Record"] == record


def test_hyperparameters_and_environment_of_a_job_keep_their_case(sagemaker: Any) -> None:
    mine = {"ModelName": "shop-model", "EndpointName": "SHOP-ENDPOINT"}
    request = training("print()", "s3://names/out", HyperParameters=mine, Environment=mine)
    sagemaker.create_training_job(TrainingJobName="Mine", **request)
    found = sagemaker.describe_training_job(TrainingJobName="mine")
    assert (found["HyperParameters"], found["Environment"]) == (mine, mine)


def test_stored_names_are_found_by_their_exact_spelling_first(tmp_path: Any) -> None:
    store = Store(tmp_path / "store.sqlite")
    for name in ("Shop", "shop"):
        store.put("model", "eu-west-1", name, {"ModelName": name})
    assert [store.find_stored_name("model", "eu-west-1", name) for name in ("shop", "Shop", "SHOP")] == [
        "shop",
        "Shop",
        "Shop",
    ]
    assert store.find_stored_name("model", "eu-west-1", "shops") is None
    assert store.find_stored_name("model", "us-east-1", "shop") is None
    store.close()
