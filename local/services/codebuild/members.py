"""The members of CodeBuild's requests that this cloud supports; others that would change the result are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from local.core.errors import AwsError

_PROJECT: Final = frozenset(
    {
        "name", "description", "source", "sourceVersion", "artifacts", "cache", "environment", "serviceRole",
        "timeoutInMinutes", "queuedTimeoutInMinutes", "encryptionKey", "tags", "badgeEnabled", "logsConfig",
        "concurrentBuildLimit",
    }
)  # fmt: skip
_START: Final = frozenset(
    {
        "projectName", "sourceVersion", "sourceTypeOverride", "sourceLocationOverride", "buildspecOverride",
        "environmentVariablesOverride", "imageOverride", "computeTypeOverride", "environmentTypeOverride",
        "privilegedModeOverride", "serviceRoleOverride", "timeoutInMinutesOverride", "queuedTimeoutInMinutesOverride",
        "encryptionKeyOverride", "idempotencyToken",
    }
)  # fmt: skip
_SOURCE: Final = frozenset({"type", "location", "buildspec"})
_ENVIRONMENT: Final = frozenset(
    {"type", "image", "computeType", "environmentVariables", "privilegedMode", "imagePullCredentialsType"}
)
_KINDS: Final = ("LINUX_CONTAINER", "ARM_CONTAINER")


def make_input_error(message: str) -> AwsError:
    """Return CodeBuild's error for a value that is not valid.

    Args:
        message: What is wrong.
    """
    return AwsError("InvalidInputException", message)


def check_project(params: Mapping[str, Any]) -> None:
    """Refuse a project that this cloud could not build.

    Args:
        params: The parameters of CreateProject or UpdateProject; those of the latter may be fewer.

    Raises:
        AwsError: ``InvalidInputException`` that names the member.
    """
    _refuse_others(params, _PROJECT, "a project")
    if source := params.get("source"):
        check_source(source)
    if artifacts := params.get("artifacts"):
        _refuse_value(artifacts["type"], ("NO_ARTIFACTS",), "artifacts: type")
    if cache := params.get("cache"):
        _refuse_value(cache["type"], ("NO_CACHE",), "cache: type")
    if environment := params.get("environment"):
        _check_environment(environment)
    if params.get("badgeEnabled"):
        raise make_input_error("badgeEnabled is not available in the local cloud.")
    logs = params.get("logsConfig", {})
    _refuse_value(logs.get("cloudWatchLogs", {}).get("status", "ENABLED"), ("ENABLED",), "cloudWatchLogs: status")
    _refuse_value(logs.get("s3Logs", {}).get("status", "DISABLED"), ("DISABLED",), "s3Logs: status")


def check_start(params: Mapping[str, Any]) -> None:
    """Refuse a start with members that this cloud does not support.

    Args:
        params: The parameters of StartBuild.

    Raises:
        AwsError: ``InvalidInputException`` that names the member.
    """
    _refuse_others(params, _START, "StartBuild")
    _check_variables(params.get("environmentVariablesOverride", []))


def check_source(source: Mapping[str, Any]) -> None:
    """Refuse a source that cannot be fetched here.

    Args:
        source: ProjectSource.

    Raises:
        AwsError: ``InvalidInputException`` that names the member.
    """
    _refuse_others(source, _SOURCE, "source")
    _refuse_value(source["type"], ("S3", "NO_SOURCE"), "source: type")
    if source["type"] == "S3" and not str(source.get("location", "")).removeprefix("arn:aws:s3:::").partition("/")[2]:
        raise make_input_error(
            f"Project source location for type S3 is {source.get('location')!r}; expected <bucket>/<path>/<object>.zip"
        )
    if source["type"] == "NO_SOURCE" and not source.get("buildspec"):
        raise make_input_error("Project source type NO_SOURCE requires a buildspec")


def _check_environment(environment: Mapping[str, Any]) -> None:
    _refuse_others(environment, _ENVIRONMENT, "environment")
    _refuse_value(environment["type"], _KINDS, "environment: type")
    _check_variables(environment.get("environmentVariables", []))


def _check_variables(variables: list[dict[str, Any]]) -> None:
    for each in variables:
        _refuse_value(each.get("type", "PLAINTEXT"), ("PLAINTEXT", "PARAMETER_STORE"), f"variable {each['name']}: type")
    names = [each["name"] for each in variables]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise make_input_error(f"Duplicate environment variables: {', '.join(repeated)}")


def _refuse_others(given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    others = sorted(name for name in set(given) - known if given[name] not in (None, False, "", [], {}, 0))
    if others:
        raise make_input_error(f"{', '.join(others)} of {where} is not available in the local cloud.")


def _refuse_value(value: str, available: tuple[str, ...], where: str) -> None:
    if value not in available:
        raise make_input_error(
            f"{where} {value} is not available in the local cloud; available: {', '.join(available)}"
        )
