"""The monitor step: judges the rows served in the last window, and what should have been served, captured and labelled.

It reads the endpoint's data capture, takes the labels that have arrived, publishes figures to CloudWatch, writes a
report for people and tells them what is beyond its threshold. The baseline is that of the model that serves now.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.inventory import JobVariable, list_alarm_kinds
from millrace.monitor_report import MonitorReport
from millrace.watching import MonitorAlarm, list_metrics
from queries.endpoints import find_endpoint
from training import columns as c
from training import registry
from training.columns import Array, Columns
from training.data.ingest import fetch_known_labels, fetch_tables
from training.data.maturity import Maturity
from training.functions import Functions
from training.io import format_time, print_progress, write_json
from training.job import Job
from training.metrics import round_floats
from training.monitoring import captured, drifts, silence, skew
from training.monitoring.captured import Served
from training.monitoring.message import make_message
from training.monitoring.performance import find_groups, measure_performance
from training.monitoring.report import render_page
from training.monitoring.rescored import score_rows
from training.monitoring.snoozed import find_snoozed, list_quiet_pages
from training.monitoring.window import Window
from training.notify import tell_people
from training.quality import Registered
from training.registry import Package

#: How much earlier than the lead time before its event a request may have been made.
EARLY = np.timedelta64(1, "D")
#: Data points of one PutMetricData call.
AT_ONCE = 1000
#: The share of captured requests that may be unreadable.
_UNREADABLE = 0.05
#: Alarms whose cause is looked for among the features.
_EXPLAINED = (MonitorAlarm.SCORE_DRIFT, MonitorAlarm.QUALITY, MonitorAlarm.CALIBRATION)
#: What must have been judged for the model to count as watched.
_OF_THE_MODEL = (MonitorAlarm.DRIFT, MonitorAlarm.SCORE_DRIFT, MonitorAlarm.QUALITY, MonitorAlarm.CALIBRATION)


def run_monitor(job: Job, as_of: str) -> None:
    """Publish the figures as of a data time; write `monitor.json` and `report.html`.

    Args:
        job: This job.
        as_of: The end of the window, in ISO 8601, or ``now``.

    Raises:
        DataError: When the model that serves cannot be read, or its code cannot score the rows.
    """
    now = job.find_data_time(as_of)
    since = now - np.timedelta64(job.use_case.monitoring.window, "us")
    snoozed, unread = find_snoozed(job)
    found: dict[str, Any] = {
        "version": 2,
        "use_case": job.use_case.name,
        "endpoint": job.names.endpoint,
        "as_of": format_time(now),
        "since": format_time(since),
        "rows": 0,
        "snoozed": snoozed,
        "notes": [unread] if unread else [],
    }
    if endpoint := find_endpoint(job.make_client("sagemaker"), job.names.endpoint):
        with tempfile.TemporaryDirectory() as scratch:
            examined = _examine_endpoint(job, endpoint, since, now, Path(scratch))
        found |= examined | {"notes": found["notes"] + examined["notes"]}
    else:
        # Nothing serves, so that nothing is missed.
        found["measured"] = True
        found["notes"].append("the endpoint does not exist: it is pending its first approved model")
    data = make_data_points(job.use_case, job.names.endpoint, MonitorReport.model_validate(found))
    publish_data_points(job, data)
    report = MonitorReport.model_validate(round_floats({**found, "published": len(data)}))
    folder = job.make_output_folder("report")
    write_json(folder / "monitor.json", report.dump())
    (folder / "report.html").write_text(render_page(report, job.use_case.monitoring))
    _print(report)
    if message := make_message(job.use_case, job.names.stack, report):
        tell_people(job, *message)


def _examine_endpoint(
    job: Job, endpoint: dict[str, Any], since: np.datetime64, now: np.datetime64, scratch: Path
) -> dict[str, Any]:
    """Return all that the report contains about an endpoint."""
    sagemaker = job.make_client("sagemaker")
    package = registry.fetch_serving_model(job, endpoint["EndpointConfigName"], scratch / "serving")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    captured_since = _captured_since(job, since, endpoint["CreationTime"])
    kinds, missing = package.document["inputs"], package.document.get("missing", {})
    served = captured.read_capture(job, kinds, missing, captured_since)
    # What is asked of capture and callers is asked of the newest time, and of the configuration that there is now.
    began = max(captured_since.astype(datetime).replace(tzinfo=UTC), endpoint["LastModifiedTime"].astimezone(UTC))
    lag = timedelta(0)
    if not job.environment.get(JobVariable.CLOCK):
        lag = silence.LAG
        began = max(began, datetime.now(UTC) - lag - max(job.use_case.monitoring.every, timedelta(days=1)))
    traffic = silence.fetch_traffic(job.make_client("cloudwatch"), job.names.endpoint, config, began, lag=lag)
    report = examine_rows(job, package, served, traffic, since, now, scratch)
    report["model"]["config"] = endpoint["EndpointConfigName"]
    return report


def _captured_since(job: Job, since: np.datetime64, created: datetime) -> np.datetime64:
    """Return the earliest wall-clock time whose capture can matter.

    Where data time follows the wall clock, a request is made near the time that its prediction is for; a replay may
    have been at any time, but not before the endpoint was created.
    """
    if job.environment.get(JobVariable.CLOCK):
        return np.datetime64(created.astimezone(UTC).replace(tzinfo=None), "us") - np.timedelta64(1, "h")
    return since - np.timedelta64(job.use_case.lead_time, "us") - EARLY


def examine_rows(
    job: Job,
    package: Package,
    served: Served,
    traffic: silence.Traffic,
    since: np.datetime64,
    now: np.datetime64,
    scratch: Path,
) -> dict[str, Any]:
    """Return all that the report contains about the served rows."""
    case, functions = job.use_case, job.functions
    times = served.rows[case.event_time]
    chosen = (times >= since) & (times < now)
    events = functions.events(since, now)
    rows = c.select_rows(served.rows, chosen)
    window = Window(
        case, since, now, rows, served.complete[chosen], served.versions[chosen], served.fingerprints[chosen],
        _find_outcomes(functions, rows, events, since, now), package.version,
        Maturity.load(package.document.get("labels", {})),
    )  # fmt: skip
    report: dict[str, Any] = {
        "model": {
            "package": package.arn,
            "version": package.version,
            "trained_until": package.document["trained_until"],
            "identity": package.document["identity"],
        },
        "captured": {
            "requests": served.requests,
            "rows": len(times),
            "repeated": served.duplicates,
            "outside": int(np.sum(~chosen)),
            "unreadable": served.unreadable,
        },
        "rows": len(window.times),
        "versions": {str(version): count for version, count in sorted(Counter(window.versions.tolist()).items())},
    }
    _check_capture(job, window, served, traffic)
    if not report["rows"]:
        window.notes.append("nothing was served in the window")
    else:
        report |= _measure_rows(functions, window, package, events, scratch)
    report["measured"] = any(check.alarm in _OF_THE_MODEL for check in window.checks)
    return report | {"notes": window.notes, "checks": [check.dump() for check in window.checks]}


def _check_capture(job: Job, window: Window, served: Served, traffic: silence.Traffic) -> None:
    """Judge the capture as a whole: whether it is there, readable, and about times that can be."""
    case, times = job.use_case, served.rows[job.use_case.event_time]
    silence.check_traffic(window, traffic, served.count_since(traffic.since - silence.SLACK))
    silence.check_serving_version(window, traffic, set(served.versions.tolist()))
    unreadable = sum(found["count"] for found in served.unreadable.values())
    for reason, found in served.unreadable.items():
        window.notes.append(f"{found['count']} not read: {reason} (first: {found['example']})")
    if served.requests:
        share = unreadable / served.requests
        text = f"{unreadable} of {served.requests} captured requests, or rows of them, cannot be read"
        window.add_check(MonitorAlarm.CAPTURE, share, _UNREADABLE, f"{text}; it alarms from {_UNREADABLE:.0%}")
    lead = np.timedelta64(case.lead_time, "us")
    stray = times >= window.now + lead + EARLY
    if not job.environment.get(JobVariable.CLOCK):
        stray |= times < window.since - lead - 2 * EARLY
    silence.check_outside(window, len(times), int(stray.sum()))
    versions = sorted(set(window.versions.tolist()) - {0, window.serving})
    if versions:
        window.notes.append(
            f"{int(np.sum(~window.current))} row(s) were answered by other versions ({', '.join(map(str, versions))}): "
            "they do not count for scores and quality"
        )
    if window.serving and (unknown := int(np.sum(window.versions == 0))):
        window.notes.append(f"{unknown} answer(s) do not say which version made them; they count as the serving one's")


def _measure_rows(
    functions: Functions, window: Window, package: Package, events: Columns, scratch: Path
) -> dict[str, Any]:
    """Return what the report contains about drift, quality and skew."""
    if left_out := int(np.sum(~window.complete)):
        window.notes.append(
            f"{left_out} row(s) count only for the score: a CSV answer does not contain looked-up values"
        )
    tables = fetch_tables(functions, window.since, window.now)
    pairs = skew.pair_rows(window, events, tables)
    again = score_rows(window, pairs, package, scratch)
    features = again.features
    report: dict[str, Any] = {} if again.by_current is None else {"by_current_model": again.by_current}
    report |= drifts.measure_drift(window, package, features)
    registered = Registered.load(package.document.get("quality"))
    report |= measure_performance(window, registered, find_groups(window, events))
    if any(check.alarm in _EXPLAINED and check.ratio > 1.0 for check in window.checks):
        report["explained"] = [each.dump() for each in drifts.explain_moves(window, package, features)]
    silence.check_volume(window)
    silence.check_labels(window)
    silence.check_freshness(window, tables)
    if pairs is not None:
        report |= skew.measure_skew(window, pairs, package.document["inputs"], (features, again.joined), tables)
    return report


def _find_outcomes(
    functions: Functions, rows: Columns, events: Columns, since: np.datetime64, now: np.datetime64
) -> Array:
    """Return the outcome of each row; NaN where none has arrived."""
    case = functions.use_case
    labels = fetch_known_labels(functions, since, now, events)
    known = dict(zip(labels[case.key].tolist(), labels[case.target].tolist(), strict=True))
    return np.array([known.get(key, np.nan) for key in rows[case.key].tolist()], dtype=np.float64)


# -- publishing --------------------------------------------------------------------------------------------------------


def make_data_points(case: UseCase, endpoint: str, report: MonitorReport) -> list[dict[str, Any]]:
    """Return the data points of a report; what could not be judged is left out, never sent as a zero.

    Args:
        case: The declaration.
        endpoint: The endpoint's name, the dimension of all of them.
        report: The report.
    """
    figures: dict[str, float | None] = {
        "heartbeat": 1.0,
        "measured": 1.0 if report.measured else None,
        "rows": float(report.rows),
        "label_coverage": report.label_coverage,
        **report.quality,
    }
    of_endpoint = [{"Name": "Endpoint", "Value": endpoint}]
    found = []
    for metric in list_metrics(case.problem, has_tables=bool(case.tables)):
        value = figures.get(metric.name)
        if metric.alarm is not None and not metric.is_signal:
            value = max((check.ratio for check in report.checks if check.alarm == metric.alarm), default=None)
        if value is not None and np.isfinite(value):
            found.append({"MetricName": metric.name, "Value": float(value), "Dimensions": of_endpoint})
    quiet = list_quiet_pages(report, list_alarm_kinds(case))
    return found + [{"MetricName": name, "Value": 1.0, "Dimensions": of_endpoint} for name in quiet]


def publish_data_points(job: Job, data: list[dict[str, Any]]) -> None:
    """Send data points to CloudWatch, stamped with the wall clock, which is the time that alarms use."""
    cloudwatch = job.make_client("cloudwatch")
    stamp = datetime.now(UTC)
    for first in range(0, len(data), AT_ONCE):
        batch = [{**point, "Timestamp": stamp} for point in data[first : first + AT_ONCE]]
        cloudwatch.put_metric_data(Namespace=job.names.metric_namespace, MetricData=batch)


def _print(report: MonitorReport) -> None:
    """Print the report's main figures to the log."""
    for note in report.notes:
        print_progress(f"note: {note}")
    for check in sorted(report.checks, key=lambda check: -check.ratio):
        print_progress(f"{check.alarm} {check.ratio:.3f}: {check.text}")
    for name, value in report.quality.items():
        print_progress(f"{name}={value:.6f};")
    print_progress(
        f"{report.endpoint} as of {report.as_of} since {report.since}: {report.rows} rows served, "
        f"{report.judged or 0} judged by their outcome; {report.published} data points published"
    )
