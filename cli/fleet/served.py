"""What a stack serves and what its registry says: read as it is, whatever was changed by hand, and nothing crashes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from botocore.exceptions import ClientError

from cli import registry
from cli.fleet.accounts import is_gone, tried
from cli.registry import APPROVED, PENDING, REJECTED, Package
from cli.target import Target
from millrace.names import Names

#: Packages that are looked at: the newest ones.
_NEWEST = 100


def of(
    target: Target,
    names: Names,
    endpoints: Mapping[str, Any] | None,
    groups: Collection[str] | None,
    unknown: dict[str, str],
) -> dict[str, Any]:
    """The keys ``endpoint``, ``model``, ``rollout``, ``approved``, ``pending`` and ``warnings`` of a stack's document.

    Args:
        endpoints: Those of the account by name; None where it did not say.
        groups: The names of its groups of models; None where it did not say.
        unknown: Takes what could not be asked.
    """
    warnings: list[str] = []
    live = None
    if endpoints is None or names.endpoint in endpoints:
        live = tried(lambda: describe_endpoint(target.sagemaker, names.endpoint), unknown, "endpoint")
    arn, instance, package = None, None, None
    if live:
        arn, instance = package_of(target.sagemaker, live["EndpointConfigName"], names, warnings, unknown)
        package = tried(lambda: registry.find(target, arn), unknown, "model") if arn else None
    listed: list[dict[str, Any]] | None = []
    if groups is None or names.model_package_group in groups:
        listed = tried(lambda: packages(target.sagemaker, names.model_package_group), unknown, "registry")
    _warn_of_package(names, arn, package, "model" in unknown, warnings)
    _warn_of_registry(names, live, groups, listed or [], package, warnings)
    newest = next((each for each in listed or [] if each.get("ModelApprovalStatus") == APPROVED), None)
    return {
        "endpoint": _endpoint(names, live, arn, instance),
        "model": _model(target, package, warnings),
        "rollout": rollout(target.sagemaker, live, arn, unknown) if live else None,
        "approved": newest["ModelPackageVersion"] if newest else None,
        "pending": [
            {
                "version": each["ModelPackageVersion"],
                "created": each["CreationTime"],
                "description": each.get("ModelPackageDescription", ""),
            }
            for each in listed or []
            if each.get("ModelApprovalStatus") == PENDING
        ],
        "warnings": warnings,
    }


def describe_endpoint(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """What SageMaker says of an endpoint; None when it is not there."""
    try:
        return dict(sagemaker.describe_endpoint(EndpointName=name))
    except ClientError as error:
        if is_gone(error):
            return None
        raise


def package_of(
    sagemaker: Any, config: str, names: Names, warnings: list[str], unknown: dict[str, str]
) -> tuple[str | None, str | None]:
    """The ARN of the package behind an endpoint's configuration, and its type of instance.

    What is odd on the way goes to ``warnings``.
    """
    if not re.fullmatch(rf"{re.escape(names.endpoint)}-config-[0-9a-f]{{7}}", config):
        warnings.append(
            f"endpoint {names.endpoint} runs configuration {config}, which `pulumi up` has not made; the next one may "
            "put its own back"
        )
    described = tried(lambda: _or_none(sagemaker.describe_endpoint_config, EndpointConfigName=config), unknown, "model")
    if described is None:
        if "model" not in unknown:
            warnings.append(f"endpoint configuration {config}, which serves, was deleted: what serves cannot be told")
        return None, None
    variant = described["ProductionVariants"][0]
    name, instance = variant["ModelName"], variant.get("InstanceType")
    model = tried(lambda: _or_none(sagemaker.describe_model, ModelName=name), unknown, "model")
    if model is None:
        if "model" not in unknown:
            warnings.append(f"model {name}, which serves, was deleted: which package serves cannot be told")
        return None, instance
    container: Mapping[str, Any] = model.get("PrimaryContainer") or next(iter(model.get("Containers", [])), {})
    arn = container.get("ModelPackageName")
    if arn is None:
        warnings.append(f"model {name}, which serves, was not made from a registered package")
    return arn, instance


def packages(sagemaker: Any, group: str) -> list[dict[str, Any]]:
    """The summaries of the newest packages of a group, newest first; none where there is no such group."""
    try:
        listed = sagemaker.list_model_packages(
            ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", MaxResults=_NEWEST
        )
    except ClientError as error:
        if is_gone(error):
            return []
        raise
    return list(listed["ModelPackageSummaryList"])


def rollout(
    sagemaker: Any, live: Mapping[str, Any], serves: str | None, unknown: dict[str, str]
) -> dict[str, Any] | None:
    """The deployment that is under way: the old fleet, which is blue, the new one, which is green, and its stages."""
    pending = live.get("PendingDeploymentSummary")
    if not pending:
        return None
    green = pending.get("EndpointConfigName", "")
    # Nobody has made the new configuration by hand who is just rolling it out.
    arn, _ = package_of(sagemaker, green, Names("", "", "", ""), [], unknown) if green else (None, None)
    policy = live.get("LastDeploymentConfig", {}).get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {})
    return {
        "started": pending.get("StartTime"),
        "traffic": routing.get("Type"),
        "bake_seconds": routing.get("WaitIntervalInSeconds"),
        "alarms": [
            each["AlarmName"]
            for each in live.get("LastDeploymentConfig", {}).get("AutoRollbackConfiguration", {}).get("Alarms", [])
        ],
        "blue": _fleet(live["EndpointConfigName"], serves, live.get("ProductionVariants", [])),
        "green": _fleet(green, arn, pending.get("ProductionVariants", [])),
    }


def _fleet(config: str, arn: str | None, variants: list[dict[str, Any]]) -> dict[str, Any]:
    stages = [stage for variant in variants for stage in variant.get("VariantStatus", [])]
    return {
        "config": config,
        "version": version_of(arn),
        "instances": sum(variant.get("CurrentInstanceCount", 0) for variant in variants),
        "wanted": sum(variant.get("DesiredInstanceCount", 0) for variant in variants),
        "instance_type": next((variant["InstanceType"] for variant in variants if "InstanceType" in variant), None),
        "weight": sum(variant.get("CurrentWeight", 0.0) for variant in variants),
        "stages": [{"status": each["Status"], "message": each.get("StatusMessage", "")} for each in stages],
    }


def version_of(arn: str | None) -> int | None:
    """The version in a package's ARN."""
    last = (arn or "").rpartition("/")[2]
    return int(last) if last.isdigit() else None


