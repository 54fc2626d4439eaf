"""The model as it is stored and used: the same path from joined rows to a score in training, audits and the endpoint.

Its folder holds `model.joblib` (the estimator), `model.json` (what it needs, how texts are coded, where it comes from),
`baseline.json` (for drift), `holdout.parquet` (scores of rows it had not seen) and `code/bundle.pyz` (the code itself).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.errors import DataError
from millrace.metrics import Problem
from training.columns import Array, Columns, find_kind, is_missing
from training.functions import Functions
from training.io import read_json, write_json
from training.modeling.fingerprint import compute_fingerprints, measure_scales
from training.registry import DOCUMENT

MODEL, BASELINE, HOLDOUT = "model.joblib", "baseline.json", "holdout.parquet"
#: Scores of rows before a small holdout, by a fit of the same recipe that had not seen them.
EARLIER = "earlier.parquet"
#: The code of a category that training did not see.
UNSEEN = -1.0


class ReadTracker(Mapping[str, Array]):
    """Columns that record which of them were read."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        values = self._columns[name]
        self.names.add(name)
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass
class Model:
    """A fitted estimator with the description of its inputs.

    ``document`` is `model.json`: `inputs` and `features` map names to kinds, `categories` lists the known texts of
    each text feature in the order of their codes.
    """

    functions: Functions
    document: dict[str, Any]
    estimator: Any
    _codes: dict[str, dict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._codes = {
            name: {text: code for code, text in enumerate(texts)} for name, texts in self.document["categories"].items()
        }

    @classmethod
    def load(cls, folder: Path, functions: Functions) -> Model:
        """Load the model from a folder.

        Args:
            folder: The model's folder, as unpacked from its archive.
            functions: The functions of the use case that it was trained for.

        Returns:
            The model.

        Raises:
            DataError: When `model.json` does not exist or is not JSON.
        """
        import joblib

        document = read_json(folder / DOCUMENT)
        return cls(functions, document, joblib.load(folder / MODEL))

    def save(self, folder: Path) -> None:
        """Write estimator and document; equal models give equal bytes.

        Args:
            folder: Where they are written; it is created if it does not exist.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL).write_bytes(make_stable_pickle(self.estimator))
        write_json(folder / DOCUMENT, self.document)

    def compute_features(self, rows: Columns) -> dict[str, Array]:
        """Return the features of joined rows.

        Args:
            rows: The columns of n joined rows.

        Raises:
            DataError: When they are not those that the model was fitted on.
        """
        found = self.functions.features({name: rows[name] for name in self.document["inputs"]})
        if (kinds := {name: find_kind(values) for name, values in found.items()}) != self.document["features"]:
            raise DataError(
                "features()",
                f"returned {kinds}",
                expected=f"{self.document['features']}, on which the model was fitted",
                fix="train again",
            )
        return found

    def score(self, features: Columns) -> Array:
        """Return the probability of the outcome 1, or the predicted value: float64, one per row.

        Args:
            features: The features of n rows, as :meth:`compute_features` returns them.
        """
        matrix = self._encode(features)
        if self.functions.use_case.problem is Problem.BINARY:
            return np.asarray(self.estimator.predict_proba(matrix)[:, 1], dtype=np.float64)
        return np.asarray(self.estimator.predict(matrix), dtype=np.float64)

    def fingerprint(self, features: Columns) -> Array:
        """Return the fingerprint of each feature vector: float64, one per row.

        Args:
            features: The features of n rows, as :meth:`compute_features` returns them.
        """
        return compute_fingerprints(features, self.document.get("scales", {}))

    def _encode(self, features: Columns) -> Array:
        return encode_features(features, self.document["features"], self._codes)

    def predict(self, rows: Columns) -> Array:
        """Return the scores of joined rows.

        Args:
            rows: The columns of n joined rows; those that are not inputs are ignored.

        Returns:
            n scores, as :meth:`score` returns them.

        Raises:
            DataError: When the features are not those that the model was fitted on.
        """
        return self.score(self.compute_features(rows))


def encode_features(features: Columns, kinds: Mapping[str, str], codes: Mapping[str, Mapping[str, int]]) -> Array:
    """Return one float32 matrix, one column per feature: texts as codes, unseen ones as -1, missing ones as NaN."""
    matrix = np.empty((len(next(iter(features.values()))), len(kinds)), dtype=np.float32)
    for column, name in enumerate(kinds):
        if name in codes:
            found = map(codes[name].get, features[name].tolist(), repeat(UNSEEN))
            matrix[:, column] = np.fromiter(found, np.float32, len(matrix))
            matrix[is_missing(features[name]), column] = np.nan
        else:
            matrix[:, column] = features[name]
    return matrix


def collect_categories(features: Columns) -> dict[str, list[str]]:
    """Return the texts of each text feature, sorted; their positions are their codes."""
    return {
        name: sorted(set(values[~is_missing(values)].tolist()))
        for name, values in features.items()
        if find_kind(values) == "text"
    }


def fit_model(functions: Functions, parameters: Mapping[str, Any], rows: Columns, y: Array) -> Model:
    """Fit the use case's estimator on joined rows.

    Args:
        functions: The use case's `features()` and `model()`.
        parameters: What `model()` is called with.
        rows: Joined rows without key and target.
        y: The outcome of each row.

    Returns:
        The fitted model; its document holds `inputs`, `features`, `categories` and `scales` only.

    Raises:
        DataError: When there are no features, or no estimator can learn from features and outcomes.
    """
    used = ReadTracker(rows)
    features = functions.features(used)
    if not features:
        raise DataError("features()", "returned no columns", expected="at least one")
    _refuse_unlearnable(functions.use_case, features, y)
    document: dict[str, Any] = {
        "inputs": {name: find_kind(rows[name]) for name in rows if name in used.names},
        # Sorted, as in the document that is read back: the matrix has its columns in this order.
        "features": {name: find_kind(features[name]) for name in sorted(features)},
        "categories": collect_categories(features),
        "scales": measure_scales(features),
    }
    estimator = functions.model(parameters)
    unset = {name: value for name, value in estimator.get_params().items() if name.split("__")[-1] == "random_state"}
    estimator.set_params(**{name: functions.use_case.seed for name, value in unset.items() if value is None})
    model = Model(functions, document, estimator)
    binary = functions.use_case.problem is Problem.BINARY
    estimator.fit(encode_features(features, document["features"], model._codes), y.astype(np.int8) if binary else y)
    return model


def _refuse_unlearnable(use_case: UseCase, features: Columns, y: Array) -> None:
    """Refuse, by name, features and outcomes that no estimator can learn from.

    Raises:
        DataError: When a feature is missing in all rows or infinite in one, or a binary outcome has one value only.
    """
    for name, values in sorted(features.items()):
        if is_missing(values).all():
            raise DataError(
                f"feature {name!r}",
                f"is missing in all {len(values)} rows to fit",
                fix=(f"leave it out of features(), or widen history (now {use_case.history}) to where it is known"),
            )
        if values.dtype.kind == "f" and (wrong := np.isinf(values)).any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"feature {name!r}",
                f"is infinite in {int(wrong.sum())} of {len(values)} rows to fit, first in row {row}",
                expected="numbers of at most 3.4e38, or a missing value",
            )
    if use_case.problem is Problem.BINARY and len(np.unique(y)) < 2:
        raise DataError(
            f"all {len(y)} rows to fit",
            f"have {use_case.target} = {y[0]:g}",
            fix=(
                f"a model needs both outcomes to learn from: widen history (now {use_case.history}), or wait for labels"
            ),
        )


def make_stable_pickle(estimator: Any) -> bytes:
    """Return a joblib pickle that depends on values alone.

    A pickle also records which strings and arrays an object shares, and that depends on how the object was made; after
    a round trip through a pickle it is always the same.
    """
    import joblib

    first = io.BytesIO()
    joblib.dump(estimator, first)
    first.seek(0)
    second = io.BytesIO()
    joblib.dump(joblib.load(first), second)
    return second.getvalue()
