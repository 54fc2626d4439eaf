"""What a stack serves and what its registry says: read as it is, whatever was changed by hand, and nothing crashes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cli import registry
from cli.fleet.accounts import tried
from cli.registry import Package
from cli.target import Target
from millrace.names import Names
from queries.endpoints import find_endpoint, find_served_model, get_deployment_time
from queries.packages import APPROVED, PENDING, REJECTED, list_packages, parse_group, parse_version
from queries.pauses import UnreadablePauseError, parse_pause
from queries.rollbacks import is_by_alarm, list_rollback_alarms

#: What is odd, and the words of the command that mends it: the use case stands after the first of them.
Warnings = dict[str, tuple[str, ...]]

#: What an endpoint's status is where there is none: it was not answered; nobody has said whether one should be there;
#: it was there, and what it served is still approved; or no version has been deployed yet.
UNKNOWN, ABSENT, GONE, AWAITED = "unknown", "absent", "gone", "pending its first approved model"
#: Packages of any status that are looked at: the newest ones.
_NEWEST = 100
#: Where no version is approved.
_ENDS = "`pulumi up` would end serving, and `millrace deploy` refuses to"
#: No version: the registry did not say which are approved.
_NOT_ASKED = -1
#: Puts back what the program says, whatever was changed by hand.
PUT_BACK = ("deploy", "--refresh")


def of(
    target: Target,
    names: Names,
    endpoints: Mapping[str, Any] | None,
    groups: Collection[str] | None,
    unknown: dict[str, str],
    *,
    stood: bool,
) -> dict[str, Any]:
    """The keys ``endpoint``, ``model``, ``rollout``, ``approved``, ``pending`` and ``warnings`` of a stack's document.

    ``warnings`` are texts with the words of the command that mends what they say.

    Args:
        endpoints: Those of the account by name; None where it did not say.
        groups: The names of its groups of models; None where it did not say.
        unknown: Takes what could not be asked.
        stood: Whether the alarms are there that are made, and taken down, with the endpoint.
    """
    warnings: Warnings = {}
    live = None
    if endpoints is None or names.endpoint in endpoints:
        live = tried(lambda: find_endpoint(target.sagemaker, names.endpoint), unknown, "endpoint")
    arn, package, config = None, None, dict[str, Any]()
    if live:
        arn, config = package_of(target.sagemaker, live["EndpointConfigName"], names, warnings, unknown)
        package = tried(lambda: registry.find(target, arn), unknown, "model") if arn else None
    is_lost = groups is not None and names.model_package_group not in groups
    newest, pending = None, list[dict[str, Any]]()
    if not is_lost:
        answer = tried(lambda: _decisive(target.sagemaker, names.model_package_group), unknown, "registry")
        newest, pending = answer or (None, [])
    approved = newest["ModelPackageVersion"] if newest else None
    known = _Known(_NOT_ASKED if "registry" in unknown else approved, is_lost, "model" in unknown)
    _warn_of_package(names, arn, package, known, warnings)
    _warn_of_registry(names, live, known, package, warnings)
    status = live["EndpointStatus"] if live else _absent(unknown, approved=approved is not None, stood=stood)
    return {
        "endpoint": {**_endpoint(names, live, arn, config), "status": status, "undone": _undone(live, newest)},
        "model": _model(target, package, warnings),
        "rollout": rollout(target.sagemaker, live, arn, unknown) if live else None,
        "approved": approved,
        "pending": [
            {
                "version": each["ModelPackageVersion"],
                "created": each["CreationTime"],
                "description": each.get("ModelPackageDescription", ""),
            }
            for each in pending
        ],
        "warnings": warnings,
    }


def _decisive(sagemaker: Any, group: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The newest approved package and those that wait, newest first; however many others were registered since."""
    approved = next(list_packages(sagemaker, group, APPROVED), None)
    return approved, list(list_packages(sagemaker, group, PENDING))


def _absent(unknown: Collection[str], *, approved: bool, stood: bool) -> str:
    """The status of an endpoint that nobody could describe."""
    if "endpoint" in unknown:
        return UNKNOWN
    if "registry" in unknown:
        return ABSENT
    return GONE if approved and stood else AWAITED


