"""The cache keys and retry policies of pipeline steps, which decide whether a step's work is repeated."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: The exceptions that a retry policy can name.
EXCEPTIONS = (
    "Step.SERVICE_FAULT", "Step.THROTTLING", "SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)  # fmt: skip

#: The members of a request that are part of a step's cache key: neither outputs, nor role, nor resources.
_KEYS = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification", "CheckpointConfig", "DebugHookConfig", "DebugRuleConfigurations", "Environment",
        "HyperParameters", "InputDataConfig",
    ),
}  # fmt: skip

#: An ISO 8601 duration, also without the P and in lower case, as the developer guide shows it.
_DURATION = re.compile(
    r"P?(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
_UNITS = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)


def parse_duration(duration: Any) -> float:
    """Return the seconds of an ISO 8601 duration such as ``P30D``; a month has 30 days, a year 365.

    Raises:
        ValueError: The value is not a duration.
    """
    match = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    if match is None:
        raise ValueError(f"{duration!r} is not a duration such as P30D, PT12H or 30d")
    return sum(float(count) * unit for count, unit in zip(match.groups(), _UNITS, strict=True) if count)


def build_cache_key(kind: str, request: Mapping[str, Any]) -> str:
    """Return the cache key of a step's request; a later request with the same key can be a cache hit."""
    chosen = {member: request.get(member) for member in _KEYS[kind]}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def classify_job_failure(reason: str) -> str | None:
    """Return the retry policy's exception for a job's FailureReason, or None if no policy can name it."""
    if reason.startswith("InternalServerError"):
        return "SageMaker.JOB_INTERNAL_ERROR"
    return "SageMaker.CAPACITY_ERROR" if reason.startswith("CapacityError") else None


def classify_service_error(code: str, status: int) -> str | None:
    """Return the retry policy's exception for a refused request, or None if no policy can name it."""
    if code in ("ThrottlingException", "Throttling"):
        return "Step.THROTTLING"
    if code == "ResourceLimitExceeded":
        return "SageMaker.RESOURCE_LIMIT"
    return "Step.SERVICE_FAULT" if status >= 500 else None


def compute_retry_delay(
    policies: Sequence[Mapping[str, Any]], exception: str | None, retries: int, elapsed: float
) -> float | None:
    """Return the seconds to wait before the next attempt, or None if no policy allows another one.

    Args:
        policies: The retry policies of the step.
        exception: The exception of the last attempt.
        retries: How often the exception was retried already.
        elapsed: Seconds since the first attempt.
    """
    for policy in policies:
        if exception not in policy["ExceptionType"]:
            continue
        if "ExpireAfterMin" in policy:
            allowed = elapsed < policy["ExpireAfterMin"] * 60
        else:
            allowed = retries < policy.get("MaxAttempts", 5)
        wait = policy.get("IntervalSeconds", 1) * policy.get("BackoffRate", 2.0) ** retries
        return float(wait) if allowed else None
    return None
