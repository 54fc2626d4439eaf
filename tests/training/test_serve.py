"""The model server over HTTP: the requests that it accepts, its answers, and whether it serves the trained model."""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tests.training import synthetic
from tests.training.served import SERVE, Server, serving

CASES = {problem: synthetic.use_case(problem) for problem in ("binary", "regression")}
RECORD: dict[str, Any] = {
    "order_id": "o-1",
    "placed_at": "2024-04-01T06:10:00Z",
    "size": 2.5,
    "kind": "a",
    "station_reports_wind": 3.25,
    "station_reports_sky": "rain",
    "queues_queue": 1.5,
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of a trained model for each problem."""
    found = {}
    for problem, case in CASES.items():
        folder = tmp_path_factory.mktemp(problem)
        found[problem] = synthetic.train_model(synthetic.build(folder, case), folder)
    return found


@pytest.fixture(scope="module")
def server(models: dict[str, Path]) -> Iterator[Server]:
    with serving(models["binary"]) as started:
        yield started


def read_rows(base: Path, count: int) -> list[dict[str, Any]]:
    """Return evenly spaced rows of the training set."""
    rows = pq.read_table(base / "dataset" / "rows.parquet").to_pylist()
    return [rows[index] for index in np.linspace(0, len(rows) - 1, count).astype(int)]


def make_record(row: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a request; a NaN of Parquet becomes null."""
    names = ("order_id", "station", "shop", "band", *(name for name in RECORD if name not in ("order_id", "placed_at")))
    record = {name: None if row[name] != row[name] else row[name] for name in names}
    return {**record, "placed_at": row["placed_at"].isoformat() + "Z"}


# -- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["binary", "regression"])
def test_scores_match_scikit_learn_on_a_hand_made_matrix(models: dict[str, Path], problem: str) -> None:
    base, case = models[problem], CASES[problem]
    rows = read_rows(base, 500)
    matrix = synthetic.matrix(rows)
    stored = joblib.load(base / "model" / "model.joblib")
    everything = pq.read_table(base / "dataset" / "rows.parquet").to_pylist()
    # The final model was fitted on `everything`: without a champion no row is held back.
    kind = HistGradientBoostingClassifier if problem == "binary" else HistGradientBoostingRegressor
    few = {"learning_rate": 0.05, "max_leaf_nodes": 7, "l2_regularization": 1.0}
    fresh = kind(**{**few, **case.parameters}, early_stopping=False, random_state=case.seed)
    fresh.fit(synthetic.matrix(everything), np.array([row[case.target] for row in everything]))
    with serving(base) as server:
        answers = server.predict([make_record(row) for row in rows])
    scores = np.array([answer["score"] for answer in answers])
    assert [answer["order_id"] for answer in answers] == [row["order_id"] for row in rows]
    if problem == "binary":
        assert scores.tolist() == stored.predict_proba(matrix)[:, 1].tolist()
        np.testing.assert_allclose(scores, fresh.predict_proba(matrix)[:, 1], atol=1e-6)
        assert [answer["label"] for answer in answers] == [int(score >= 0.4) for score in scores]
        assert {answer["label"] for answer in answers} == {0, 1}
        assert set(answers[0]) == {"order_id", "score", "label", "fingerprint"}
    else:
        assert scores.tolist() == stored.predict(matrix).tolist()
        np.testing.assert_allclose(scores, fresh.predict(matrix), atol=1e-3)
        assert set(answers[0]) == {"order_id", "score", "fingerprint"}


def test_an_unseen_category_and_missing_values_are_accepted(server: Server, models: dict[str, Path]) -> None:
    stored = joblib.load(models["binary"] / "model" / "model.joblib")
    records = [
        {**RECORD, "kind": "quite new"},
        {**RECORD, "kind": None, "size": None, "station_reports_wind": None, "station_reports_sky": None},
    ]
    answers = server.predict(records)
    at = {"placed_at": datetime.fromisoformat(RECORD["placed_at"])}
    matrix = synthetic.matrix([{**record, **at} for record in records])
    assert [answer["score"] for answer in answers] == stored.predict_proba(matrix)[:, 1].tolist()
    assert answers[0]["score"] != answers[1]["score"]


# -- content types ---------------------------------------------------------------------------------------------------


def test_one_record_is_answered_bare_and_many_in_order(server: Server) -> None:
    status, one = server.invoke(RECORD)
    assert (status, one["order_id"]) == (200, "o-1")
    status, many = server.invoke({"instances": [RECORD, {**RECORD, "order_id": 17, "size": 40}]})
    assert status == 200
    assert many["predictions"][0] == {name: value for name, value in one.items() if name != "meta"}
    assert many["meta"]["request_id"] != one["meta"]["request_id"]
    # The key may be a whole number, as in the functions of the use case.
    assert [each["order_id"] for each in many["predictions"]] == ["o-1", "17"]
    assert many["predictions"][1]["score"] != one["score"]


def render_csv(records: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def test_all_content_types_give_the_same_scores(server: Server, models: dict[str, Path]) -> None:
    records = [make_record(row) for row in read_rows(models["binary"], 40)]
    expected = server.predict(records)
    lines = b"\n".join(json.dumps(record).encode() for record in records)
    for body, kind in (
        (lines + b"\n", "application/jsonlines"),
        (lines, "application/jsonlines; charset=UTF-8"),
        (render_csv(records), "text/csv"),
        (b"\xef\xbb\xbf" + render_csv(records), 'Text/CSV;charset="utf-8"'),
    ):
        assert server.invoke(body, kind)[1]["predictions"] == expected
        status, answer = server.invoke(body, kind, Accept="application/jsonlines")
        assert status == 200
        found = [json.loads(line) for line in answer.splitlines()]
        assert len({line.pop("meta")["request_id"] for line in found}) == 1
        assert found == expected
        status, answer = server.invoke(body, kind, Accept="text/csv")
        assert status == 200
        assert answer.startswith("order_id,score,label,fingerprint,meta_model_version,meta_request_id\n")
        table = list(csv.DictReader(io.StringIO(answer)))
        assert [
            (row["order_id"], float(row["score"]), int(row["label"]), float(row["fingerprint"])) for row in table
        ] == [(row["order_id"], row["score"], row["label"], row["fingerprint"]) for row in expected]
    assert len({row["fingerprint"] for row in expected}) > 30


PACKAGE = "arn:aws:sagemaker:eu-central-1:123456789012:model-package/orders-dev/17"


def test_answers_and_log_lines_name_the_version_and_the_request(models: dict[str, Path]) -> None:
    with serving(models["binary"], MILLRACE_MODEL_PACKAGE=PACKAGE) as server:
        answers = [server.invoke(RECORD), server.invoke({"instances": [RECORD] * 3}), server.invoke({"x": 1})]
        table = server.invoke(RECORD, Accept="text/csv")[1].splitlines()
        lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert [(answer["meta"]["schema"], answer["meta"]["model_version"]) for _, answer in answers] == [(3, 17)] * 3
    version, request = table[1].split(",")[-2:]
    requests = [answer["meta"]["request_id"] for _, answer in answers]
    assert version == "17"
    assert [line["request_id"] for line in lines] == [*requests, request]
    assert [(line["status"], line["rows"], line["model_version"]) for line in lines] == [
        (200, 1, 17),
        (200, 3, 17),
        (400, 1, 17),
        (200, 1, 17),
    ]
    assert all(0 < line["ms"] < 60_000 for line in lines)
    # Values of a record are no matter of the log.
    assert "o-1" not in json.dumps(lines)


def test_a_model_of_no_package_says_so_and_a_wrong_one_is_refused(server: Server, models: dict[str, Path]) -> None:
    assert server.invoke(RECORD)[1]["meta"]["model_version"] is None
    refused = Server(models["binary"], MILLRACE_MODEL_PACKAGE="orders/latest")
    try:
        assert refused.process.wait(30) == 1
        assert "MILLRACE_MODEL_PACKAGE='orders/latest'" in refused.log()
    finally:
        refused.stop()
        refused.close()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/html, application/jsonlines;q=0.9, text/csv;q=0.2", "application/jsonlines"),
        ("application/json; charset=utf-8", "application/json"),
    ],
)
def test_the_accept_header_selects_the_content_type(server: Server, accept: str, kind: str) -> None:
    body = json.dumps(RECORD)
    status, headers, _ = server.call("POST", "/invocations", body, Content_Type="application/json", Accept=accept)
    assert (status, headers["content-type"]) == (200, kind)


