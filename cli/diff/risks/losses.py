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
        "Everything in it goes with it: snapshots, training data, models, captured requests, the offline store."
        if forced
        else "It holds snapshots, training data, models, captured requests and the offline store; "
        "AWS refuses to delete it while anything lies in it, so the deployment fails half-way."
    )
    return Loss(
        "bucket", how, how, "Keep its name and place; to move, copy the data to a new one first and let this one stay."
    )


def _key(resource: Resource) -> Loss:
    days = resource.before.get("deletionWindowInDays", 30)
    after = f"{days:g} days" if isinstance(days, int | float) else "its waiting time"
    return Loss(
        "KMS key",
        f"After {after} nothing that it encrypts can be read again: the lake, the feature store, captured requests.",
        f"What the old key encrypts stays encrypted with it and is lost for ever after {after}.",
        "Keep the key. If it is on its way out already, `aws kms cancel-key-deletion` holds it within that time.",
    )


_FEATURE_GROUP = Loss(
    "feature group",
    "Its online store is wiped: the endpoint finds no features of it. The offline store's files stay in the lake.",
    "Its online store is wiped and begins empty: predictions miss these features until they are published again. "
    "The offline store's files stay in the lake.",
    "A group can only get more features. Undo this, or declare a new table under a new name and leave this one be.",
)
_REGISTRY = Loss(
    "model package group",
    "The history of all models goes with it: versions, figures, approvals, lineage. There is nothing to go back to.",
    "The history of all models goes with it; the new group is empty, so nothing is approved and nothing may serve.",
    "Keep its name and description: both are set once.",
)
_ENDPOINT = Loss(
    "endpoint",
    "Serving stops: every request fails from then on.",
    "Serving stops until the new one is up; there is no roll-out, and nothing to roll back to.",
    "Keep its name, and keep its rollback alarms: adding or taking away the whole block replaces it.",
)
_CONFIGURATION = Loss(
    "endpoint configuration",
    "The endpoint can no longer be updated, nor rolled back to it.",
    "The old one is deleted at once: a roll-back has nothing to stand on.",
    "Let old configurations stay (retain_on_delete); `millrace gc` clears them when nothing needs them.",
)
_MODEL = Loss(
    "model",
    "A configuration that names it can no longer be rolled back to.",
    "The old one is deleted at once: a roll-back has nothing to stand on.",
    "Let old models stay (retain_on_delete); `millrace gc` clears them when nothing needs them.",
)
_QUEUE = Loss(
    "queue",
    "Undelivered triggers in it are lost, and later ones are lost without a trace.",
    "Undelivered triggers in it are lost.",
    "Look into it first: `aws sqs receive-message ${AWS_ENDPOINT_URL:+--endpoint-url $AWS_ENDPOINT_URL}`; then keep "
    "its name.",
)
_TOPIC = Loss(
    "topic",
    "Alarms tell nobody any more.",
    "Its subscriptions are gone: each address has to confirm once more, and hears nothing until it has.",
    "Keep its name; or tell everybody to look for the confirmation.",
)
_ROLE = Loss(
    "role",
    "Whatever runs under it stops working.",
    "It gets another ARN. What runs meanwhile loses its permissions, and what is tied to the ARN for ever, such as a "
    "feature group, is replaced with it.",
    "Keep its name and path; change its policies, which is done in place.",
)
_PIPELINE = Loss(
    "pipeline",
    "It can no longer be run, and the history of its executions goes with it.",
    "The history of its executions goes with it; what starts it has to name the new one.",
    "Keep its name.",
)
_OBJECT = Loss(
    "object",
    "What lies there is gone; of code, old models can no longer be reproduced.",
    "The old one is deleted; of code, old models can no longer be reproduced.",
    "Let old objects stay (retain_on_delete).",
)
_LOGS = Loss("log group", "Its logs are gone.", "Its logs are gone.", "Keep its name, or export the logs first.")
_REPOSITORY = Loss(
    "image repository",
    "Images in it are gone; models that run them cannot be started again.",
    "Images in it are gone; models that run them cannot be started again.",
    "Keep its name.",
)
_TRACKING = Loss(
    "experiment tracking",
    "It is no longer to be had; runs that lie in the lake stay there.",
    "It is away for some minutes, and its address changes.",
    "Keep its name, role and version.",
)
_DATABASE = Loss(
    "Glue database",
    "Its tables are gone: the offline store can no longer be asked by name. The files stay.",
    "Its tables are gone until they are made anew. The files stay.",
    "Keep its name.",
)
_PUBLIC = Loss(
    "public access block",
    "A policy or an access list may open the bucket to everybody.",
    "For some moments a policy or an access list may open the bucket to everybody.",
    "Keep it.",
)
_ENCRYPTION = Loss(
    "encryption rule of the bucket",
    "New objects are no longer encrypted with the lake's own key.",
    "For some moments new objects are not encrypted with the lake's own key.",
    "Keep it.",
)
_VERSIONING = Loss(
    "versioning of the bucket",
    "What is overwritten or deleted from then on cannot be had back.",
    "What is overwritten or deleted meanwhile cannot be had back.",
    "Keep it.",
)
_SUBSCRIPTION = Loss(
    "subscription",
    "One address fewer is told of alarms.",
    "The address has to confirm once more, and hears nothing until it has.",
    "Keep at least one address that is read.",
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
        text = f"What a {resource.type} holds or does is not known here; find out before this is deployed."
        return Loss(resource.kind, text, text, "Undo the change of what forces it, or move what it holds first.")
    return loss if isinstance(loss, Loss) else loss(resource)


def rank_loss(resource: Resource) -> int:
    """Return the sort key of a resource by its loss: the worst losses come first."""
    return _ORDER.get(resource.type, len(_ORDER))
