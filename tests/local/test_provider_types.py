"""Life cycle of every resource type against moto: create, diff, refresh, update, delete twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from pulumi.runtime.proto import provider_pb2

from local.provider import server
from local.provider.types import TYPES
from tests.local.provider_engine import Engine, Made, Values

NONE, SOME = provider_pb2.DiffResponse.DIFF_NONE, provider_pb2.DiffResponse.DIFF_SOME
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def allow(action: str, resource: str = "*", **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": [action], "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def endpoint_url() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(scope="module")
def engine(endpoint_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    anyone = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    running = server.start(endpoint_url, anyone, tmp_path_factory.mktemp("provider"))
    engine = Engine(running.socket, config={"defaultTags": json.dumps({"tags": {"owner": "tests"}})})
    yield engine
    engine.close()
    running.stop()


class World:
    """Resources that other resources need, created once by the provider itself."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._made: dict[str, Made] = {}

    def make(self, token: str, inputs: Values) -> Made:
        if token not in self._made:
            self._made[token] = self.engine.create(token, "world", inputs)
        return self._made[token]

    @property
    def bucket(self) -> str:
        return self.make("aws:s3/bucket:Bucket", {}).id

    @property
    def key(self) -> Made:
        return self.make("aws:kms/key:Key", {"description": "world"})

    @property
    def role(self) -> Made:
        return self.make("aws:iam/role:Role", {"assumeRolePolicy": TRUST})

    @property
    def policy(self) -> Made:
        return self.make("aws:iam/policy:Policy", {"policy": allow("s3:GetObject")})

    @property
    def rule(self) -> Made:
        pattern = json.dumps({"source": ["aws.sagemaker"]})
        return self.make("aws:cloudwatch/eventRule:EventRule", {"eventPattern": pattern})

    @property
    def topic(self) -> Made:
        return self.make("aws:sns/topic:Topic", {})

    @property
    def queue(self) -> Made:
        return self.make("aws:sqs/queue:Queue", {})

    @property
    def target(self) -> Made:
        inputs = {
            "serviceNamespace": "sagemaker",
            "resourceId": "endpoint/one/variant/AllTraffic",
            "scalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "minCapacity": 1,
            "maxCapacity": 2,
        }
        return self.make("aws:appautoscaling/target:Target", inputs)


@pytest.fixture(scope="module")
def world(engine: Engine) -> World:
    return World(engine)


def schedule_inputs(target: Values) -> Values:
    return {
        "flexibleTimeWindow": {"mode": "OFF"},
        "scheduleExpression": "rate(1 hour)",
        "target": target,
    }


ALARM = {
    "comparisonOperator": "GreaterThanThreshold",
    "evaluationPeriods": 1,
    "metricName": "Psi",
    "namespace": "Flights",
    "period": 60,
    "statistic": "Maximum",
    "threshold": 0.2,
    "dimensions": {"Endpoint": "flights", "Variant": "AllTraffic"},
}

NOT_IN_MOTO = {
    "aws:cloudwatch/compositeAlarm:CompositeAlarm",
    # moto keeps both of two filters of one name.
    "aws:cloudwatch/logMetricFilter:LogMetricFilter",
    "aws:codebuild/project:Project",
    "aws:s3/bucketNotification:BucketNotification",
}