def test_other_charsets_are_decoded(server: Server) -> None:
    body = json.dumps({**RECORD, "order_id": "Zoë"}, ensure_ascii=False).encode("latin-1")
    status, answer = server.invoke(body, "application/json; charset=ISO-8859-1")
    assert (status, answer["order_id"]) == (200, "Zoë")


def test_execution_parameters_are_served_for_batch_transform(server: Server) -> None:
    status, _, body = server.call("GET", "/execution-parameters")
    parameters = json.loads(body)
    assert status == 200
    assert parameters["BatchStrategy"] == "MULTI_RECORD"
    assert parameters["MaxPayloadInMB"] * parameters["MaxConcurrentTransforms"] <= 100


# -- refusals --------------------------------------------------------------------------------------------------------


def omit_fields(*names: str) -> dict[str, Any]:
    return {name: value for name, value in RECORD.items() if name not in names}


BAD: list[tuple[Any, str | None, int | None, str]] = [
    ({**RECORD, "size": "2.5"}, "size", 0, "size is '2.5'; expected a number"),
    ({**RECORD, "size": [1]}, "size", 0, "expected a number"),
    ({**RECORD, "size": 1e39}, "size", 0, "a number that a 32-bit float can hold"),
    ({**RECORD, "size": 10**400}, "size", 0, "a number that a 32-bit float can hold"),
    ({**RECORD, "kind": 3}, "kind", 0, "expected text"),
    ({**RECORD, "kind": "\ud800"}, "kind", 0, "expected text"),
    ({**RECORD, "placed_at": "yesterday"}, "placed_at", 0, "ISO 8601"),
    ({**RECORD, "placed_at": 17}, "placed_at", 0, "ISO 8601"),
    ({**RECORD, "placed_at": "0001-01-01T00:00:00+05:00"}, "placed_at", 0, "ISO 8601"),
    ({**RECORD, "placed_at": None}, "placed_at", 0, "placed_at is missing"),
    ({**RECORD, "order_id": None}, "order_id", 0, "order_id is missing"),
    ({**RECORD, "order_id": ""}, "order_id", 0, "order_id is missing"),
    ({**RECORD, "order_id": 1.5}, "order_id", 0, "a whole number"),
    ({**RECORD, "station": "x" * 2049}, "station", 0, "2048 bytes"),
    ({**RECORD, "station": None}, "station", 0, "station is missing"),
    ({**RECORD, "sise": 2}, "sise", 0, "did you mean 'size'?"),
    ({**RECORD, "late": 1}, "late", 0, "field 'late' does not exist"),
    ({**RECORD, "band": 7}, "band", 0, "expected text"),
    (omit_fields("size"), "size", 0, "the field 'size' is missing"),
    (omit_fields("placed_at"), "placed_at", 0, "the field 'placed_at' is missing"),
    (omit_fields("order_id"), "order_id", 0, "the field 'order_id' is missing"),
    (omit_fields("station_reports_sky"), "station_reports_sky", 0, "give all of them or none"),
    (omit_fields("queues_queue"), "shop", 0, "queues is looked up by it"),
    ({"instances": [RECORD, omit_fields("kind")]}, "kind", 1, "row 1: the field 'kind' is missing"),
    ({"instances": [RECORD, {**RECORD, "size": "x"}]}, "size", 1, "row 1: size is 'x'"),
    ({"instances": [RECORD, 3]}, None, 1, "row 1 is 3; expected an object"),
    ({"instances": []}, None, None, "the batch is empty"),
    ({"instances": RECORD}, "instances", None, "expected a list of records"),
    ({"instances": [RECORD], "more": 1}, None, None, "'more' is given with 'instances'"),
    ([RECORD], None, 0, "expected an object"),
    (None, None, 0, "expected an object"),
    (b"", None, None, "the body is not JSON"),
    (b"{", None, None, "the body is not JSON"),
    (b"\xff", None, None, "the body is not utf-8"),
    (b"[" * 100_000, None, None, "nested too deeply"),
    (json.dumps({**RECORD, "size": float("nan")}).encode(), None, None, "write a missing number as null"),
    (b'{"size": 1, "size": 2}', "size", None, "'size' appears twice"),
]


