"""The monitor's report as one self-contained HTML page: no external scripts, fonts or images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from millrace import Monitoring
from millrace.documents import CalibrationBin
from millrace.monitor_report import FeatureDrift, MonitorReport, Scores
from millrace.plots import INK, Bar, CalibrationPoint, plot_bars, plot_calibration, plot_histograms

_STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.5rem; margin-bottom: 0 }} h2 {{ font-size: 1.1rem; margin-top: 2rem }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
td, th {{ padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid #e4e7eb }}
td:first-child, th:first-child {{ text-align: left }}
.facts {{ display: flex; flex-wrap: wrap; gap: 1.5rem; padding: 0; list-style: none }}
.facts b {{ display: block; font-size: 1.3rem }} .plots {{ display: flex; flex-wrap: wrap; gap: 2rem }}
tr.beyond td {{ font-weight: 600 }} td.text {{ text-align: left; white-space: normal }}
@media (prefers-color-scheme: dark) {{
body {{ background: #16191d; color: #e4e7eb }} td, th {{ border-bottom-color: #3a4048 }}
svg {{ background: #fff; border-radius: 4px }}
}}
@media print {{ body {{ max-width: none; margin: 0 }} h2, svg, tr {{ break-inside: avoid }} }}
svg {{ max-width: 100%; height: auto }} svg text {{ font: 12px system-ui, sans-serif; fill: {INK} }}
"""


_CHECK_HEAD = ("alarm", "value", "threshold", "in units of it", "what was judged")
_COLUMN_HEAD = (
    "column", "drift", "PSI of its values", "of missing ones", "share of new ones", "share of rare ones",
    "index by days alone", "missing in training", "missing now", "informational",
)  # fmt: skip


def render_page(report: MonitorReport, monitoring: Monitoring) -> str:
    """Return the HTML page of a report whose floats are already rounded."""
    quality, drifts = report.quality, report.features
    parts = [_facts(report, monitoring), _render_checks(report, monitoring), _list("Notes", report.notes)]
    parts.append(_list("Worth a look, no alarm", report.warned))
    parts.append(_list("Snoozed: nobody is told", [f"{alarm}: {text}" for alarm, text in report.snoozed.items()]))
    if report.explained:
        explained = [
            (each.of, each.feature, f"{each.share:.0%}", f"{each.lower:.0%} to {each.upper:.0%}")
            for each in report.explained
        ]
        head = ("of the move of the", "explained by", "share", "with 90 % confidence")
        parts.append("<h2>What explains it, each feature by itself</h2>" + _table(head, explained))
    if drifts:
        parts.append(f"<h2>Drift against training</h2>{_plot_drift(drifts)}")
    plots = []
    if report.calibration:
        plots.append(f"<div><h2>Calibration</h2>{_plot_calibration(report.calibration)}</div>")
    if report.scores:
        plots.append(f"<div><h2>Scores, training and now</h2>{_plot_scores(report.scores)}</div>")
    if plots:
        parts.append(f'<div class="plots">{"".join(plots)}</div>')
    if quality:
        parts.append("<h2>Quality on labelled rows</h2>" + _table(("metric", "value"), list(quality.items())))
    if drifts:
        parts.append("<h2>Columns</h2>" + _table(_COLUMN_HEAD, [_describe(*each) for each in drifts.items()]))
    if report.skew and report.skew.columns:
        differing = list(report.skew.columns.items())
        parts.append("<h2>Served values that differ from the join</h2>" + _table(("column", "rows"), differing))
    title = f"{report.endpoint}: monitor as of {report.as_of}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>Served rows with a time from {escape(report.since)} to {escape(report.as_of)}.</p>"
        f"{''.join(parts)}</body></html>\n"
    )


def _facts(report: MonitorReport, monitoring: Monitoring) -> str:
    facts: list[tuple[str, Any]] = [("rows served", report.rows), ("with an outcome", report.labelled or 0)]
    if report.model:
        facts.append(("model version", report.model.version or "no package"))
    if report.drift is not None:
        facts.append((f"largest drift, {report.drift_of} ({report.drift_kind}; alarm above 1)", report.drift))
    if "ece" in report.quality:
        bound = monitoring.calibration_bound
        facts.append((f"calibration error (matters from {bound:g})", report.quality["ece"]))
    if report.skew:
        facts.append(("rows that differ from the join", report.skew.rows))
    items = "".join(f"<li><b>{_shown(value)}</b>{escape(name)}</li>" for name, value in facts)
    return f'<ul class="facts">{items}</ul>'


def _render_checks(report: MonitorReport, monitoring: Monitoring) -> str:
    """Return the table of all that was judged, what is furthest beyond its threshold first."""
    if not report.checks:
        return ""
    rows = []
    for check in sorted(report.checks, key=lambda check: -check.ratio):
        alarm = f"{check.alarm} (off)" if check.alarm in monitoring.off else check.alarm
        figures = "".join(f"<td>{_shown(value)}</td>" for value in (check.value, check.threshold, check.ratio))
        cells = f'<td>{escape(alarm)}</td>{figures}<td class="text">{escape(check.text)}</td>'
        beyond = ' class="beyond"' if check.ratio > 1.0 else ""
        rows.append(f"<tr{beyond}>{cells}</tr>")
    header = "".join(f"<th>{name}</th>" for name in _CHECK_HEAD)
    return f"<h2>What was judged</h2><table><tr>{header}</tr>{''.join(rows)}</table>"


def _list(title: str, items: Sequence[str]) -> str:
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    header = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_shown(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{header}</tr>{body}</table>"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _describe(name: str, found: FeatureDrift) -> tuple[Any, ...]:
    """Return a column's row of the table: each test with its threshold."""
    tests = {shift.kind: f"{shift.value:.4g} of {shift.threshold:.4g}" for shift in found.shifts}
    return (
        name,
        found.drift,
        *(tests.get(kind) for kind in ("values", "missing", "new", "rare")),
        found.excess,
        found.missing_then,
        found.missing,
        "yes" if found.informational else "",
    )


def _plot_drift(features: Mapping[str, FeatureDrift]) -> str:
    bars = [Bar(name, each.drift, each.informational) for name, each in features.items() if each.drift is not None]
    if not bars:
        return "<p>Not measured.</p>"
    text = "Drift of each column in units of its threshold; the alarm fires above 1, grey columns are informational"
    # Seasonal drift is many times the alarm's bound.
    return plot_bars(bars, 1.0, text)


def _plot_calibration(bins: Sequence[CalibrationBin]) -> str:
    points = [CalibrationPoint(each.predicted, each.observed, each.rows) for each in bins]
    text = "Observed rate over predicted probability in bins of equal mass; the diagonal is a calibrated model"
    return plot_calibration(points, text, side=260)


def _plot_scores(scores: Scores) -> str:
    # The bins of the most frequent score and of missing ones come last and are mostly empty.
    pairs = list(zip(scores.then, scores.now, strict=True))
    while len(pairs) > 1 and not any(pairs[-1]):
        pairs.pop()
    text = "Share of rows by score in the bins of training: grey then, blue now"
    return plot_histograms([before for before, _ in pairs], [after for _, after in pairs], scores.edges, text)