def group_of(arn: str) -> str:
    """The group in a package's ARN."""
    return arn.partition(":model-package/")[2].rpartition("/")[0]


def pause(found: Mapping[str, str], names: Names) -> dict[str, Any] | None:
    """Who has paused a stack, since when and why."""
    if (text := found.get(names.pause_parameter)) is None:
        return None
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {"reason": text}
    return {key: said.get(key) for key in ("since", "by", "reason")}


def _or_none(question: Any, **params: str) -> dict[str, Any] | None:
    try:
        return dict(question(**params))
    except ClientError as error:
        if is_gone(error):
            return None
        raise


def _endpoint(names: Names, live: Mapping[str, Any] | None, arn: str | None, instance: str | None) -> dict[str, Any]:
    variants = (live or {}).get("ProductionVariants", [])
    return {
        "name": names.endpoint,
        "status": live["EndpointStatus"] if live else "pending its first approved model",
        "version": version_of(arn) if arn and group_of(arn) == names.model_package_group else None,
        "since": live["LastModifiedTime"] if live else None,
        "reason": live.get("FailureReason", "") if live else "",
        "package": arn,
        "config": live["EndpointConfigName"] if live else None,
        "instance_type": instance,
        "instances": sum(variant.get("CurrentInstanceCount") or 0 for variant in variants),
    }


def _model(target: Target, package: Package | None, warnings: list[str]) -> dict[str, Any] | None:
    """The model that serves, with its figures; figures that it does not say are said to be missing."""
    if package is None:
        return None
    document = package.document(target.use_case)
    metric = target.use_case.champion_metric
    text = package.metadata.get(metric, "")
    document["metric"] = {"name": metric, "value": number(text)}
    wanted = dict.fromkeys([*(gate["metric"] for gate in document["gates"]), metric])
    if missing := [name for name in wanted if name not in package.metadata]:
        warnings.append(f"version {package.version}, which serves, has no figure for {', '.join(missing)}")
    return document


def number(text: str) -> float | None:
    """A figure of the registry's metadata."""
    try:
        return float(text)
    except ValueError:
        return None


def _warn_of_package(names: Names, arn: str | None, package: Package | None, asked: bool, warnings: list[str]) -> None:
    if arn is None:
        return
    if group_of(arn) != names.model_package_group:
        warnings.append(
            f"endpoint {names.endpoint} serves a model of another group: {arn}; expected one of "
            f"{names.model_package_group}"
        )
    if package is None and not asked:
        warnings.append(f"package {arn}, which serves, was deleted: its figures are gone")


def _warn_of_registry(
    names: Names,
    live: Mapping[str, Any] | None,
    groups: Collection[str] | None,
    listed: list[dict[str, Any]],
    package: Package | None,
    warnings: list[str],
) -> None:
    if groups is not None and names.model_package_group not in groups:
        warnings.append(f"the group of models {names.model_package_group} was deleted, and with it all history")
        return
    if live is None or package is None or group_of(package.arn) != names.model_package_group:
        return
    newest = next((each for each in listed if each.get("ModelApprovalStatus") == APPROVED), None)
    if newest is None:
        warnings.append(f"version {package.version} serves and no version is approved: the next `pulumi up` ends it")
    elif newest["ModelPackageVersion"] < package.version:
        warnings.append(
            f"version {newest['ModelPackageVersion']}, the newest approved one, is older than version "
            f"{package.version}, which serves and is {package.approval}: the next `pulumi up` goes back to it"
        )
    if package.approval == REJECTED and newest and newest["ModelPackageVersion"] > package.version:
        warnings.append(f"version {package.version}, which serves, is rejected")