@pytest.mark.parametrize(("body", "field", "row", "text"), BAD)
def test_a_bad_record_is_refused_by_field_and_row(
    server: Server, body: Any, field: str | None, row: int | None, text: str
) -> None:
    status, answer = server.invoke(body)
    assert status == 400, answer
    assert text in answer["error"]
    assert (answer.get("field"), answer.get("row")) == (field, row)
    assert server.invoke(RECORD)[0] == 200


CSV_HEADER = b"order_id,placed_at,size,kind,station_reports_wind,station_reports_sky,queues_queue\n"


@pytest.mark.parametrize(
    ("body", "kind", "field", "row", "text"),
    [
        (b"", "text/csv", None, None, "the body is empty"),
        (CSV_HEADER, "text/csv", None, None, "the batch is empty"),
        (CSV_HEADER + b"1,2024-04-01T06:00:00Z,2\n", "text/csv", None, 0, "has 3 cells; expected 7"),
        (CSV_HEADER + b"1,2024-04-01T06:00:00Z,1_0,a,1,rain,2\n", "text/csv", "size", 0, "size is '1_0'"),
        (CSV_HEADER + b"1,2024-04-01T06:00:00Z,nan,a,1,rain,2\n", "text/csv", "size", 0, "or nothing where"),
        (CSV_HEADER + b"1,2024-04-01T06:00:00Z,1e999,a,1,rain,2\n", "text/csv", "size", 0, "32-bit float"),
        (CSV_HEADER + b",2024-04-01T06:00:00Z,1,a,1,rain,2\n", "text/csv", "order_id", 0, "order_id is missing"),
        (b"size,size\n1,2\n", "text/csv", "size", None, "appears twice in the header"),
        (b'"a', "text/csv", None, None, "the body is not CSV"),
        (b"", "application/jsonlines", None, None, "the batch is empty"),
        (json.dumps(RECORD).encode() + b"\n{\n", "application/jsonlines", None, None, "line 2: the body is not JSON"),
        (json.dumps(RECORD).encode() + b"\n7\n", "application/jsonlines", None, 1, "row 1 is 7"),
    ],
)
def test_bad_csv_and_json_lines_are_refused(
    server: Server, body: bytes, kind: str, field: str | None, row: int | None, text: str
) -> None:
    status, answer = server.invoke(body, kind)
    assert status == 400, answer
    assert text in answer["error"]
    assert (answer.get("field"), answer.get("row")) == (field, row)
    assert server.invoke(RECORD)[0] == 200


