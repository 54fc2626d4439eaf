"""One stack in depth: what the table shows, and everything else that a person asks who looks closer."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from cli import fleet
from cli.aws import model_packages
from cli.aws.model_packages import Package
from cli.console.errors import CliError
from cli.fleet import accounts
from cli.fleet.accounts import tried
from cli.fleet.document import (
    DeadLetters,
    DeepDocument,
    NextRun,
    PackageHistory,
    PendingPackage,
    ScheduleState,
    StackDocument,
    WarningPart,
)
from cli.fleet.findings import Code, find
from cli.stack.target import Target
from millrace.inventory import PIPELINE_KINDS
from millrace.names import VARIANT
from queries.client import is_not_found
from queries.packages import APPROVED

Document = dict[str, Any]

#: Executions of each pipeline, and packages, that are shown.
EXECUTIONS, PACKAGES = 3, 8
#: What the monitor publishes about an endpoint as a whole.
FIGURES = (
    "psi_max", "ece", "brier", "roc_auc", "mae", "rows", "label_coverage", "skew", "heartbeat",
)  # fmt: skip
#: How far back its newest figures are looked for: longer than the longest interval and a late run.
_BACK = timedelta(days=7)


def add(target: Target, row: StackDocument) -> DeepDocument:
    """Ask for all that is known of a stack; ``pending`` has the gates of each package too."""
    unknown: dict[str, str] = row["unknown"]
    questions = {
        "data_time": lambda: _data_time(target),
        "executions": lambda: {
            kind: fleet.executions(target.sagemaker, target.names.pipeline(kind), EXECUTIONS) for kind in PIPELINE_KINDS
        },
        "figures": lambda: figures(target),
        "traffic": lambda: _traffic(target),
        "registry": lambda: history(target, PACKAGES),
        "schedules": lambda: _schedules(target, row["next"]),
        "dead_letters": lambda: _dead_letters(target),
    }
    with ThreadPoolExecutor(accounts.AT_ONCE) as pool:
        asked = {fact: pool.submit(tried, question, unknown, fact) for fact, question in questions.items()}
        found = {fact: answer.result() for fact, answer in asked.items()}
    known = {each["version"]: each for each in found["registry"] or []}
    pending: list[PendingPackage] = [
        {**each, "gates": known[each["version"]]["gates"] if each["version"] in known else []}
        for each in row["pending"]
    ]
    row["warnings"] += _late_approvals(found["registry"] or [])
    return {
        **row,
        "pending": pending,
        "data_time": found["data_time"],
        "executions": found["executions"],
        "figures": found["figures"],
        "traffic": found["traffic"],
        "registry": found["registry"],
        "schedules": found["schedules"],
        "dead_letters": found["dead_letters"],
    }


def history(target: Target, count: int) -> list[PackageHistory]:
    """The newest packages, newest first."""
    found = [model_packages.find(target, arn) for arn in model_packages.arns(target)[:count]]
    return [package_document(target, package) for package in found if package]


def package_document(target: Target, package: Package) -> PackageHistory:
    """What the registry knows of a package."""
    return {
        "version": package.version,
        "approval": package.approval,
        "created": package.created,
        "description": package.description,
        "reason": package.reason,
        "changed": package.changed,
        "changed_by": package.changed_by,
        "trigger": package.metadata.get("trigger", ""),
        "gates": model_packages.gates(target.use_case, package),
    }


def _late_approvals(known: list[PackageHistory]) -> list[WarningPart]:
    """Versions that were approved by hand after a newer one and so do not serve."""
    approved = [each for each in known if each["approval"] == APPROVED]
    if not approved:
        return []
    newest = approved[0]
    since = newest["changed"] or newest["created"]
    return [
        find(Code.APPROVED_LATE, version=each["version"], newest=newest["version"]).dump()
        for each in approved[1:]
        if each["changed"] and each["changed"] > since
    ]


def _data_time(target: Target) -> datetime | None:
    """Where the environment replays, the time of its data clock; None before there is one."""
    if target.clock is None:
        return None
    try:
        return target.data_time()
    except CliError:
        return None


# -- CloudWatch --------------------------------------------------------------------------------------------------------


def figures(target: Target) -> Document | None:
    """The monitor's newest figures and when they were published; None when there are none."""
    names = target.names
    of_endpoint = [{"Name": "Endpoint", "Value": names.endpoint}]
    queries = [
        query(f"m{place}", names.metric_namespace, name, of_endpoint, "Maximum", 60)
        for place, name in enumerate(FIGURES)
    ]
    now = datetime.now(UTC)
    answer = target.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=now - _BACK, EndTime=now + timedelta(minutes=1),
        ScanBy="TimestampDescending",
    )  # fmt: skip
    newest: Document = {}
    at: datetime | None = None
    for result in answer["MetricDataResults"]:
        if result["Values"]:
            name = FIGURES[int(result["Id"][1:])]
            newest[name] = (result["Timestamps"][0], result["Values"][0])
            at = max(at, result["Timestamps"][0]) if at else result["Timestamps"][0]
    if at is None:
        return None
    # A figure of an older run is not the newest run's: that one had too few rows or labels for it.
    known = {name: value for name, (time, value) in newest.items() if name != "heartbeat" and time == at}
    return {"at": at, "age_seconds": round((now - at).total_seconds()), **known}


