"""The content of a report about a stack; a part that is missing is named with the reason, never invented."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from cli.aws import model_packages
from cli.aws.model_packages import Package
from cli.diff import declared
from cli.fleet import accounts, depth
from cli.fleet.document import ReportDocument, StackDocument, VersionQuality
from cli.fleet.runs import list_runs
from cli.stack.target import Target
from millrace.documents import Evaluation
from millrace.errors import DataError
from millrace.inventory import ALARM_KINDS
from millrace.monitor_report import MonitorReport
from millrace.names import MONITOR, TRAINING
from queries.client import is_not_found
from queries.documents import find_document

Document = dict[str, Any]
#: Changes when a reader of the old form of the report would be misled.
VERSION = 3

#: Maximum number of packages, and of executions of a pipeline, that are read, newest first.
PACKAGES, RUNS = 20, 50
#: How far back traffic and alarms are reported.
_BACK = timedelta(days=30)
#: Maximum size of an object that is read, bytes; bundles are smaller.
_LARGEST = 64 * 2**20


def build_report(target: Target, row: StackDocument) -> ReportDocument:
    """Query everything that a report needs and return its document.

    Args:
        target: The stack.
        row: The document of `millrace status` for this stack, which must be deployed.

    Returns:
        Keys: ``report`` ("millrace"), ``report_version``, ``made``, those of `millrace status` of one stack,
        ``quality`` (one document per version, oldest first: version, approval, created, description, reason,
        changed_by, trigger, gates, metrics, champion), ``calibration`` (holdout and outcomes, each with as_of and
        bins), ``slices`` of the version that serves, ``drift`` (one document per run of the monitor, oldest first),
        ``traffic_history``, ``alarm_history``, ``trainings``, ``lineage`` and ``gaps``: the reason for each missing
        part, by its key.
    """
    missing: dict[str, str] = {}
    with ThreadPoolExecutor(accounts.AT_ONCE) as pool:
        packages = _list_packages(target, missing)
        evaluations = dict(
            zip(
                [package.version for package in packages],
                pool.map(lambda package: _read_evaluation(target, package, missing), packages),
                strict=True,
            )
        )
        asked: dict[str, Callable[[], Any]] = {
            "drift": lambda: _read_monitor_reports(target, missing),
            "traffic_history": lambda: _traffic(target),
            "alarm_history": lambda: _alarm_history(target, missing),
            "trainings": lambda: _trainings(target, packages),
            "lineage": lambda: _lineage(target, packages, row["endpoint"]["package"], missing),
        }
        answers = {key: pool.submit(accounts.try_query, question, missing, key) for key, question in asked.items()}
        deep = depth.add_details(target, row)
        found = {key: answer.result() for key, answer in answers.items()}
    serving = next((package for package in packages if package.arn == row["endpoint"]["package"]), None)
    evaluation = evaluations.get(serving.version) if serving else None
    document: ReportDocument = {
        # Must be the first key: a file that begins with it is recognized as a report, which may be overwritten.
        "report": "millrace",
        "report_version": VERSION,
        "made": datetime.now(UTC),
        **deep,
        "quality": [_quality(target, package, evaluations[package.version]) for package in reversed(packages)],
        "calibration": _calibration(evaluation, serving, found["drift"] or [], missing),
        "slices": {name: each.model_dump() for name, each in evaluation.slices.items()} if evaluation else {},
        "drift": found["drift"],
        "traffic_history": found["traffic_history"],
        "alarm_history": found["alarm_history"],
        "trainings": found["trainings"],
        "lineage": found["lineage"],
        "gaps": missing,
    }
    _add_gaps(document, serving, evaluation)
    return document


def _add_gaps(document: ReportDocument, serving: Package | None, evaluation: Evaluation | None) -> None:
    missing = document["gaps"]
    if serving is None:
        why = "no version serves" if document["endpoint"]["package"] is None else "the package that serves was deleted"
        missing.setdefault("slices", why)
        missing.setdefault("lineage", why)
    elif evaluation is None:
        missing.setdefault("slices", f"the evaluation of version {serving.version} no longer exists")
    elif not document["slices"]:
        missing.setdefault("slices", "the use case declares no slices, so no groups are audited")
    if not document["quality"]:
        missing.setdefault("quality", "no model has been registered")
    if not document["drift"]:
        missing.setdefault("drift", "the monitor has not written a report yet")
    if not document["traffic_history"]:
        missing.setdefault("traffic_history", "no request has been counted in the last 30 days")
    if not document["trainings"]:
        missing.setdefault("trainings", "the training pipeline has not run")


def _list_packages(target: Target, missing: dict[str, str]) -> list[Package]:
    """Return the newest packages, newest first."""

    def read() -> list[Package]:
        arns = model_packages.list_arns(target)
        if (older := len(arns) - PACKAGES) > 0:
            missing["quality_partly"] = f"the figures of {older} older version(s), which are not read"
        return [package for arn in arns[:PACKAGES] if (package := model_packages.find_package(target, arn))]

    return accounts.try_query(read, missing, "quality") or []


def _read_evaluation(target: Target, package: Package, missing: dict[str, str]) -> Evaluation | None:
    """Return the evaluation of a package; None if it does not exist or cannot be read."""
    key = f"evaluation of version {package.version}"
    try:
        return accounts.try_query(lambda: model_packages.find_evaluation(target, package), missing, key)  # type: ignore[no-any-return]
    except DataError as error:
        missing[key] = str(error)
        return None


def _quality(target: Target, package: Package, evaluation: Evaluation | None) -> VersionQuality:
    return {
        **depth.describe_package(target, package),
        "metrics": evaluation.metrics if evaluation else None,
        "champion": evaluation.champion.dump() if evaluation else None,
    }


def _calibration(
    evaluation: Evaluation | None, serving: Package | None, drift: list[Document], missing: dict[str, str]
) -> dict[str, Document | None]:
    """Return the calibration on the holdout, from training, and on outcomes that have arrived since."""
    holdout = [each.dump() for each in evaluation.calibration] if evaluation else []
    measured = [run for run in drift if run["calibration"]]
    if not measured:
        missing["calibration_outcomes"] = "no run of the monitor has had enough outcomes"
    if not holdout:
        missing["calibration_holdout"] = "the evaluation of the version that serves was not found"
    return {
        "holdout": {"as_of": serving.metadata.get("as_of"), "bins": holdout} if holdout and serving else None,
        "outcomes": {"as_of": measured[-1]["as_of"], "bins": measured[-1]["calibration"]} if measured else None,
    }


# -- monitor -----------------------------------------------------------------------------------------------------------


def _read_monitor_reports(target: Target, missing: dict[str, str]) -> list[Document]:
    """Return the reports of the newest successful runs of the monitor, oldest first."""
    s3 = target.client("s3")
    runs = list_runs(target, target.names, MONITOR, RUNS)
    done = [run["execution"] for run in runs if run["status"] == "Succeeded"]
    uris = [target.names.report_uri(run, "monitor.json") for run in reversed(done)]
    found = [_read_report(s3, uri, missing) for uri in uris]
    if gone := sum(report is None for report in found):
        missing["drift_partly"] = f"{gone} of {len(uris)} reports of the monitor no longer exist"
    return [_describe_monitor_run(report) for report in found if report is not None]


def _read_report(s3: Any, uri: str, missing: dict[str, str]) -> MonitorReport | None:
    try:
        return find_document(s3, uri, MonitorReport)
    except DataError as error:
        missing[uri] = str(error)
        return None


def _describe_monitor_run(report: MonitorReport) -> Document:
    """Return the part of a monitor's report that goes into the stack's report."""
    return {
        "as_of": report.as_of,
        "since": report.since,
        "model_version": report.model.version if report.model else None,
        "rows": report.rows,
        "labelled": report.labelled,
        "drift": report.drift,
        "drift_of": report.drift_of,
        "features": {
            name: {"drift": each.drift, "informational": each.informational} for name, each in report.features.items()
        },
        "quality": report.quality,
        "calibration": [each.dump() for each in report.calibration] or None,
        "skew": report.skew.share if report.skew else None,
        "notes": report.notes,
    }


# -- CloudWatch --------------------------------------------------------------------------------------------------------


def _traffic(target: Target) -> list[Document]:
    """Return requests, errors and latency by hour, for the hours that have data."""
    now = datetime.now(UTC)
    answer = target.client("cloudwatch").get_metric_data(
        MetricDataQueries=depth.build_traffic_queries(target),
        StartTime=now - _BACK,
        EndTime=now + timedelta(minutes=1),
        ScanBy="TimestampAscending",
    )
    hours: dict[datetime, Document] = {}
    for result in answer["MetricDataResults"]:
        for at, value in zip(result["Timestamps"], result["Values"], strict=True):
            # CloudWatch has the latency in microseconds.
            known = value / 1000 if result["Id"].startswith("latency") else value
            hours.setdefault(at, dict.fromkeys(depth.TRAFFIC))[result["Id"]] = known
    return [{"at": at, **hours[at]} for at in sorted(hours)]


def _alarm_history(target: Target, missing: dict[str, str]) -> list[Document]:
    """Return the recent state changes of the stack's alarms, newest first."""
    cloudwatch, found = target.client("cloudwatch"), list[Document]()
    for kind in ALARM_KINDS:
        name = target.names.alarm(kind)
        try:
            pages = cloudwatch.get_paginator("describe_alarm_history").paginate(
                AlarmName=name,
                HistoryItemType="StateUpdate",
                StartDate=datetime.now(UTC) - _BACK,
                PaginationConfig={"MaxItems": 200},
            )
            items = [item for page in pages for item in page["AlarmHistoryItems"]]
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") != 501:
                raise
            missing["alarm_history"] = "the local cloud keeps no history of alarms; CloudWatch does"
            return []
        found += [
            {"at": item["Timestamp"], "alarm": name, "kind": kind, "summary": item.get("HistorySummary", "")}
            for item in items
        ]
    if not found:
        missing["alarm_history"] = "no alarm has changed its state in the last 30 days"
    return sorted(found, key=lambda item: item["at"], reverse=True)