def package_of(
    sagemaker: Any, config: str, names: Names, warnings: Warnings, unknown: dict[str, str]
) -> tuple[str | None, dict[str, Any]]:
    """The ARN of the package behind an endpoint's configuration, and what SageMaker says of the latter.

    What is odd on the way goes to ``warnings``.
    """
    if not re.fullmatch(rf"{re.escape(names.endpoint)}-config-[0-9a-f]{{7}}", config):
        text = (
            f"endpoint {names.endpoint} runs configuration {config}, which `pulumi up` has not made; a deployment that "
            "looks at what is there puts its own back"
        )
        warnings[text] = PUT_BACK
    served = tried(lambda: find_served_model(sagemaker, config), unknown, "model")
    described = served.config if served else None
    if served is None or described is None:
        if "model" not in unknown:
            text = (
                f"endpoint configuration {config}, which serves, was deleted: what serves cannot be told, and "
                "SageMaker gives such an endpoint no other configuration. It serves on until it is deleted: "
                f"`aws sagemaker delete-endpoint --endpoint-name {names.endpoint} --region {names.region}`; then a "
                "deployment that looks at what is there makes both anew, with the newest approved version"
            )
            warnings[text] = PUT_BACK
        return None, {}
    if served.model is None:
        text = (
            f"model {served.name}, which serves, was deleted: which package serves cannot be told; a deployment that "
            "looks at what is there makes it anew, with the newest approved version"
        )
        warnings[text] = PUT_BACK
        return None, described
    if served.package is None:
        text = (
            f"model {served.name}, which serves, was not made from a registered package; a deployment that looks "
            "at what is there lets the newest approved version serve"
        )
        warnings[text] = PUT_BACK
    return served.package, described


def packages(sagemaker: Any, group: str) -> list[dict[str, Any]]:
    """The summaries of the newest packages of a group, newest first; none where there is no such group."""
    return list(islice(list_packages(sagemaker, group), _NEWEST))


def rollout(
    sagemaker: Any, live: Mapping[str, Any], serves: str | None, unknown: dict[str, str]
) -> dict[str, Any] | None:
    """The deployment that is under way: the old fleet, which is blue, the new one, which is green, and its stages."""
    pending = live.get("PendingDeploymentSummary")
    if not pending:
        return None
    green = pending.get("EndpointConfigName", "")
    # Nobody has made the new configuration by hand who is just rolling it out.
    arn, _ = package_of(sagemaker, green, Names("", "", "", ""), {}, unknown) if green else (None, None)
    policy = live.get("LastDeploymentConfig", {}).get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {})
    return {
        "started": pending.get("StartTime"),
        "traffic": routing.get("Type"),
        "bake_seconds": routing.get("WaitIntervalInSeconds"),
        "alarms": list_rollback_alarms(live),
        "blue": _fleet(live["EndpointConfigName"], serves, live.get("ProductionVariants", [])),
        "green": _fleet(green, arn, pending.get("ProductionVariants", [])),
    }


def _fleet(config: str, arn: str | None, variants: list[dict[str, Any]]) -> dict[str, Any]:
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


def pause(found: Mapping[str, str], names: Names) -> dict[str, Any] | None:
    """Who has paused a stack, since when and why."""
    if (text := found.get(names.pause_parameter)) is None:
        return None
    try:
        said = parse_pause(names.pause_parameter, text)
    except UnreadablePauseError:
        # `millrace pause` did not write it; what it says is shown as it is.
        return {"since": None, "by": None, "reason": text}
    return {"since": said.since, "by": said.by, "reason": said.reason}


