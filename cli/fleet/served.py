"""The served model and the registry of a stack, read robustly even if resources were changed by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cli.aws import model_packages
from cli.aws.endpoints import ABSENT, AWAITED, GONE, UNKNOWN
from cli.aws.gates import check_gates
from cli.aws.model_packages import Package
from cli.fleet.accounts import try_query
from cli.fleet.document import EndpointPart, FleetPart, ModelPart, PausePart, PendingPackage, RolloutPart, ServedPart
from cli.fleet.findings import Code, Finding, make_finding
from cli.stack.target import Target
from millrace.names import Names
from queries.endpoints import find_endpoint, find_served_model, get_deployment_time
from queries.packages import APPROVED, PENDING, REJECTED, list_packages, parse_group, parse_version
from queries.pauses import UnreadablePauseError, parse_pause
from queries.rollbacks import is_caused_by_alarm, list_rollback_alarms
from queries.snoozes import Snooze, UnreadableSnoozeError, parse_snoozes

#: Maximum number of packages of any status that are read, newest first.
_NEWEST = 100
#: Marks the approved version as unknown, because the registry could not be queried.
_NOT_ASKED = -1
#: The command that restores the declared state after changes by hand.
PUT_BACK = ("deploy", "--refresh")


def describe_served(
    target: Target,
    names: Names,
    endpoints: Mapping[str, Any] | None,
    groups: Collection[str] | None,
    unknown: dict[str, str],
    *,
    stood: bool,
) -> tuple[ServedPart, list[Finding]]:
    """Return what the endpoint serves and what the registry has, and findings where they differ from the declaration.

    Args:
        target: The use case and its environment, with the clients of its account.
        names: The names of the stack's resources.
        endpoints: The account's endpoints by name; None if unknown.
        groups: The names of the account's model package groups; None if unknown.
        unknown: Receives the reason for each fact that cannot be queried.
        stood: Whether the errors alarm exists, which is created and destroyed with the endpoint.
    """
    warnings: list[Finding] = []
    live = None
    if endpoints is None or names.endpoint in endpoints:
        live = try_query(lambda: find_endpoint(target.sagemaker, names.endpoint), unknown, "endpoint")
    arn, package, config = None, None, dict[str, Any]()
    if live:
        arn, config = find_served_package(target.sagemaker, live["EndpointConfigName"], names, warnings, unknown)
        package = try_query(lambda: model_packages.find_package(target, arn), unknown, "model") if arn else None
    is_lost = groups is not None and names.model_package_group not in groups
    newest, pending = None, list[PendingPackage]()
    if not is_lost:
        answer = try_query(
            lambda: _find_decisive_packages(target.sagemaker, names.model_package_group), unknown, "registry"
        )
        newest, waiting = answer or (None, [])
        pending = [
            {
                "version": each["ModelPackageVersion"],
                "created": each["CreationTime"],
                "description": each.get("ModelPackageDescription", ""),
                "verdict": _find_verdict(target, each["ModelPackageArn"], unknown) if place < _DESCRIBED else "",
            }
            for place, each in enumerate(waiting)
        ]
    approved = newest["ModelPackageVersion"] if newest else None
    known = _Known(_NOT_ASKED if "registry" in unknown else approved, is_lost, "model" in unknown)
    _warn_of_package(names, arn, package, known, warnings)
    _warn_of_registry(names, live, known, package, warnings)
    status = (
        live["EndpointStatus"] if live else _choose_missing_status(unknown, approved=approved is not None, stood=stood)
    )
    part: ServedPart = {
        "endpoint": _describe_endpoint(names, live, arn, config, status, _find_rolled_back_version(live, newest)),
        "model": _describe_model(target, package, warnings),
        "rollout": describe_rollout(target.sagemaker, live, arn, unknown) if live else None,
        "approved": approved,
        "pending": pending,
    }
    return part, warnings


def _find_verdict(target: Target, arn: str, unknown: dict[str, str]) -> str:
    """Return how a pending package compared with the champion; empty where it is not known."""
    package = try_query(lambda: model_packages.find_package(target, arn), unknown, "registry")
    return package.metadata.get("verdict", "") if package else ""


def _find_decisive_packages(sagemaker: Any, group: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the newest approved package, and the packages that wait for approval, newest first."""
    approved = next(list_packages(sagemaker, group, APPROVED), None)
    return approved, list(list_packages(sagemaker, group, PENDING))


def _choose_missing_status(unknown: Collection[str], *, approved: bool, stood: bool) -> str:
    """Return the status of an endpoint that does not exist or could not be described."""
    if "endpoint" in unknown:
        return UNKNOWN
    if "registry" in unknown:
        return ABSENT
    return GONE if approved and stood else AWAITED


