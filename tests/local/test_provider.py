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


def failures(engine: Engine, token: str, news: Values) -> dict[str, str]:
    with pytest.raises(RefusedInputsError) as refused:
        engine.check(token, "flights", news)
    return refused.value.failures


def checked(engine: Engine, token: str, news: Values, old: Values | None = None, **more: Any) -> Values:
    return unmarshal(engine.check(token, "flights", news, old, **more))[0]


def held(engine: Engine, token: str, news: Values, outputs: Values | None = None) -> Made:
    """A resource as if it had been made."""
    inputs = checked(engine, token, news)
    plain = {name: value for name, value in inputs.items() if name != "__defaults"}
    return Made(token, "flights", "flights", inputs, {**plain, "tagsAll": {}, **(outputs or {})})


def kinds(diff: Any) -> dict[str, str]:
    return {path: KIND.Kind.Name(detail.kind) for path, detail in diff.detailedDiff.items()}


# ---- check


def test_a_name_is_made_and_kept(engine: Engine) -> None:
    first = checked(engine, ROLE, {"assumeRolePolicy": trust("a")})
    assert first["name"].startswith("flights-")
    assert len(first["name"]) == len("flights-") + 7
    assert checked(engine, ROLE, {"assumeRolePolicy": trust("b")}, old=first)["name"] == first["name"]
    given = checked(engine, ROLE, {"assumeRolePolicy": trust("b"), "name": "mine"}, old=first)
    assert given["name"] == "mine"
    assert "name" not in given["__defaults"]


def test_a_seed_makes_the_same_name_again(engine: Engine) -> None:
    names = {checked(engine, BUCKET, {}, randomSeed=b"seed")["bucket"] for _ in range(3)}
    assert len(names) == 1


def test_the_projects_naming_is_followed(engine: Engine) -> None:
    proposed = NAMES(proposed_name="ours", mode=NAMES.ENFORCE)
    assert checked(engine, BUCKET, {}, autonaming=proposed)["bucket"] == "ours"
    with pytest.raises(RefusedInputsError, match="names are not generated"):
        engine.check(BUCKET, "flights", {}, autonaming=NAMES(mode=NAMES.DISABLE))


def test_a_name_that_would_be_too_long_is_refused(engine: Engine) -> None:
    with pytest.raises(RefusedInputsError, match="67 characters; expected at most 64"):
        engine.check(ROLE, "x" * 59, {"assumeRolePolicy": trust("a")})


