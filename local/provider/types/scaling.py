"""Application Auto Scaling: scalable targets and policies."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.errors import ApiError
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.values import Values


class AutoScaling(Resource):
    """The base of both types, with the service's errors for a missing resource."""

    service = "application-autoscaling"

    def is_not_found(self, error: ApiError) -> bool:
        """Return True if an error means that the resource does not exist, by its code or its message."""
        unknown = ("No scalable target found", "No scaling policy found")
        return super().is_not_found(error) or any(text in error.message for text in unknown)


class Target(AutoScaling):
    """``aws:appautoscaling/target:Target``: without tags, which the local cloud does not have for it."""

    token = "aws:appautoscaling/target:Target"
    create_by = update_by = "RegisterScalableTarget"
    delete_by = "DeregisterScalableTarget"
    id = "{resourceId}"
    members = {"roleArn": "RoleARN"}
    outputs = {"arn": "ScalableTargetARN"}
    replaces = frozenset({"resourceId", "scalableDimension", "serviceNamespace"})
    required = frozenset({"minCapacity", "maxCapacity"})
    computed = frozenset({"roleArn", "suspendedState"})

    def parse_id(self, id: str) -> Values:
        """Return the properties that an id holds."""
        return _parse(id, ("serviceNamespace", "resourceId", "scalableDimension"))

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the API's description of the target, or None."""
        wanted = {
            "ServiceNamespace": known["serviceNamespace"],
            "ResourceIds": [known["resourceId"]],
            "ScalableDimension": known["scalableDimension"],
        }
        found = self.call(context, "DescribeScalableTargets", wanted)["ScalableTargets"]
        return dict(found[0]) if found else None


class Policy(AutoScaling):
    """``aws:appautoscaling/policy:Policy``: by steps or by target tracking."""

    token = "aws:appautoscaling/policy:Policy"
    create_by = update_by = "PutScalingPolicy"
    delete_by = "DeleteScalingPolicy"
    members = {
        "name": "PolicyName",
        "targetTrackingScalingPolicyConfiguration.customizedMetricSpecification.metrics.metricStat.metric": "Metric",
    }
    omit = frozenset({"predictiveScalingPolicyConfiguration"})
    outputs = {"arn": "PolicyARN", "alarmArns": ""}
    auto_name = ("name", AutoName(255))
    replaces = frozenset({"name", "resourceId", "scalableDimension", "serviceNamespace"})
    defaults = {"policyType": "StepScaling", "targetTrackingScalingPolicyConfiguration.disableScaleIn": False}
    unordered = frozenset(
        {
            "stepScalingPolicyConfiguration.stepAdjustments",
            "targetTrackingScalingPolicyConfiguration.customizedMetricSpecification.dimensions",
        }
    )

    def parse_id(self, id: str) -> Values:
        """Return the properties that an id holds."""
        return _parse(id, ("serviceNamespace", "resourceId", "scalableDimension", "name"))

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the API's description of the policy, or None."""
        wanted = {
            "ServiceNamespace": known["serviceNamespace"],
            "ResourceId": known["resourceId"],
            "ScalableDimension": known["scalableDimension"],
            "PolicyNames": [known["name"]],
        }
        found = self.call(context, "DescribeScalingPolicies", wanted)["ScalingPolicies"]
        return dict(found[0]) if found else None

    def compute_outputs(self, context: Context, known: Values, root: dict[str, Any]) -> Values:
        """Return the outputs that are not inputs, including the ARNs of the policy's alarms."""
        alarms = [alarm["AlarmARN"] for alarm in root.get("Alarms", ())]
        return {**super().compute_outputs(context, known, root), "alarmArns": alarms}


def _parse(id: str, names: tuple[str, ...]) -> Values:
    """Parse an import id ``namespace/resource/dimension[/name]``, whose resource may hold slashes itself."""
    namespace, *middle = id.split("/")
    tail = len(names) - 2
    return dict(zip(names, (namespace, "/".join(middle[:-tail]), *middle[-tail:]), strict=False))


TYPES = (Target, Policy)