def test_other_refusals_say_what_was_expected(server: Server) -> None:
    assert server.invoke(RECORD, "application/xml")[0] == 415
    status, answer = server.invoke(RECORD, "application/json; charset=rot13")
    assert status == 415
    assert "utf-8" in answer["error"]
    for accept in ("image/png", "text/csv;q=0"):
        status, answer = server.invoke(RECORD, Accept=accept)
        assert status == 406
        assert "application/jsonlines" in answer["error"]
    status, answer = server.invoke(b"[" + b" " * (6 * 2**20) + b"]")
    assert status == 413
    assert "at most 6 MB" in answer["error"]
    assert server.call("GET", "/invocations")[0] == 405
    assert server.call("POST", "/ping")[0] == 405
    assert server.call("GET", "/metrics")[0] == 404
    assert server.invoke(RECORD)[0] == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{" + b",".join(b'"f%d":1' % number for number in range(300_000)) + b',"f299999":1}', "application/json"),
        (json.dumps({**RECORD, "x" * 5_000_000: 1}).encode(), "application/json"),
        (CSV_HEADER + b"1,2024-04-01T06:00:00Z," + b"1" * 130_000 + b"x,a,1,rain,2\n", "text/csv"),
        (b",".join(b"f%d" % number for number in range(300_000)) + b",f299999\n1\n", "text/csv"),
        (b'{"size": ' + b"9" * 1_000_000 + b"}", "application/json"),
    ],
    ids=["many fields", "long field", "long number", "long header", "long integer"],
)
def test_a_monstrous_body_is_refused_quickly(server: Server, body: bytes, kind: str) -> None:
    began = time.monotonic()
    status, answer = server.invoke(body, kind)
    assert status == 400
    assert len(answer["error"]) < 600
    assert time.monotonic() - began < 5