def query(
    key: str, namespace: str, metric: str, dimensions: list[dict[str, str]], statistic: str, period: int
) -> Document:
    """One question of GetMetricData."""
    stat = {
        "Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions},
        "Period": period,
        "Stat": statistic,
    }
    return {"Id": key, "MetricStat": stat}


#: What is told of an endpoint's traffic, by its metric and statistic; latency comes in microseconds.
TRAFFIC = {
    "requests": ("Invocations", "Sum"),
    "errors_5xx": ("Invocation5XXErrors", "Sum"),
    "errors_4xx": ("Invocation4XXErrors", "Sum"),
    "latency_ms_p50": ("ModelLatency", "p50"),
    "latency_ms_p99": ("ModelLatency", "p99"),
}


def traffic_queries(target: Target) -> list[Document]:
    """The questions of GetMetricData about it, hour by hour."""
    served = [{"Name": "EndpointName", "Value": target.names.endpoint}, {"Name": "VariantName", "Value": VARIANT}]
    return [query(key, "AWS/SageMaker", metric, served, how, 3600) for key, (metric, how) in TRAFFIC.items()]


def _traffic(target: Target) -> Document:
    """The last hour's requests, errors and latency; None where no point was published."""
    now = datetime.now(UTC)
    answer = target.client("cloudwatch").get_metric_data(
        MetricDataQueries=traffic_queries(target),
        StartTime=now - timedelta(hours=1),
        EndTime=now,
    )
    values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
    found = {key: (sum(values[key]) if values.get(key) else None) for key in ("requests", "errors_5xx", "errors_4xx")}
    # The metric is in microseconds.
    latency = {
        key: max(values[key]) / 1000 if values.get(key) else None for key in TRAFFIC if key.startswith("latency")
    }
    return {**found, **latency}


# -- schedules and dead letters ----------------------------------------------------------------------------------------


def _schedules(target: Target, following: Mapping[str, NextRun]) -> list[ScheduleState]:
    """Each schedule as it is, and what the declaration expects where that differs."""
    scheduler, found = target.client("scheduler"), list[ScheduleState]()
    for kind in PIPELINE_KINDS:
        name = target.names.schedule(kind)
        try:
            schedule = scheduler.get_schedule(Name=name)
        except ClientError as error:
            if is_not_found(error):
                continue
            raise
        expected = _rate(following[kind]["every_seconds"])
        found.append(
            {
                "pipeline": kind,
                "name": name,
                "state": schedule["State"],
                "expression": schedule["ScheduleExpression"],
                "expected": expected if expected != schedule["ScheduleExpression"] else None,
                "next": following[kind]["at"],
            }
        )
    return found


def _rate(seconds: float | None) -> str | None:
    """EventBridge's words for an interval."""
    if seconds is None:
        return None
    minutes = round(seconds / 60)
    for unit, length in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes % length == 0:
            number = minutes // length
            return f"rate({number} {unit}{'' if number == 1 else 's'})"
    return None


def _dead_letters(target: Target) -> DeadLetters | None:
    """The queue of triggers that started nothing; None when it is not there."""
    sqs = target.client("sqs")
    try:
        url = sqs.get_queue_url(QueueName=target.names.dead_letters)["QueueUrl"]
        waiting = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
    return {"queue": url, "waiting": int(waiting["Attributes"]["ApproximateNumberOfMessages"])}
