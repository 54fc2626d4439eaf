"""All details of one stack, beyond those in the fleet's table."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import gates, model_packages
from cli.aws.model_packages import Package
from cli.console.errors import CliError
from cli.fleet import accounts, runs
from cli.fleet.accounts import try_query
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
from cli.fleet.findings import Code, make_finding
from cli.fleet.watched import find_newest_findings
from cli.stack.target import Target
from millrace.inventory import PIPELINE_KINDS, list_schedules
from millrace.names import VARIANT
from millrace.watching import METRICS
from queries.client import is_not_found
from queries.packages import APPROVED

Document = dict[str, Any]

#: Number of executions of each pipeline, and of packages, that are shown.
EXECUTIONS, PACKAGES = 3, 8
#: Metrics that the monitor publishes about an endpoint as a whole.
FIGURES = tuple(metric.name for metric in METRICS)
#: Those whose presence is all that they say.
_SIGNALS = tuple(metric.name for metric in METRICS if metric.is_signal)
#: How far back to search for the monitor's newest figures: longer than the longest interval plus a late run.
_BACK = timedelta(days=7)


def add_details(target: Target, row: StackDocument) -> DeepDocument:
    """Query all details of a stack.

    Args:
        target: The stack, with the clients of its account.
        row: The stack's document; its ``unknown`` and ``warnings`` are extended.

    Returns:
        The document with all details; ``pending`` then includes the gates.
    """
    unknown: dict[str, str] = row["unknown"]
    questions = {
        "data_time": lambda: _find_data_time(target),
        "executions": lambda: {kind: runs.list_runs(target, target.names, kind, EXECUTIONS) for kind in PIPELINE_KINDS},
        "figures": lambda: find_newest_figures(target),
        "monitor": lambda: find_newest_findings(target),
        "traffic": lambda: _find_traffic(target),
        "registry": lambda: list_package_history(target, PACKAGES),
        "schedules": lambda: _find_schedules(target, row["next"]),
        "dead_letters": lambda: _find_dead_letters(target),
    }
    with ThreadPoolExecutor(accounts.AT_ONCE) as pool:
        asked = {fact: pool.submit(try_query, question, unknown, fact) for fact, question in questions.items()}
        found = {fact: answer.result() for fact, answer in asked.items()}
    known = {each["version"]: each for each in found["registry"] or []}
    pending: list[PendingPackage] = [
        {**each, "gates": known[each["version"]]["gates"] if each["version"] in known else []}
        for each in row["pending"]
    ]
    row["warnings"] += _find_late_approvals(found["registry"] or [])
    return {
        **row,
        "pending": pending,
        "data_time": found["data_time"],
        "executions": found["executions"],
        "figures": found["figures"],
        "monitor": found["monitor"],
        "off": [alarm.value for alarm in target.use_case.monitoring.off],
        "traffic": found["traffic"],
        "registry": found["registry"],
        "schedules": found["schedules"],
        "dead_letters": found["dead_letters"],
    }


def list_package_history(target: Target, count: int) -> list[PackageHistory]:
    """Return the newest packages of a stack, newest first."""
    found = [model_packages.find_package(target, arn) for arn in model_packages.list_arns(target)[:count]]
    return [describe_package(target, package) for package in found if package]


def describe_package(target: Target, package: Package) -> PackageHistory:
    """Return the document of a package in the registry.

    Args:
        target: The stack, whose use case declares the gates.
        package: The package, of the stack's model package group.
    """
    return {
        "version": package.version,
        "approval": package.approval,
        "created": package.created,
        "description": package.description,
        "reason": package.reason,
        "changed": package.changed,
        "changed_by": package.changed_by,
        "trigger": package.metadata.get("trigger", ""),
        "gates": gates.check_gates(target.use_case, package),
    }


def _find_late_approvals(known: list[PackageHistory]) -> list[WarningPart]:
    """Return a warning for each version that was approved after a newer version and therefore does not serve."""
    approved = [each for each in known if each["approval"] == APPROVED]
    if not approved:
        return []
    newest = approved[0]
    since = newest["changed"] or newest["created"]
    return [
        make_finding(Code.APPROVED_LATE, version=each["version"], newest=newest["version"]).dump()
        for each in approved[1:]
        if each["changed"] and each["changed"] > since
    ]


def _find_data_time(target: Target) -> datetime | None:
    """Return the data clock's time if the environment replays data; None if it does not, or has no clock yet."""
    if target.clock is None:
        return None
    try:
        return target.read_data_time()
    except CliError:
        return None


