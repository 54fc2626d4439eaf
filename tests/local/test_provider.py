"""The provider's protocol: checks, differences, previews, secrets, assets, failures, configuration."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import grpc
import pytest
from google.protobuf import empty_pb2
from moto.server import ThreadedMotoServer
from pulumi.runtime.proto import provider_pb2

from local.provider import server
from local.provider.types import TYPES
from local.provider.values import UNKNOWN, Asset, marshal, unmarshal
from tests.local.provider_engine import Engine, Made, RefusedInputsError, UnfinishedError, Values

BUCKET = "aws:s3/bucket:Bucket"
ROLE = "aws:iam/role:Role"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
OBJECT = "aws:s3/bucketObjectv2:BucketObjectv2"
MODEL = "aws:sagemaker/model:Model"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
CONFIG = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
GROUP = "aws:sagemaker/featureGroup:FeatureGroup"
PIPELINE = "aws:sagemaker/pipeline:Pipeline"
DIFF = provider_pb2.DiffResponse
KIND = provider_pb2.PropertyDiff
NAMES = provider_pb2.CheckRequest.AutonamingOptions
ANYONE: Any = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
ROLE_ARN = "arn:aws:iam::123456789012:role/flights"


def trust(*services: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def endpoint_url() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(scope="module")
def running(endpoint_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Running]:
    folder = tmp_path_factory.mktemp("program")
    (folder / "report.txt").write_text("a report")
    running = server.start(endpoint_url, ANYONE, folder, directory=folder)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def engine(running: server.Running) -> Iterator[Engine]:
    engine = Engine(running.socket)
    yield engine
    engine.close()


def collect_failures(engine: Engine, token: str, news: Values) -> dict[str, str]:
    with pytest.raises(RefusedInputsError) as refused:
        engine.check(token, "flights", news)
    return refused.value.failures


def check_inputs(engine: Engine, token: str, news: Values, old: Values | None = None, **more: Any) -> Values:
    return unmarshal(engine.check(token, "flights", news, old, **more))[0]


def fake_resource(engine: Engine, token: str, news: Values, outputs: Values | None = None) -> Made:
    """Return a resource as if it had been created."""
    inputs = check_inputs(engine, token, news)
    plain = {name: value for name, value in inputs.items() if name != "__defaults"}
    return Made(token, "flights", "flights", inputs, {**plain, "tagsAll": {}, **(outputs or {})})


def get_diff_kinds(diff: Any) -> dict[str, str]:
    return {path: KIND.Kind.Name(detail.kind) for path, detail in diff.detailedDiff.items()}


# ---- check


def test_a_name_is_generated_and_kept(engine: Engine) -> None:
    first = check_inputs(engine, ROLE, {"assumeRolePolicy": trust("a")})
    assert first["name"].startswith("flights-")
    assert len(first["name"]) == len("flights-") + 7
    assert check_inputs(engine, ROLE, {"assumeRolePolicy": trust("b")}, old=first)["name"] == first["name"]
    given = check_inputs(engine, ROLE, {"assumeRolePolicy": trust("b"), "name": "mine"}, old=first)
    assert given["name"] == "mine"
    assert "name" not in given["__defaults"]


def test_a_seed_generates_the_same_name_again(engine: Engine) -> None:
    names = {check_inputs(engine, BUCKET, {}, randomSeed=b"seed")["bucket"] for _ in range(3)}
    assert len(names) == 1


def test_the_autonaming_of_the_project_is_followed(engine: Engine) -> None:
    proposed = NAMES(proposed_name="ours", mode=NAMES.ENFORCE)
    assert check_inputs(engine, BUCKET, {}, autonaming=proposed)["bucket"] == "ours"
    with pytest.raises(RefusedInputsError, match="names are not generated"):
        engine.check(BUCKET, "flights", {}, autonaming=NAMES(mode=NAMES.DISABLE))


def test_a_generated_name_that_is_too_long_is_refused(engine: Engine) -> None:
    with pytest.raises(RefusedInputsError, match="67 characters; expected at most 64"):
        engine.check(ROLE, "x" * 59, {"assumeRolePolicy": trust("a")})


def test_all_invalid_inputs_are_reported_together(engine: Engine) -> None:
    found = collect_failures(
        engine,
        ALARM,
        {
            "metricName": "Psi",
            "comparisonOperator": "Above",
            "evaluationPeriods": 0,
            "metricQueries": [{"id": "a"}],
            "namespace": 7.5,
            "colour": "red",
        },
    )
    assert "'Above' is not allowed; expected one of GreaterThan" in found["comparisonOperator"]
    assert "below the minimum, 1" in found["evaluationPeriods"]
    assert "exactly one of metricName, metricQueries" in found["metricName"]
    assert "no such property" in found["colour"]
    assert "metricName" in found["colour"]


def test_missing_nested_properties_are_reported(engine: Engine) -> None:
    found = collect_failures(engine, CONFIG, {"productionVariants": [{"modelName": "m", "instanceType": "ml.huge"}]})
    assert found["productionVariants[0].variantName"] == "required: give a string"
    assert "'ml.huge' is not allowed" in found["productionVariants[0].instanceType"]


def test_an_unknown_type_is_refused_with_the_available_types(engine: Engine) -> None:
    with pytest.raises(grpc.RpcError, match=r"aws:lambda/function:Function cannot be created.*aws:s3/bucket:Bucket"):
        engine.check("aws:lambda/function:Function", "f", {})


def test_unknown_values_are_not_validated(engine: Engine) -> None:
    inputs = check_inputs(engine, MODEL, {"executionRoleArn": UNKNOWN, "primaryContainer": {"image": UNKNOWN}})
    assert inputs["executionRoleArn"] is UNKNOWN
    assert inputs["primaryContainer"]["mode"] == "SingleModel"


def test_a_policy_may_be_given_as_a_document(engine: Engine) -> None:
    inputs = check_inputs(engine, ROLE, {"assumeRolePolicy": json.loads(trust("a"))})
    assert json.loads(inputs["assumeRolePolicy"]) == json.loads(trust("a"))


# ---- diff


def test_unchanged_and_reordered_inputs_have_no_diff(engine: Engine) -> None:
    news = {"assumeRolePolicy": trust("a", "b"), "description": ""}
    made = fake_resource(engine, ROLE, news)
    assert engine.diff(made, news).changes == DIFF.DIFF_NONE
    reordered = {"assumeRolePolicy": trust("b", "a")}
    assert engine.diff(made, reordered).changes == DIFF.DIFF_NONE


def test_a_diff_lists_paths_and_kinds_of_changes(engine: Engine) -> None:
    old = {
        "productionVariants": [{"variantName": "a", "modelName": "one", "initialInstanceCount": 1}],
        "tags": {"a.b": "1"},
    }
    new = {"productionVariants": [{"variantName": "a", "modelName": UNKNOWN}], "tags": {"a.b": "2", "c": "3"}}
    made = fake_resource(engine, CONFIG, old, {"tagsAll": {"a.b": "1"}})
    diff = engine.diff(made, new)
    assert get_diff_kinds(diff) == {
        "productionVariants[0].initialInstanceCount": "DELETE_REPLACE",
        "productionVariants[0].modelName": "UPDATE_REPLACE",
        'tags["a.b"]': "UPDATE",
        "tags.c": "ADD",
    }
    assert list(diff.replaces) == ["productionVariants"]
    assert not diff.deleteBeforeReplace


def test_a_resource_with_a_fixed_name_is_deleted_before_replacement(engine: Engine) -> None:
    old = {"executionRoleArn": ROLE_ARN, "name": "fixed"}
    diff = engine.diff(fake_resource(engine, MODEL, old), {**old, "enableNetworkIsolation": True})
    assert diff.deleteBeforeReplace
    renamed = engine.diff(fake_resource(engine, MODEL, old), {**old, "name": "other"})
    assert get_diff_kinds(renamed) == {"name": "UPDATE_REPLACE"}
    assert not renamed.deleteBeforeReplace


def test_adding_a_rollback_configuration_replaces_but_changing_it_does_not(engine: Engine) -> None:
    routing = {"type": "ALL_AT_ONCE", "waitIntervalInSeconds": 0}
    policy = {"blueGreenUpdatePolicy": {"trafficRoutingConfiguration": routing}}

    def guarded(*alarms: str) -> Values:
        rollback = {"alarms": [{"alarmName": alarm} for alarm in alarms]}
        return {"endpointConfigName": "c", "deploymentConfig": {**policy, "autoRollbackConfiguration": rollback}}

    bare = {"endpointConfigName": "c", "deploymentConfig": policy}
    path = "deploymentConfig.autoRollbackConfiguration"
    assert get_diff_kinds(engine.diff(fake_resource(engine, ENDPOINT, bare), guarded("a"))) == {path: "ADD_REPLACE"}
    assert get_diff_kinds(engine.diff(fake_resource(engine, ENDPOINT, guarded("a", "b")), guarded("b", "a"))) == {}
    assert get_diff_kinds(engine.diff(fake_resource(engine, ENDPOINT, guarded("a")), guarded("b"))) == {
        f"{path}.alarms[0]": "UPDATE"
    }
    nothing = {"endpointConfigName": "c"}
    assert get_diff_kinds(engine.diff(fake_resource(engine, ENDPOINT, nothing), guarded("a"))) == {
        "deploymentConfig": "ADD_REPLACE"
    }
    assert get_diff_kinds(engine.diff(fake_resource(engine, ENDPOINT, nothing), bare)) == {"deploymentConfig": "ADD"}


def test_only_the_time_to_live_of_a_feature_group_changes_in_place(engine: Engine) -> None:
    news = {
        "featureGroupName": "weather",
        "recordIdentifierFeatureName": "origin",
        "eventTimeFeatureName": "known_at",
        "featureDefinitions": [{"featureName": "origin", "featureType": "String"}],
        "roleArn": ROLE_ARN,
        "onlineStoreConfig": {"enableOnlineStore": True, "ttlDuration": {"unit": "Days", "value": 1}},
    }
    made = fake_resource(engine, GROUP, news)
    longer = {**news, "onlineStoreConfig": {"enableOnlineStore": True, "ttlDuration": {"unit": "Days", "value": 2}}}
    assert get_diff_kinds(engine.diff(made, longer)) == {"onlineStoreConfig.ttlDuration.value": "UPDATE"}
    more = [*news["featureDefinitions"], {"featureName": "wind", "featureType": "Fractional"}]
    assert get_diff_kinds(engine.diff(made, {**news, "featureDefinitions": more})) == {
        "featureDefinitions[1]": "ADD_REPLACE"
    }


def test_a_rolled_back_endpoint_differs_from_its_program(engine: Engine) -> None:
    news = {"endpointConfigName": "green"}
    made = fake_resource(engine, ENDPOINT, news, {"endpointConfigName": "blue"})
    assert get_diff_kinds(engine.diff(made, news)) == {"endpointConfigName": "UPDATE"}


def test_a_reformatted_pipeline_definition_has_no_diff(engine: Engine) -> None:
    news = {
        "pipelineName": "p",
        "pipelineDisplayName": "p",
        "roleArn": ROLE_ARN,
        "pipelineDefinition": '{"Version": "2020-12-01", "Steps": [1, 2]}',
    }
    made = fake_resource(engine, PIPELINE, news)
    assert (
        engine.diff(made, {**news, "pipelineDefinition": '{"Steps":[1,2],"Version":"2020-12-01"}'}).changes
        == DIFF.DIFF_NONE
    )
    assert (
        engine.diff(made, {**news, "pipelineDefinition": '{"Steps":[2,1],"Version":"2020-12-01"}'}).changes
        == DIFF.DIFF_SOME
    )


def test_diffs_are_quick(engine: Engine) -> None:
    news = {"productionVariants": [{"variantName": "a", "modelName": "one", "initialInstanceCount": 1}]}
    made = fake_resource(engine, CONFIG, news)
    engine.diff(made, news)
    started = time.perf_counter()
    for _ in range(50):
        engine.diff(made, news)
    assert (time.perf_counter() - started) / 50 < 0.02


# ---- preview


def test_a_preview_creates_nothing_and_returns_the_known_outputs(engine: Engine, endpoint_url: str) -> None:
    outputs = engine.preview(BUCKET, "preview", {"tags": {"a": "b"}, "bucket": "previewed"})
    assert outputs["arn"] is UNKNOWN
    assert outputs["bucket"] == "previewed"
    assert outputs["region"] == "eu-west-1"
    assert outputs["tagsAll"] == {"a": "b"}
    s3 = boto3.client("s3", endpoint_url=endpoint_url, region_name="eu-west-1", **ANYONE)
    assert "previewed" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


# ---- secrets and assets


def test_secrets_stay_secret(engine: Engine) -> None:
    token = "aws:ssm/parameter:Parameter"
    wire = marshal({"type": "SecureString", "value": "hush", "description": "open"}, {"description"})
    made = engine.create(token, "secret", wire)
    assert made.outputs["value"] == "hush"
    assert {"value", "description"} <= made.secrets
    assert "name" not in made.secrets


def test_an_object_is_created_and_updated_from_assets(engine: Engine, endpoint_url: str) -> None:
    bucket = engine.create(BUCKET, "assets", {"forceDestroy": True})
    report = hashlib.sha256(b"a report").hexdigest()

    def source(**fields: Any) -> Values:
        return {"bucket": bucket.id, "key": "k", "source": Asset(fields), "tags": {"a b": "c=d"}}

    made = engine.create(OBJECT, "object", source(path="report.txt", hash=report))
    assert read_object(endpoint_url, bucket.id) == b"a report"
    assert engine.diff(made, source(path="elsewhere/report.txt", hash=report)).changes == DIFF.DIFF_NONE
    news = source(text="new", hash=hashlib.sha256(b"new").hexdigest())
    assert get_diff_kinds(engine.diff(made, news)) == {"source": "UPDATE"}
    made = engine.update(made, news)
    assert read_object(endpoint_url, bucket.id) == b"new"
    assert made.outputs["tagsAll"] == {"a b": "c=d"}
    with pytest.raises(grpc.RpcError, match=r"gone\.txt"):
        engine.update(made, source(path="gone.txt", hash="0"))
    engine.delete(bucket)
    assert engine.refresh(made) is None


def test_equal_archives_have_identical_bytes(engine: Engine, endpoint_url: str) -> None:
    bucket = engine.create(BUCKET, "archives", {})
    inner = Asset({"assets": {"c.py": Asset({"text": "3", "hash": "c"})}, "hash": "d"}, archive=True)
    files = {"b.py": Asset({"text": "2", "hash": "b"}), "a.py": Asset({"text": "1", "hash": "a"}), "in": inner}
    bodies = set()
    for name in ("one", "two"):
        archive = Asset({"assets": files, "hash": "c"}, archive=True)
        made = engine.create(OBJECT, name, {"bucket": bucket.id, "key": "k", "source": archive})
        bodies.add(read_object(endpoint_url, bucket.id))
        engine.delete(made)
    assert len(bodies) == 1
    with zipfile.ZipFile(io.BytesIO(bodies.pop())) as archived:
        assert archived.namelist() == ["a.py", "b.py", "in/c.py"]


def read_object(endpoint_url: str, bucket: str) -> bytes:
    s3 = boto3.client("s3", endpoint_url=endpoint_url, region_name="eu-west-1", **ANYONE)
    return bytes(s3.get_object(Bucket=bucket, Key="k")["Body"].read())


# ---- drift, import, failures


def test_drift_is_detected_and_fixed(engine: Engine, endpoint_url: str) -> None:
    news = {"assumeRolePolicy": trust("a"), "description": "ours", "tags": {"a": "b"}}
    made = engine.create(ROLE, "drift", news)
    iam = boto3.client("iam", endpoint_url=endpoint_url, region_name="eu-west-1", **ANYONE)
    iam.update_role(RoleName=made.id, Description="theirs")
    iam.tag_role(RoleName=made.id, Tags=[{"Key": "intruder", "Value": "x"}])
    refreshed = engine.refresh(made)
    assert refreshed is not None
    assert refreshed.inputs["description"] == "theirs"
    assert get_diff_kinds(engine.diff(refreshed, news)) == {
        "description": "UPDATE",
        "tags.intruder": "DELETE",
    }
    engine.update(refreshed, news)
    assert iam.get_role(RoleName=made.id)["Role"]["Description"] == "ours"
    assert iam.list_role_tags(RoleName=made.id)["Tags"] == [{"Key": "a", "Value": "b"}]


def test_an_import_returns_the_inputs_of_the_program(engine: Engine) -> None:
    news = {"assumeRolePolicy": trust("a"), "description": "ours", "name": "imported", "tags": {"a": "b"}}
    engine.create(ROLE, "import", news)
    found = engine.bring_in(ROLE, "import", "imported")
    assert found is not None
    assert json.loads(found.inputs.pop("assumeRolePolicy")) == json.loads(trust("a"))
    assert found.inputs == {
        "description": "ours",
        "name": "imported",
        "tags": {"a": "b"},
        "forceDetachPolicies": False,
        "maxSessionDuration": 3600,
        "path": "/",
        "__defaults": ["forceDetachPolicies"],
    }
    found.inputs["assumeRolePolicy"] = trust("a")
    assert engine.diff(found, news).changes == DIFF.DIFF_NONE
    assert engine.bring_in(ROLE, "import", "nobody") is None


def test_a_refusal_names_service_operation_and_reason(engine: Engine) -> None:
    news = {"role": "nobody", "policy": trust("a")}
    with pytest.raises(grpc.RpcError, match="iam PutRolePolicy: NoSuchEntity"):
        engine.create("aws:iam/rolePolicy:RolePolicy", "p", news)


def test_a_partly_created_resource_is_reported_with_its_state(engine: Engine) -> None:
    with pytest.raises(UnfinishedError, match="PutBucketTagging") as unfinished:
        engine.create(BUCKET, "half", {"bucket": "half-made", "tags": {"aws:system": "x"}})
    assert unfinished.value.id == "half-made"
    assert unfinished.value.state["bucket"] == "half-made"


def test_a_full_bucket_is_deleted_only_with_force_destroy(engine: Engine) -> None:
    bucket = engine.create(BUCKET, "full", {})
    engine.create(OBJECT, "object", {"bucket": bucket.id, "key": "k", "content": "x"})
    with pytest.raises(grpc.RpcError, match="BucketNotEmpty"):
        engine.delete(bucket)
    engine.delete(engine.update(bucket, {"forceDestroy": True}))
    assert engine.refresh(bucket) is None


# ---- configuration and functions


def test_default_tags_are_applied_and_their_change_is_a_diff(running: server.Running) -> None:
    first = Engine(running.socket, config={"defaultTags": json.dumps({"tags": {"team": "a"}})})
    second = Engine(running.socket, config={"defaultTags": {"tags": {"team": "b"}}})
    made = first.create(BUCKET, "tagged", {"tags": {"own": "1"}})
    assert made.outputs["tags"] == {"own": "1"}
    assert made.outputs["tagsAll"] == {"team": "a", "own": "1"}
    assert get_diff_kinds(second.diff(made, {"tags": {"own": "1"}})) == {"tagsAll": "UPDATE"}
    made = second.update(made, {"tags": {"own": "1"}})
    assert made.outputs["tagsAll"] == {"team": "b", "own": "1"}
    first.close()
    second.close()


def test_each_connection_has_its_own_region(running: server.Running) -> None:
    engines = [Engine(running.socket, region=region) for region in ("us-east-1", "eu-west-2")]
    regions = [engine.invoke("aws:index/getRegion:getRegion", {})["region"] for engine in engines]
    assert regions == ["us-east-1", "eu-west-2"]
    queue = engines[0].create("aws:sqs/queue:Queue", "elsewhere", {"region": "eu-west-3"})
    assert ":eu-west-3:" in queue.outputs["arn"]
    for engine in engines:
        engine.close()


@pytest.mark.parametrize(
    ("environment", "region"),
    [
        ({"AWS_REGION": "us-east-2", "AWS_DEFAULT_REGION": "us-east-1"}, "us-east-2"),
        ({"AWS_DEFAULT_REGION": "ap-southeast-4"}, "ap-southeast-4"),
    ],
)
def test_the_region_of_the_environment_is_used_if_none_is_configured(
    running: server.Running, environment: dict[str, str], region: str
) -> None:
    engine = Engine(running.socket, config={"region": None}, environment=environment)
    assert engine.invoke("aws:index/getRegion:getRegion", {})["region"] == region
    assert f":{region}:" in engine.create("aws:sqs/queue:Queue", "by-environment", {}).outputs["arn"]
    engine.close()
    engine = Engine(running.socket, region="eu-west-3", environment=environment)
    assert engine.invoke("aws:index/getRegion:getRegion", {})["region"] == "eu-west-3"
    engine.close()


def test_an_unknown_region_is_refused(running: server.Running) -> None:
    said = "'mars-1' is no region of AWS; expected e.g. eu-west-1"
    with pytest.raises(RefusedInputsError) as refused:
        Engine(running.socket, region="mars-1")
    assert refused.value.failures == {"region": f"aws:region {said}"}
    with pytest.raises(RefusedInputsError) as refused:
        Engine(running.socket, config={"region": None}, environment={"AWS_REGION": "mars-1"})
    assert refused.value.failures == {"region": f"aws:region is not set, and the environment's {said}"}
    engine = Engine(running.socket)
    with pytest.raises(RefusedInputsError) as refused:
        engine.create("aws:sqs/queue:Queue", "nowhere", {"region": "mars-1"})
    assert refused.value.failures == {"region": f"region {said}"}
    asked = provider_pb2.InvokeRequest(tok="aws:index/getRegion:getRegion", args=marshal({"region": "mars-1"}))
    (failure,) = engine.stub.Invoke(asked).failures
    assert (failure.property, failure.reason) == ("region", f"region {said}")
    engine.close()


def test_unsupported_or_missing_configuration_is_refused(running: server.Running) -> None:
    with pytest.raises(RefusedInputsError, match="assumeRoles"):
        Engine(running.socket, config={"assumeRoles": "[]"})
    with pytest.raises(RefusedInputsError, match=r"pulumi config set aws:region.*or set AWS_REGION"):
        Engine(running.socket, config={"region": None})


def test_provider_functions(engine: Engine) -> None:
    assert engine.invoke("aws:index/getCallerIdentity:getCallerIdentity", {})["accountId"] == "123456789012"
    assert engine.invoke("aws:index/getPartition:getPartition", {})["partition"] == "aws"
    statement = {
        "actions": ["s3:GetObject"],
        "resources": ["a", "b"],
        "principals": [{"type": "Service", "identifiers": ["sagemaker.amazonaws.com"]}],
        "conditions": [{"test": "StringEquals", "variable": "aws:SourceAccount", "values": ["1"]}],
    }
    found = engine.invoke("aws:iam/getPolicyDocument:getPolicyDocument", {"statements": [statement]})
    assert json.loads(found["json"])["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": ["b", "a"],
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Condition": {"StringEquals": {"aws:SourceAccount": "1"}},
        }
    ]
    with pytest.raises(grpc.RpcError, match="aws:ec2/getVpc:getVpc cannot be called"):
        engine.invoke("aws:ec2/getVpc:getVpc", {})


def test_the_plugin_describes_itself(engine: Engine) -> None:
    assert engine.stub.GetPluginInfo(empty_pb2.Empty()).version
    assert engine.stub.Handshake(provider_pb2.ProviderHandshakeRequest()).accept_secrets
    assert json.loads(engine.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)["name"] == "aws"
    with pytest.raises(grpc.RpcError, match="has no components"):
        engine.stub.Construct(provider_pb2.ConstructRequest(type="aws:x:Y"))


def test_every_type_is_registered_under_its_token() -> None:
    assert all(token == kind.token for token, kind in TYPES.items())


def test_relative_assets_are_relative_to_the_program(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("here")
    assert Asset({"path": "a.txt"}).read(tmp_path) == b"here"
