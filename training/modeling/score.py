"""The score step: scores joined rows with the model whose folder contains this bundle.

Each model is evaluated and monitored with its own code.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from millrace.errors import DataError
from training import columns as c
from training.columns import Array, Columns
from training.job import Job
from training.modeling.model import Model
from training.registry import BUNDLE

#: The column of the scores, and the prefix of the feature columns next to it; no declared column has a colon.
SCORE, FEATURE = "p", "feature:"


def run_score(job: Job, rows: str, out: str) -> None:
    """Read joined rows; write key, score and features.

    Args:
        job: This job; the model is the one whose folder contains its bundle.
        rows: The path of a Parquet file of joined rows.
        out: The path of the Parquet file to write: the key, `p`, and each feature as `feature:<name>`; in the order of
            the rows.

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
    c.write({job.use_case.key: columns[job.use_case.key], SCORE: model.score(features), **shown}, Path(out))


def score_with(folder: Path, rows: Columns, scratch: Path) -> tuple[Array, dict[str, Array]]:
    """Score rows with the model in ``folder``, using its own bundle's code.

    Args:
        folder: Where the model's archive is unpacked.
        rows: The columns of n joined rows, with the key.
        scratch: A folder for the files that are exchanged; it is not emptied.

    Returns:
        n scores, and feature → n values.

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
    return found[SCORE], features
