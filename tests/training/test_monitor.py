"""The monitor on a captured window whose metrics are computed independently."""

from __future__ import annotations

import base64
import csv
import io
import json
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE, eventually, variant
from tests.training import synthetic
from training import columns as c
from training.columns import Columns, is_missing
from training.data.ingest import fetch_tables
from training.data.join import join
from training.io import format_time
from training.modeling.model import Model

ENDPOINT = "toy-orders-local"
LAKE = f"{ENDPOINT}-lake-{synthetic.ACCOUNT}"
SINCE, UNTIL = np.datetime64("2024-04-01T00:00", "us"), np.datetime64("2024-04-15T00:00", "us")
JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
LOOKED_UP = ("station_reports_wind", "station_reports_sky")


@dataclass
class World:
    """Served model with the rows and scores of its window."""

    daemon: CloudDaemon
    pyz: Path
    rows: Columns
    scores: Any

    def run(self, base: Path, as_of: str, **env: str) -> tuple[str, dict[str, Any]]:
        """Run the monitor and return its log and report."""
        address = {**self.daemon.access, "MILLRACE_CLOCK": f"s3://{LAKE}/clock.json", **env}
        done = synthetic.run_step(self.pyz, base, "monitor", "--as-of", as_of, env=address)
        return done.stdout, json.loads((base / "processing/output/report/monitor.json").read_text())

    def published(self, endpoint: str, since: datetime) -> dict[tuple[str, str], float]:
        """Return the published values in CloudWatch, by metric and feature."""
        cloudwatch = self.daemon.client("cloudwatch")
        found = {}
        for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace=f"Millrace/{endpoint}"):
            for metric in page["Metrics"]:
                dimensions = {item["Name"]: item["Value"] for item in metric["Dimensions"]}
                assert dimensions.pop("Endpoint") == endpoint
                points = cloudwatch.get_metric_statistics(
                    **metric, StartTime=since, EndTime=datetime.now(UTC) + timedelta(minutes=2), Period=3600,
                    Statistics=["Maximum"],
                )["Datapoints"]  # fmt: skip
                if points:
                    found[metric["MetricName"], dimensions.pop("Feature", "")] = points[-1]["Maximum"]
                assert not dimensions
        return found


@pytest.fixture(scope="module")
def world(cloud_daemon: CloudDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("monitor")
    case = synthetic.use_case()
    pyz = synthetic.build(folder, case)
    model = synthetic.train_model(pyz, folder) / "model"
    s3, sagemaker = cloud_daemon.client("s3"), cloud_daemon.client("sagemaker")
    s3.create_bucket(Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": synthetic.REGION})
    (model / "answer.txt").write_text("the image of the tests needs it")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    s3.put_object(Bucket=LAKE, Key="models/model.tar.gz", Body=archive.getvalue())
    sagemaker.create_model_package_group(ModelPackageGroupName=ENDPOINT)
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{LAKE}/models/model.tar.gz"}
    package = sagemaker.create_model_package(
        ModelPackageGroupName=ENDPOINT, ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [container], "SupportedContentTypes": [JSON], "SupportedResponseMIMETypes": [JSON],
        },
    )["ModelPackageArn"]  # fmt: skip
    sagemaker.create_model(ModelName=f"{ENDPOINT}-1", PrimaryContainer={"ModelPackageName": package},
                           ExecutionRoleArn="arn:aws:iam::123456789012:role/endpoint")  # fmt: skip
    sagemaker.create_endpoint_config(EndpointConfigName=f"{ENDPOINT}-1", ProductionVariants=[variant(f"{ENDPOINT}-1")])
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=f"{ENDPOINT}-1")
    eventually(lambda: sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "InService", 60)
    functions = synthetic.functions(case)
    rows = join(case, _make_events(functions), fetch_tables(functions, SINCE, UNTIL))
    scores = Model.load(model, functions).predict(rows)
    yield World(cloud_daemon, pyz, rows, scores)
    sagemaker.delete_endpoint(EndpointName=ENDPOINT)


def _make_events(functions: Any) -> Columns:
    events = functions.events(SINCE, UNTIL)
    return {name: values for name, values in events.items() if name not in ("late", "minutes")}


