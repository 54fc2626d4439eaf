"""The score step: scores joined rows with the model whose folder contains this bundle.

Each model is evaluated and monitored with its own code.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millrace.errors import DataError
from training import columns as c
from training.columns import Array, Columns
from training.job import Job
from training.modeling.model import Model
from training.registry import BUNDLE

#: The columns of scores and fingerprints, and the prefix of the feature columns; no declared column has a colon.
SCORE, FINGERPRINT, FEATURE = "p", "fingerprint:", "feature:"


@dataclass(frozen=True)
class Scored:
    """What a model's own code makes of rows.

    Attributes:
        scores: n scores.
        features: Feature → n values.
        fingerprints: n fingerprints of the feature vectors; NaN where the model's code is too old to make any.
    """

    scores: Array
    features: dict[str, Array]
    fingerprints: Array


def run_score(job: Job, rows: str, out: str) -> None:
    """Read joined rows; write key, score, features and their fingerprint.

    Args:
        job: This job; the model is the one whose folder contains its bundle.
        rows: The path of a Parquet file of joined rows.
        out: The path of the Parquet file to write: the key, `p`, `fingerprint:`, and each feature as
            `feature:<name>`; in the order of the rows.

    Raises:
        DataError: When the rows cannot be read or lack an input, or the features are not those of the model.
    """
    columns = c.read(Path(rows))
    model = Model.load(job.bundle.parent.parent, job.functions)
    if absent := sorted(set(model.document["inputs"]) - set(columns)):
        raise DataError(
            rows, f"has no column {absent}", expected=f"{sorted(model.document['inputs'])}, which the model needs"
        )
    features = model.compute_features(columns)
    shown = {f"{FEATURE}{name}": values for name, values in features.items()}
    made = {SCORE: model.score(features), FINGERPRINT: model.fingerprint(features)}
    c.write({job.use_case.key: columns[job.use_case.key], **made, **shown}, Path(out))


def score_with(folder: Path, rows: Columns, scratch: Path) -> Scored:
    """Score rows with the model in ``folder``, using its own bundle's code.

    Args:
        folder: Where the model's archive is unpacked.
        rows: The columns of n joined rows, with the key.
        scratch: A folder for the files that are exchanged; it is not emptied.

    Returns:
        What its code makes of the rows, in their order.

    Raises:
        DataError: When its code cannot score them.
    """
    given, answer = scratch / "rows.parquet", scratch / "scores.parquet"
    c.write(rows, given)
    command = [sys.executable, str(folder / BUNDLE), "score", "--rows", str(given), "--out", str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError("the model's own code", f"cannot score these rows: {last}")
    found = c.read(answer)
    features = {name.removeprefix(FEATURE): values for name, values in found.items() if name.startswith(FEATURE)}
    fingerprints = found.get(FINGERPRINT)
    return Scored(found[SCORE], features, np.full(len(found[SCORE]), np.nan) if fingerprints is None else fingerprints)