# -- training ----------------------------------------------------------------------------------------------------------


def _trainings(target: Target, packages: list[Package]) -> list[Document]:
    """Return the newest executions of the training pipeline, newest first, with the version that each registered."""
    made = {package.metadata.get("execution", "").lower(): package for package in packages}
    return [
        {
            **run,
            "registered": package.version if (package := made.get(run["execution"].lower())) else None,
            "trigger": package.metadata.get("trigger") if package else None,
            "as_of": package.metadata.get("as_of") if package else None,
        }
        for run in list_runs(target, target.names, TRAINING, RUNS)
    ]


# -- lineage -----------------------------------------------------------------------------------------------------------


def _lineage(target: Target, packages: list[Package], arn: str | None, missing: dict[str, str]) -> Document | None:
    """Return what the serving version was made from and if that is unchanged; None if it is not in ``packages``."""
    package = next((each for each in packages if each.arn == arn), None)
    if package is None:
        return None
    known = package.metadata
    identity = {name: known.get(name) for name in ("snapshot", "code", "parameters", "model")}
    if absent := [name for name, value in identity.items() if not value]:
        missing["lineage_partly"] = f"version {package.version} does not record its {', '.join(absent)}"
    s3 = target.client("s3")
    code = accounts.try_query(lambda: _read_object(s3, known.get("code_uri")), missing, "code")
    data = accounts.try_query(lambda: _read_object(s3, known.get("data_uri"), "manifest.json"), missing, "data")
    contract = _read_contract(code)
    return {
        "version": package.version,
        "as_of": known.get("as_of"),
        "identity": identity,
        "data_uri": known.get("data_uri"),
        "data": _describe_input("found", data is not None, _hash_of_manifest(data), identity["snapshot"]),
        "code_uri": known.get("code_uri"),
        "code": _describe_input(
            "found", code is not None, hashlib.sha256(code).hexdigest() if code else None, identity["code"]
        ),
        "execution": known.get("execution"),
        "parameters": contract.get("parameters"),
        "seed": contract.get("seed"),
    }


