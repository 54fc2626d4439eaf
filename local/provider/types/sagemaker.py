"""SageMaker: models, endpoints, feature groups, the model registry and pipelines."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any, ClassVar

from local.provider.api import Context
from local.provider.diff import is_empty
from local.provider.documents import is_same_json, is_same_policy
from local.provider.errors import ApiError
from local.provider.naming import AutoName
from local.provider.resources import Resource, Wait
from local.provider.schema import ALL, Tagging
from local.provider.shapes import convert_to_api
from local.provider.values import Values

_HOUR = 3600.0
_NOTIFIED = "asyncInferenceConfig.outputConfig.notificationConfig.includeInferenceResponseIns"


class SageMaker(Resource):
    """The base of SageMaker's types: how they are tagged, and the service's errors for a missing resource."""

    service = "sagemaker"
    tagging: ClassVar[Tagging | None] = Tagging("AddTags", "DeleteTags", "ListTags", "ResourceArn")

    def is_not_found(self, error: ApiError) -> bool:
        """Return True if an error means that the resource does not exist, by its code or its message."""
        unknown = ("Could not find", "does not exist", "Cannot find")
        return super().is_not_found(error) or (
            error.code == "ValidationException" and any(u in error.message for u in unknown)
        )


def _container(path: str) -> dict[str, str]:
    return {
        f"{path}.modelDataSource.s3DataSources": "S3DataSource[]",
        f"{path}.additionalModelDataSources.s3DataSources": "S3DataSource[]",
    }


def _not_in_container(path: str) -> set[str]:
    sources = (f"{path}.modelDataSource.s3DataSources", f"{path}.additionalModelDataSources.s3DataSources")
    newer = ("eTag", "hubAccessConfig", "manifestEtag", "manifestS3Uri")
    return {f"{path}.containerMetricsConfig"} | {f"{source}.{name}" for source in sources for name in newer}


class Model(SageMaker):
    """``aws:sagemaker/model:Model``: only its tags change in place."""

    token = "aws:sagemaker/model:Model"
    create_by, read_by, delete_by = "CreateModel", "DescribeModel", "DeleteModel"
    members = {"name": "ModelName", **_container("primaryContainer"), **_container("containers")}
    omit = frozenset(_not_in_container("primaryContainer") | _not_in_container("containers"))
    outputs = {"arn": "ModelArn"}
    auto_name = ("name", AutoName(255))
    replaces = frozenset({ALL})
    required = frozenset({"executionRoleArn"})
    defaults = {"primaryContainer.mode": "SingleModel", "containers.mode": "SingleModel"}
    computed = frozenset({"inferenceExecutionConfig"})
    unordered = frozenset({"vpcConfig.subnets", "vpcConfig.securityGroupIds"})


def _variant(path: str) -> dict[str, str]:
    return {f"{path}.routingConfigs": "RoutingConfig[]"}


def _not_in_variant(path: str) -> set[str]:
    newer = (
        "acceleratorPartitionLayouts",
        "instancePools",
        "managedInstanceScaling.scaleInPolicy",
        "routingConfigs.prefixAwareRoutingConfig",
        "variantInstanceProvisionTimeoutInSeconds",
    )
    return {f"{path}.{name}" for name in newer}


class EndpointConfiguration(SageMaker):
    """``aws:sagemaker/endpointConfiguration:EndpointConfiguration``: only its tags change in place."""

    token = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
    create_by, read_by, delete_by = "CreateEndpointConfig", "DescribeEndpointConfig", "DeleteEndpointConfig"
    members = {
        "name": "EndpointConfigName",
        "kmsKeyArn": "KmsKeyId",
        _NOTIFIED: "IncludeInferenceResponseIn",
        **_variant("productionVariants"),
        **_variant("shadowProductionVariants"),
    }
    omit = frozenset(
        {"explainerConfig", "vpcConfig", "enableNetworkIsolation", "metricsConfig", "crossRegionTrafficConfig"}
        | _not_in_variant("productionVariants")
        | _not_in_variant("shadowProductionVariants")
    )
    outputs = {"arn": "EndpointConfigArn"}
    auto_name = ("name", AutoName(255))
    name_prefix = True
    replaces = frozenset({ALL})
    defaults = {"productionVariants.initialVariantWeight": 1, "shadowProductionVariants.initialVariantWeight": 1}
    unordered = frozenset(
        {
            _NOTIFIED,
            "dataCaptureConfig.captureContentTypeHeader.csvContentTypes",
            "dataCaptureConfig.captureContentTypeHeader.jsonContentTypes",
        }
    )


class Endpoint(SageMaker):
    """``aws:sagemaker/endpoint:Endpoint``: a create or update is done when the endpoint is in service.

    A failed create leaves an endpoint that is not in the state. An update that is rolled back also ends in service: it
    counts as done, and the state then holds the configuration in use.
    """

    token = "aws:sagemaker/endpoint:Endpoint"
    create_by, read_by, update_by, delete_by = "CreateEndpoint", "DescribeEndpoint", "UpdateEndpoint", "DeleteEndpoint"
    members = {"name": "EndpointName"}
    places = {"deploymentConfig": "LastDeploymentConfig"}
    outputs = {"arn": "EndpointArn"}
    auto_name = ("name", AutoName(255))
    replaces = frozenset({"name", "deploymentConfig.autoRollbackConfiguration!"})
    defaults = {"deploymentConfig.blueGreenUpdatePolicy.terminationWaitInSeconds": 0}
    unread = frozenset({"deploymentConfig"})
    unordered = frozenset({"deploymentConfig.autoRollbackConfiguration.alarms"})
    exactly_one = (("deploymentConfig.blueGreenUpdatePolicy", "deploymentConfig.rollingUpdatePolicy"),)
    waits = Wait(
        "EndpointStatus", "InService", ("Creating", "Updating", "SystemUpdating", "RollingBack"), seconds=_HOUR
    )
    forgotten_if_unready = True

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the API's description of the endpoint, or None if it is being deleted."""
        found = super().describe(context, known)
        return None if found is not None and found["EndpointStatus"] == "Deleting" else found

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Update the endpoint and wait until it is in service."""
        if changed & {"endpointConfigName", "deploymentConfig"}:
            super().update(context, known, changed)
            self.await_ready(context, known)

    def delete(self, context: Context, known: Values) -> None:
        """Delete the endpoint and wait until it no longer exists."""
        super().delete(context, known)

        def gone() -> bool:
            try:
                self.call(context, self.read_by, {"EndpointName": known["name"]})
            except ApiError as error:
                if self.is_not_found(error):
                    return True
                raise
            return False

        context.wait(f"endpoint {known['name']} being deleted", gone, 600.0)


class FeatureGroup(SageMaker):
    """``aws:sagemaker/featureGroup:FeatureGroup``: time to live, throughput and tags change in place, nothing else."""

    token = "aws:sagemaker/featureGroup:FeatureGroup"
    create_by, read_by, delete_by = "CreateFeatureGroup", "DescribeFeatureGroup", "DeleteFeatureGroup"
    id = "{featureGroupName}"
    outputs = {"arn": "FeatureGroupArn"}
    replaces = frozenset({ALL})
    in_place = frozenset({"onlineStoreConfig.ttlDuration", "throughputConfig"})
    required = frozenset({"roleArn"})
    defaults = {"offlineStoreConfig.tableFormat": "Glue", "onlineStoreConfig.enableOnlineStore": False}
    computed = frozenset(
        {
            "offlineStoreConfig.dataCatalogConfig",
            "offlineStoreConfig.s3StorageConfig.resolvedOutputS3Uri",
            "throughputConfig",
        }
    )
    at_least_one = (("offlineStoreConfig", "onlineStoreConfig"),)
    waits = Wait("FeatureGroupStatus", "Created", ("Creating",), seconds=1200.0)

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Update the online store's time to live and the throughput, and wait for the result."""
        touched: Values = {
            name: known.get(name) for name in ("onlineStoreConfig", "throughputConfig") if name in changed
        }
        if not touched:
            return
        group = {"FeatureGroupName": known["featureGroupName"]}
        params = context.filter_accepted(self.service, "UpdateFeatureGroup", convert_to_api(self.properties, touched))
        self.call(context, "UpdateFeatureGroup", {**group, **params})

        def settled() -> bool:
            status = (self.describe(context, known) or {}).get("LastUpdateStatus", {})
            if status.get("Status") == "Failed":
                reason = status.get("FailureReason", "no reason given")
                raise ApiError(self.service, "UpdateFeatureGroup", "Failed", reason)
            return bool(status.get("Status", "Successful") == "Successful")

        context.wait(f"feature group {known['featureGroupName']} being updated", settled, 600.0)

    def delete(self, context: Context, known: Values) -> None:
        """Delete the feature group and wait until it no longer exists."""
        super().delete(context, known)
        self.await_deleted(context, known, 600.0)


