"""The endpoint: what it serves since when, and a request to it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import model_packages
from cli.console.errors import CliError
from cli.console.output import moment
from cli.stack.deployable import named
from cli.stack.target import Target
from millrace.names import ERRORS
from queries.endpoints import find_endpoint, find_served_model, get_deployment_time
from queries.packages import APPROVED, parse_version

#: SageMaker takes no larger body of a request, bytes.
LARGEST = 6_291_456

#: What an endpoint's status is where there is none: it was not answered; nobody has said whether one should be there;
#: it was there, and what it served is still approved; or no version has been deployed yet.
UNKNOWN, ABSENT, GONE, AWAITED = "unknown", "absent", "gone", "pending its first approved model"


@dataclass(frozen=True)
class Endpoint:
    """An endpoint that is there."""

    name: str
    status: str
    since: datetime | None
    """When the deployment of what serves began; None where its configuration has been deleted."""
    package: str | None
    """ARN of the package whose model it serves."""
    reason: str

    @property
    def version(self) -> int | None:
        return parse_version(self.package)

    @property
    def since_text(self) -> str:
        return moment(self.since) if self.since else "an unknown time, because its configuration was deleted"


@dataclass(frozen=True)
class Answer:
    """What an endpoint said."""

    body: Any
    variant: str
    latency_ms: float


def find(target: Target) -> Endpoint | None:
    """The use case's endpoint; None when it is not there."""
    name = target.names.endpoint
    described = find_endpoint(target.sagemaker, name)
    return describe(target, described) if described else None


def describe(target: Target, described: Mapping[str, Any]) -> Endpoint:
    """From DescribeEndpoint's answer."""
    served = find_served_model(target.sagemaker, described["EndpointConfigName"])
    return Endpoint(
        described["EndpointName"],
        described["EndpointStatus"],
        get_deployment_time(described, served.config) if served.config else None,
        served.package,
        described.get("FailureReason", ""),
    )


def invoke(target: Target, body: bytes, content_type: str = "application/json") -> Answer:
    """Ask the endpoint; latency as its caller sees it.

    Raises:
        CliError: When it is not there or refuses the request.
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
            f"answered with something else than JSON: {text[:200]!r}",
            fix=f"see `millrace logs {name}`",
        ) from error
    return Answer(document, answered.get("InvokedProductionVariant", ""), latency)


def absence(target: Target) -> str:
    """Why there is no endpoint, and what to do: what `millrace status` says, for whoever asks the endpoint itself."""
    endpoint, name = target.names.endpoint, named(target)
    try:
        approved = model_packages.newest(target, APPROVED)
        # It comes, and is taken down, with the endpoint.
        alarms = target.client("cloudwatch").describe_alarms(AlarmNames=[target.names.alarm(ERRORS)])["MetricAlarms"]
    except ClientError:
        # Who may ask the endpoint need not be let ask anything else.
        return f"there is no endpoint {endpoint}; see `millrace status {name}`"
    if approved is None or not alarms:
        return f"there is no endpoint {endpoint}: it is pending its first approved model; see `millrace status {name}`"
    return (
        f"endpoint {endpoint} is gone, and version {approved.version} is approved: somebody has deleted it; "
        f"`millrace deploy {name} --refresh` makes it anew"
    )


def _map_refusal(target: Target, error: ClientError) -> CliError:
    """Return the error of a refused request, in the model server's own words where it gave any."""
    name = target.names.endpoint
    said = error.response.get("OriginalMessage")
    if not said:
        message = error.response["Error"]["Message"]
        if "not found" in message:
            return CliError(absence(target))
        return CliError(f"endpoint {name}", f"did not answer: {message}", fix=f"see `millrace logs {name}`")
    try:
        document = json.loads(said)
        said = document["error"]
        places = [f"{key} {document[key]!r}" for key in ("field", "row") if key in document]
    except (ValueError, TypeError, KeyError):
        places = []
    status = error.response.get("OriginalStatusCode", "")
    return CliError(f"endpoint {name}", f"refused the request ({', '.join([f'status {status}', *places])}): {said}")


def endpoint_document(target: Target, endpoint: Endpoint | None) -> dict[str, Any]:
    """The endpoint, for programs."""
    return {
        "name": target.names.endpoint,
        "status": endpoint.status if endpoint else AWAITED,
        "version": endpoint.version if endpoint else None,
        "since": endpoint.since if endpoint else None,
        "reason": endpoint.reason if endpoint else "",
    }


def describe_answer(target: Target, body: bytes, answer: Answer) -> dict[str, Any]:
    """For programs."""
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