def _make_records(rows: Columns, *without: str) -> list[dict[str, Any]]:
    plain: dict[str, list[Any]] = {}
    for name, values in rows.items():
        if name in without:
            continue
        if values.dtype.kind == "M":
            plain[name] = [format_time(value) for value in values]
        else:
            plain[name] = [
                None if gone else value for value, gone in zip(values.tolist(), is_missing(values), strict=True)
            ]
    return [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]


def _render_csv(records: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _render_payload(content_type: str, records: list[dict[str, Any]], name: str) -> str:
    if content_type == CSV:
        return _render_csv(records)
    if content_type == LINES:
        return "\n".join(json.dumps(record) for record in records)
    return json.dumps({name: records})


def _render_captured_line(
    records: list[dict[str, Any]], answers: list[dict[str, Any]], kinds: tuple[str, str] = (JSON, JSON), minute: int = 0
) -> str:
    """Return a line as SageMaker captures it; JSON Lines is not among the types that it keeps as text."""
    captured = {}
    for side, mode, kind, part, name in (
        ("endpointInput", "INPUT", kinds[0], records, "instances"),
        ("endpointOutput", "OUTPUT", kinds[1], answers, "predictions"),
    ):
        data = _render_payload(kind, part, name)
        encoding = {JSON: "JSON", CSV: "CSV", LINES: "BASE64"}[kind]
        if encoding == "BASE64":
            data = base64.b64encode(data.encode()).decode()
        captured[side] = {"observedContentType": f"{kind}; charset=utf-8", "mode": mode, "data": data,
                          "encoding": encoding}  # fmt: skip
    metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": f"2026-11-02T09:{minute:02d}:00Z"}
    return json.dumps({"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"})


def _make_answers(rows: Columns, scores: Any) -> list[dict[str, Any]]:
    return [
        {"order_id": key, "score": float(score), "label": int(score >= 0.4)}
        for key, score in zip(rows["order_id"], scores, strict=True)
    ]


@pytest.fixture(scope="module")
def captured_window(world: World) -> dict[str, Any]:
    """Capture the window in three content types, with broken and repeated lines, and return its counts."""
    rows, scores = world.rows, world.scores
    n = c.count_rows(rows)
    parts = np.array_split(np.arange(n), 4)
    given, looked, lines, table = ((c.select_rows(rows, part), scores[part]) for part in parts)
    old = _render_captured_line(_make_records(given[0]), _make_answers(given[0], 1 - given[1]), minute=1)
    new = _render_captured_line(_make_records(given[0]), _make_answers(*given), minute=2)
    found = _make_answers(*looked)
    values = _make_records({name: looked[0][name] for name in LOOKED_UP})
    for answer, columns in zip(found, values, strict=True):
        answer["columns"] = dict(columns)
    for answer in found[:5]:
        answer["columns"]["station_reports_wind"] = 99.5
    online = _render_captured_line(_make_records(looked[0], *LOOKED_UP), found, minute=3)
    in_lines = _render_captured_line(_make_records(lines[0]), _make_answers(*lines), (LINES, LINES), minute=4)
    answers = [{name: value for name, value in answer.items() if name != "label"} for answer in _make_answers(*table)]
    in_csv = _render_captured_line(_make_records(table[0]), answers, (CSV, CSV), minute=5)
    two, replies = (
        _make_records(c.select_rows(given[0], np.arange(2))),
        _make_answers(c.select_rows(given[0], np.arange(2)), scores[:2]),
    )
    other_key = _render_captured_line(
        two, [{**replies[0], "order_id": "another"}, {**replies[1], "score": None}], minute=6
    )
    one_side = json.loads(new)
    del one_side["captureData"]["endpointOutput"]
    long_ago = _render_captured_line([{**two[0], "order_id": "long-ago", "placed_at": "2023-01-01T00:00:00Z"}],
                     [{**replies[0], "order_id": "long-ago"}])  # fmt: skip
    # The older answer is in the later file.
    files = [[new, online, "no JSON at all"], [old, in_lines, in_csv, other_key, json.dumps(one_side), long_ago]]
    now = datetime.now(UTC)
    for number, file in enumerate(files):
        key = f"capture/{ENDPOINT}/main/{now:%Y/%m/%d/%H}/0{number}-00-000-{uuid.uuid4()}.jsonl"
        world.daemon.client("s3").put_object(Bucket=LAKE, Key=key, Body="\n".join(file).encode())
    return {"rows": n, "repeated": len(parts[0]), "unlike": 5}


def test_the_metrics_of_a_window_match_scikit_learn(
    world: World, captured_window: dict[str, Any], tmp_path: Path
) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    log, report = world.run(tmp_path / "job", "2024-04-15T00:00:00Z")
    n = captured_window["rows"]
    functions = synthetic.functions(synthetic.use_case())
    labels = functions.labels(SINCE, UNTIL, {})
    outcome = dict(zip(labels["order_id"], labels["late"], strict=True))
    # A label is known two hours after its order, one every half hour: the last three of the window have none yet.
    known = world.rows["placed_at"] + np.timedelta64(120, "m") <= UNTIL
    y = np.array([outcome[key] for key in world.rows["order_id"][known]])
    p = world.scores[known]
    assert report["rows"] == n == 14 * 48
    assert report["labelled"] == len(y) == n - 3
    assert report["judged"] == len(y)
    expected = {
        "roc_auc": roc_auc_score(y, p),
        "average_precision": average_precision_score(y, p),
        "brier": brier_score_loss(y, p),
        "brier_skill": 1 - brier_score_loss(y, p) / (y.mean() * (1 - y.mean())),
        "log_loss": log_loss(y, p),
    }
    quality = dict(report["quality"])
    # Debiased: chance alone makes gaps in every bin.
    assert 0 <= quality.pop("ece") < _compute_ece(y, p)
    assert quality == pytest.approx(expected, abs=1e-6)
    published = {name: value for (name, feature), value in world.published(ENDPOINT, began).items() if not feature}
    figures = {"heartbeat": 1.0, "measured": 1.0, "rows": n, "label_coverage": len(y) / n, "brier": expected["brier"]}
    assert {name: published[name] for name in figures} == pytest.approx(figures, abs=1e-9)
    # What no alarm and no dashboard needs is in the report alone: a metric costs money.
    assert set(published) == {
        *figures, "ece", "drift", "score_drift", "skew", "quality", "calibration", "labels", "clock", "capture",
        "freshness",
    }  # fmt: skip
    ratios = {check["alarm"]: check["ratio"] for check in sorted(report["checks"], key=lambda each: each["ratio"])}
    assert published["skew"] == pytest.approx(ratios["skew"], abs=1e-6)
    assert ratios["skew"] == pytest.approx(captured_window["unlike"] / n / 0.01, abs=1e-4)
    drift = published["drift"]
    features = {"size", "kind", "station_reports_wind", "station_reports_sky", "queues_queue", "hour", "score"}
    assert set(report["features"]) == features
    largest = max(found["drift"] for name, found in report["features"].items() if name != "score")
    assert drift == pytest.approx(largest, abs=1e-6)
    of = report["features"][report["drift_of"]]
    assert report["drift_kind"] == max(of["shifts"], key=lambda shift: shift["value"] / shift["threshold"])["kind"]
    assert report["features"]["size"]["missing"] == pytest.approx(np.isnan(world.rows["size"]).mean(), abs=1e-6)
    # The world is that of training: nothing has moved by more than chance.
    assert drift < 1
    assert {name for name, ratio in ratios.items() if ratio > 1} == {"capture"}
    assert "672 rows served, 669 judged by their outcome" in log


def _compute_ece(y: Any, p: Any) -> float:
    order = np.argsort(p, kind="stable")
    return float(sum(len(b) * abs(p[b].mean() - y[b].mean()) for b in np.array_split(order, 10)) / len(y))


def test_the_report_names_unreadable_records_and_skew(
    world: World, captured_window: dict[str, Any], tmp_path: Path
) -> None:
    log, report = world.run(tmp_path / "job", "2024-04-15T00:00:00Z")
    captured = report["captured"]
    assert captured["requests"] == 9
    assert captured["repeated"] == captured_window["repeated"]
    assert captured["outside"] == 1
    assert {reason: found["count"] for reason, found in captured["unreadable"].items()} == {
        "the line is not JSON": 1,
        "the prediction has a different order_id than the row": 1,
        "the prediction has no score": 1,
        "the endpointOutput is missing: the endpoint captures one side only": 1,
    }
    assert captured["unreadable"]["the line is not JSON"]["example"].endswith(".jsonl line 3")
    assert "1 not read: the line is not JSON" in log
    skew = report["skew"]
    assert (skew["rows"], skew["compared"]) == (5, captured_window["rows"])
    assert skew["columns"] == {"station_reports_wind": 5}
    assert skew["examples"][0]["columns"]["station_reports_wind"]["served"] == 99.5
    # Answers to an older request with the same keys do not count.
    assert report["by_current_model"] == captured_window["rows"] - 5 + _count_unmoved_scores(world)
    assert report["model"]["version"] == 1
    html = (tmp_path / "job/processing/output/report/report.html").read_text()
    assert html.count("<svg") == 3
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in html


def _count_unmoved_scores(world: World) -> int:
    """Return how many of the five changed winds leave the score unchanged."""
    first = len(np.array_split(np.arange(len(world.scores)), 4)[0])
    rows = c.select_rows(world.rows, np.arange(first, first + 5))
    rows["station_reports_wind"] = np.full(5, 99.5, dtype=np.float32)
    functions = synthetic.functions(synthetic.use_case())
    archive = world.daemon.client("s3").get_object(Bucket=LAKE, Key="models/model.tar.gz")["Body"].read()
    folder = world.pyz.parent / "model"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    moved = Model.load(folder, functions).predict(rows)
    return int(np.sum(np.abs(moved - world.scores[first : first + 5]) <= 1e-6))


def test_on_wall_clock_time_older_capture_hours_are_not_read(world: World, tmp_path: Path) -> None:
    rows, score = c.select_rows(world.rows, np.arange(2)), world.scores[:2]
    # The window begins on the 6th; a request may have been made the lead time, half an hour, and a day before.
    for place, hour in enumerate((22, 23)):
        key = {"order_id": f"early-{hour}"}
        record, answer = _make_records(rows)[place] | key, _make_answers(rows, score)[place] | key
        line = _render_captured_line([{**record, "placed_at": "2024-02-10T00:00:00Z"}], [answer])
        file = f"capture/{ENDPOINT}/main/2024/02/04/{hour}/59-59-999-{uuid.uuid4()}.jsonl"
        world.daemon.client("s3").put_object(Bucket=LAKE, Key=file, Body=line.encode())
    log, report = world.run(tmp_path / "wall", "2024-02-20T00:00:00Z", MILLRACE_CLOCK="")
    assert report["rows"] == 1
    # One row is too few for drift and for quality: neither is published, and the log says why.
    assert "no drift: 1 row(s), expected at least 50" in log
    assert "no quality: no row that version 1 answered has an outcome that is certain" in log
    assert (report["drift"], report["quality"], report["measured"]) == (None, {}, False)
    # The requests of a replay may be captured at any hour, but not before the endpoint was created.
    _, report = world.run(tmp_path / "replay", "2024-02-20T00:00:00Z")
    assert report["rows"] == 0


def test_without_rows_the_heartbeat_is_still_published(
    world: World, captured_window: dict[str, Any], tmp_path: Path
) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    log, report = world.run(tmp_path / "job", "2024-02-01T00:00:00Z")
    assert report["rows"] == 0
    assert "nothing was served in the window" in log
    assert world.published(ENDPOINT, began)["heartbeat", ""] == 1.0
    # Then `measured` is not published, and its absence fires the alarm `unmeasured`.
    assert report["measured"] is False


def test_a_missing_endpoint_is_not_a_failure(world: World, tmp_path: Path) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    log, report = world.run(tmp_path / "job", "2024-04-15T00:00:00Z", MILLRACE_ENVIRONMENT="later")
    assert "pending its first approved model" in log
    assert report["rows"] == 0
    assert world.published("toy-orders-later", began) == {
        ("heartbeat", ""): 1.0,
        ("measured", ""): 1.0,
        ("rows", ""): 0.0,
    }