# -- CloudWatch --------------------------------------------------------------------------------------------------------


def find_newest_figures(target: Target) -> Document | None:
    """Return the monitor's newest figures and when they were published; None if none were published in 7 days."""
    names = target.names
    of_endpoint = [{"Name": "Endpoint", "Value": names.endpoint}]
    queries = [
        build_metric_query(f"m{place}", names.metric_namespace, name, of_endpoint, "Maximum", 60)
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
    # Drop figures of older runs: the newest run did not publish them, having too few rows or labels.
    known = {name: value for name, (time, value) in newest.items() if name not in _SIGNALS and time == at}
    return {"at": at, "age_seconds": round((now - at).total_seconds()), **known}


def build_metric_query(
    key: str, namespace: str, metric: str, dimensions: list[dict[str, str]], statistic: str, period: int
) -> Document:
    """Build one query for GetMetricData."""
    stat = {
        "Metric": {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions},
        "Period": period,
        "Stat": statistic,
    }
    return {"Id": key, "MetricStat": stat}


#: The metric and statistic of each traffic figure of an endpoint; CloudWatch has the latency in microseconds.
TRAFFIC = {
    "requests": ("Invocations", "Sum"),
    "errors_5xx": ("Invocation5XXErrors", "Sum"),
    "errors_4xx": ("Invocation4XXErrors", "Sum"),
    "latency_ms_p50": ("ModelLatency", "p50"),
    "latency_ms_p99": ("ModelLatency", "p99"),
}


def build_traffic_queries(target: Target) -> list[Document]:
    """Build the hourly queries for GetMetricData about the endpoint's traffic.

    Args:
        target: The stack.

    Returns:
        One query for each figure in `TRAFFIC`, whose name is its ID.
    """
    served = [{"Name": "EndpointName", "Value": target.names.endpoint}, {"Name": "VariantName", "Value": VARIANT}]
    return [
        build_metric_query(key, "AWS/SageMaker", metric, served, how, 3600) for key, (metric, how) in TRAFFIC.items()
    ]


def _find_traffic(target: Target) -> Document:
    """Return the last hour's requests, errors and latency; a figure is None if no data point was published."""
    now = datetime.now(UTC)
    answer = target.client("cloudwatch").get_metric_data(
        MetricDataQueries=build_traffic_queries(target),
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


def _find_schedules(target: Target, following: Mapping[str, NextRun]) -> list[ScheduleState]:
    """Return each existing schedule, with the declared expression if it differs."""
    scheduler, found = target.client("scheduler"), list[ScheduleState]()
    intervals = {each.name: each.every for each in list_schedules(target.use_case, target.names)}
    for name, kind in target.names.schedules.items():
        try:
            schedule = scheduler.get_schedule(Name=name)
        except ClientError as error:
            if is_not_found(error):
                continue
            raise
        every = intervals.get(name)
        expected = _render_rate(every) if every else None
        is_next = every is not None and every.total_seconds() == following[kind]["every_seconds"]
        found.append(
            {
                "pipeline": kind,
                "name": name,
                "state": schedule["State"],
                "expression": schedule["ScheduleExpression"],
                "expected": expected if expected != schedule["ScheduleExpression"] else None,
                "next": following[kind]["at"] if is_next else None,
            }
        )
    return found


def _render_rate(every: timedelta) -> str | None:
    """Return an interval as a rate expression of EventBridge."""
    minutes = round(every.total_seconds() / 60)
    for unit, length in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes % length == 0:
            number = minutes // length
            return f"rate({number} {unit}{'' if number == 1 else 's'})"
    return None


def _find_dead_letters(target: Target) -> DeadLetters | None:
    """Return the state of the dead-letter queue of triggers; None if the queue does not exist."""
    sqs = target.client("sqs")
    try:
        url = sqs.get_queue_url(QueueName=target.names.dead_letters)["QueueUrl"]
        waiting = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
    return {"queue": url, "waiting": int(waiting["Attributes"]["ApproximateNumberOfMessages"])}
