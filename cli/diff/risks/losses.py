"""Losses when a resource is deleted or replaced: one row for each type that holds something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cli.diff.preview import Resource


@dataclass(frozen=True)
class Loss:
    """The loss of a resource that is deleted or replaced.

    Attributes:
        noun: What a person calls the resource.
        deleted: The consequence of deleting it.
        replaced: The consequence of replacing it.
        fix: What to do instead.
    """

    noun: str
    deleted: str
    replaced: str
    fix: str


def _bucket(resource: Resource) -> Loss:
    forced = bool(resource.before.get("forceDestroy"))
    how = (
        "Everything in it is deleted too: snapshots, training data, models, captured requests, the offline store."
        if forced
        else "It contains snapshots, training data, models, captured requests and the offline store; "
        "AWS refuses to delete a bucket that is not empty, so the deployment fails halfway."
    )
    return Loss(
        "bucket",
        how,
        how,
        "Keep its name and region; to move the data, copy it to a new bucket first and keep this one.",
    )


def _key(resource: Resource) -> Loss:
    days = resource.before.get("deletionWindowInDays", 30)
    after = f"{days:g} days" if isinstance(days, int | float) else "its waiting period"
    return Loss(
        "KMS key",
        f"After {after} nothing encrypted with it can be read again: the lake, the feature store, captured requests.",
        f"Data encrypted with the old key stays encrypted with it and is lost for ever after {after}.",
        "Keep the key. If its deletion is already scheduled, cancel it in time with `aws kms cancel-key-deletion`.",
    )


_FEATURE_GROUP = Loss(
    "feature group",
    "Its online store is deleted: the endpoint finds none of its features. The offline store's files stay in the lake.",
    "Its online store is recreated empty: predictions lack these features until they are published again. "
    "The offline store's files stay in the lake.",
    "Features can only be added to a group. Revert this, or declare a new table with a new name and keep this one.",
)
_REGISTRY = Loss(
    "model package group",
    "The history of all models is deleted too: versions, metrics, approvals, lineage. A rollback is impossible.",
    "The history of all models is deleted too; the new group is empty, so no model is approved and none may serve.",
    "Keep its name and description: neither can be changed later.",
)
_ENDPOINT = Loss(
    "endpoint",
    "Serving stops: every request fails from then on.",
    "Serving stops until the new one is in service; there is no rollout and no rollback.",
    "Keep its name and its rollback alarms: adding or removing the whole block replaces the endpoint.",
)
_CONFIGURATION = Loss(
    "endpoint configuration",
    "The endpoint can no longer be updated, or rolled back to this configuration.",
    "The old one is deleted immediately, so a rollback to it is impossible.",
    "Keep old configurations (retain_on_delete); `millrace gc` deletes them when they are no longer needed.",
)
_MODEL = Loss(
    "model",
    "A rollback to a configuration that uses it is no longer possible.",
    "The old one is deleted immediately, so a rollback to it is impossible.",
    "Keep old models (retain_on_delete); `millrace gc` deletes them when they are no longer needed.",
)
_QUEUE = Loss(
    "queue",
    "Undelivered triggers in it are lost, and later ones are lost silently.",
    "Undelivered triggers in it are lost.",
    "Read its messages first: `aws sqs receive-message ${AWS_ENDPOINT_URL:+--endpoint-url $AWS_ENDPOINT_URL}`; then "
    "keep its name.",
)
_TOPIC = Loss(
    "topic",
    "Alarms no longer notify anybody.",
    "Its subscriptions are deleted: each address must confirm again and is not notified until it has.",
    "Keep its name, or ask all subscribers to confirm again.",
)
_ROLE = Loss(
    "role",
    "Everything that runs under it stops working.",
    "Its ARN changes. Anything that runs meanwhile loses its permissions, and resources that cannot change their "
    "role, such as a feature group, are replaced too.",
    "Keep its name and path; change its policies instead, which happens in place.",
)
_PIPELINE = Loss(
    "pipeline",
    "It can no longer be run, and its execution history is deleted.",
    "Its execution history is deleted; whatever starts it must refer to the new one.",
    "Keep its name.",
)
_OBJECT = Loss(
    "object",
    "The object is deleted; if it is code, old models can no longer be reproduced.",
    "The old one is deleted; if it is code, old models can no longer be reproduced.",
    "Keep old objects (retain_on_delete).",
)
_LOGS = Loss("log group", "Its logs are deleted.", "Its logs are deleted.", "Keep its name, or export the logs first.")
_REPOSITORY = Loss(
    "image repository",
    "Its images are deleted; models that use them cannot be started again.",
    "Its images are deleted; models that use them cannot be started again.",
    "Keep its name.",
)
_TRACKING = Loss(
    "experiment tracking",
    "It is no longer available; runs stored in the lake stay there.",
    "It is unavailable for some minutes, and its address changes.",
    "Keep its name, role and version.",
)
_DATABASE = Loss(
    "Glue database",
    "Its tables are deleted: the offline store can no longer be queried by name. The files stay.",
    "Its tables are missing until they are recreated. The files stay.",
    "Keep its name.",
)
_PUBLIC = Loss(
    "public access block",
    "A policy or an access list can open the bucket to everybody.",
    "For a short time a policy or an access list can open the bucket to everybody.",
    "Keep it.",
)
_ENCRYPTION = Loss(
    "encryption rule of the bucket",
    "New objects are no longer encrypted with the lake's own key.",
    "For a short time new objects are not encrypted with the lake's own key.",
    "Keep it.",
)
_VERSIONING = Loss(
    "versioning of the bucket",
    "Objects that are overwritten or deleted from then on cannot be restored.",
    "Objects that are overwritten or deleted meanwhile cannot be restored.",
    "Keep it.",
)
_SUBSCRIPTION = Loss(
    "subscription",
    "One address fewer is notified of alarms.",
    "The address must confirm again and is not notified until it has.",
    "Keep at least one address that somebody reads.",
)

_LOSSES: dict[str, Loss | Callable[[Resource], Loss]] = {
    "aws:s3/bucket:Bucket": _bucket,
    "aws:s3/bucketV2:BucketV2": _bucket,
    "aws:kms/key:Key": _key,
    "aws:sagemaker/featureGroup:FeatureGroup": _FEATURE_GROUP,
    "aws:sagemaker/modelPackageGroup:ModelPackageGroup": _REGISTRY,
    "aws:sagemaker/endpoint:Endpoint": _ENDPOINT,
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": _CONFIGURATION,
    "aws:sagemaker/model:Model": _MODEL,
    "aws:sqs/queue:Queue": _QUEUE,
    "aws:sns/topic:Topic": _TOPIC,
    "aws:iam/role:Role": _ROLE,
    "aws:sagemaker/pipeline:Pipeline": _PIPELINE,
    "aws:s3/bucketObjectv2:BucketObjectv2": _OBJECT,
    "aws:s3/bucketObject:BucketObject": _OBJECT,
    "aws:cloudwatch/logGroup:LogGroup": _LOGS,
    "aws:ecr/repository:Repository": _REPOSITORY,
    "aws:sagemaker/mlflowTrackingServer:MlflowTrackingServer": _TRACKING,
    "aws:sagemaker/mlflowApp:MlflowApp": _TRACKING,
    "aws:glue/catalogDatabase:CatalogDatabase": _DATABASE,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _PUBLIC,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _ENCRYPTION,
    "aws:s3/bucketVersioning:BucketVersioning": _VERSIONING,
    "aws:sns/topicSubscription:TopicSubscription": _SUBSCRIPTION,
}

#: Types whose deletion or replacement loses nothing, or is reported by another rule.
_HARMLESS = frozenset(
    {
        "aws:appautoscaling/policy:Policy",
        "aws:appautoscaling/target:Target",
        "aws:budgets/budget:Budget",
        "aws:cloudwatch/compositeAlarm:CompositeAlarm",
        "aws:cloudwatch/dashboard:Dashboard",
        "aws:cloudwatch/eventRule:EventRule",
        "aws:cloudwatch/eventTarget:EventTarget",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:ecr/lifecyclePolicy:LifecyclePolicy",
        "aws:iam/policy:Policy",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:kms/alias:Alias",
        "aws:kms/keyPolicy:KeyPolicy",
        "aws:lambda/permission:Permission",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketNotification:BucketNotification",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy",
        "aws:scheduler/schedule:Schedule",
        "aws:scheduler/scheduleGroup:ScheduleGroup",
        "aws:sns/topicPolicy:TopicPolicy",
        "aws:sqs/queuePolicy:QueuePolicy",
        "aws:ssm/parameter:Parameter",
    }
)

_ORDER = {token: place for place, token in enumerate(_LOSSES)}


def find_loss(resource: Resource) -> Loss | None:
    """Return what is lost with a resource; None when nothing is.

    A type that this version does not know counts as one that holds something.
    """
    if not resource.is_real or resource.type in _HARMLESS:
        return None
    loss = _LOSSES.get(resource.type)
    if loss is None:
        text = f"Millrace does not know the contents or purpose of a {resource.type}; check it before you deploy this."
        return Loss(resource.kind, text, text, "Revert the change that causes this, or move its contents first.")
    return loss if isinstance(loss, Loss) else loss(resource)


def rank_loss(resource: Resource) -> int:
    """Return the sort key of a resource by its loss: the worst losses come first."""
    return _ORDER.get(resource.type, len(_ORDER))