#: For each type: its inputs, and those after a change in place (None where every change replaces).
CASES: dict[str, Any] = {
    "aws:s3/bucket:Bucket": (
        lambda w: {"tags": {"stage": "one"}},
        lambda w: {"tags": {"stage": "two"}, "forceDestroy": True},
    ),
    "aws:s3/bucketVersioning:BucketVersioning": (
        lambda w: {"bucket": w.bucket, "versioningConfiguration": {"status": "Enabled"}},
        lambda w: {"bucket": w.bucket, "versioningConfiguration": {"status": "Suspended"}},
    ),
    "aws:s3/bucketPolicy:BucketPolicy": (
        lambda w: {"bucket": w.bucket, "policy": allow("s3:GetObject", f"arn:aws:s3:::{w.bucket}/*", Principal="*")},
        lambda w: {"bucket": w.bucket, "policy": allow("s3:PutObject", f"arn:aws:s3:::{w.bucket}/*", Principal="*")},
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": (
        lambda w: {"bucket": w.bucket, "blockPublicAcls": True, "blockPublicPolicy": True},
        lambda w: {"bucket": w.bucket, "blockPublicAcls": True, "restrictPublicBuckets": True},
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        lambda w: {
            "bucket": w.bucket,
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": {
                        "sseAlgorithm": "aws:kms",
                        "kmsMasterKeyId": w.key.outputs["arn"],
                    },
                    "bucketKeyEnabled": True,
                }
            ],
        },
        lambda w: {
            "bucket": w.bucket,
            "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}],
        },
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        lambda w: {
            "bucket": w.bucket,
            "rules": [{"id": "old", "status": "Enabled", "filter": {"prefix": "logs/"}, "expiration": {"days": 30}}],
        },
        lambda w: {
            "bucket": w.bucket,
            "rules": [{"id": "old", "status": "Enabled", "filter": {"prefix": "logs/"}, "expiration": {"days": 7}}],
        },
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": (
        lambda w: {"bucket": w.bucket, "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        lambda w: {"bucket": w.bucket, "rule": {"objectOwnership": "ObjectWriter"}},
    ),
    "aws:s3/bucketObjectv2:BucketObjectv2": (
        lambda w: {"bucket": w.bucket, "content": "one", "contentType": "text/plain", "tags": {"a": "b"}},
        lambda w: {"bucket": w.bucket, "content": "two", "contentType": "text/plain", "tags": {"a": "c"}},
    ),
    "aws:kms/key:Key": (
        lambda w: {"description": "one", "enableKeyRotation": True, "deletionWindowInDays": 7, "tags": {"a": "b"}},
        lambda w: {"description": "two", "enableKeyRotation": False, "deletionWindowInDays": 7},
    ),
    "aws:kms/alias:Alias": (
        lambda w: {"targetKeyId": w.key.outputs["keyId"]},
        None,
    ),
    "aws:kms/keyPolicy:KeyPolicy": (
        lambda w: {"keyId": w.key.outputs["keyId"], "policy": allow("kms:*", Principal="*")},
        lambda w: {"keyId": w.key.outputs["keyId"], "policy": allow("kms:Encrypt", Principal="*")},
    ),
    "aws:iam/role:Role": (
        lambda w: {"assumeRolePolicy": TRUST, "description": "one", "tags": {"a": "b", "c": "d"}},
        lambda w: {"assumeRolePolicy": TRUST, "maxSessionDuration": 7200, "tags": {"a": "x"}},
    ),
    "aws:iam/policy:Policy": (
        lambda w: {"policy": allow("s3:GetObject"), "description": "fixed"},
        lambda w: {"policy": allow("s3:PutObject"), "description": "fixed"},
    ),
    "aws:iam/rolePolicy:RolePolicy": (
        lambda w: {"role": w.role.id, "policy": allow("s3:GetObject")},
        lambda w: {"role": w.role.id, "policy": allow("s3:PutObject")},
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": (
        lambda w: {"role": w.role.id, "policyArn": w.policy.id},
        None,
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (
        lambda w: {**ALARM, "alarmActions": [w.topic.id], "tags": {"a": "b"}},
        lambda w: {**ALARM, "threshold": 0.3, "treatMissingData": "breaching"},
    ),
    "aws:cloudwatch/dashboard:Dashboard": (
        lambda w: {"dashboardName": "flights", "dashboardBody": json.dumps({"widgets": []})},
        lambda w: {"dashboardName": "flights", "dashboardBody": json.dumps({"widgets": [{"type": "text"}]})},
    ),
    "aws:cloudwatch/logGroup:LogGroup": (
        lambda w: {"retentionInDays": 30, "tags": {"a": "b"}},
        lambda w: {"tags": {"a": "c"}},
    ),
    "aws:cloudwatch/eventRule:EventRule": (
        lambda w: {
            "eventPattern": json.dumps({"source": ["aws.cloudwatch"]}),
            "description": "one",
            "tags": {"a": "b"},
        },
        lambda w: {"eventPattern": json.dumps({"source": ["aws.sagemaker"]}), "state": "DISABLED", "tags": {"a": "b"}},
    ),
    "aws:cloudwatch/eventTarget:EventTarget": (
        lambda w: {
            "rule": w.rule.id,
            "arn": "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/flights",
            "roleArn": w.role.outputs["arn"],
            "sagemakerPipelineTarget": {
                "pipelineParameterLists": [{"name": "b", "value": "2"}, {"name": "a", "value": "1"}]
            },
            "deadLetterConfig": {"arn": w.queue.outputs["arn"]},
        },
        lambda w: {
            "rule": w.rule.id,
            "arn": "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/flights",
            "roleArn": w.role.outputs["arn"],
            "sagemakerPipelineTarget": {"pipelineParameterLists": [{"name": "a", "value": "$.detail.x"}]},
        },
    ),
    "aws:scheduler/schedule:Schedule": (
        lambda w: schedule_inputs({"arn": w.queue.outputs["arn"], "roleArn": w.role.outputs["arn"], "input": "{}"}),
        lambda w: {
            **schedule_inputs({"arn": w.queue.outputs["arn"], "roleArn": w.role.outputs["arn"], "input": "{}"}),
            "scheduleExpression": "rate(2 hours)",
            "state": "DISABLED",
        },
    ),
    "aws:scheduler/scheduleGroup:ScheduleGroup": (
        lambda w: {"tags": {"a": "b"}},
        lambda w: {"tags": {"a": "c"}},
    ),
    "aws:sns/topic:Topic": (
        lambda w: {"displayName": "one", "tags": {"a": "b"}},
        lambda w: {"displayName": "two", "kmsMasterKeyId": "alias/aws/sns", "tags": {"a": "b"}},
    ),
    "aws:sns/topicPolicy:TopicPolicy": (
        lambda w: {"arn": w.topic.id, "policy": allow("sns:Publish", w.topic.id, Principal="*")},
        lambda w: {"arn": w.topic.id, "policy": allow("sns:Subscribe", w.topic.id, Principal="*")},
    ),
    "aws:sns/topicSubscription:TopicSubscription": (
        lambda w: {"topic": w.topic.id, "protocol": "sqs", "endpoint": w.queue.outputs["arn"]},
        lambda w: {
            "topic": w.topic.id,
            "protocol": "sqs",
            "endpoint": w.queue.outputs["arn"],
            "rawMessageDelivery": True,
        },
    ),
    "aws:sqs/queue:Queue": (
        lambda w: {"messageRetentionSeconds": 1209600, "sqsManagedSseEnabled": True, "tags": {"a": "b"}},
        lambda w: {"messageRetentionSeconds": 3600, "delaySeconds": 5, "tags": {}},
    ),
    "aws:sqs/queuePolicy:QueuePolicy": (
        lambda w: {"queueUrl": w.queue.id, "policy": allow("sqs:SendMessage", w.queue.outputs["arn"], Principal="*")},
        lambda w: {
            "queueUrl": w.queue.id,
            "policy": allow("sqs:ReceiveMessage", w.queue.outputs["arn"], Principal="*"),
        },
    ),
    "aws:appautoscaling/target:Target": (
        lambda w: {
            "serviceNamespace": "sagemaker",
            "resourceId": "endpoint/flights/variant/AllTraffic",
            "scalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "minCapacity": 1,
            "maxCapacity": 2,
        },
        lambda w: {
            "serviceNamespace": "sagemaker",
            "resourceId": "endpoint/flights/variant/AllTraffic",
            "scalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "minCapacity": 1,
            "maxCapacity": 4,
        },
    ),
    "aws:appautoscaling/policy:Policy": (
        lambda w: scaling(w, 100.0),
        lambda w: scaling(w, 200.5),
    ),
    "aws:ssm/parameter:Parameter": (
        lambda w: {"type": "String", "value": "one", "tags": {"a": "b"}},
        lambda w: {"type": "String", "value": "two", "tags": {"a": "b"}},
    ),
    "aws:ecr/repository:Repository": (
        lambda w: {"name": "images", "forceDelete": True, "tags": {"a": "b"}},
        lambda w: {"name": "images", "forceDelete": True, "imageTagMutability": "IMMUTABLE"},
    ),
}


