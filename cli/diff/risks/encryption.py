"""Rules for weaker encryption, and for less protection from access from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.diff import permissions, pipelines, traffic
from cli.diff.permissions import policies
from cli.diff.preview import Preview
from cli.diff.risks.resources import find_name, is_turned_off
from cli.diff.risks.risk import Cause, Code, Risk, caused_by

_ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
_VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
#: Types of resource with an input that must not be turned off.
_SWITCHES = (
    ("aws:kms/key:Key", "enableKeyRotation", Code.KEY_ROTATION),
    ("aws:sqs/queue:Queue", "sqsManagedSseEnabled", Code.QUEUE_ENCRYPTION),
    ("aws:sns/topic:Topic", "kmsMasterKeyId", Code.TOPIC_ENCRYPTION),
    (traffic.CONFIG, "kmsKeyArn", Code.DISK_ENCRYPTION),
    (policies.ROLE, "permissionsBoundary", Code.ROLE_BOUNDARY),
    (policies.USER, "permissionsBoundary", Code.USER_BOUNDARY),
    (_BLOCK, "blockPublicAcls", Code.PUBLIC_ACCESS),
    (_BLOCK, "blockPublicPolicy", Code.PUBLIC_ACCESS),
    (_BLOCK, "ignorePublicAcls", Code.PUBLIC_ACCESS),
    (_BLOCK, "restrictPublicBuckets", Code.PUBLIC_ACCESS),
)
_POLICIES = ("aws:s3/bucketPolicy:BucketPolicy", "aws:sqs/queuePolicy:QueuePolicy", "aws:sns/topicPolicy:TopicPolicy")


def list_risks(preview: Preview) -> Iterator[Risk]:
    """Yield the risks that others can read or change data from then on.

    Args:
        preview: The preview of the change.
    """
    for resource in preview.find_resources(_ENCRYPTION):
        if resource.old is None or resource.new is None:
            continue
        if _uses_kms(resource.old) and not _uses_kms(resource.new):
            yield Risk(Code.ENCRYPTION_KEY, find_name(resource), resource.type, caused_by("rules"))
    for token, key, code in _SWITCHES:
        for resource in preview.find_resources(token):
            if is_turned_off(resource, key):
                yield Risk(code, find_name(resource), resource.type, caused_by(key))
    for resource in preview.find_resources(_VERSIONING):
        before, after = (
            (side.get("versioningConfiguration") or {}).get("status") for side in (resource.before, resource.after)
        )
        if resource.new is not None and before == "Enabled" and after != "Enabled":
            yield Risk(Code.VERSIONING, find_name(resource), resource.type, caused_by("versioningConfiguration"))
    for resource in preview.find_resources(traffic.CONFIG):
        old, new = (side.get("dataCaptureConfig") or {} for side in (resource.before, resource.after))
        if new.get("enableCapture") and old.get("kmsKeyId") and not new.get("kmsKeyId"):
            cause = caused_by("dataCaptureConfig.kmsKeyId")
            yield Risk(Code.CAPTURE_ENCRYPTION, find_name(resource), resource.type, cause)
    yield from _list_plain_http(preview)
    yield from _list_jobs(preview)


def _uses_kms(inputs: Mapping[str, Any]) -> bool:
    rules = inputs.get("rules") or []
    defaults = [rule.get("applyServerSideEncryptionByDefault") or {} for rule in rules]
    return any(str(each.get("sseAlgorithm", "")).startswith("aws:kms") for each in defaults)


def _list_plain_http(preview: Preview) -> Iterator[Risk]:
    """Yield the risks of policies that denied plain HTTP and no longer do."""
    for resource in preview.find_resources(*_POLICIES):
        before = permissions.read_policy(resource.before.get("policy")) or set()
        after = permissions.read_policy(resource.after.get("policy")) if resource.new is not None else set()
        if after is None:
            continue
        refused = {each for each in before if each.effect == "Deny" and "aws:SecureTransport" in each.condition}
        if permissions.compare_permissions(refused, {each for each in after if each.effect == "Deny"})[1]:
            cause = caused_by("policy") if resource.new is not None else Cause.NOT_DECLARED
            yield Risk(Code.PLAIN_HTTP, find_name(resource), resource.type, cause)


def _list_jobs(preview: Preview) -> Iterator[Risk]:
    """Yield the risks of steps that name fewer encryption keys for their disks and results than before."""
    for pipeline in preview.find_resources(pipelines.PIPELINE):
        before, after = pipelines.parse_definition(pipeline.before), pipelines.parse_definition(pipeline.after)
        if before is None or after is None:
            continue
        old, new = pipelines.list_steps(before), pipelines.list_steps(after)
        bare = sorted(name for name in old if name in new and len(_list_keys(new[name])) < len(_list_keys(old[name])))
        if bare:
            cause, fields = caused_by("pipelineDefinition"), {"steps": ", ".join(bare)}
            yield Risk(Code.JOB_ENCRYPTION, find_name(pipeline), pipeline.type, cause, fields)


def _list_keys(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        mine = [key for key in ("VolumeKmsKeyId", "KmsKeyId") if value.get(key)]
        return [*mine, *(key for each in value.values() for key in _list_keys(each))]
    return [key for each in value for key in _list_keys(each)] if isinstance(value, list) else []