def find_served_package(
    sagemaker: Any, config: str, names: Names, warnings: list[Finding], unknown: dict[str, str]
) -> tuple[str | None, dict[str, Any]]:
    """Return the ARN of the package behind an endpoint configuration, and the configuration's description.

    Deviations from the declaration are added to ``warnings``.
    """
    if not re.fullmatch(rf"{re.escape(names.endpoint)}-config-[0-9a-f]{{7}}", config):
        warnings.append(make_finding(Code.FOREIGN_CONFIG, *PUT_BACK, endpoint=names.endpoint, config=config))
    served = try_query(lambda: find_served_model(sagemaker, config), unknown, "model")
    if served is None:
        return None, {}
    if served.config is None:
        place = {"endpoint": names.endpoint, "region": names.region}
        warnings.append(make_finding(Code.CONFIG_DELETED, *PUT_BACK, config=config, **place))
        return None, {}
    if served.model is None:
        warnings.append(make_finding(Code.MODEL_DELETED, *PUT_BACK, model=served.name))
    elif served.package is None:
        warnings.append(make_finding(Code.MODEL_WITHOUT_PACKAGE, *PUT_BACK, model=served.name))
    return served.package, dict(served.config)


def list_newest_packages(sagemaker: Any, group: str) -> list[dict[str, Any]]:
    """Return the summaries of the newest packages of a group, newest first; none if the group does not exist.

    Args:
        sagemaker: The SageMaker client.
        group: The name of the model package group.
    """
    return list(islice(list_packages(sagemaker, group), _NEWEST))


def describe_rollout(
    sagemaker: Any, live: Mapping[str, Any], serves: str | None, unknown: dict[str, str]
) -> RolloutPart | None:
    """Return the rollout in progress, with the old (blue) and the new (green) fleet; None if there is no rollout."""
    pending = live.get("PendingDeploymentSummary")
    if not pending:
        return None
    green = pending.get("EndpointConfigName", "")
    # Warnings are discarded: a configuration that is being rolled out is assumed not to be made by hand.
    arn, _ = find_served_package(sagemaker, green, Names("", "", "", ""), [], unknown) if green else (None, None)
    policy = live.get("LastDeploymentConfig", {}).get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {})
    return {
        "started": pending.get("StartTime"),
        "traffic": routing.get("Type"),
        "bake_seconds": routing.get("WaitIntervalInSeconds"),
        "alarms": list_rollback_alarms(live),
        "blue": _describe_fleet(live["EndpointConfigName"], serves, live.get("ProductionVariants", [])),
        "green": _describe_fleet(green, arn, pending.get("ProductionVariants", [])),
    }


def _describe_fleet(config: str, arn: str | None, variants: list[dict[str, Any]]) -> FleetPart:
    stages = [stage for variant in variants for stage in variant.get("VariantStatus", [])]
    return {
        "config": config,
        "version": parse_version(arn),
        "instances": sum(variant.get("CurrentInstanceCount", 0) for variant in variants),
        "wanted": sum(variant.get("DesiredInstanceCount", 0) for variant in variants),
        "instance_type": next((variant["InstanceType"] for variant in variants if "InstanceType" in variant), None),
        "weight": sum(variant.get("CurrentWeight", 0.0) for variant in variants),
        "stages": [{"status": each["Status"], "message": each.get("StatusMessage", "")} for each in stages],
    }


def read_pause(found: Mapping[str, str], names: Names) -> PausePart | None:
    """Return who paused a stack, since when and why; None if it is not paused.

    Args:
        found: The values of the pause parameters that exist in the account, by parameter name.
        names: The names of the stack's resources.
    """
    if (text := found.get(names.pause_parameter)) is None:
        return None
    try:
        said = parse_pause(names.pause_parameter, text)
    except UnreadablePauseError:
        # `millrace pause` did not write it; show as much as can be understood.
        return _read_foreign_pause(text)
    return {"since": said.since_iso, "by": said.by, "reason": said.reason}


def read_snoozes(found: Mapping[str, str], names: Names, unknown: dict[str, str]) -> dict[str, Snooze]:
    """Return the snoozes of a stack by kind of alarm, including those that are over.

    Args:
        found: The values of the snooze parameters that exist in the account, by parameter name.
        names: The names of the stack's resources.
        unknown: Gets the reason where they cannot be understood; nothing is snoozed then.
    """
    if (text := found.get(names.snooze_parameter)) is None:
        return {}
    try:
        return parse_snoozes(names.snooze_parameter, text)
    except UnreadableSnoozeError as error:
        unknown["snoozed"] = str(error)
        return {}


def _read_foreign_pause(text: str) -> PausePart:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {"reason": text}
    return {"since": said.get("since"), "by": said.get("by"), "reason": said.get("reason")}


