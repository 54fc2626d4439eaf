"""The rules for a DeploymentConfig beyond the shapes of its members."""

from __future__ import annotations

from typing import Any

from local.core.errors import validation_error
from local.services.sagemaker.hosting.deployment import compute_instances, plan_steps
from local.services.sagemaker.hosting.fleet import Plan

#: The minimum and maximum percentage of capacity in one step.
_PERCENT = {"CANARY": (1, 50), "LINEAR": (10, 50), "ROLLING": (5, 50)}


def check_deployment(config: dict[str, Any], old: Plan | None, new: Plan) -> None:
    """Refuse a deployment that could not run.

    Args:
        config: The DeploymentConfig.
        old: The plan that serves; None when the endpoint is being created and the configuration is only stored.
        new: The plan to deploy.
    """
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if (blue_green is None) == (rolling is None):
        raise validation_error("DeploymentConfig needs exactly one of BlueGreenUpdatePolicy and RollingUpdatePolicy.")
    counts = {variant["VariantName"]: variant["Count"] for variant in new["Variants"]}
    total = sum(counts.values())
    if rolling is not None:
        if len(counts) > 1:
            raise validation_error("RollingUpdatePolicy is not possible for endpoints with several variants.")
        _check_size("ROLLING", "MaximumBatchSize", rolling["MaximumBatchSize"], total)
        back = rolling.get("RollbackMaximumBatchSize")
        if back is not None and compute_instances(back, total) < total:
            raise validation_error(
                "RollbackMaximumBatchSize below the whole fleet is not available in the local cloud; "
                "leave it out to roll back in one step."
            )
    else:
        _check_traffic(config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"], total)
    if old is not None and (live := {variant["VariantName"] for variant in old["Variants"]}) != set(counts):
        raise validation_error(
            f"A deployment with guardrails needs the same variants before and after: the endpoint has "
            f"{', '.join(sorted(live))}, endpoint configuration {new['EndpointConfigName']} has "
            f"{', '.join(sorted(counts))}."
        )
    limit = (rolling or blue_green or {}).get("MaximumExecutionTimeoutInSeconds")
    waits = sum(step.bake for step in plan_steps(config, counts))
    if limit is not None and limit <= waits:
        raise validation_error(
            f"MaximumExecutionTimeoutInSeconds {limit} is not above the {waits:g} seconds that the deployment waits."
        )


def _check_traffic(traffic: dict[str, Any], total: int) -> None:
    kind = traffic["Type"]
    needed = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(kind)
    for member in ("CanarySize", "LinearStepSize"):
        if (member in traffic) != (member == needed):
            verb = "needs" if member == needed else "cannot have"
            raise validation_error(f"TrafficRoutingConfiguration of Type {kind} {verb} {member}.")
    if needed:
        _check_size(kind, needed, traffic[needed], total)


def _check_size(kind: str, member: str, size: dict[str, Any], total: int) -> None:
    value = size["Value"]
    if size["Type"] == "CAPACITY_PERCENT":
        low, high = _PERCENT[kind]
        if not low <= value <= high:
            raise validation_error(f"{member} is {value} percent; expected {low} to {high} for {kind}.")
        return
    if kind != "ROLLING" and total < 2:
        raise validation_error(f"{member} by INSTANCE_COUNT needs a fleet of more than one instance; it has {total}.")
    if not 1 <= value <= max(1, total // 2):
        raise validation_error(f"{member} is {value} of {total} instance(s); expected 1 to {max(1, total // 2)}.")