def test_an_unreachable_feature_store_is_a_server_error(server: Server) -> None:
    """Check that nothing is predicted, instead of silently using missing values, if the store is unreachable."""
    status, answer = server.invoke({**omit_fields("queues_queue"), "shop": "1"})
    assert status == 500
    assert "toy-orders-local-queues" in answer["error"]
    assert server.invoke(RECORD)[0] == 200


# -- lifecycle -------------------------------------------------------------------------------------------------------


def test_one_row_takes_a_few_milliseconds(server: Server, record_property: Any) -> None:
    body, seconds = json.dumps(RECORD), []
    for _ in range(300):
        began = time.perf_counter()
        assert server.call("POST", "/invocations", body, Content_Type="application/json")[0] == 200
        seconds.append(time.perf_counter() - began)
    p50 = float(np.median(seconds)) * 1e3
    record_property("latency_ms_p50", p50)
    # About 1 ms on a quiet machine; the bound leaves room for a busy one.
    assert p50 < 25


def test_many_callers_at_once_get_their_own_answers(server: Server) -> None:
    expected = {str(size): server.invoke({**RECORD, "size": size})[1]["score"] for size in range(8)}
    found: dict[str, set[float]] = {key: set() for key in expected}

    def call(size: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        for _ in range(20):
            body = json.dumps({**RECORD, "order_id": size, "size": int(size)})
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            found[answer["order_id"]].add(answer["score"])
        connection.close()

    threads = [threading.Thread(target=call, args=(size,)) for size in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {size: {score} for size, score in expected.items()}


def test_sigterm_ends_an_idle_server_at_once(models: dict[str, Path]) -> None:
    with serving(models["binary"]) as server:
        server.invoke(RECORD)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 2
        assert "serving toy-orders, trained until 2024-03-31T22:00:00Z" in server.log()


@pytest.fixture(scope="module")
def clumsy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose features take a second for kind 'slow' and fail for kind 'wrong'."""
    case = synthetic.use_case(name="toy-clumsy", history="P5D")
    source = synthetic.data(case).replace(
        "    minutes = (",
        "    import time\n    if 'slow' in columns['kind']:\n        print('begun', flush=True)\n"
        "        time.sleep(1)\n    if 'wrong' in columns['kind']:\n        1 / 0\n    minutes = (",
    )
    folder = tmp_path_factory.mktemp("clumsy")
    return synthetic.train_model(synthetic.build(folder, case, source), folder)


def test_sigterm_lets_requests_finish(clumsy: Path) -> None:
    with serving(clumsy) as server:
        answers: list[tuple[int, Any]] = []
        slow = threading.Thread(target=lambda: answers.append(server.invoke({**RECORD, "kind": "slow"})))
        slow.start()
        deadline = time.monotonic() + 10
        while "begun" not in server.log():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(10) == 0
        slow.join(10)
        assert answers[0][0] == 200
        assert answers[0][1]["order_id"] == "o-1"


def test_a_server_keeps_serving_after_the_model_fails_on_a_row(clumsy: Path) -> None:
    with serving(clumsy) as server:
        status, answer = server.invoke({**RECORD, "kind": "wrong"})
        assert status == 500
        assert answer["error"].startswith("features() failed in stacks/")
        assert "ZeroDivisionError: division by zero" in answer["error"]
        assert "Traceback" in server.log()
        assert server.invoke(RECORD)[0] == 200


def get_startup_error(base: Path, **env: str) -> str:
    """Return the single line that a server prints when it fails to start."""
    environment = synthetic.environment(base, SAGEMAKER_BIND_TO_PORT="1", **env)
    done = subprocess.run([str(SERVE)], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    return line


def copy_model(base: Path, folder: Path) -> Path:
    shutil.copytree(base / "model", folder / "model")
    return folder


def test_a_server_without_its_model_fails_with_the_reason(models: dict[str, Path], tmp_path: Path) -> None:
    base = copy_model(models["binary"], tmp_path)
    (base / "model" / "model.json").unlink()
    assert get_startup_error(base).startswith(f"error: serve: {base}/model/model.json does not exist")


def test_a_server_runs_only_the_registered_code(models: dict[str, Path], tmp_path: Path) -> None:
    base = copy_model(models["binary"], tmp_path)
    bundle = base / "model" / "code" / "bundle.pyz"
    registered = hashlib.sha256(bundle.read_bytes()).hexdigest()
    with serving(base, MILLRACE_BUNDLE_SHA256=registered) as server:
        assert server.invoke(RECORD)[0] == 200
    bundle.write_bytes(bundle.read_bytes() + b"more")
    line = get_startup_error(base, MILLRACE_BUNDLE_SHA256=registered)
    assert line.startswith(f"error: {bundle} is not the code that was registered: its SHA-256 is ")
    assert line.endswith(f", not {registered}")


@pytest.mark.parametrize(
    ("variables", "address"), [({"MILLRACE_BIND_ADDRESS": "127.0.0.1"}, "127.0.0.1"), ({}, "0.0.0.0")]
)
def test_a_server_listens_on_the_configured_address(
    models: dict[str, Path], variables: dict[str, str], address: str
) -> None:
    with serving(models["binary"], **variables) as server:
        listening = psutil.Process(server.process.pid).net_connections("inet")
        assert {(each.laddr.ip, each.laddr.port) for each in listening if each.status == psutil.CONN_LISTEN} == {
            (address, server.port)
        }


def test_a_server_with_a_broken_model_fails_with_the_reason(models: dict[str, Path], tmp_path: Path) -> None:
    base = copy_model(models["binary"], tmp_path)
    (base / "model" / "model.joblib").write_bytes(b"no pickle")
    line = get_startup_error(base)
    assert line.startswith(f"error: serve: the model {base}/model/model.joblib cannot be loaded (")


def test_a_model_of_another_scikit_learn_version_is_not_served(models: dict[str, Path], tmp_path: Path) -> None:
    base = copy_model(models["binary"], tmp_path)
    path = base / "model" / "model.json"
    document = json.loads(path.read_text())
    document["libraries"]["scikit-learn"] = "1.2.3"
    path.write_text(json.dumps(document))
    assert "trained with scikit-learn 1.2.3" in get_startup_error(base)


def test_an_invalid_port_is_refused(models: dict[str, Path]) -> None:
    environment = synthetic.environment(models["binary"], SAGEMAKER_BIND_TO_PORT="eighty")
    done = subprocess.run([str(SERVE)], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "SAGEMAKER_BIND_TO_PORT='eighty' is not a port; expected a port" in done.stderr