def _describe_input(word: str, is_there: bool, found: str | None, expected: str | None) -> str:
    """Describe in words whether an input of a model still exists and is unchanged."""
    if not is_there:
        return "deleted"
    if not found or not expected:
        return f"{word}, but not verified to be the same"
    return f"{word}, and the same" if found == expected else f"{word}, but NOT the same"


def _read_object(s3: Any, uri: str | None, *below: str) -> bytes | None:
    """Return the content of an object; None if it does not exist or is larger than `_LARGEST`."""
    if not uri:
        return None
    url = urlsplit(uri)
    key = "/".join([url.path.strip("/"), *below])
    try:
        answer = s3.get_object(Bucket=url.netloc, Key=key)
        return bytes(answer["Body"].read()) if answer["ContentLength"] <= _LARGEST else None
    except ClientError as error:
        if is_not_found(error):
            return None
        raise


def _hash_of_manifest(text: bytes | None) -> str | None:
    try:
        return json.loads(text)["sha256"] if text else None
    except (ValueError, KeyError, TypeError):
        return None


def _read_contract(bundle: bytes | None) -> Document:
    """Return the declaration in a bundle; empty if the bundle is missing or has none."""
    contract = declared.find_contract(bundle or b"") or {}
    found = contract.get("use_case", contract)
    return found if isinstance(found, dict) else {}
