"""Tests of `millrace report` for a stack with a history and for one with almost none."""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.local.hosted import IMAGE, eventually
from tests.local.jobs import make_bucket
from tests.local.pipelines import start, wait_for_execution

from .conftest import MODEL
from .hosts import zip_corruptly
from .many import DECLARATION, Checkout, Cloud

STACK = "churn-local"
LAKE = f"{STACK}-lake-123456789012"
SNAPSHOT = "5" * 64
SLICED = DECLARATION.replace(
    "gates=[", 'slices=[Slice("plan", max_tpr_gap=0.2)],\n    parameters={{"depth": 3}}, seed=7,\n    gates=['
).replace("Retraining, UseCase", "Retraining, Slice, UseCase")
#: Rows, mean prediction and observed rate of three bins: their calibration error is .02.
BINS = [
    {"rows": 100, "predicted": 0.1, "observed": 0.12},
    {"rows": 100, "predicted": 0.3, "observed": 0.28},
    {"rows": 100, "predicted": 0.6, "observed": 0.62},
]
FIGURES = [("1", "0.71", "0.045"), ("2", "0.69", "0.06"), ("3", "0.83", "0.02")]


def make_evaluation(roc_auc: str, ece: str) -> dict[str, Any]:
    group = {"rows": 120, "base_rate": 0.3, "tpr": 0.8, "fpr": 0.1, "roc_auc": 0.8}
    return {
        "gate": {"passed": 1, "failed": ""},
        "approval": {"status": "PendingManualApproval", "description": "the gate is passed"},
        "metrics": {"rows": 300, "roc_auc": float(roc_auc), "ece": float(ece), "brier": 0.15},
        "champion": {"package": "", "text": "there is no champion"},
        "slices": {
            "plan": {
                "groups": {"basic": group, "family": {**group, "tpr": 0.5}},
                "max_tpr_gap": 0.2, "max_fpr_gap": None, "tpr_gap": 0.3, "fpr_gap": 0.0,
            }
        },
        "calibration": BINS,
    }  # fmt: skip


def make_monitor_report(as_of: str, drift: float, ece: float) -> dict[str, Any]:
    features = {
        "calls": {"rows": 400, "drift": drift, "missing": 0.0, "missing_then": 0.0, "informational": False},
        "<plan>": {"rows": 400, "drift": None, "missing": 0.0, "missing_then": 0.0, "informational": False},
    }
    return {
        "as_of": as_of, "since": as_of, "rows": 400, "labelled": 350, "notes": ["the baseline is that of version 3"],
        "model": {"version": 3}, "features": features, "drift": drift, "drift_of": "calls",
        "quality": {"ece": ece, "brier": 0.16}, "calibration": BINS, "skew": {"share": 0.0, "rows": 0, "compared": 400},
        "measured": True, "warned": ["minutes: its population stability index is 0.140"],
        "checks": [
            {"alarm": "drift", "value": drift / 4, "threshold": 0.25, "ratio": drift, "text": f"moved by {drift}"},
            {"alarm": "calibration", "value": ece, "threshold": 0.05, "ratio": ece / 0.05, "text": f"error of {ece}"},
        ],
    }  # fmt: skip


def test_status_shows_what_the_newest_run_of_the_monitor_found(history: History) -> None:
    found = history.checkout.json("status", "churn", "--env", "local")["monitor"]
    assert found["as_of"] == "2030-01-03T00:00:00Z"
    assert found["measured"] is True
    assert found["warned"] == ["minutes: its population stability index is 0.140"]
    assert "no alarm: minutes: its population" in history.checkout("status", "churn", "--env", "local").stdout
    assert [(each["alarm"], each["text"], each["threshold"]) for each in found["findings"]] == [
        ("calibration", "error of 0.06", 0.05)
    ]
    text = history.checkout("status", "churn", "--env", "local").stdout
    assert "  calibration: error of 0.06" in text
    assert "error of 0.03" not in text