def scaling(world: World, value: float) -> Values:
    return {
        "policyType": "TargetTrackingScaling",
        "serviceNamespace": "sagemaker",
        "resourceId": world.target.id,
        "scalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "targetTrackingScalingPolicyConfiguration": {
            "targetValue": value,
            "scaleInCooldown": 60,
            "predefinedMetricSpecification": {"predefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    }


def test_every_type_has_a_case() -> None:
    elsewhere = {token for token in TYPES if token.startswith("aws:sagemaker/")} | NOT_IN_MOTO
    assert CASES.keys() == TYPES.keys() - elsewhere


@pytest.mark.parametrize("token", CASES)
def test_the_life_cycle_of_a_resource(engine: Engine, world: World, token: str) -> None:
    first, second = CASES[token]
    news = first(world)
    made = engine.create(token, "life", news)
    assert made.id
    assert engine.diff(made, news).changes == NONE, describe_diff(engine, made, news)

    refreshed = engine.refresh(made)
    assert refreshed is not None
    assert refreshed.inputs == made.inputs
    assert engine.diff(refreshed, news).changes == NONE, describe_diff(engine, refreshed, news)
    if TYPES[token].tagging is not None:
        assert made.outputs["tagsAll"] == {"owner": "tests", **news.get("tags", {})}

    if second is not None:
        newer = second(world)
        found = engine.diff(made, newer)
        assert found.changes == SOME
        assert not found.replaces
        made = engine.update(made, newer)
        assert engine.diff(made, newer).changes == NONE, describe_diff(engine, made, newer)
        refreshed = engine.refresh(made)
        assert refreshed is not None
        assert engine.diff(refreshed, newer).changes == NONE, describe_diff(engine, refreshed, newer)

    engine.delete(made)
    engine.delete(made)
    assert engine.refresh(made) is None or token in {
        "aws:kms/keyPolicy:KeyPolicy",
        "aws:sns/topicPolicy:TopicPolicy",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    }


def describe_diff(engine: Engine, made: Made, news: Values) -> Any:
    return {path: detail.kind for path, detail in engine.diff(made, news).detailedDiff.items()}, made
