"""The check after every deployment: does the endpoint really run the configuration that was asked for?

SageMaker undoes a deployment whose alarm fires, and the provider reports success all the same.
"""

from typing import Any

import pulumi

from queries.client import make_client


class RolledBack(Exception):
    """The endpoint went back to its old configuration."""


def verified(name: str, region: str) -> pulumi.ResourceHookBinding:
    """Hooks that fail the `up` when the endpoint does not run what was asked for.

    Args:
        name: The component's name; hooks are told apart by it.
        region: Where the endpoint is.
    """

    def check(args: pulumi.ResourceHookArgs) -> None:
        wanted: Any = args.new_inputs or {}
        found: Any = args.new_outputs or {}
        compare(region, found["name"], wanted["endpointConfigName"])

    hook = pulumi.ResourceHook(f"{name}-verified-rollout", check)
    return pulumi.ResourceHookBinding(after_create=[hook], after_update=[hook])


def compare(region: str, endpoint: str, wanted: str) -> None:
    """Refuse an endpoint that does not run the configuration `wanted`.

    Raises:
        RolledBack: With SageMaker's reason and the alarms that it names or that are firing.
    """
    sagemaker = make_client("sagemaker", region)
    live = sagemaker.describe_endpoint(EndpointName=endpoint)
    if live["EndpointConfigName"] == wanted and live["EndpointStatus"] == "InService":
        return
    deployment = live.get("LastDeploymentConfig", {}).get("AutoRollbackConfiguration", {})
    names = [alarm["AlarmName"] for alarm in deployment.get("Alarms", [])]
    reason = live.get("FailureReason") or "none given"
    # An alarm may be over by now, and a reason may be missing.
    alarms = {name for name in names if name in reason}
    if names:
        found = make_client("cloudwatch", region).describe_alarms(AlarmNames=names, StateValue="ALARM")
        alarms |= {alarm["AlarmName"] for alarm in found["MetricAlarms"]}
    raise RolledBack(
        f"endpoint {endpoint!r} is {live['EndpointStatus']} on {live['EndpointConfigName']!r}, expected {wanted!r}: "
        f"the deployment was rolled back. Reason: {reason}. "
        f"Its alarms: {', '.join(sorted(alarms)) or 'none fired'}. "
        "The old model still serves. Reject the package, or clear the alarm, and run `pulumi up` again."
    )
