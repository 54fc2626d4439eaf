"""The monitor step: compares the rows served in the last window with training, with the join and with outcomes.

It reads the endpoint's data capture, takes the labels that have arrived, publishes figures to CloudWatch and writes a
report for people. The baseline is that of the model that serves now.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from millrace.declaration import UseCase
from millrace.documents import MonitorReport, Shift
from millrace.inventory import JobVariable
from millrace.metrics import Problem
from queries.endpoints import find_endpoint
from training import columns as c
from training import registry
from training.columns import Array, Columns, is_missing, make_feature_name
from training.data.ingest import fetch_known_labels, fetch_tables
from training.data.join import join
from training.drift import compute_shares
from training.functions import Functions
from training.io import format_time, print_progress, read_json, write_json
from training.job import Job
from training.metrics import compute_calibration_bins, compute_metrics, round_floats
from training.modeling.model import BASELINE
from training.modeling.score import score_with
from training.modeling.train import SCORE
from training.monitoring import captured
from training.monitoring.captured import Served
from training.monitoring.report import render_page
from training.registry import Package
from training.significance import FEWEST_WINDOWS, KINDS, VALUES, measure_shifts

#: With fewer rows no drift is published: hardly any bin has as many as a test needs.
MIN_ROWS = 50
#: How much earlier than the lead time before its event a request may have been made.
EARLY = np.timedelta64(1, "D")
#: Data points of one PutMetricData call.
AT_ONCE = 1000
#: The largest difference at which a served score counts as the current model's.
SAME_SCORE = 1e-6
#: Differing rows that the report shows.
SHOWN = 3


@dataclass(frozen=True)
class Window:
    """The served rows of the window, with what is known about them now."""

    rows: Columns
    complete: Array
    """Mask of the rows whose inputs are all known."""
    y: Array
    """The outcome of each row; NaN where none has arrived."""


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
    found: dict[str, Any] = {
        "version": 1,
        "use_case": job.use_case.name,
        "endpoint": job.names.endpoint,
        "as_of": format_time(now),
        "since": format_time(since),
        "rows": 0,
        "notes": [],
    }
    if endpoint := find_endpoint(job.make_client("sagemaker"), job.names.endpoint):
        with tempfile.TemporaryDirectory() as scratch:
            package = registry.fetch_serving_model(job, endpoint["EndpointConfigName"], Path(scratch) / "serving")
            kinds, missing = package.document["inputs"], package.document.get("missing", {})
            served = captured.read_capture(job, kinds, missing, _captured_since(job, since, endpoint["CreationTime"]))
            found |= _examined(job, package, served, since, now, Path(scratch))
            found["model"]["config"] = endpoint["EndpointConfigName"]
    else:
        found["notes"].append("the endpoint does not exist: it is pending its first approved model")
    data = make_data_points(job.names.endpoint, MonitorReport.model_validate(found))
    publish_data_points(job, data)
    report = MonitorReport.model_validate(round_floats({**found, "published": len(data)}))
    folder = job.make_output_folder("report")
    write_json(folder / "monitor.json", report.dump())
    (folder / "report.html").write_text(render_page(report, job.use_case.monitoring))
    _tell(report)


def _captured_since(job: Job, since: np.datetime64, created: datetime) -> np.datetime64:
    """Return the earliest wall-clock time whose capture can matter.

    Where data time follows the wall clock, a request is made near the time that its prediction is for; a replay may
    have been at any time, but not before the endpoint was created.
    """
    if job.environment.get(JobVariable.CLOCK):
        return np.datetime64(created.astimezone(UTC).replace(tzinfo=None), "us") - np.timedelta64(1, "h")
    return since - np.timedelta64(job.use_case.lead_time, "us") - EARLY


def _examined(
    job: Job, package: Package, served: Served, since: np.datetime64, now: np.datetime64, scratch: Path
) -> dict[str, Any]:
    """Return all that the report contains about the served rows."""
    case = job.use_case
    notes = [f"the baseline is that of {_named(package)}, whichever versions served in the window"]
    times = served.rows[case.event_time]
    chosen = (times >= since) & (times < now)
    rows = c.select_rows(served.rows, chosen)
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
        "rows": c.count_rows(rows),
        "notes": notes,
    }
    for reason, found in served.unreadable.items():
        notes.append(f"{found['count']} not read: {reason} (first: {found['example']})")
    if not report["rows"]:
        notes.append("nothing was served in the window")
        return report
    events = job.functions.events(since, now)
    window = Window(rows, served.complete[chosen], _outcomes(job.functions, rows, events, since, now))
    if left_out := int(np.sum(~window.complete)):
        notes.append(f"{left_out} row(s) count only for the score: a CSV answer does not contain looked-up values")
    report |= _drift(case, package, window, scratch, notes)
    report |= _quality(case, window, notes)
    report |= _skew(job.functions, window, events, since, now, notes)
    return report


def _outcomes(functions: Functions, rows: Columns, events: Columns, since: np.datetime64, now: np.datetime64) -> Array:
    """Return the outcome of each row; NaN where none has arrived."""
    case = functions.use_case
    labels = fetch_known_labels(functions, since, now, events)
    known = dict(zip(labels[case.key].tolist(), labels[case.target].tolist(), strict=True))
    return np.array([known.get(key, np.nan) for key in rows[case.key].tolist()], dtype=np.float64)


# -- drift -------------------------------------------------------------------------------------------------------------


def _drift(case: UseCase, package: Package, window: Window, scratch: Path, notes: list[str]) -> dict[str, Any]:
    """Compare each feature, as the model's own code makes it, and the score with the model's baseline."""
    baseline: dict[str, Any] = read_json(package.folder / BASELINE)
    for bins in baseline.values():
        # The previous version did not count the rows of a baseline.
        bins.setdefault("rows", package.document["rows"])
    values: dict[str, Array] = {}
    report: dict[str, Any] = {}
    if window.complete.any():
        complete = c.select_rows(window.rows, window.complete)
        inputs = {name: column for name, column in complete.items() if name != SCORE}
        mine, values = score_with(package.folder, inputs, scratch)
        report["by_current_model"] = int(np.sum(np.abs(mine - complete[SCORE]) <= SAME_SCORE))
    values = {**values, SCORE: window.rows[SCORE]}
    features = _measure_drift(case, baseline, values)
    judged = {
        name: found["drift"]
        for name, found in features.items()
        if found["drift"] is not None and not found["informational"]
    }
    if len(window.rows[SCORE]) < MIN_ROWS:
        notes.append(f"no drift: {len(window.rows[SCORE])} row(s), expected at least {MIN_ROWS}")
    elif unknown := sorted(name for name in judged if baseline[name].get("windows", 0) < FEWEST_WINDOWS):
        notes.append(
            f"{', '.join(unknown)}: the training rows have fewer than {FEWEST_WINDOWS} windows of "
            f"{case.monitoring.window}, so how much days differ by themselves is not part of the thresholds of drift"
        )
    of = max(judged, key=judged.__getitem__, default=None)
    shifts = [Shift.model_validate(shift) for shift in features[of]["shifts"]] if of else []
    largest = max(shifts, key=lambda shift: shift.ratio, default=None)
    return report | {
        "features": features,
        "drift": judged[of] if of else None,
        "drift_of": of,
        "drift_kind": largest.kind if largest else None,
        "scores": {
            "edges": baseline[SCORE]["edges"],
            "then": baseline[SCORE]["shares"],
            "now": compute_shares(baseline[SCORE], window.rows[SCORE]),
        },
    }


def _measure_drift(case: UseCase, baseline: dict[str, Any], values: Columns) -> dict[str, dict[str, Any]]:
    """Return the drift of each column; all tests of columns that may raise the alarm share its false-alarm rate."""
    judged = [name for name in values if name not in case.monitoring.informational]
    # Of the score, only its values are tested.
    tests = sum(1 if name == SCORE else len(KINDS) for name in judged) or 1
    features = {}
    for name, column in values.items():
        shifts: list[Shift] = []
        if len(column) >= MIN_ROWS:
            shifts = measure_shifts(baseline[name], column, tests=tests, effect=case.monitoring.psi_alarm)
            shifts = [shift for shift in shifts if name != SCORE or shift.kind == VALUES]
        features[name] = {
            "rows": len(column),
            "psi": next((shift.value for shift in shifts if shift.kind == VALUES), None),
            "missing": float(np.mean(is_missing(column))),
            "missing_then": baseline[name]["missing"],
            "informational": name in case.monitoring.informational,
            "inflation": baseline[name].get("inflation", 1.0),
            "shifts": [shift.dump() for shift in shifts],
            "drift": max((shift.ratio for shift in shifts), default=None),
        }
    return features


# -- quality -----------------------------------------------------------------------------------------------------------


def _quality(case: UseCase, window: Window, notes: list[str]) -> dict[str, Any]:
    """Return all metrics of the problem over the rows whose outcome has arrived, if there are enough."""
    known = ~np.isnan(window.y)
    labelled = int(known.sum())
    report: dict[str, Any] = {"labelled": labelled, "label_coverage": labelled / len(known), "quality": {}}
    if labelled < case.monitoring.min_labels:
        notes.append(
            f"no quality: {labelled} labelled row(s), expected at least {case.monitoring.min_labels} "
            "(monitoring.min_labels)"
        )
        return report
    y, p = window.y[known], window.rows[SCORE][known]
    report["quality"] = compute_metrics(case.problem, y, p)
    if case.problem is Problem.BINARY:
        report["calibration"] = compute_calibration_bins(y, p)
    return report


# -- skew --------------------------------------------------------------------------------------------------------------


def _skew(
    functions: Functions, window: Window, events: Columns, since: np.datetime64, now: np.datetime64, notes: list[str]
) -> dict[str, Any]:
    """Compare the table columns as served with those that the point-in-time join gives for the same keys."""
    case = functions.use_case
    names = [make_feature_name(table.name, column) for table in case.tables for column in table.columns]
    served = c.select_rows(window.rows, window.complete)
    if not (names := [name for name in names if name in served]):
        return {}
    place = {key: row for row, key in enumerate(events[case.key].tolist())}
    at = np.array([place.get(key, -1) for key in served[case.key].tolist()], dtype=np.int64)
    if strangers := int(np.sum(at < 0)):
        notes.append(
            f"{strangers} served row(s) are not compared with the join: events() does not return their {case.key}"
        )
    served = c.select_rows(served, at >= 0)
    if not (compared := c.count_rows(served)):
        return {}
    joined = join(case, c.select_rows(events, at[at >= 0]), fetch_tables(functions, since, now))
    differs = {name: ~_same(served[name], joined[name]) for name in names}
    rows = np.any(list(differs.values()), axis=0)
    examples = [
        {
            "key": served[case.key][row],
            "columns": {
                name: {"served": _plain(served[name][row]), "joined": _plain(joined[name][row])}
                for name in names
                if differs[name][row]
            },
        }
        for row in np.flatnonzero(rows)[:SHOWN]
    ]
    return {
        "skew": {
            "share": float(np.mean(rows)),
            "rows": int(rows.sum()),
            "compared": compared,
            "columns": {name: int(wrong.sum()) for name, wrong in differs.items() if wrong.any()},
            "examples": examples,
        }
    }


def _same(left: Array, right: Array) -> Array:
    """Return a mask of the equal values; two missing ones are equal."""
    return np.asarray((left == right) | (is_missing(left) & is_missing(right)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# -- publishing --------------------------------------------------------------------------------------------------------


def make_data_points(endpoint: str, report: MonitorReport) -> list[dict[str, Any]]:
    """Return the data points of a report; an unknown figure is left out, never sent as a zero."""
    figures = {
        "heartbeat": 1,
        "rows": report.rows,
        "drift": report.drift,
        "label_coverage": report.label_coverage,
        "skew": report.skew.share if report.skew else None,
        **report.quality,
    }
    of_endpoint = [{"Name": "Endpoint", "Value": endpoint}]
    return [
        {"MetricName": name, "Value": float(value), "Dimensions": of_endpoint}
        for name, value in figures.items()
        if value is not None and np.isfinite(value)
    ]


def publish_data_points(job: Job, data: list[dict[str, Any]]) -> None:
    """Send data points to CloudWatch, stamped with the wall clock, which is the time that alarms use."""
    cloudwatch = job.make_client("cloudwatch")
    stamp = datetime.now(UTC)
    for first in range(0, len(data), AT_ONCE):
        batch = [{**point, "Timestamp": stamp} for point in data[first : first + AT_ONCE]]
        cloudwatch.put_metric_data(Namespace=job.names.metric_namespace, MetricData=batch)


def _tell(report: MonitorReport) -> None:
    """Print the report's main figures to the log."""
    for note in report.notes:
        print_progress(f"note: {note}")
    if report.features:
        drift = ", ".join(
            f"{name} {found.drift:.3f}"
            for name, found in sorted(report.features.items(), key=lambda item: -(item[1].drift or 0.0))
            if found.drift is not None
        )
        print_progress(f"drift, above 1 where it is more than chance: {drift or 'not measured'}")
    for name, value in report.quality.items():
        print_progress(f"{name}={value:.6f};")
    if skew := report.skew:
        print_progress(f"skew: {skew.rows} of {skew.compared} rows differ from the join")
    print_progress(
        f"{report.endpoint} as of {report.as_of} since {report.since}: {report.rows} rows served, "
        f"{report.labelled or 0} with an outcome; {report.published} data points published"
    )


def _named(package: Package) -> str:
    return f"model version {package.version}" if package.version else package.arn
