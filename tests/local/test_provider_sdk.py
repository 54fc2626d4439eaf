"""Property names of every type, at every depth, compared with the installed Pulumi SDK."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from local.provider.shapes import Property
from local.provider.types import TYPES

#: Paths that the SDK has and this provider refuses by name.
REFUSED = {
    "aws:codebuild/project:Project": "projectVisibility resourceAccessRole",
    "aws:s3/bucket:Bucket": "accelerationStatus acl bucketNamespace bucketPrefix corsRules grants lifecycleRules"
    " logging objectLockConfiguration policy replicationConfiguration requestPayer serverSideEncryptionConfiguration"
    " versioning website",
    "aws:s3/bucketNotification:BucketNotification": " ".join(
        [
            f"{kind}{name}"
            for kind, target in (
                ("lambdaFunctions", "lambdaFunctionArn"),
                ("queues", "queueArn"),
                ("topics", "topicArn"),
            )
            for name in ("", ".events", ".filterPrefix", ".filterSuffix", ".id", f".{target}")
        ]
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "expectedBucketOwner timeouts",
    "aws:s3/bucketObjectv2:BucketObjectv2": "acl checksumAlgorithm etag overrideProvider",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": "expectedBucketOwner",
    "aws:s3/bucketVersioning:BucketVersioning": "expectedBucketOwner",
    "aws:iam/role:Role": "inlinePolicies managedPolicyArns",
    "aws:iam/policy:Policy": "delayAfterPolicyCreationInMs",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "evaluationCriteria evaluationInterval evaluationWindow"
    " warmUpConfiguration",
    "aws:cloudwatch/logGroup:LogGroup": "deletionProtectionEnabled",
    "aws:cloudwatch/eventRule:EventRule": "isEnabled",
    "aws:cloudwatch/eventTarget:EventTarget": "appsyncTarget ecsTarget",
    "aws:scheduler/schedule:Schedule": "target.ecsParameters",
    "aws:sns/topic:Topic": "applicationFailureFeedbackRoleArn applicationSuccessFeedbackRoleArn"
    " applicationSuccessFeedbackSampleRate archivePolicy fifoThroughputScope firehoseFailureFeedbackRoleArn"
    " firehoseSuccessFeedbackRoleArn firehoseSuccessFeedbackSampleRate httpFailureFeedbackRoleArn"
    " httpSuccessFeedbackRoleArn httpSuccessFeedbackSampleRate lambdaFailureFeedbackRoleArn"
    " lambdaSuccessFeedbackRoleArn lambdaSuccessFeedbackSampleRate maximumMessageSize sqsFailureFeedbackRoleArn"
    " sqsSuccessFeedbackRoleArn sqsSuccessFeedbackSampleRate",
    "aws:sns/topicSubscription:TopicSubscription": "replayPolicy",
    "aws:appautoscaling/target:Target": "tags",
    "aws:appautoscaling/policy:Policy": "predictiveScalingPolicyConfiguration",
    "aws:ssm/parameter:Parameter": "arn valueWo valueWoVersion",
}


def sdk_type(token: str) -> tuple[Any, Any]:
    """Return the SDK's module and class of a type's inputs."""
    package, name = token.split(":")[1].split("/")[0], token.split(":")[2]
    folder = importlib.import_module(f"pulumi_aws.{package}")
    module = importlib.import_module(getattr(folder, name).__module__)
    # Where another class has the name, the SDK calls the inputs InitArgs.
    return module, getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")


def sdk_paths(module: Any, kind: Any, prefix: str = "") -> set[str]:
    """Return the paths of all inputs of an SDK class."""
    paths = set()
    annotations = kind.__init__.__annotations__
    for name, member in vars(kind).items():
        if isinstance(member, property):
            path = prefix + getattr(member.fget, "_pulumi_name", name)
            paths.add(path)
            inner = re.search(r"'(\w+Args)'", str(annotations.get(name, "")))
            # A policy may be given as a document, which is its JSON text.
            if inner and not inner[1].endswith("PolicyDocumentArgs"):
                paths |= sdk_paths(module, getattr(module, inner[1]), f"{path}.")
    return paths


def our_paths(properties: dict[str, Property], prefix: str = "") -> set[str]:
    paths = set()
    for name, kind in properties.items():
        paths.add(prefix + name)
        while kind.element is not None:
            kind = kind.element
        paths |= our_paths(kind.properties, f"{prefix}{name}.")
    return paths


@pytest.mark.parametrize("token", TYPES)
def test_properties_are_named_as_the_sdk_names_them(token: str) -> None:
    ours, theirs = our_paths(TYPES[token].properties), sdk_paths(*sdk_type(token))
    refused = set(REFUSED.get(token, "").split())
    assert sorted(ours - theirs) == []
    missing = theirs - ours
    assert sorted(path for path in missing if not any(f"{path}.".startswith(f"{known}.") for known in refused)) == []
    assert refused <= missing
