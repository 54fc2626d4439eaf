"""The endpoint of a stack: what it serves, since when, and requests to it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import model_packages
from cli.aws.model_packages import Package
from cli.console.errors import CliError
from cli.console.output import format_time
from cli.stack.deployable import render_arguments, render_logs_command
from cli.stack.target import Target
from millrace.names import ERRORS
from queries.endpoints import find_endpoint, find_served_model, get_deployment_time
from queries.packages import APPROVED, parse_version

#: The largest request body that SageMaker accepts, bytes.
LARGEST = 6_291_456

#: Statuses of an endpoint that could not be described: the request failed; it was not found, and the registry did not
#: answer whether it should exist; it was deleted while a version is approved; no version has been deployed yet.
UNKNOWN, ABSENT, GONE, AWAITED = "unknown", "absent", "gone", "pending its first approved model"


@dataclass(frozen=True)
class Endpoint:
    """An existing endpoint."""

    name: str
    status: str
    since: datetime | None
    """When the deployment of the served model began; None where the endpoint's configuration was deleted."""
    package: str | None
    """ARN of the package whose model it serves."""
    reason: str

    @property
    def version(self) -> int | None:
        """The version of the served package; None where the model was not made from one."""
        return parse_version(self.package)

    @property
    def since_text(self) -> str:
        """The start of serving, as text."""
        return format_time(self.since) if self.since else "an unknown time, because its configuration was deleted"


@dataclass(frozen=True)
class Answer:
    """An endpoint's answer to a request."""

    body: Any
    variant: str
    latency_ms: float


def read_endpoint(target: Target) -> Endpoint | None:
    """Return the use case's endpoint; None when it does not exist.

    Args:
        target: The stack.
    """
    name = target.names.endpoint
    described = find_endpoint(target.sagemaker, name)
    return parse_endpoint(target, described) if described else None


def parse_endpoint(target: Target, described: Mapping[str, Any]) -> Endpoint:
    """Return the endpoint of DescribeEndpoint's answer, with the model that it serves.

    Args:
        target: The stack, whose client looks up the endpoint's configuration and model.
        described: DescribeEndpoint's answer.
    """
    served = find_served_model(target.sagemaker, described["EndpointConfigName"])
    return Endpoint(
        described["EndpointName"],
        described["EndpointStatus"],
        get_deployment_time(described, served.config) if served.config else None,
        served.package,
        described.get("FailureReason", ""),
    )


def invoke(target: Target, body: bytes, content_type: str = "application/json") -> Answer:
    """Send a request to the endpoint and measure the latency that its caller sees.

    Args:
        target: The stack.
        body: The request, at most `LARGEST` bytes.
        content_type: The media type of the body; the model server reads JSON, JSON Lines and CSV.

    Returns:
        The parsed answer, the variant that gave it, and the latency in milliseconds.

    Raises:
        CliError: The endpoint does not exist, refuses the request or answers something other than JSON; or the request
            is too large.
    """
    name = target.names.endpoint
    if len(body) > LARGEST:
        raise CliError(
            f"the request to endpoint {name}",
            f"has {len(body)} bytes",
            expected=f"at most {LARGEST}",
            fix="send it in parts",
        )
    runtime = target.client("sagemaker-runtime")
    began = time.perf_counter()
    try:
        answered = runtime.invoke_endpoint(
            EndpointName=name, Body=body, ContentType=content_type, Accept="application/json"
        )
        text = answered["Body"].read()
    except ClientError as error:
        raise _map_refusal(target, error) from error
    latency = (time.perf_counter() - began) * 1e3
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CliError(
            f"endpoint {name}",
            f"returned something other than JSON: {text[:200]!r}",
            fix=f"see `{render_logs_command(target, name)}`",
        ) from error
    return Answer(document, answered.get("InvokedProductionVariant", ""), latency)


def explain_missing_endpoint(target: Target) -> str:
    """Explain why the endpoint does not exist and what to do, as `millrace status` does.

    Args:
        target: The stack.

    Returns:
        A clause about the endpoint, with the command to run next.
    """
    endpoint, name = target.names.endpoint, render_arguments(target)
    status, approved = _find_missing_status(target)
    if status == ABSENT:
        return f"endpoint {endpoint} does not exist; see `millrace status {name}`"
    if status == AWAITED or approved is None:
        return f"endpoint {endpoint} is pending its first approved model; see `millrace status {name}`"
    return (
        f"endpoint {endpoint} was deleted by hand, although version {approved.version} is approved; "
        f"`millrace deploy {name} --refresh` recreates it"
    )


def _find_missing_status(target: Target) -> tuple[str, Package | None]:
    """Return the status of an endpoint that does not exist, and the newest approved package if it is known."""
    try:
        approved = model_packages.find_newest(target, APPROVED)
        # This alarm is created and deleted together with the endpoint.
        alarms = target.client("cloudwatch").describe_alarms(AlarmNames=[target.names.alarm(ERRORS)])["MetricAlarms"]
    except ClientError:
        # The caller may have permission to describe or invoke the endpoint and nothing else.
        return ABSENT, None
    return (GONE if approved and alarms else AWAITED), approved


def _map_refusal(target: Target, error: ClientError) -> CliError:
    """Return the error of a refused request, in the model server's own words where it gave any."""
    name = target.names.endpoint
    said = error.response.get("OriginalMessage")
    if not said:
        message = error.response["Error"]["Message"]
        if "not found" in message:
            return CliError(explain_missing_endpoint(target))
        return CliError(
            f"endpoint {name}", f"did not answer: {message}", fix=f"see `{render_logs_command(target, name)}`"
        )
    try:
        document = json.loads(said)
        said = document["error"]
        places = [f"{key} {document[key]!r}" for key in ("field", "row") if key in document]
    except (ValueError, TypeError, KeyError):
        places = []
    status = error.response.get("OriginalStatusCode", "")
    return CliError(f"endpoint {name}", f"refused the request ({', '.join([f'status {status}', *places])}): {said}")


def build_endpoint_document(target: Target, endpoint: Endpoint | None) -> dict[str, Any]:
    """Return the endpoint as a document for JSON output.

    Args:
        target: The stack.
        endpoint: The endpoint; None when it does not exist, for which the status says why.
    """
    return {
        "name": target.names.endpoint,
        "status": endpoint.status if endpoint else _find_missing_status(target)[0],
        "version": endpoint.version if endpoint else None,
        "since": endpoint.since if endpoint else None,
        "reason": endpoint.reason if endpoint else "",
    }


def describe_answer(target: Target, body: bytes, answer: Answer) -> dict[str, Any]:
    """Return the request and its answer as a document for JSON output.

    Args:
        target: The stack.
        body: The request as it was sent; shown as text unless it is JSON.
        answer: The answer to this request.
    """
    try:
        request: Any = json.loads(body)
    except (ValueError, RecursionError):
        request = body.decode(errors="replace")
    return {
        "endpoint": target.names.endpoint,
        "variant": answer.variant,
        "latency_ms": round(answer.latency_ms, 3),
        "request": request,
        "answer": answer.body,
    }
