"""SageMaker's resource types against the running cloud, through the provider that it serves."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2

from tests.local.conftest import CloudDaemon
from tests.local.provider_engine import Engine, Values

NONE = provider_pb2.DiffResponse.DIFF_NONE
ROLE = "arn:aws:iam::123456789012:role/flights"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/echo:1"
MODEL = "aws:sagemaker/model:Model"
CONFIG = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
GROUP = "aws:sagemaker/featureGroup:FeatureGroup"
PACKAGES = "aws:sagemaker/modelPackageGroup:ModelPackageGroup"
PACKAGES_POLICY = "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy"
PIPELINE = "aws:sagemaker/pipeline:Pipeline"


@pytest.fixture(scope="module")
def engine(cloud_daemon: CloudDaemon) -> Iterator[Engine]:
    socket = cloud_daemon.running.provider_socket
    assert socket is not None
    engine = Engine(Path(socket), config={"defaultTags": {"tags": {"owner": "tests"}}})
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def artifact(cloud_daemon: CloudDaemon) -> str:
    """Return the S3 URL of a model's artifact."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("answer.txt")
        member.size = 6
        tar.addfile(member, io.BytesIO(b"answer"))
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="provider-models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="provider-models", Key="model.tar.gz", Body=archive.getvalue())
    return "s3://provider-models/model.tar.gz"


@pytest.fixture(scope="module")
def feature_bucket(cloud_daemon: CloudDaemon) -> str:
    """Return the S3 URL of an offline store in a new bucket."""
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="provider-features", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return "s3://provider-features/offline"


def model(artifact: str, **more: Any) -> Values:
    container = {"image": IMAGE, "modelDataUrl": artifact, "environment": {"LEVEL": "1"}}
    return {"executionRoleArn": ROLE, "primaryContainer": container, **more}


def config(model_name: str) -> Values:
    variant = {
        "variantName": "main",
        "modelName": model_name,
        "instanceType": "ml.m5.large",
        "initialInstanceCount": 1,
    }
    return {"productionVariants": [variant]}


def get_diff_kinds(engine: Engine, made: Any, news: Values) -> dict[str, str]:
    kinds = provider_pb2.PropertyDiff.Kind
    return {path: kinds.Name(detail.kind) for path, detail in engine.diff(made, news).detailedDiff.items()}


def create_and_verify(engine: Engine, token: str, name: str, news: Values) -> Any:
    """Create a resource, verify that it has no diff, also after a refresh, and that it can be imported; return it."""
    made = engine.create(token, name, news)
    assert get_diff_kinds(engine, made, news) == {}
    refreshed = engine.refresh(made)
    assert refreshed is not None
    assert refreshed.inputs == made.inputs
    assert get_diff_kinds(engine, refreshed, news) == {}
    imported = engine.bring_in(token, name, made.id)
    assert imported is not None
    assert {k: v for k, v in imported.outputs.items() if k in ("arn", "id")} == {
        k: v for k, v in made.outputs.items() if k in ("arn", "id")
    }
    return made


def delete_and_verify(engine: Engine, made: Any) -> None:
    engine.delete(made)
    engine.delete(made)
    assert engine.refresh(made) is None


def test_models_and_configurations(engine: Engine, artifact: str) -> None:
    news = model(artifact, tags={"stage": "one"})
    made = create_and_verify(engine, MODEL, "model", news)
    assert made.outputs["arn"].endswith(f":model/{made.id}")
    assert made.outputs["tagsAll"] == {"owner": "tests", "stage": "one"}
    retagged = engine.update(made, model(artifact, tags={"stage": "two"}))
    assert retagged.outputs["tagsAll"] == {"owner": "tests", "stage": "two"}
    other = model("s3://provider-models/other.tar.gz")
    assert get_diff_kinds(engine, retagged, other)["primaryContainer.modelDataUrl"] == "UPDATE_REPLACE"

    capture = {
        "enableCapture": True,
        "initialSamplingPercentage": 100,
        "destinationS3Uri": "s3://provider-models/capture",
        "captureOptions": [{"captureMode": "Input"}, {"captureMode": "Output"}],
        "captureContentTypeHeader": {"jsonContentTypes": ["application/json", "application/jsonlines"]},
    }
    made_config = create_and_verify(engine, CONFIG, "config", {**config(made.id), "dataCaptureConfig": capture})
    delete_and_verify(engine, made_config)
    delete_and_verify(engine, made)


def test_creation_and_update_wait_until_the_endpoint_is_in_service(
    engine: Engine, artifact: str, cloud_daemon: CloudDaemon
) -> None:
    made_model = engine.create(MODEL, "serving", model(artifact))
    blue, green = (engine.create(CONFIG, name, config(made_model.id)) for name in ("blue", "green"))
    routing = {"type": "ALL_AT_ONCE", "waitIntervalInSeconds": 1}
    deployment = {"blueGreenUpdatePolicy": {"trafficRoutingConfiguration": routing}}
    news = {"endpointConfigName": blue.id, "deploymentConfig": deployment}
    made = create_and_verify(engine, ENDPOINT, "endpoint", news)
    sagemaker = cloud_daemon.client("sagemaker")
    assert sagemaker.describe_endpoint(EndpointName=made.id)["EndpointStatus"] == "InService"

    news = {**news, "endpointConfigName": green.id}
    made = engine.update(made, news)
    described = sagemaker.describe_endpoint(EndpointName=made.id)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", green.id)
    assert get_diff_kinds(engine, made, news) == {}
    delete_and_verify(engine, made)
    for resource in (blue, green, made_model):
        delete_and_verify(engine, resource)


