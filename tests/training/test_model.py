"""The model: one path from joined rows to a score, stored byte for byte, for both problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from millrace import MillraceError
from tests.training import synthetic
from training import columns as c
from training.columns import Columns
from training.data.dataset import join_labelled_events
from training.data.ingest import collect_snapshot
from training.functions import Functions
from training.modeling.model import Model, encode_features, fit_model, make_stable_pickle

AS_OF = np.datetime64("2024-03-01T00:00", "us")
PARAMETERS = {"max_iter": 10, "max_leaf_nodes": 5}


def make_rows(functions: Functions) -> tuple[dict[str, Any], Any]:
    case = functions.use_case
    rows = join_labelled_events(case, collect_snapshot(functions, AS_OF))
    return {name: values for name, values in rows.items() if name not in (case.key, case.target)}, rows[case.target]


@pytest.fixture(scope="module", params=["binary", "regression"])
def functions(request: pytest.FixtureRequest) -> Functions:
    return synthetic.functions(synthetic.use_case(request.param))


def test_scores_match_the_estimator(functions: Functions) -> None:
    rows, y = make_rows(functions)
    model = fit_model(functions, PARAMETERS, rows, y)
    # The hand-made matrix: categories by alphabetical rank, the hour of the day.
    hour = np.array([moment.hour for moment in rows["placed_at"].tolist()])
    codes = {"a": 0, "b": 1, "c": 2, "clear": 0, "rain": 1, None: np.nan}
    matrix = np.column_stack([
        rows["size"], [codes[text] for text in rows["kind"]], rows["station_reports_wind"],
        [codes[text] for text in rows["station_reports_sky"]], rows["queues_queue"], hour,
    ]).astype(np.float32)  # fmt: skip
    binary = functions.use_case.target == "late"
    kind = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    oracle = kind(**PARAMETERS, early_stopping=False, random_state=0).fit(matrix, y.astype(int) if binary else y)
    expected = oracle.predict_proba(matrix)[:, 1] if binary else oracle.predict(matrix)
    np.testing.assert_array_equal(model.predict(rows), expected)


def test_a_loaded_model_scores_the_same_and_is_saved_to_the_same_bytes(functions: Functions, tmp_path: Path) -> None:
    rows, y = make_rows(functions)
    model = fit_model(functions, PARAMETERS, rows, y)
    model.save(tmp_path / "one")
    again = Model.load(tmp_path / "one", functions)
    np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
    again.save(tmp_path / "two")
    for name in ("model.joblib", "model.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert make_stable_pickle(fit_model(functions, PARAMETERS, rows, y).estimator) == make_stable_pickle(
        model.estimator
    )


def test_a_single_row_is_scored_as_in_a_batch(functions: Functions) -> None:
    rows, y = make_rows(functions)
    model = fit_model(functions, PARAMETERS, rows, y)
    whole = model.predict(rows)
    for row in range(0, len(y), 199):
        one = {name: rows[name][row : row + 1] for name in model.document["inputs"]}
        assert model.predict(one).tolist() == [whole[row]]


def test_unseen_texts_are_encoded_differently_from_missing_ones() -> None:
    features: Columns = {"kind": np.array(["b", "new", None], dtype=object), "n": np.array([1, 2, np.nan], np.float32)}
    matrix = encode_features(features, {"kind": "text", "n": "number"}, {"kind": {"a": 0, "b": 1}})
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, np.array([[1, 1], [-1, 2], [np.nan, np.nan]], np.float32))


def test_only_columns_that_features_reads_are_inputs(functions: Functions) -> None:
    rows, y = make_rows(functions)
    model = fit_model(functions, PARAMETERS, rows, y)
    needed = set(model.document["inputs"])
    assert needed == {"placed_at", "size", "kind", "station_reports_wind", "station_reports_sky", "queues_queue"}
    less = {name: rows[name] for name in needed}
    np.testing.assert_array_equal(model.predict(less), model.predict(rows))


def test_features_of_another_kind_are_refused(functions: Functions) -> None:
    rows, y = make_rows(functions)
    model = fit_model(functions, PARAMETERS, rows, y)
    with pytest.raises(MillraceError, match=r"on which the model was fitted: train again"):
        model.compute_features(dict(rows) | {"size": rows["kind"]})


def test_a_custom_model_gets_the_parameters_and_the_seed() -> None:
    case = synthetic.use_case(seed=5)
    functions = synthetic.functions(case)
    vars(functions._modules[0])["model"] = lambda params: DummyClassifier(strategy="stratified", **params)
    rows, y = make_rows(functions)
    model = fit_model(functions, {"constant": None}, rows, y)
    assert model.estimator.get_params() == {"strategy": "stratified", "random_state": 5, "constant": None}
    assert c.count_rows(rows) == len(model.predict(rows))
