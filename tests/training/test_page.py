"""The page of the monitor: well-formed, self-contained and safe with any text in the report."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from millrace import Monitoring
from millrace.monitor_report import MonitorReport
from training.monitoring.report import render_page

REPORT: dict[str, Any] = {
    "endpoint": "toy-local", "as_of": "2024-04-15T00:00:00Z", "since": "2024-04-01T00:00:00Z", "rows": 672,
    "labelled": 669, "notes": ["<b>odd</b> & ends"], "model": {"version": 3},
    "drift": 1.2, "drift_of": "size", "drift_kind": "values",
    "skew": {"share": 0.01, "rows": 5, "compared": 500, "columns": {"wind": 5}},
    "quality": {"ece": 0.0123456, "brier": 0.2},
    "calibration": [{"rows": 60, "predicted": p / 10, "observed": p / 11} for p in range(1, 11)],
    "scores": {"edges": [0.1, 0.2, 0.3], "then": [0.25] * 4 + [0.0, 0.0], "now": [0.1, 0.2, 0.3, 0.4, 0.0, 0.0]},
    "features": {
        "size": {"rows": 672, "psi": 0.3, "missing": 0.04, "missing_then": 0.05, "informational": False, "drift": 1.2,
                 "shifts": [{"kind": "values", "value": 0.3, "warning": 0.1, "threshold": 0.25}]},
        "<season>": {"rows": 672, "psi": 8.0, "missing": 0.0, "missing_then": 0.0, "informational": True,
                     "drift": 32.0},
    },
}  # fmt: skip


def render(report: dict[str, Any], monitoring: Monitoring) -> str:
    return render_page(MonitorReport.model_validate(report), monitoring)


def parse_plots(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.S)]


def test_a_full_report_has_three_plots_with_all_values() -> None:
    drift, calibration, scores = parse_plots(render(REPORT, Monitoring(calibration_alarm=0.04)))
    tag = "{http://www.w3.org/2000/svg}"
    bars = drift.findall(f"{tag}rect")
    # The longest bar is cut at twice the alarm; the other keeps its proportion to it.
    assert [float(bar.get("width", 0)) for bar in bars] == pytest.approx([420, 1.2 / 2 * 420])
    assert [text.text for text in drift.findall(f"{tag}text")] == ["<season>", "32.000", "size", "1.200"]
    assert len(calibration.findall(f"{tag}circle")) == 10
    # Four bins, then and now; the two empty ones at the end are left out.
    heights = [float(bar.get("height", 0)) for bar in scores.findall(f"{tag}rect")]
    assert heights == pytest.approx([137.5, 55, 137.5, 110, 137.5, 165, 137.5, 220])


def test_what_was_judged_is_shown_with_its_threshold_the_worst_first() -> None:
    checks = [
        {"alarm": "skew", "value": 0.001, "threshold": 0.01, "ratio": 0.1, "text": "no feature differs"},
        {"alarm": "volume", "value": 1.4, "threshold": 0.7, "ratio": 2.0, "text": "2024-04-14 has <12> rows"},
    ]
    html = render({**REPORT, "checks": checks}, Monitoring(off=("volume",)))
    rows = re.findall(r"<tr[^>]*><td>(?:volume \(off\)|skew)</td>.*?</tr>", html)
    assert rows == [
        '<tr class="beyond"><td>volume (off)</td><td>1.4</td><td>0.7</td><td>2</td>'
        '<td class="text">2024-04-14 has &lt;12&gt; rows</td></tr>',
        '<tr><td>skew</td><td>0.001</td><td>0.01</td><td>0.1</td><td class="text">no feature differs</td></tr>',
    ]
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media print" in html


def test_each_test_of_a_column_is_shown_with_its_threshold() -> None:
    html = render(REPORT, Monitoring())
    assert "largest drift, size (values; alarm above 1)" in html
    assert "<td>size</td><td>1.2</td><td>0.3 of 0.25</td><td>–</td><td>–</td><td>–</td><td>0</td>" in html


def test_the_page_loads_nothing_and_escapes_markup() -> None:
    html = render(REPORT, Monitoring())
    assert "&lt;b&gt;odd&lt;/b&gt; &amp; ends" in html
    assert "<season>" not in html
    assert not re.search(r"<(script|link|img|iframe)|src=|url\(|@import", html)


@pytest.mark.parametrize("absent", ["quality", "calibration", "scores", "features", "skew", "drift"])
def test_a_report_may_lack_a_part(absent: str) -> None:
    html = render({name: value for name, value in REPORT.items() if name != absent}, Monitoring())
    assert html.endswith("</body></html>\n")
    assert "672" in html


def test_a_report_without_rows_gives_the_reason() -> None:
    report = {name: REPORT[name] for name in ("endpoint", "as_of", "since")} | {"rows": 0, "notes": ["nothing served"]}
    html = render(report, Monitoring())
    assert "nothing served" in html
    assert parse_plots(html) == []