class History:
    """A stack with three trainings and three runs of the monitor."""

    def __init__(self, folder: Path) -> None:
        self.cloud = Cloud(folder / "state")
        self.checkout = Checkout(folder / "checkout", folder / "state")
        self.s3 = make_bucket(self.cloud.daemon, LAKE)
        self.checkout.declare("churn", SLICED.format(name="churn"))
        self.checkout.stack("churn")
        self.checkout.declare("bare")
        self.checkout.stack("bare")
        self.checkout.declare("nowhere")
        self.checkout.stack("nowhere")

    def make(self) -> None:
        self.cloud.provision(STACK)
        code = self.bundle()
        self.put("code/bundle.pyz", code)
        self.put("snapshots/a/accepted/manifest.json", json.dumps({"sha256": SNAPSHOT}).encode())
        for version, roc_auc, ece in FIGURES:
            execution = start(self.cloud.sagemaker, f"{STACK}-training")
            wait_for_execution(self.cloud.sagemaker, execution)
            self.put(f"evaluations/{version}/evaluation.json", json.dumps(make_evaluation(roc_auc, ece)).encode())
            self.register(version, roc_auc, ece, execution, hashlib.sha256(code).hexdigest())
        for number, (drift, error) in enumerate([(0.2, 0.01), (1.24, 0.03), (0.48, 0.06)], start=1):
            execution = start(self.cloud.sagemaker, f"{STACK}-monitor")
            wait_for_execution(self.cloud.sagemaker, execution)
            document = make_monitor_report(f"2030-01-0{number}T00:00:00Z", drift, error)
            self.put(f"monitor/{execution.rpartition('/')[2]}/monitor.json", json.dumps(document).encode())
        self.cloud.serve(STACK, self.arn(3))
        runtime = self.cloud.daemon.client("sagemaker-runtime")
        for _ in range(5):
            runtime.invoke_endpoint(EndpointName=STACK, Body=b"[1]", ContentType="application/json")
        eventually(self.counted, 60)
        self.cloud.provision("bare-local")

    def counted(self) -> bool:
        """Return True if CloudWatch has counted the requests."""
        dimensions = [{"Name": "EndpointName", "Value": STACK}, {"Name": "VariantName", "Value": "main"}]
        found = self.cloud.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=dimensions, Period=3600,
            StartTime=datetime.now(UTC) - timedelta(hours=2), EndTime=datetime.now(UTC) + timedelta(hours=1),
            Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        return bool(sum(point["Sum"] for point in found) == 5)

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=LAKE, Key=key, Body=body)

    @staticmethod
    def bundle() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            contract = {"version": 1, "use_case": {"name": "churn", "parameters": {"depth": 3}, "seed": 7}}
            archive.writestr("contract.json", json.dumps(contract))
        return buffer.getvalue()

    @staticmethod
    def arn(version: int) -> str:
        return f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{STACK}/{version}"

    def register(self, version: str, roc_auc: str, ece: str, execution: str, code: str) -> None:
        approval = "Rejected" if version == "2" else "Approved"
        uri = f"s3://{LAKE}/evaluations/{version}/evaluation.json"
        self.cloud.sagemaker.create_model_package(
            ModelPackageGroupName=STACK,
            ModelApprovalStatus=approval,
            ModelPackageDescription="better by 0.01 | as <it> is",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": MODEL}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": uri}}},
            CustomerMetadataProperties={
                "roc_auc": roc_auc, "ece": ece, "brier": "0.15", "snapshot": SNAPSHOT, "code": code,
                "parameters": "6" * 64, "model": "7" * 64, "as_of": "2030-01-01T00:00:00Z", "execution": execution,
                "trigger": "manual", "data_uri": f"s3://{LAKE}/snapshots/a/accepted",
                "code_uri": f"s3://{LAKE}/code/bundle.pyz",
            },
        )  # fmt: skip


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    found = History(tmp_path_factory.mktemp("report"))
    try:
        found.make()
        yield found
    finally:
        found.cloud.daemon.stop()


class Page(HTMLParser):
    """A parser that collects a page's text by heading and the resources it loads, and checks that its tags match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.sections: dict[str, list[str]] = {"": []}
        self.open: list[str] = []
        self._at = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "data", "action")]
        self.loads += [tag] if tag in ("script", "link", "iframe", "object", "img") else []
        if tag not in ("meta", "circle", "rect", "line", "path", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "circle", "rect", "line", "path", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self._at = data
        self.sections.setdefault(self._at, []).append(data)

    def text(self, section: str) -> str:
        return " ".join(" ".join(self.sections[section]).split())


@pytest.fixture(scope="module")
def written(history: History, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the page, which replaced a file that was no report."""
    path = tmp_path_factory.mktemp("page") / "churn.html"
    path.write_text("my own notes")
    assert "is not a report" in history.checkout("report", "churn", "-o", str(path), code=1).stderr
    assert path.read_text() == "my own notes"
    assert f"wrote {path}" in history.checkout("report", "churn", "-o", str(path), "--force").stdout
    return path