def test_an_import_holds_only_what_the_api_returns(engine: Engine, artifact: str, cloud_daemon: CloudDaemon) -> None:
    made_model = engine.create(MODEL, "imported", model(artifact))
    made = engine.create(CONFIG, "imported", config(made_model.id))
    routing = {"type": "ALL_AT_ONCE", "waitIntervalInSeconds": 1}
    given = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 1}
    sagemaker = cloud_daemon.client("sagemaker")
    sagemaker.create_endpoint(
        EndpointName="imported",
        EndpointConfigName=made.id,
        DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": given}},
    )
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="imported", WaiterConfig={"Delay": 1})
    imported = engine.bring_in(ENDPOINT, "imported", "imported")
    assert imported is not None
    deployment = {"blueGreenUpdatePolicy": {"trafficRoutingConfiguration": routing}}
    assert imported.outputs["deploymentConfig"] == deployment
    assert imported.inputs["deploymentConfig"] == deployment
    news = {"name": "imported", "endpointConfigName": made.id, "deploymentConfig": deployment}
    assert get_diff_kinds(engine, imported, news) == {"tagsAll": "UPDATE"}
    sagemaker.delete_endpoint(EndpointName="imported")


def test_a_failed_endpoint_is_reported_and_kept(engine: Engine, artifact: str, cloud_daemon: CloudDaemon) -> None:
    wrong = artifact.replace("model.tar.gz", "wrong.tar.gz")
    cloud_daemon.client("s3").put_object(Bucket="provider-models", Key="wrong.tar.gz", Body=b"no archive")
    broken = engine.create(MODEL, "broken", model(wrong))
    made = engine.create(CONFIG, "broken", config(broken.id))
    with pytest.raises(grpc.RpcError, match="is Failed, not InService: "):
        engine.create(ENDPOINT, "broken", {"name": "broken", "endpointConfigName": made.id})
    assert cloud_daemon.client("sagemaker").describe_endpoint(EndpointName="broken")["EndpointStatus"] == "Failed"
    cloud_daemon.client("sagemaker").delete_endpoint(EndpointName="broken")


def test_an_api_error_is_reported_with_its_own_message(engine: Engine) -> None:
    with pytest.raises(grpc.RpcError, match="sagemaker CreateEndpoint: ValidationException: Could not find"):
        engine.create(ENDPOINT, "orphan", {"endpointConfigName": "nothing"})


def test_feature_groups(engine: Engine, feature_bucket: str) -> None:
    def group(days: int) -> Values:
        return {
            "featureGroupName": "provider-weather",
            "recordIdentifierFeatureName": "origin",
            "eventTimeFeatureName": "known_at",
            "featureDefinitions": [
                {"featureName": "origin", "featureType": "String"},
                {"featureName": "known_at", "featureType": "String"},
                {"featureName": "wind", "featureType": "Fractional"},
            ],
            "roleArn": ROLE,
            "onlineStoreConfig": {"enableOnlineStore": True, "ttlDuration": {"unit": "Days", "value": days}},
            "offlineStoreConfig": {"s3StorageConfig": {"s3Uri": feature_bucket}},
        }

    made = create_and_verify(engine, GROUP, "weather", group(1))
    assert get_diff_kinds(engine, made, group(2)) == {"onlineStoreConfig.ttlDuration.value": "UPDATE"}
    made = engine.update(made, group(2))
    assert get_diff_kinds(engine, made, group(2)) == {}
    delete_and_verify(engine, made)


def test_model_package_groups(engine: Engine) -> None:
    news = {"modelPackageGroupName": "provider-flights", "modelPackageGroupDescription": "delays"}
    made = create_and_verify(engine, PACKAGES, "flights", news)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": "sagemaker:DescribeModelPackageGroup",
        "Resource": made.outputs["arn"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    shared = create_and_verify(
        engine, PACKAGES_POLICY, "shared", {"modelPackageGroupName": made.id, "resourcePolicy": policy}
    )
    delete_and_verify(engine, shared)
    delete_and_verify(engine, made)


def test_a_group_that_holds_packages_is_not_deleted(engine: Engine, artifact: str, cloud_daemon: CloudDaemon) -> None:
    made = engine.create(PACKAGES, "full", {"modelPackageGroupName": "provider-full"})
    sagemaker = cloud_daemon.client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": artifact}
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="provider-full", InferenceSpecification={"Containers": [container]}
    )["ModelPackageArn"]
    with pytest.raises(grpc.RpcError, match="sagemaker DeleteModelPackageGroup: ConflictException: "):
        engine.delete(made)
    assert engine.refresh(made) is not None
    sagemaker.delete_model_package(ModelPackageName=arn)
    delete_and_verify(engine, made)


def test_pipelines(engine: Engine) -> None:
    def pipeline(message: str) -> Values:
        step = {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": message}}
        definition = {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": [step]}
        return {
            "pipelineName": "provider-flights",
            "pipelineDisplayName": "provider-flights",
            "pipelineDefinition": json.dumps(definition),
            "roleArn": ROLE,
        }

    made = create_and_verify(engine, PIPELINE, "flights", {**pipeline("one"), "pipelineDescription": "trains"})
    made = engine.update(made, pipeline("two"))
    assert get_diff_kinds(engine, made, pipeline("two")) == {}
    delete_and_verify(engine, made)