class ModelPackageGroup(SageMaker):
    """``aws:sagemaker/modelPackageGroup:ModelPackageGroup``: only its tags change in place."""

    token = "aws:sagemaker/modelPackageGroup:ModelPackageGroup"
    create_by, read_by = "CreateModelPackageGroup", "DescribeModelPackageGroup"
    delete_by = "DeleteModelPackageGroup"
    id = "{modelPackageGroupName}"
    omit = frozenset({"managedConfiguration"})
    outputs = {"arn": "ModelPackageGroupArn"}
    replaces = frozenset({ALL})
    waits = Wait("ModelPackageGroupStatus", "Completed", ("Pending", "InProgress"))

    def delete(self, context: Context, known: Values) -> None:
        """Delete the group and wait until it no longer exists."""
        super().delete(context, known)
        self.await_deleted(context, known, 600.0)


class ModelPackageGroupPolicy(SageMaker):
    """``aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy``."""

    token = "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy"
    create_by = update_by = "PutModelPackageGroupPolicy"
    read_by, delete_by = "GetModelPackageGroupPolicy", "DeleteModelPackageGroupPolicy"
    id = "{modelPackageGroupName}"
    replaces = frozenset({"modelPackageGroupName"})
    same = {"resourcePolicy": is_same_policy}
    tagging = None


class Pipeline(SageMaker):
    """``aws:sagemaker/pipeline:Pipeline``."""

    token = "aws:sagemaker/pipeline:Pipeline"
    create_by, read_by, update_by, delete_by = "CreatePipeline", "DescribePipeline", "UpdatePipeline", "DeletePipeline"
    id = "{pipelineName}"
    omit = frozenset({"clientRequestToken", "pipelineVersionAliases"})
    outputs = {"arn": "PipelineArn"}
    replaces = frozenset({"pipelineName"})
    required = frozenset({"pipelineDisplayName"})
    unread = frozenset({"pipelineDefinitionS3Location"})
    same = {"pipelineDefinition": is_same_json}
    exactly_one = (("pipelineDefinition", "pipelineDefinitionS3Location"),)

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Update the pipeline; a description that the program no longer has is emptied."""
        # A member that is not sent keeps its value, so a removed description must be sent empty.
        cleared = {name: "" for name in ("pipelineDescription",) if name in changed and is_empty(known.get(name))}
        super().update(context, {**known, **cleared}, changed)


TYPES = (
    Model,
    EndpointConfiguration,
    Endpoint,
    FeatureGroup,
    ModelPackageGroup,
    ModelPackageGroupPolicy,
    Pipeline,
)