def test_the_page_is_complete_and_loads_nothing(written: Path) -> None:
    text = written.read_text()
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert "url(" not in text
    assert set(re.findall(r"https?://[^\"'\s<]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "Not available" not in page.text("What serves, and why")
    assert "Version 3 of churn-local, Approved. better by 0.01 | as <it> is" in page.text("What serves, and why")
    # Each version's metrics as registered; the second version does not meet the gate.
    quality = page.text("Quality against the gates, version by version")
    for version, roc_auc, ece in FIGURES:
        assert re.search(rf"\b{version} \d{{4}}-[^Z]*Z \w+ {roc_auc} {float(ece):.4g} ", quality), quality
    assert '<td class="n bad">0.69</td>' in text
    groups = page.text("Groups")
    assert "basic 120 0.3 0.8 0.1 0.8" in groups
    assert "gap of true positive rates: 0.3, expected at most 0.2 FAILED" in groups
    assert "gap of false positive rates: 0, reported only" in groups
    drift = page.text("Drift")
    assert "calls 0.2 1.24 0.48" in drift
    assert "<plan> – – –" in drift
    assert "5 requests, 0 of them failed" in page.text("Latency and errors, the last 30 days")
    trainings = page.text("Trainings")
    assert [f"version {version}" in trainings for version in (1, 2, 3)] == [True] * 3
    lineage = page.text("Lineage")
    assert lineage.count("found, and the same") == 2
    assert f"{SNAPSHOT} s3://{LAKE}/snapshots/a/accepted" in lineage
    assert "depth=3 seed 7" in lineage
    assert "millrace run churn --pipeline training --as-of 2030-01-01T00:00:00Z" in lineage
    assert "the local cloud keeps no history of alarms" in page.text("Alarms")
    cost = page.text("Cost")
    # 730 hours at the price of the table for eu-west-1, and ten cents for each of six alarms.
    assert "1 × ml.m5.large, about 93.44" in cost
    assert "alarms 18 1.80 composite alarms 3 1.50" in cost
    assert "jobs of the pipelines by usage unknown" in cost
    assert "≥ $100.74" in cost
    assert stat.S_IMODE(written.stat().st_mode) & 0o044


def test_the_plots_show_the_measured_values(written: Path) -> None:
    plots, page = {}, written.read_text()
    for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        svg = ElementTree.fromstring(text)
        name = {"s": "http://www.w3.org/2000/svg"}
        plots[svg.find("s:title", name).text] = [each.text for each in svg.findall("s:circle/s:title", name)]  # type: ignore[union-attr]
    assert plots["roc_auc of each version against its gate"] == [
        "roc_auc v1: 0.71", "roc_auc v2: 0.69", "roc_auc v3: 0.83",
    ]  # fmt: skip
    assert plots["largest drift of each run of the monitor"] == [
        "drift 2030-01-01: 0.2", "drift 2030-01-02: 1.24", "drift 2030-01-03: 0.48",
    ]  # fmt: skip
    assert "ece 2030-01-03: 0.06" in plots["quality on labelled rows of each run of the monitor"]
    for where in ("holdout", "outcomes"):
        assert plots[f"observed over predicted, {where}"] == [
            "100 rows: predicted 0.100, observed 0.120",
            "100 rows: predicted 0.300, observed 0.280",
            "100 rows: predicted 0.600, observed 0.620",
        ]
    # Dots are drawn at their values: the alarm's 1 is between the second run's 1.24 and the third's 0.48.
    drawn = next(text for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "drift 2030" in text)
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)]
    [alarm] = re.findall(r'<line x1="\d+" x2="\d+" y1="([\d.]+)"', drawn)
    assert heights[1] < float(alarm) < heights[2] < heights[0]
    zero, per = heights[0] + 0.2 * (heights[0] - heights[2]) / 0.28, (heights[0] - heights[2]) / 0.28
    assert float(alarm) == pytest.approx(zero - 1.0 * per, abs=0.3)


