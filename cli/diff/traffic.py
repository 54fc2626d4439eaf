"""The movement of an endpoint's traffic: the stages of the rollout, the fleet, and the rollback alarms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.diff import model, watching
from cli.diff.preview import Preview, Resource
from cli.diff.values import Mark
from millrace.rollout import list_linear_stages

ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
CONFIG = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"

Inputs = Mapping[str, Any]

_ONLY_ROLLOUT = "the rollout configuration changes, which AWS applies by redeploying the current model"


def list_changes(preview: Preview) -> list[dict[str, Any]]:
    """Return what happens to each endpoint that changes, or whose configuration changes.

    Args:
        preview: The preview of the change.

    Returns:
        The part ``traffic`` of the document of `millrace diff`.
    """
    found = []
    for endpoint in preview.find_resources(ENDPOINT):
        config = find_config(preview, endpoint)
        if endpoint.operation == "same" and (config is None or config.operation == "same"):
            continue
        found.append(_endpoint(endpoint, config, preview))
    return found


def find_config(preview: Preview, endpoint: Resource) -> Resource | None:
    """Return the configuration that an endpoint runs; None when the preview does not show it."""
    configs = preview.find_resources(CONFIG)
    sources = endpoint.sources.get("endpointConfigName", ())
    by_urn = next((each for each in configs if each.urn in sources), None)
    if by_urn is not None or len(configs) != 1:
        return by_urn
    return configs[0]


def list_variants(inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Return the instance type and count of each variant; `serverless` and no count for serverless ones."""
    found = {}
    for each in inputs.get("productionVariants") or []:
        name = str(each.get("variantName", "variant"))
        if each.get("serverlessConfig"):
            found[name] = {"instance": "serverless", "count": None}
        else:
            found[name] = {"instance": each.get("instanceType"), "count": each.get("initialInstanceCount", 1)}
    return found


def list_rollback_alarms(inputs: Inputs) -> list[str]:
    """Return the alarms that roll a deployment back.

    Args:
        inputs: The inputs of an endpoint, before or after the change.

    Returns:
        The names of the alarms.
    """
    rollback = (inputs.get("deploymentConfig") or {}).get("autoRollbackConfiguration") or {}
    return [str(each.get("alarmName")) for each in rollback.get("alarms") or []]


def find_fastest_alarm(inputs: Inputs, preview: Preview, *, before: bool = False) -> float:
    """Return how long the fastest of the rollback alarms takes to fire, seconds; 0 when the preview has none.

    Args:
        inputs: The inputs of an endpoint, before or after the change.
        preview: The preview with the alarms.
        before: Whether the alarms count as they were before the change.
    """
    named = list_rollback_alarms(inputs)
    found = []
    for alarm in preview.find_resources(watching.ALARM):
        side = (alarm.before or alarm.after) if before else (alarm.after or alarm.before)
        period, periods = side.get("period"), side.get("datapointsToAlarm") or side.get("evaluationPeriods")
        if (
            str(side.get("name") or watching.find_name(alarm)) in named
            and isinstance(period, int | float)
            and isinstance(periods, int | float)
        ):
            found.append(float(period * periods))
    return min(found, default=0.0)


def describe_rollout(inputs: Inputs, instances: int | None, fires: float = 0.0) -> dict[str, Any]:
    """Return the stages of a rollout.

    Args:
        inputs: The inputs of the endpoint.
        instances: The number of instances of the new fleet; None when it is not known.
        fires: How long the fastest rollback alarm takes to fire, seconds.

    Returns:
        The stages (percent of the traffic, minutes that the alarms are watched), and the total and maximum minutes.
    """
    config = inputs.get("deploymentConfig") or {}
    blue_green, rolling = config.get("blueGreenUpdatePolicy"), config.get("rollingUpdatePolicy")
    if rolling:
        stages, limit = _rolling(rolling, instances), rolling.get("maximumExecutionTimeoutInSeconds")
        kind = "rolling"
    else:
        policy = blue_green or {}
        routing = policy.get("trafficRoutingConfiguration") or {}
        kind = str(routing.get("type", "ALL_AT_ONCE"))
        stages = _blue_green(kind, routing, policy.get("terminationWaitInSeconds") or 0, instances)
        limit = policy.get("maximumExecutionTimeoutInSeconds")
        kind = {"ALL_AT_ONCE": "all at once", "CANARY": "canary", "LINEAR": "linear"}.get(kind, kind)
    known = [stage["minutes"] for stage in stages]
    total = None if any(each is None for each in known) or not stages else _round(sum(known), 2)
    return {
        "kind": kind,
        "stages": stages,
        "minutes": total,
        "limit_minutes": _minutes(limit),
        "alarms": list_rollback_alarms(inputs),
        "unwatched": is_unwatched(inputs, fires),
    }