def test_all_that_is_wrong_is_said_at_once(engine: Engine) -> None:
    found = failures(
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


def test_what_is_required_inside_is_asked_for(engine: Engine) -> None:
    found = failures(engine, CONFIG, {"productionVariants": [{"modelName": "m", "instanceType": "ml.huge"}]})
    assert found["productionVariants[0].variantName"] == "required: give a string"
    assert "'ml.huge' is not allowed" in found["productionVariants[0].instanceType"]


def test_a_type_that_is_not_there_is_refused_with_those_that_are(engine: Engine) -> None:
    with pytest.raises(grpc.RpcError, match=r"aws:lambda/function:Function cannot be created.*aws:s3/bucket:Bucket"):
        engine.check("aws:lambda/function:Function", "f", {})


def test_unknown_values_are_not_judged(engine: Engine) -> None:
    inputs = checked(engine, MODEL, {"executionRoleArn": UNKNOWN, "primaryContainer": {"image": UNKNOWN}})
    assert inputs["executionRoleArn"] is UNKNOWN
    assert inputs["primaryContainer"]["mode"] == "SingleModel"


def test_a_policy_may_be_given_as_a_document(engine: Engine) -> None:
    inputs = checked(engine, ROLE, {"assumeRolePolicy": json.loads(trust("a"))})
    assert json.loads(inputs["assumeRolePolicy"]) == json.loads(trust("a"))


# ---- diff


def test_nothing_changed_is_no_difference(engine: Engine) -> None:
    news = {"assumeRolePolicy": trust("a", "b"), "description": ""}
    made = held(engine, ROLE, news)
    assert engine.diff(made, news).changes == DIFF.DIFF_NONE
    reordered = {"assumeRolePolicy": trust("b", "a")}
    assert engine.diff(made, reordered).changes == DIFF.DIFF_NONE


def test_paths_and_kinds_of_changes(engine: Engine) -> None:
    old = {
        "productionVariants": [{"variantName": "a", "modelName": "one", "initialInstanceCount": 1}],
        "tags": {"a.b": "1"},
    }
    new = {"productionVariants": [{"variantName": "a", "modelName": UNKNOWN}], "tags": {"a.b": "2", "c": "3"}}
    made = held(engine, CONFIG, old, {"tagsAll": {"a.b": "1"}})
    diff = engine.diff(made, new)
    assert kinds(diff) == {
        "productionVariants[0].initialInstanceCount": "DELETE_REPLACE",
        "productionVariants[0].modelName": "UPDATE_REPLACE",
        'tags["a.b"]': "UPDATE",
        "tags.c": "ADD",
    }
    assert list(diff.replaces) == ["productionVariants"]
    assert not diff.deleteBeforeReplace


def test_a_given_name_must_be_freed_first(engine: Engine) -> None:
    old = {"executionRoleArn": ROLE_ARN, "name": "fixed"}
    diff = engine.diff(held(engine, MODEL, old), {**old, "enableNetworkIsolation": True})
    assert diff.deleteBeforeReplace
    renamed = engine.diff(held(engine, MODEL, old), {**old, "name": "other"})
    assert kinds(renamed) == {"name": "UPDATE_REPLACE"}
    assert not renamed.deleteBeforeReplace


def test_a_rollback_configuration_that_comes_replaces_one_that_changes_does_not(engine: Engine) -> None:
    routing = {"type": "ALL_AT_ONCE", "waitIntervalInSeconds": 0}
    policy = {"blueGreenUpdatePolicy": {"trafficRoutingConfiguration": routing}}

    def guarded(*alarms: str) -> Values:
        rollback = {"alarms": [{"alarmName": alarm} for alarm in alarms]}
        return {"endpointConfigName": "c", "deploymentConfig": {**policy, "autoRollbackConfiguration": rollback}}

    bare = {"endpointConfigName": "c", "deploymentConfig": policy}
    path = "deploymentConfig.autoRollbackConfiguration"
    assert kinds(engine.diff(held(engine, ENDPOINT, bare), guarded("a"))) == {path: "ADD_REPLACE"}
    assert kinds(engine.diff(held(engine, ENDPOINT, guarded("a", "b")), guarded("b", "a"))) == {}
    assert kinds(engine.diff(held(engine, ENDPOINT, guarded("a")), guarded("b"))) == {f"{path}.alarms[0]": "UPDATE"}
    nothing = {"endpointConfigName": "c"}
    assert kinds(engine.diff(held(engine, ENDPOINT, nothing), guarded("a"))) == {"deploymentConfig": "ADD_REPLACE"}
    assert kinds(engine.diff(held(engine, ENDPOINT, nothing), bare)) == {"deploymentConfig": "ADD"}


def test_a_feature_group_changes_only_its_time_to_live_in_place(engine: Engine) -> None:
    news = {
        "featureGroupName": "weather",
        "recordIdentifierFeatureName": "origin",
        "eventTimeFeatureName": "known_at",
        "featureDefinitions": [{"featureName": "origin", "featureType": "String"}],
        "roleArn": ROLE_ARN,
        "onlineStoreConfig": {"enableOnlineStore": True, "ttlDuration": {"unit": "Days", "value": 1}},
    }
    made = held(engine, GROUP, news)
    longer = {**news, "onlineStoreConfig": {"enableOnlineStore": True, "ttlDuration": {"unit": "Days", "value": 2}}}
    assert kinds(engine.diff(made, longer)) == {"onlineStoreConfig.ttlDuration.value": "UPDATE"}
    more = [*news["featureDefinitions"], {"featureName": "wind", "featureType": "Fractional"}]
    assert kinds(engine.diff(made, {**news, "featureDefinitions": more})) == {"featureDefinitions[1]": "ADD_REPLACE"}


def test_a_rolled_back_endpoint_differs_from_its_program(engine: Engine) -> None:
    news = {"endpointConfigName": "green"}
    made = held(engine, ENDPOINT, news, {"endpointConfigName": "blue"})
    assert kinds(engine.diff(made, news)) == {"endpointConfigName": "UPDATE"}


def test_the_same_definition_otherwise_written_is_no_difference(engine: Engine) -> None:
    news = {
        "pipelineName": "p",
        "pipelineDisplayName": "p",
        "roleArn": ROLE_ARN,
        "pipelineDefinition": '{"Version": "2020-12-01", "Steps": [1, 2]}',
    }
    made = held(engine, PIPELINE, news)
    assert (
        engine.diff(made, {**news, "pipelineDefinition": '{"Steps":[1,2],"Version":"2020-12-01"}'}).changes
        == DIFF.DIFF_NONE
    )
    assert (
        engine.diff(made, {**news, "pipelineDefinition": '{"Steps":[2,1],"Version":"2020-12-01"}'}).changes
        == DIFF.DIFF_SOME
    )


def test_checks_and_differences_are_quick(engine: Engine) -> None:
    news = {"productionVariants": [{"variantName": "a", "modelName": "one", "initialInstanceCount": 1}]}
    made = held(engine, CONFIG, news)
    engine.diff(made, news)
    started = time.perf_counter()
    for _ in range(50):
        engine.diff(made, news)
    assert (time.perf_counter() - started) / 50 < 0.02


# ---- preview


def test_a_preview_makes_nothing_and_knows_what_can_be_known(engine: Engine, endpoint_url: str) -> None:
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


def test_an_object_from_assets(engine: Engine, endpoint_url: str) -> None:
    bucket = engine.create(BUCKET, "assets", {"forceDestroy": True})
    report = hashlib.sha256(b"a report").hexdigest()

    def source(**fields: Any) -> Values:
        return {"bucket": bucket.id, "key": "k", "source": Asset(fields), "tags": {"a b": "c=d"}}

    made = engine.create(OBJECT, "object", source(path="report.txt", hash=report))
    assert body(endpoint_url, bucket.id) == b"a report"
    assert engine.diff(made, source(path="elsewhere/report.txt", hash=report)).changes == DIFF.DIFF_NONE
    news = source(text="new", hash=hashlib.sha256(b"new").hexdigest())
    assert kinds(engine.diff(made, news)) == {"source": "UPDATE"}
    made = engine.update(made, news)
    assert body(endpoint_url, bucket.id) == b"new"
    assert made.outputs["tagsAll"] == {"a b": "c=d"}
    with pytest.raises(grpc.RpcError, match=r"gone\.txt"):
        engine.update(made, source(path="gone.txt", hash="0"))
    engine.delete(bucket)
    assert engine.refresh(made) is None


def test_an_archive_is_the_same_bytes_every_time(engine: Engine, endpoint_url: str) -> None:
    bucket = engine.create(BUCKET, "archives", {})
    inner = Asset({"assets": {"c.py": Asset({"text": "3", "hash": "c"})}, "hash": "d"}, archive=True)
    files = {"b.py": Asset({"text": "2", "hash": "b"}), "a.py": Asset({"text": "1", "hash": "a"}), "in": inner}
    bodies = set()
    for name in ("one", "two"):
        archive = Asset({"assets": files, "hash": "c"}, archive=True)
        made = engine.create(OBJECT, name, {"bucket": bucket.id, "key": "k", "source": archive})
        bodies.add(body(endpoint_url, bucket.id))
        engine.delete(made)
    assert len(bodies) == 1
    with zipfile.ZipFile(io.BytesIO(bodies.pop())) as archived:
        assert archived.namelist() == ["a.py", "b.py", "in/c.py"]


def body(endpoint_url: str, bucket: str) -> bytes:
    s3 = boto3.client("s3", endpoint_url=endpoint_url, region_name="eu-west-1", **ANYONE)
    return bytes(s3.get_object(Bucket=bucket, Key="k")["Body"].read())


# ---- drift, import, failures


def test_drift_shows_and_is_mended(engine: Engine, endpoint_url: str) -> None:
    news = {"assumeRolePolicy": trust("a"), "description": "ours", "tags": {"a": "b"}}
    made = engine.create(ROLE, "drift", news)
    iam = boto3.client("iam", endpoint_url=endpoint_url, region_name="eu-west-1", **ANYONE)
    iam.update_role(RoleName=made.id, Description="theirs")
    iam.tag_role(RoleName=made.id, Tags=[{"Key": "intruder", "Value": "x"}])
    refreshed = engine.refresh(made)
    assert refreshed is not None
    assert refreshed.inputs["description"] == "theirs"
    assert kinds(engine.diff(refreshed, news)) == {
        "description": "UPDATE",
        "tags.intruder": "DELETE",
    }
    engine.update(refreshed, news)
    assert iam.get_role(RoleName=made.id)["Role"]["Description"] == "ours"
    assert iam.list_role_tags(RoleName=made.id)["Tags"] == [{"Key": "a", "Value": "b"}]


def test_an_import_gives_the_inputs_of_a_program(engine: Engine) -> None:
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


def test_a_resource_that_is_made_and_not_finished_is_not_lost(engine: Engine) -> None:
    with pytest.raises(UnfinishedError, match="PutBucketTagging") as unfinished:
        engine.create(BUCKET, "half", {"bucket": "half-made", "tags": {"aws:system": "x"}})
    assert unfinished.value.id == "half-made"
    assert unfinished.value.state["bucket"] == "half-made"


def test_a_full_bucket_is_not_deleted_unless_the_program_says_so(engine: Engine) -> None:
    bucket = engine.create(BUCKET, "full", {})
    engine.create(OBJECT, "object", {"bucket": bucket.id, "key": "k", "content": "x"})
    with pytest.raises(grpc.RpcError, match="BucketNotEmpty"):
        engine.delete(bucket)
    engine.delete(engine.update(bucket, {"forceDestroy": True}))
    assert engine.refresh(bucket) is None


# ---- configuration and functions


def test_default_tags_reach_everything_and_their_change_shows(running: server.Running) -> None:
    first = Engine(running.socket, config={"defaultTags": json.dumps({"tags": {"team": "a"}})})
    second = Engine(running.socket, config={"defaultTags": {"tags": {"team": "b"}}})
    made = first.create(BUCKET, "tagged", {"tags": {"own": "1"}})
    assert made.outputs["tags"] == {"own": "1"}
    assert made.outputs["tagsAll"] == {"team": "a", "own": "1"}
    assert kinds(second.diff(made, {"tags": {"own": "1"}})) == {"tagsAll": "UPDATE"}
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
def test_the_region_of_the_environment_counts_where_none_is_configured(
    running: server.Running, environment: dict[str, str], region: str
) -> None:
    engine = Engine(running.socket, config={"region": None}, environment=environment)
    assert engine.invoke("aws:index/getRegion:getRegion", {})["region"] == region
    assert f":{region}:" in engine.create("aws:sqs/queue:Queue", "by-environment", {}).outputs["arn"]
    engine.close()
    engine = Engine(running.socket, region="eu-west-3", environment=environment)
    assert engine.invoke("aws:index/getRegion:getRegion", {})["region"] == "eu-west-3"
    engine.close()


def test_a_region_that_there_is_not_is_refused(running: server.Running) -> None:
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


def test_configuration_that_means_nothing_here_is_refused(running: server.Running) -> None:
    with pytest.raises(RefusedInputsError, match="assumeRoles"):
        Engine(running.socket, config={"assumeRoles": "[]"})
    with pytest.raises(RefusedInputsError, match=r"pulumi config set aws:region.*or set AWS_REGION"):
        Engine(running.socket, config={"region": None})


def test_functions(engine: Engine) -> None:
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


def test_the_plugin_says_what_it_is(engine: Engine) -> None:
    assert engine.stub.GetPluginInfo(empty_pb2.Empty()).version
    assert engine.stub.Handshake(provider_pb2.ProviderHandshakeRequest()).accept_secrets
    assert json.loads(engine.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)["name"] == "aws"
    with pytest.raises(grpc.RpcError, match="has no components"):
        engine.stub.Construct(provider_pb2.ConstructRequest(type="aws:x:Y"))


def test_every_type_is_where_the_sdk_looks_for_it() -> None:
    assert all(token == kind.token for token, kind in TYPES.items())


def test_relative_assets_are_relative_to_the_program(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("here")
    assert Asset({"path": "a.txt"}).read(tmp_path) == b"here"
