"""The monitor's report as one self-contained HTML page: no external scripts, fonts or images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from millrace import Monitoring
from millrace.documents import CalibrationBin, FeatureDrift, MonitorReport, Scores

#: Drift from which a bar is coloured as a warning, as a share of the alarm's bound.
WARN = 0.4
INK, GREY, CALM, LOUD, ALARM = "#1f2933", "#9aa5b1", "#2f6f9f", "#d9822b", "#c23030"

_STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.5rem; margin-bottom: 0 }} h2 {{ font-size: 1.1rem; margin-top: 2rem }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
td, th {{ padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid #e4e7eb }}
td:first-child, th:first-child {{ text-align: left }}
.facts {{ display: flex; flex-wrap: wrap; gap: 1.5rem; padding: 0; list-style: none }}
.facts b {{ display: block; font-size: 1.3rem }} .plots {{ display: flex; flex-wrap: wrap; gap: 2rem }}
svg {{ max-width: 100%; height: auto }} svg text {{ font: 12px system-ui, sans-serif; fill: {INK} }}
"""


def render_page(report: MonitorReport, monitoring: Monitoring) -> str:
    """Return the HTML page of a report whose floats are already rounded."""
    quality, drifts = report.quality, report.features
    parts = [_facts(report, monitoring), _list("Notes", report.notes)]
    if drifts:
        parts.append(f"<h2>Drift against training</h2>{_drift_bars(drifts, monitoring.psi_alarm)}")
    plots = []
    if report.calibration:
        plots.append(f"<div><h2>Calibration</h2>{_calibration(report.calibration)}</div>")
    if report.scores:
        plots.append(f"<div><h2>Scores, training and now</h2>{_histogram(report.scores)}</div>")
    if plots:
        parts.append(f'<div class="plots">{"".join(plots)}</div>')
    if quality:
        parts.append("<h2>Quality on labelled rows</h2>" + _table(("metric", "value"), list(quality.items())))
    if drifts:
        rows = [
            (name, found.psi, found.missing_then, found.missing, "yes" if found.informational else "")
            for name, found in drifts.items()
        ]
        head = ("column", "PSI", "missing in training", "missing now", "informational")
        parts.append("<h2>Columns</h2>" + _table(head, rows))
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
    if report.psi_max is not None:
        facts.append((f"largest PSI, {report.psi_max_of} (alarm {monitoring.psi_alarm:g})", report.psi_max))
    if "ece" in report.quality:
        bound = monitoring.calibration_alarm
        alarm = f" (alarm {bound:g})" if bound is not None else ""
        facts.append((f"calibration error{alarm}", report.quality["ece"]))
    if report.skew:
        facts.append(("rows that differ from the join", report.skew.rows))
    items = "".join(f"<li><b>{_shown(value)}</b>{escape(name)}</li>" for name, value in facts)
    return f'<ul class="facts">{items}</ul>'


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


def _drift_bars(features: Mapping[str, FeatureDrift], alarm: float) -> str:
    """Return a plot with one bar per column, longest first; informational columns are grey."""
    known = {name: (found.psi, found) for name, found in features.items() if found.psi is not None}
    if not known:
        return "<p>Not measured.</p>"
    names = sorted(known, key=lambda name: -known[name][0])
    left, width, height = 20 + 8 * max(map(len, names)), 420, 20
    # Seasonal drift is many times the alarm's bound; longer bars are cut, and the value is written next to each.
    scale = width / (2 * alarm)
    bars = []
    for row, name in enumerate(names):
        (value, found), y = known[name], row * height
        loud = ALARM if value >= alarm else LOUD if value >= WARN * alarm else CALM
        length = min(value, 2 * alarm) * scale
        bars.append(
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{height - 6}" '
            f'fill="{GREY if found.informational else loud}"/>'
            f'<text x="{left + length + 5:.1f}" y="{y + 14}">{value:.3f}</text>'
        )
    bound, bottom = left + alarm * scale, len(names) * height
    line = f'<line x1="{bound:.1f}" x2="{bound:.1f}" y1="0" y2="{bottom}" stroke="{ALARM}" stroke-dasharray="4 3"/>'
    text = f"Population stability index of each column; the alarm's bound is {alarm:g}, grey columns are informational"
    return _svg(left + width + 60, bottom, text, "".join([*bars, line]))


def _calibration(bins: Sequence[CalibrationBin]) -> str:
    """Return a plot of the observed rate over the mean prediction, one dot per bin of equal mass."""
    side, pad = 260, 34
    top = max(max(row.predicted, row.observed) for row in bins) * 1.1 or 1.0

    def at(row: CalibrationBin) -> tuple[float, float]:
        return pad + row.predicted / top * side, side - row.observed / top * side + 5

    points = [at(row) for row in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{CALM}"/>' for x, y in points)
    diagonal = f'<line x1="{pad}" y1="{side + 5}" x2="{pad + side}" y2="5" stroke="{GREY}" stroke-dasharray="4 3"/>'
    ends = (
        f'<text x="{pad}" y="{side + 20}">0</text>'
        f'<text x="{pad + side}" y="{side + 20}" text-anchor="end">{top:.2f} predicted</text>'
        f'<text x="{pad + 4}" y="15">{top:.2f} observed</text>'
    )
    curve = f'<polyline points="{path}" fill="none" stroke="{CALM}" stroke-width="2"/>'
    axes = f'<path d="M{pad} 5V{side + 5}H{pad + side}" fill="none" stroke="{INK}"/>'
    text = "Observed rate over predicted probability in bins of equal mass; the diagonal is a calibrated model"
    return _svg(side + pad + 10, side + 26, text, diagonal + axes + curve + dots + ends)


def _histogram(scores: Scores) -> str:
    """Return a plot of the share of rows in each bin of the baseline: training in grey, now next to it."""
    # The bins of the most frequent score and of missing ones come last and are mostly empty.
    pairs = list(zip(scores.then, scores.now, strict=True))
    while len(pairs) > 1 and not any(pairs[-1]):
        pairs.pop()
    width, height, pad = 40, 220, 24
    top = max(max(pair) for pair in pairs) or 1.0
    bars = []
    for place, (before, after) in enumerate(pairs):
        for offset, value, colour in ((3, before, GREY), (20, after, CALM)):
            tall = value / top * height
            bars.append(
                f'<rect x="{pad + place * width + offset}" y="{height - tall + 5:.1f}" width="16" height="{tall:.1f}" '
                f'fill="{colour}"><title>{value:.1%}</title></rect>'
            )
    labels = "".join(
        f'<text x="{pad + (place + 1) * width}" y="{height + 20}" text-anchor="middle">{edge:.2g}</text>'
        for place, edge in enumerate(scores.edges)
    )
    axis = f'<path d="M{pad} {height + 5}H{pad + len(pairs) * width}" stroke="{INK}"/>'
    text = "Share of rows by score in the bins of training: grey then, blue now"
    return _svg(pad + len(pairs) * width + 10, height + 26, text, "".join(bars) + axis + labels)


def _svg(width: float, height: float, text: str, body: str) -> str:
    return (
        f'<svg role="img" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(text)}</title>{body}</svg>'
    )