def find_bake_time(inputs: Inputs) -> float | None:
    """Return how long the old fleet is kept after all traffic has moved, seconds; None when that is not known.

    Args:
        inputs: The inputs of an endpoint, before or after the change.
    """
    config = inputs.get("deploymentConfig") or {}
    if rolling := config.get("rollingUpdatePolicy"):
        wait = rolling.get("waitIntervalInSeconds")
    elif blue_green := config.get("blueGreenUpdatePolicy"):
        wait = blue_green.get("terminationWaitInSeconds")
    else:
        return None
    return None if isinstance(wait, Mark) else float(wait or 0)


def is_unwatched(inputs: Inputs, fires: float = 0.0) -> bool:
    """Return True if the old fleet is removed before any alarm can have fired on all of the traffic.

    Args:
        inputs: The inputs of an endpoint, before or after the change.
        fires: How long the fastest rollback alarm takes to fire, seconds; 0 if that is not known.
    """
    wait = find_bake_time(inputs)
    return wait is not None and (not wait or wait < fires)


def _blue_green(kind: str, routing: Inputs, termination: Any, instances: int | None) -> list[dict[str, Any]]:
    wait = _minutes(routing.get("waitIntervalInSeconds") or 0)
    last = {"percent": 100, "minutes": _minutes(termination)}
    if kind == "CANARY":
        return [{"percent": _percent(routing.get("canarySize"), instances), "minutes": wait}, last]
    if kind == "LINEAR":
        step = _percent(routing.get("linearStepSize"), instances)
        if not step:
            return []
        return [{"percent": _round(share), "minutes": wait} for share in list_linear_stages(step)[:-1]] + [last]
    return [last]


def _rolling(policy: Inputs, instances: int | None) -> list[dict[str, Any]]:
    batch, wait = _percent(policy.get("maximumBatchSize"), instances), _minutes(policy.get("waitIntervalInSeconds"))
    if not batch:
        return []
    return [{"percent": _round(share), "minutes": wait} for share in list_linear_stages(batch)]


def _percent(size: Any, instances: int | None) -> float | None:
    if not isinstance(size, Mapping) or not isinstance(size.get("value"), int | float):
        return None
    if size.get("type") == "INSTANCE_COUNT":
        return _round(min(100.0, 100.0 * size["value"] / instances)) if instances else None
    return _round(float(size["value"]))


def _minutes(seconds: Any) -> float | None:
    # Two digits, so that one second is not rounded to 0.
    return _round(seconds / 60, 2) if isinstance(seconds, int | float) else None


def _round(value: float, digits: int = 1) -> float:
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded


def _endpoint(endpoint: Resource, config: Resource | None, preview: Preview) -> dict[str, Any]:
    before, after = (list_variants(config.before), list_variants(config.after)) if config else ({}, {})
    instances = _count_instances(after)
    fires = find_fastest_alarm(endpoint.after, preview)
    rollout = describe_rollout(endpoint.after, instances, fires) if endpoint.new is not None else None
    fired = find_fastest_alarm(endpoint.before, preview, before=True)
    old = describe_rollout(endpoint.before, _count_instances(before), fired) if endpoint.old is not None else None
    # With the new fleet and alarms, because a change of these alone does not change the rollout's configuration.
    old_on_new = describe_rollout(endpoint.before, instances, fires)
    replaced = config is not None and config.operation in ("replace", "create")
    named = endpoint.before.get("endpointConfigName") != endpoint.after.get("endpointConfigName")
    # The provider requests a deployment even when only the rollout's configuration changes.
    asked = endpoint.before.get("deploymentConfig") != endpoint.after.get("deploymentConfig")
    moves = endpoint.operation == "update" and (replaced or named or asked)
    fleet = [
        {"variant": name, "before": before.get(name), "after": after.get(name)} for name in sorted({*before, *after})
    ]
    # A replaced endpoint is reported under its old name.
    sides = (endpoint.before, endpoint.after) if endpoint.operation == "replace" else (endpoint.after, endpoint.before)
    return {
        "endpoint": next((str(side["name"]) for side in sides if side.get("name")), endpoint.name),
        "operation": endpoint.operation,
        "moves_traffic": moves,
        "why": (_explain_change(config, preview) if replaced or named else _ONLY_ROLLOUT) if moves else "",
        "rollout": rollout,
        "rollout_changed": bool(old and rollout and _drop_alarms(old_on_new) != _drop_alarms(rollout)),
        "rollout_before": old,
        "fleet": [each for each in fleet if each["before"] != each["after"] or endpoint.operation != "same"],
        "fleet_changed": any(each["before"] != each["after"] for each in fleet),
        "peak": _peak(rollout, before, after) if moves else None,
    }


def _count_instances(variants: Mapping[str, Mapping[str, Any]]) -> int | None:
    """Return the number of instances of a fleet; None when it is not known."""
    counts = [each["count"] for each in variants.values()]
    return sum(counts) if counts and all(isinstance(each, int) for each in counts) else None


def _drop_alarms(rollout: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in rollout.items() if key != "alarms"}


def _explain_change(config: Resource | None, preview: Preview) -> str:
    """Return what is new in the configuration of an endpoint."""
    if config is None:
        return "it gets a different configuration"
    if config.operation == "create":
        return "its configuration is new"
    old, new = config.before, config.after
    reasons = []
    models = [[each.get("modelName") for each in side.get("productionVariants") or []] for side in (old, new)]
    if models[0] != models[1] or any(isinstance(name, Mark) for name in models[1]):
        reasons.append("the environment of the model" if _is_environment_alone(config, preview) else "the model")
    if list_variants(old) != list_variants(new):
        reasons.append("the fleet")
    if old.get("dataCaptureConfig") != new.get("dataCaptureConfig"):
        reasons.append("the capture of requests")
    return f"{' and '.join(reasons) or ', '.join(config.because) or 'its configuration'} changes"


def _is_environment_alone(config: Resource, preview: Preview) -> bool:
    """Return True if the same models serve and only their environment variables change."""
    changed = [each for each in preview.find_resources(model.MODEL) if each.operation != "same"]
    named = [each for each in changed if each.urn in config.sources.get("productionVariants", ())] or changed
    return bool(named) and all(
        each.old is not None and each.new is not None and _drop_environment(each.old) == _drop_environment(each.new)
        for each in named
    )


def _drop_environment(inputs: Inputs) -> dict[str, Any]:
    """Return the inputs of a model without its name and its environment variables."""
    container = inputs.get("primaryContainer") or {}
    bare = {key: each for key, each in container.items() if key != "environment"}
    return {**inputs, "name": None, "primaryContainer": bare}


def _peak(rollout: Mapping[str, Any] | None, before: Inputs, after: Inputs) -> str | None:
    """Return what runs at the same time while the traffic moves; None when that is not known."""
    if rollout is None or rollout["kind"] == "rolling":
        return None
    said = [_fleet(side) for side in (before, after)]
    return " and ".join(said) if all(said) else None


def _fleet(side: Inputs) -> str:
    return ", ".join(f"{each['count']} × {each['instance']}" for each in side.values() if each["count"])