def _endpoint(
    names: Names, live: Mapping[str, Any] | None, arn: str | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    variants = (live or {}).get("ProductionVariants", [])
    return {
        "name": names.endpoint,
        "version": parse_version(arn) if arn and parse_group(arn) == names.model_package_group else None,
        "since": _since(live, config) if live else None,
        "reason": live.get("FailureReason", "") if live else "",
        "rolled_back_by_alarm": is_by_alarm(live) if live else False,
        "package": arn,
        "config": live["EndpointConfigName"] if live else None,
        "instance_type": config["ProductionVariants"][0].get("InstanceType") if config else None,
        "instances": sum(variant.get("CurrentInstanceCount") or 0 for variant in variants),
    }


def _since(live: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """When the deployment of what serves began; None where that cannot be told.

    Each deployment makes a configuration of its own. The endpoint's own time of change is no answer: a roll-out that
    is under way, or was undone, changes that too.
    """
    if not config or live["EndpointStatus"] == "Creating":
        return None
    return get_deployment_time(live, config)


def _undone(live: Mapping[str, Any] | None, newest: Mapping[str, Any] | None) -> int | None:
    """The newest approved version, where it may be the one whose roll-out was undone; one made later is not."""
    if live is None or newest is None or not live.get("FailureReason") or live.get("PendingDeploymentSummary"):
        return None
    return int(newest["ModelPackageVersion"]) if newest["CreationTime"] < live["LastModifiedTime"] else None


def _model(target: Target, package: Package | None, warnings: Warnings) -> dict[str, Any] | None:
    """The model that serves, with its figures; figures that it does not say are said to be missing."""
    if package is None:
        return None
    document = package.document(target.use_case)
    metric = target.use_case.champion_metric
    text = package.metadata.get(metric, "")
    document["metric"] = {"name": metric, "value": number(text)}
    wanted = dict.fromkeys([*(gate["metric"] for gate in document["gates"]), metric])
    if missing := [name for name in wanted if name not in package.metadata]:
        warnings[f"version {package.version}, which serves, has no figure for {', '.join(missing)}"] = ("retrain",)
    return document


def number(text: str) -> float | None:
    """A figure of the registry's metadata."""
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class _Known:
    """What the registry says."""

    approved: int | None
    """The newest approved version; `_NOT_ASKED` where it did not say."""
    is_lost: bool
    """The group is gone."""
    is_silent: bool
    """It did not say what became of the package that serves."""


def _warn_of_package(names: Names, arn: str | None, package: Package | None, known: _Known, warnings: Warnings) -> None:
    if arn is None:
        return
    if parse_group(arn) != names.model_package_group:
        text = (
            f"endpoint {names.endpoint} serves a model of another group: {arn}; expected one of "
            f"{names.model_package_group}; a deployment that looks at what is there puts the own one back"
        )
        warnings[text] = PUT_BACK
    if package is None and not known.is_silent and not known.is_lost:
        left = f"the next deployment lets version {known.approved} serve"
        if known.approved is None:
            left = f"no version is approved: {_ENDS}"
        elif known.approved == _NOT_ASKED:
            left = "whether another version is approved is not known"
        text = f"package {arn}, which serves, was deleted: its figures are gone; it serves on until a new model does; "
        text += left
        warnings[text] = ("retrain",)


def _warn_of_registry(
    names: Names, live: Mapping[str, Any] | None, known: _Known, package: Package | None, warnings: Warnings
) -> None:
    if known.is_lost:
        text = f"the group of models {names.model_package_group} was deleted, and with it all history"
        if live is None:
            warnings[f"{text}; a deployment that looks at what is there makes it anew"] = PUT_BACK
        else:
            text += (
                f"; the endpoint serves on, but no version is left that may: {_ENDS}. To begin anew, take the endpoint "
                "away with this command, which ends serving, then train a model with `millrace retrain`"
            )
            warnings[text] = (*PUT_BACK, "--remove-endpoint")
        return
    approved = known.approved
    if (
        live is None
        or package is None
        or approved == _NOT_ASKED
        or parse_group(package.arn) != names.model_package_group
    ):
        return
    version = package.version
    if approved is None:
        text = f"version {version} serves and no version is approved: {_ENDS}"
        if package.approval == REJECTED:
            text = f"version {version}, which serves, is rejected, and no version is approved: {_ENDS}; approve "
            text += "another version, or train one"
        warnings[text] = ("retrain",) if package.approval == REJECTED else ("approve", str(version))
    elif approved < version:
        text = (
            f"version {approved}, the newest approved one, is older than version {version}, which serves and is "
            f"{package.approval}: the next deployment goes back to it"
        )
        warnings[text] = ("deploy",)
    elif package.approval == REJECTED and approved > version:
        warnings[f"version {version}, which serves, is rejected: the next deployment ends it"] = ("deploy",)
