"""A made use case of 20 numbers and 5 texts: its model, trained by the steps of a pipeline, and a captured window."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.simulated import Array
from millrace import Monitoring, Slice, UseCase
from training import bundle
from training import columns as c
from training.columns import Columns
from training.functions import Functions
from training.io import format_time
from training.modeling.model import Model
from training.registry import Package

REPOSITORY = Path(__file__).resolve().parents[1]
NUMBERS = [f"number_{place:02}" for place in range(20)]
#: Text columns and how many levels they have.
TEXTS = {"text_2": 2, "text_10": 10, "text_50": 50, "text_300": 300, "text_1000": 1000}
CASE = UseCase(
    name="made", target="y", key="key", event_time="at", history=timedelta(days=180), windows=(),
    slices=(Slice("text_10", min_rows=30), Slice("number_00", min_rows=30)), parameters={"max_iter": 50},
    monitoring=Monitoring(window=timedelta(days=28)),
)  # fmt: skip
#: The window of the monitor, and the version of the model that served in it.
SINCE, NOW, VERSION = np.datetime64("2026-10-05T00:00", "us"), np.datetime64("2026-11-02T00:00", "us"), 7
_DATA = """
from pathlib import Path

import pyarrow.parquet as pq

FOLDER = Path({folder!r})


def events(since, until):
    return {{name: values for name, values in _read(since, until).items() if name not in ("y", "known_at")}}


def labels(since, until):
    return {{name: values for name, values in _read(since, until).items() if name in ("key", "y", "known_at")}}


def _read(since, until):
    for path in sorted(FOLDER.glob("*.parquet")):
        rows = {{name: column.to_numpy() for name, column in zip(*_columns(path))}}
        chosen = (rows["at"] >= since) & (rows["at"] < until)
        if chosen.any():
            return {{name: values[chosen] for name, values in rows.items()}}
    return rows


def _columns(path):
    table = pq.read_table(path)
    return table.column_names, table.columns
"""


def draw_rows(rows: int, since: np.datetime64, until: np.datetime64, shift: float) -> dict[str, Array]:
    """Return rows of all columns, some values missing, in the order of time.

    Args:
        rows: How many.
        since: The time of the first row.
        until: The end of the time of the rows.
        shift: By how much two columns are higher than in training.
    """
    rng = np.random.default_rng(rows)
    found: dict[str, Array] = {}
    for place, name in enumerate(NUMBERS):
        kinds = [rng.standard_normal(rows), rng.poisson(3, rows), rng.lognormal(0, 1, rows), rng.standard_t(3, rows)]
        values = np.round(kinds[place % 4] + (shift if place < 2 else 0.0), 4)
        if place % 4 == 2:
            values[rng.random(rows) < 0.7] = 0.0
        values[rng.random(rows) < (0.0, 0.01, 0.2)[place % 3]] = np.nan
        found[name] = values.astype(np.float32)
    for name, levels in TEXTS.items():
        weights = 1 / np.arange(1, levels + 1)
        texts = np.array([f"{name} {level:04}" for level in range(levels)], dtype=object)
        found[name] = texts[rng.choice(levels, rows, p=weights / weights.sum())]
        found[name][rng.random(rows) < 0.02] = None
    known = np.nan_to_num(found["number_00"]) - 0.2 * np.nan_to_num(found["number_01"]) - 0.5
    found["y"] = (rng.random(rows) < 1 / (1 + np.exp(-known))).astype(np.float64)
    found["at"] = since + (np.arange(rows) * ((until - since) / rows).astype(np.int64)).astype("m8[us]")
    found["known_at"] = found["at"] + np.timedelta64(1, "h")
    found["key"] = np.array([f"{since.astype('M8[D]')}-{row:07}" for row in range(rows)], dtype=object)
    return found


def train(folder: Path, trained: int) -> None:
    """Write the rows of training into a folder, and train the model as the pipeline does.

    Args:
        folder: An empty folder; the model will be in `training/model`.
        trained: Rows of history.
    """
    begin = SINCE - np.timedelta64(CASE.history, "us")
    c.write(draw_rows(trained, begin, SINCE, 0.0), folder / "rows" / "training.parquet")
    package = folder / "repository" / "stacks" / CASE.package
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "data.py").write_text(_DATA.format(folder=str(folder / "rows")))
    for name in ("training", "millrace", "queries"):
        (folder / "repository" / name).symlink_to(REPOSITORY / name)
    pyz = bundle.build_bundle(CASE, folder / "repository", folder)
    base, into = folder / "job", folder / "job" / "processing" / "input"
    out = folder / "job" / "processing" / "output"
    _run(pyz, base, "ingest", "--as-of", format_time(SINCE))
    shutil.copytree(out / "snapshot", into / "snapshot")
    _run(pyz, base, "validate")
    shutil.rmtree(into / "snapshot")
    shutil.copytree(out / "accepted", into / "snapshot")
    _run(pyz, base, "dataset", "--champion", "none")
    shutil.copytree(out / "dataset", folder / "training" / "input" / "data" / "dataset")
    _run(pyz, folder / "training", "train")


def _run(pyz: Path, base: Path, *arguments: str) -> None:
    """Run a step of the bundle with its `/opt/ml` in ``base``; it cannot reach AWS."""
    base.mkdir(parents=True, exist_ok=True)
    own = {
        "SAGEMAKER_BASE_DIR": str(base), "MILLRACE_ENVIRONMENT": "local", "MILLRACE_ACCOUNT": "123456789012",
        "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }  # fmt: skip
    subprocess.run([sys.executable, str(pyz), *arguments], env={**os.environ, **own}, check=True, stdout=sys.stderr)


def load_package(folder: Path) -> Package:
    """Return the model that :func:`train` made, as registered."""
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/made/{VERSION}"
    return Package(arn, VERSION, "s3://made/model.tar.gz", folder / "training" / "model")


def load_functions(folder: Path) -> Functions:
    """Return the functions of the use case."""
    spec = importlib.util.spec_from_file_location("made", folder / "repository" / "stacks" / CASE.package / "data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Functions(CASE, [module])


def score(folder: Path, rows: Columns) -> Array:
    """Return the scores that the model in a folder answers."""
    return Model.load(load_package(folder).folder, load_functions(folder)).predict(rows)