def test_json_and_markdown_have_the_same_content(history: History) -> None:
    found = history.checkout.json("report", "churn")
    assert (found["report"], found["report_version"], found["stack"]) == ("millrace", 3, STACK)
    keys = ("quality", "calibration", "slices", "drift", "traffic_history", "alarm_history", "trainings", "lineage")
    assert set(keys) <= set(found)
    assert [row["version"] for row in found["quality"]] == [1, 2, 3]
    assert [run["drift"] for run in found["drift"]] == [0.2, 1.24, 0.48]
    assert found["calibration"]["outcomes"] == {"as_of": "2030-01-03T00:00:00Z", "bins": BINS}
    assert found["lineage"]["data"] == found["lineage"]["code"] == "found, and the same"
    assert (found["lineage"]["parameters"], found["lineage"]["seed"]) == ({"depth": 3}, 7)
    assert sum(hour["requests"] for hour in found["traffic_history"]) == 5
    assert {run["registered"] for run in found["trainings"]} == {1, 2, 3}
    assert set(found["gaps"]) == {"alarm_history"}
    text = history.checkout("report", "churn", "--format", "markdown").stdout
    assert text.startswith("<!-- millrace report -->\n# churn-local: report of ")
    assert "| calls | 0.2 | 1.24 | 0.48 |" in text
    assert "better by 0.01 \\| as <it> is |" in text


def test_warnings_are_printed_as_sentences(history: History) -> None:
    decide = history.cloud.sagemaker.update_model_package
    decide(ModelPackageArn=history.arn(3), ModelApprovalStatus="Rejected")
    try:
        odd = [warning["text"] for warning in history.checkout.json("report", "churn")["warnings"]]
        page = Page(history.checkout("report", "churn", "-o", "-").stdout).text("Warnings")
        text = history.checkout("report", "churn", "--format", "markdown").stdout
    finally:
        decide(ModelPackageArn=history.arn(3), ModelApprovalStatus="Approved")
    assert odd
    for sentence in odd:
        assert sentence in page
        assert f"- {sentence}\n" in text
    assert "'code'" not in page + text


def test_missing_data_is_reported(history: History) -> None:
    found = history.checkout.json("report", "bare")
    assert set(found["gaps"]) == {
        "quality", "slices", "lineage", "drift", "traffic_history", "trainings", "alarm_history",
        "calibration_holdout", "calibration_outcomes",
    }  # fmt: skip
    text = history.checkout("report", "bare", "-o", "-", "--format", "html").stdout
    page = Page(text)
    assert "pending its first approved model" in page.text("What serves, and why")
    assert "Not available: no model has been registered." in page.text("Quality against the gates, version by version")
    assert "Not available: the monitor has not written a report yet." in page.text("Drift")
    assert "Not available: no version serves." in page.text("Lineage")
    assert "never deployed" in history.checkout("report", "nowhere", code=1).stderr


def test_missing_and_changed_inputs_of_a_model_are_reported(history: History) -> None:
    code = history.bundle()
    corrupt = zip_corruptly({"contract.json": "{}" * 50}, "data")
    history.put("code/bundle.pyz", corrupt)
    history.s3.delete_object(Bucket=LAKE, Key="snapshots/a/accepted/manifest.json")
    history.put("evaluations/3/evaluation.json", b"{torn")
    try:
        page = Page(history.checkout("report", "churn", "-o", "-").stdout)
        assert f"s3://{LAKE}/snapshots/a/accepted: deleted" in page.text("Lineage")
        assert f"s3://{LAKE}/code/bundle.pyz: found, but NOT the same" in page.text("Lineage")
        assert "Not available: the evaluation of version 3 no longer exists." in page.text("Groups")
    finally:
        history.put("code/bundle.pyz", code)
        history.put("snapshots/a/accepted/manifest.json", json.dumps({"sha256": SNAPSHOT}).encode())
        history.put("evaluations/3/evaluation.json", json.dumps(make_evaluation("0.83", "0.02")).encode())


def test_a_report_is_overwritten_and_leaves_no_other_files(history: History, written: Path) -> None:
    path = written.parent / "churn.md"
    path.write_bytes(written.read_bytes())
    history.checkout("report", "churn", "-o", str(path))
    # The file name determines the format.
    assert path.read_text().startswith("<!-- millrace report -->")
    for _ in range(2):
        history.checkout("report", "churn", "-o", str(path.with_suffix(".json")))
    assert json.loads(path.with_suffix(".json").read_text())["stack"] == STACK
    assert {each.name for each in written.parent.iterdir()} == {"churn.html", "churn.json", "churn.md"}
    assert "does not exist" in history.checkout("report", "churn", "-o", f"{path}s/b.html", code=1).stderr
    assert "contradict each other" in history.checkout("report", "churn", "--json", "--format", "html", code=2).stderr
    assert "--open" in history.checkout("report", "churn", "--json", "--open", code=2).stderr
