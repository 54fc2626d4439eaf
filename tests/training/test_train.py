"""Training: the same bytes for the same data, code and parameters, and a record of which of them changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.training import synthetic
from training import columns as c
from training.data.dataset import FIT, HOLDOUT, Dataset
from training.data.snapshot import Snapshot
from training.modeling.model import fit_model
from training.serving.requests import Schema, read_payload


@dataclass
class Trained:
    folder: Path
    """The training job's `/opt/ml`."""
    pyz: Path

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "model" / "model.json").read_text()))

    @property
    def identity(self) -> dict[str, str]:
        return dict(self.document["identity"])

    def files(self) -> dict[str, bytes]:
        """Return all files of the model archive."""
        model = self.folder / "model"
        return {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("first")
    pyz = synthetic.build(folder, synthetic.use_case())
    return Trained(synthetic.train_model(pyz, folder), pyz)


def train_again(first: Trained, folder: Path, pyz: Path | None = None, **hyperparameters: str) -> Trained:
    """Train again on the same training set."""
    base = folder / "training"
    shutil.copytree(first.folder / "dataset", base / "input" / "data" / "dataset")
    if hyperparameters:
        (base / "input" / "config").mkdir()
        (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    synthetic.run_step(pyz or first.pyz, base, "train")
    return Trained(base, pyz or first.pyz)


def test_two_whole_runs_give_the_same_bytes(first: Trained, tmp_path: Path) -> None:
    pyz = synthetic.build(tmp_path, synthetic.use_case())
    assert pyz.name == first.pyz.name
    assert pyz.read_bytes() == first.pyz.read_bytes()
    second = Trained(synthetic.train_model(pyz, tmp_path), pyz)
    assert set(first.files()) == {"model.joblib", "model.json", "baseline.json", "holdout.parquet", "code/bundle.pyz"}
    assert second.files() == first.files()


def test_declared_missing_texts_are_missing_in_training_and_requests(tmp_path: Path) -> None:
    case = synthetic.use_case(missing={"kind": ("", "a")})
    trained = Trained(synthetic.train_model(synthetic.build(tmp_path, case), tmp_path), tmp_path)
    snapshot, _ = Snapshot.read(trained.folder / "snapshot")
    assert set(snapshot.data["events"]["kind"]) == {None, "b", "c"}
    body = b"order_id,placed_at,kind\n1,2030-01-01T00:00:00Z,a\n2,2030-01-01T00:00:00Z,b\n"
    schema = Schema(case, {**trained.document, "inputs": ["kind"]})
    assert schema.convert_batch(read_payload(body, "text/csv")).columns["kind"].tolist() == [None, "b"]


def test_a_changed_value_changes_only_the_identity_of_the_data(first: Trained, tmp_path: Path) -> None:
    snapshot, manifest = Snapshot.read(first.folder / "snapshot")
    events = {name: values.copy() for name, values in snapshot.data["events"].items()}
    events["size"][100] += 1
    changed = Snapshot(snapshot.as_of, snapshot.since, {**snapshot.data, "events": events})
    job = tmp_path / "job"
    written = changed.write(job / "processing" / "input" / "snapshot")
    assert written["sha256"] != manifest["sha256"]
    synthetic.run_step(first.pyz, job, "dataset", "--champion", "none")
    base = tmp_path / "training"
    synthetic.hand_over(job / "processing" / "output" / "dataset", base / "input" / "data" / "dataset")
    synthetic.run_step(first.pyz, base, "train")
    identity = Trained(base, first.pyz).identity
    dataset = json.loads((job / "processing/output/dataset/manifest.json").read_text())["sha256"]
    assert dataset != first.identity["dataset"]
    assert identity == {**first.identity, "snapshot": written["sha256"], "dataset": dataset}


def test_a_changed_line_of_code_changes_only_the_code_identity(first: Trained, tmp_path: Path) -> None:
    case = synthetic.use_case()
    pyz = synthetic.build(tmp_path, case, synthetic.data(case) + "\n# One more line.\n")
    second = train_again(first, tmp_path, pyz)
    assert second.identity["code"] not in ("", first.identity["code"])
    assert second.identity == {**first.identity, "code": second.identity["code"]}
    assert second.files()["model.joblib"] == first.files()["model.joblib"]


def test_a_changed_hyperparameter_changes_only_the_parameters_identity(first: Trained, tmp_path: Path) -> None:
    second = train_again(first, tmp_path, max_iter="31")
    # The declared ones, the job's, and those of the default model on few rows.
    assert second.document["parameters"] == {
        "max_iter": 31, "max_leaf_nodes": 7, "learning_rate": 0.05, "l2_regularization": 1.0,
    }  # fmt: skip
    assert second.identity["parameters"] != first.identity["parameters"]
    assert second.identity == {**first.identity, "parameters": second.identity["parameters"]}
    assert second.files()["model.joblib"] != first.files()["model.joblib"]


def test_another_runtime_is_another_identity(first: Trained, tmp_path: Path) -> None:
    base = tmp_path / "training"
    shutil.copytree(first.folder / "dataset", base / "input" / "data" / "dataset")
    synthetic.run_step(first.pyz, base, "train", env={"OMP_NUM_THREADS": "2"})
    identity = Trained(base, first.pyz).identity
    assert identity["runtime"] != first.identity["runtime"]
    assert {**identity, "runtime": first.identity["runtime"]} == first.identity


MODEL = """

class Odd:
    def get_params(self):
        return {}

    def set_params(self, **params):
        return self

    def fit(self, matrix, y):
        return self

    def predict_proba(self, matrix):
        p = np.full(len(matrix), 0.5)
        p[::10] = np.nan
        return np.column_stack([1 - p, p])


def model(params):
    return Odd()
"""


def refuse_to_train(first: Trained, folder: Path, source: str) -> str:
    """Return the error of training with this source on the same training set."""
    pyz = synthetic.build(folder, synthetic.use_case(), source)
    base = folder / "training"
    shutil.copytree(first.folder / "dataset", base / "input" / "data" / "dataset")
    done = synthetic.run_step(pyz, base, "train", check=False)
    assert done.returncode == 1
    return done.stderr


def test_missing_scores_are_refused_by_name(first: Trained, tmp_path: Path) -> None:
    said = refuse_to_train(first, tmp_path, synthetic.data(synthetic.use_case()) + MODEL)
    assert "the model's scores are missing or infinite in 58 of 575 rows" in said


def test_a_feature_called_score_is_refused(first: Trained, tmp_path: Path) -> None:
    source = synthetic.data(synthetic.use_case()).replace('"hour": (minutes', '"score": (minutes')
    said = refuse_to_train(first, tmp_path, source)
    assert "feature 'score' has the name of the model's score; rename it in features()" in said


def test_a_window_whose_newest_rows_cannot_be_fitted_gives_way_to_all_history(first: Trained, tmp_path: Path) -> None:
    """Before the source of `size` ended, the newest days predicted better: what was before is the opposite."""
    case = synthetic.use_case(windows=[timedelta(days=8)])
    taken = "taken = {name: columns[name] for name in FEATURES}"
    gone = (
        "    gone = columns['placed_at'] >= np.datetime64('2024-03-20')\n"
        "    taken['size'] = np.where(gone, np.nan, taken['size']).astype(np.float32)"
    )
    source = synthetic.data(case)
    assert taken in source
    pyz = synthetic.build(tmp_path, case, source.replace(taken, f"{taken}\n{gone}"))
    base = tmp_path / "training"
    shutil.copytree(first.folder / "dataset", base / "input" / "data" / "dataset")
    dataset = Dataset.read(base / "input" / "data" / "dataset")
    rows = {name: values.copy() for name, values in dataset.rows.items()}
    old = rows["placed_at"] < np.datetime64("2024-03-01")
    rows["late"][old] = 1 - rows["late"][old]
    c.write(rows, base / "input/data/dataset/rows.parquet")
    done = synthetic.run_step(pyz, base, "train")
    document = Trained(base, pyz).document
    assert "window 8 days: loss of all" in done.stdout
    assert "all history is fitted: feature 'size' is missing in all" in done.stdout
    assert document["window"] is None
    assert document["rows"] == c.count_rows(dataset.rows)


def test_the_baseline_of_the_score_is_that_of_rows_the_model_had_not_seen(first: Trained) -> None:
    """Scores on rows that a model has seen are too sharp: an unchanged world would look as if it had changed."""
    # The holdout is small, so that every row counts, by the fit on the other four fifths of the time.
    rows = Dataset.read(first.folder / "dataset").select_folds(FIT, HOLDOUT)
    case = synthetic.use_case()
    inputs = {name: values for name, values in rows.items() if name not in (case.key, case.target, "fold")}
    scores = np.empty(c.count_rows(rows))
    order, ends = np.argsort(rows["placed_at"], kind="stable"), np.ceil(np.arange(1, 5) * len(scores) / 5).astype(int)
    for part in np.split(order, ends):
        others = np.setdiff1d(np.arange(len(scores)), part)
        chosen = {name: each[others] for name, each in inputs.items()}
        fitted = fit_model(synthetic.functions(case), first.document["parameters"], chosen, rows[case.target][others])
        scores[part] = fitted.predict({name: each[part] for name, each in inputs.items()})
    baseline = json.loads(first.files()["baseline.json"])["score"]
    assert baseline["rows"] == len(scores)
    assert baseline["edges"] == pytest.approx(np.unique(np.quantile(scores, np.linspace(0, 1, 11)[1:-1])).tolist())


def test_the_model_document_describes_the_model(first: Trained) -> None:
    document = first.document
    dataset = Dataset.read(first.folder / "dataset")
    fitted = dataset.select_folds(FIT, HOLDOUT)
    assert document["rows"] == c.count_rows(fitted)
    assert document["trained_until"] == f"{np.max(fitted['placed_at'])}".removesuffix(".000000") + "Z"
    assert document["features"] == {
        "size": "number", "kind": "text", "station_reports_wind": "number", "station_reports_sky": "text",
        "queues_queue": "number", "hour": "number",
    }  # fmt: skip
    assert document["inputs"] == {
        "placed_at": "time", "size": "number", "kind": "text", "station_reports_wind": "number",
        "station_reports_sky": "text", "queues_queue": "number",
    }  # fmt: skip
    assert document["categories"] == {"kind": ["a", "b", "c"], "station_reports_sky": ["clear", "rain"]}
    assert "band" not in document["inputs"]
    baseline = json.loads((first.folder / "model" / "baseline.json").read_text())
    assert set(baseline) == {*document["features"], "score"}


def test_holdout_scores_come_from_a_model_that_has_not_seen_it(first: Trained) -> None:
    held = c.read(first.folder / "model" / "holdout.parquet")
    dataset = Dataset.read(first.folder / "dataset")
    assert held["order_id"].tolist() == dataset.select_folds(HOLDOUT)["order_id"].tolist()
    # Plausible: neither chance nor too good to be true.
    assert 0.6 < roc_auc_score(held["y"], held["p"]) < 0.85


@pytest.mark.parametrize(("name", "value", "text"), [
    ("max_iter", "[1]", "max_iter = '[1]' cannot be read; expected a number, a Boolean or text"),
    ("max_itre", "5", "'max_itre' is not known to the default model; expected one of "),
])  # fmt: skip
def test_an_invalid_hyperparameter_is_refused_by_name(
    first: Trained, tmp_path: Path, name: str, value: str, text: str
) -> None:
    base = tmp_path / "training"
    shutil.copytree(first.folder / "dataset", base / "input" / "data" / "dataset")
    (base / "input" / "config").mkdir()
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps({name: value}))
    done = synthetic.run_step(first.pyz, base, "train", check=False)
    assert done.returncode == 1
    assert text in done.stderr
    assert text in (base / "output" / "failure").read_text()