def _describe_endpoint(
    names: Names,
    live: Mapping[str, Any] | None,
    arn: str | None,
    config: Mapping[str, Any],
    status: str,
    undone: int | None,
) -> EndpointPart:
    variants = (live or {}).get("ProductionVariants", [])
    return {
        "name": names.endpoint,
        "status": status,
        "undone": undone,
        "version": parse_version(arn) if arn and parse_group(arn) == names.model_package_group else None,
        "since": _find_deployment_time(live, config) if live else None,
        "reason": live.get("FailureReason", "") if live else "",
        "rolled_back_by_alarm": is_caused_by_alarm(live) if live else False,
        "package": arn,
        "config": live["EndpointConfigName"] if live else None,
        "instance_type": config["ProductionVariants"][0].get("InstanceType") if config else None,
        "instances": sum(variant.get("CurrentInstanceCount") or 0 for variant in variants),
    }


def _find_deployment_time(live: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Return when the deployment of the served configuration began; None if unknown.

    Each deployment creates its own configuration. The endpoint's modification time cannot be used: a rollout that is
    in progress, or was rolled back, changes it too.
    """
    if not config or live["EndpointStatus"] == "Creating":
        return None
    return get_deployment_time(live, config)


def _find_rolled_back_version(live: Mapping[str, Any] | None, newest: Mapping[str, Any] | None) -> int | None:
    """Return the newest approved version if its rollout may be the one that was rolled back, else None.

    A version that was created after the endpoint's last change cannot be the one.
    """
    if live is None or newest is None or not live.get("FailureReason") or live.get("PendingDeploymentSummary"):
        return None
    return int(newest["ModelPackageVersion"]) if newest["CreationTime"] < live["LastModifiedTime"] else None


def _describe_model(target: Target, package: Package | None, warnings: list[Finding]) -> ModelPart | None:
    """Return the served model with its gates and metric; add a warning if its package lacks metrics."""
    if package is None:
        return None
    metric, gates = target.use_case.champion_metric, check_gates(target.use_case, package)
    wanted = dict.fromkeys([*(gate["metric"] for gate in gates), metric])
    if missing := [name for name in wanted if name not in package.metadata]:
        metrics = ", ".join(missing)
        warnings.append(make_finding(Code.METRICS_MISSING, "retrain", version=package.version, metrics=metrics))
    return {
        "arn": package.arn,
        "version": package.version,
        "approval": package.approval,
        "created": package.created,
        "description": package.description,
        "reason": package.reason,
        "gates": gates,
        "metric": {"name": metric, "value": parse_number(package.metadata.get(metric, ""))},
    }


def parse_number(text: str) -> float | None:
    """Return a number from the registry's metadata; None if the text is not a number."""
    try:
        return float(text)
    except ValueError:
        return None


#: The newest pending packages whose comparison with the champion is queried.
_DESCRIBED = 8


@dataclass(frozen=True)
class _Known:
    """The state of the registry."""

    approved: int | None
    """The newest approved version; None if no version is approved, `_NOT_ASKED` if unknown."""
    is_lost: bool
    """Whether the model package group does not exist."""
    is_silent: bool
    """Whether the served package could not be read, so that it may still exist."""


def _warn_of_package(
    names: Names, arn: str | None, package: Package | None, known: _Known, warnings: list[Finding]
) -> None:
    if arn is None:
        return
    if parse_group(arn) != names.model_package_group:
        group = {"endpoint": names.endpoint, "package": arn, "group": names.model_package_group}
        warnings.append(make_finding(Code.FOREIGN_GROUP, *PUT_BACK, **group))
    if package is None and not known.is_silent and not known.is_lost:
        code = Code.PACKAGE_DELETED
        if known.approved is None:
            code = Code.PACKAGE_DELETED_NONE_APPROVED
        elif known.approved == _NOT_ASKED:
            code = Code.PACKAGE_DELETED_REGISTRY_SILENT
        warnings.append(make_finding(code, "retrain", package=arn, approved=known.approved))


def _warn_of_registry(
    names: Names, live: Mapping[str, Any] | None, known: _Known, package: Package | None, warnings: list[Finding]
) -> None:
    if known.is_lost:
        code, more = (Code.GROUP_DELETED, ()) if live is None else (Code.GROUP_DELETED_SERVING, ("--remove-endpoint",))
        warnings.append(make_finding(code, *PUT_BACK, *more, group=names.model_package_group))
        return
    approved = known.approved
    if live is None or package is None or approved == _NOT_ASKED:
        return
    if parse_group(package.arn) != names.model_package_group:
        return
    version, is_rejected = package.version, package.approval == REJECTED
    if approved is None and is_rejected:
        warnings.append(make_finding(Code.REJECTED_SERVES_NONE_APPROVED, "retrain", version=version))
    elif approved is None:
        warnings.append(make_finding(Code.NONE_APPROVED, "approve", str(version), version=version))
    elif approved < version:
        fields = {"approved": approved, "version": version, "approval": package.approval}
        warnings.append(make_finding(Code.OLDER_APPROVED, "deploy", **fields))
    elif is_rejected and approved > version:
        warnings.append(make_finding(Code.REJECTED_SERVES, "deploy", version=version))
