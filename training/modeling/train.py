"""Step 4, a training job: fit, score the holdout, refit on all rows, write the model.

The holdout's scores are those of the first fit, which has not seen it; they judge the model, and are the baseline of
the scores that it will give: the final fit has seen every row, and scores on rows that a model has seen are too sharp.

Nothing of the run itself goes into the model: no time, no name. The same data, code and parameters give the same
bytes, which is why fitting uses one thread: sums of floats depend on how they are split.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.errors import DataError, DeclarationError, Diagnosis
from training import columns as c
from training.columns import Array, Columns
from training.data.dataset import FIT, FOLD, HOLDOUT, Dataset
from training.drift import compute_baseline
from training.io import format_time, hash_document, print_progress, read_json, write_json
from training.job import Job
from training.metrics import compute_metrics
from training.modeling.champion import number_blocks
from training.modeling.gates import make_references
from training.modeling.leaks import refuse_leaks
from training.modeling.model import BASELINE, Model, fit_model
from training.modeling.model import EARLIER as EARLIER_FILE
from training.modeling.model import HOLDOUT as HOLDOUT_FILE
from training.modeling.windows import Choice, choose_window, cross_fit
from training.quality import describe_quality
from training.registry import BUNDLE
from training.significance import FEWEST_WINDOWS, measure_excess

LIBRARIES = ("numpy", "scikit-learn")
#: The name of the scores next to the features in baselines and drift metrics.
SCORE = "score"
#: With fewer rows that judge, rows before them count, too, with the scores of a fit before those: groups and rare
#: outcomes need them, and after a champion only the rows that are new to it are held out.
ENOUGH = 2000


def run_train(job: Job) -> None:
    """Write the model folder.

    Args:
        job: This job.

    Raises:
        DataError: When the model cannot be fitted, or scores differently once it is saved.
        DeclarationError: When a hyperparameter cannot be read, or the default model does not have it.
    """
    case = job.use_case
    dataset = Dataset.read(job.base / "input" / "data" / "dataset")
    given = merge_parameters(case.parameters, job)
    parameters = job.functions.complete_parameters(given, c.count_rows(dataset.rows))
    fits = _fit(job, parameters, dataset)
    holdout, final, everything = dataset.select_folds(HOLDOUT), fits.final, fits.everything
    rows, y = _split(job, holdout)
    p = fits.first.predict(rows)
    _refuse_infinite(p)
    for name, value in compute_metrics(case.problem, y, p).items():
        print_progress(f"holdout_{name}={value:.6f};")
    rows, outcome = _split(job, everything)
    folder = job.base / "model"
    window = fits.choice.window
    references = make_references(case.problem, fits.train[case.target])
    judged = _collect_judged(job, dataset, fits, _scored(job, holdout, y, p))
    unseen = _find_unseen(job, parameters, everything, judged)
    days = number_blocks(unseen[case.event_time], np.timedelta64(case.champion.block, "us"))
    final.document |= _description(job, dataset, everything, parameters) | {
        "window": None if window is None else window.total_seconds(),
        "windows": fits.choice.losses,
        "references": references,
        "quality": describe_quality(case.problem, unseen["y"], unseen["p"], days, references, len(outcome)).dump(),
        "labels": dataset.manifest.get("labels", {}),
    }
    final.save(folder)
    features = final.compute_features(rows)
    if SCORE in features:
        raise DataError(f"feature {SCORE!r}", "has the name of the model's score", fix="rename it in features()")
    refuse_leaks(case, {name: rows[name] for name in final.document["inputs"]}, features, outcome)
    scores = final.score(features)
    _refuse_infinite(scores)
    if not np.array_equal(Model.load(folder, job.functions).score(features), scores):
        raise DataError(
            "the saved model's predictions",
            "differ from the fitted model's on the training rows",
            fix="do not serve it",
        )
    columns, times = {**features, SCORE: unseen["p"]}, {SCORE: unseen[case.event_time]}
    write_json(folder / BASELINE, _make_baseline(case, columns, everything[case.event_time], times))
    (folder / BUNDLE).parent.mkdir(exist_ok=True)
    shutil.copyfile(job.bundle, folder / BUNDLE)
    count, until = len(final.document["features"]), final.document["trained_until"]
    print_progress(f"model of {len(outcome)} rows, {count} features, until {until}")


def _is_small(dataset: Dataset) -> bool:
    """Return True if the holdout is only what is new to a champion, and too little to judge groups by."""
    return dataset.is_unseen and c.count_rows(dataset.select_folds(HOLDOUT)) < ENOUGH


def _find_unseen(job: Job, parameters: Mapping[str, Any], everything: Columns, judged: Columns) -> Columns:
    """Return the rows that show what scores are like in production, each scored by a fit that had not seen it.

    Those are the rows that judge; where they are few, all rows.
    """
    if c.count_rows(judged) >= ENOUGH:
        return judged
    return cross_fit(job.functions, parameters, everything) or judged


def _collect_judged(job: Job, dataset: Dataset, fits: Fits, holdout: Columns) -> Columns:
    """Write the rows with scores of fits that had not seen them, and return those by which the model is judged.

    Args:
        job: This job.
        dataset: The training set.
        fits: The fits; where the holdout is small, the rows that the earlier one scored count, too.
        holdout: The holdout with its outcomes `y` and scores `p`.
    """
    folder = job.base / "model"
    folder.mkdir(parents=True, exist_ok=True)
    c.write(holdout, folder / HOLDOUT_FILE)
    scored = fits.choice.scored
    if scored is None or not _is_small(dataset):
        return holdout
    earlier = _scored(job, scored, scored[job.use_case.target], scored["p"])
    c.write(earlier, folder / EARLIER_FILE)
    return {name: np.concatenate([earlier[name], holdout[name]]) for name in holdout}


@dataclass(frozen=True)
class Fits:
    """The judged fit and the final one, with the rows of both and the window that was chosen."""

    first: Model
    train: Columns
    final: Model
    everything: Columns
    choice: Choice


def _fit(job: Job, parameters: Mapping[str, Any], dataset: Dataset) -> Fits:
    """Return both fits on the chosen window; on all history where the newest rows of the window cannot be fitted."""
    train = dataset.select_folds(FIT)
    rows = {name: train[name] for name in train if name != FOLD}
    choice = choose_window(job.functions, parameters, rows, needs_scores=_is_small(dataset))
    try:
        return _fit_window(job, parameters, dataset, train, choice)
    except DataError as error:
        if choice.window is None:
            raise
        print_progress(f"all history is fitted: {error}")
        return _fit_window(job, parameters, dataset, train, Choice(None, choice.losses))


def _fit_window(job: Job, parameters: Mapping[str, Any], dataset: Dataset, train: Columns, choice: Choice) -> Fits:
    time = job.use_case.event_time
    train = c.select_rows(train, choice.select(train[time]))
    everything = c.select_rows(dataset.rows, choice.select(dataset.rows[time]))
    first, final = (fit_model(job.functions, parameters, *_split(job, rows)) for rows in (train, everything))
    return Fits(first, train, final, everything, choice)


def _refuse_infinite(scores: Array) -> None:
    """Refuse scores that are missing or infinite: no metric and no comparison means anything with them.

    Raises:
        DataError: When one is.
    """
    if wrong := int(np.sum(~np.isfinite(scores))):
        raise DataError(
            "the model's scores",
            f"are missing or infinite in {wrong} of {len(scores)} rows",
            expected="a finite number for each row",
            fix="correct model(), or its inputs in features()",
        )


def merge_parameters(declared: dict[str, Any], job: Job) -> dict[str, Any]:
    """Return the declared parameters, overridden by the job's hyperparameters, which are JSON in strings."""
    path = job.base / "input" / "config" / "hyperparameters.json"
    given: dict[str, Any] = {}
    for name, text in (read_json(path) if path.is_file() else {}).items():
        try:
            given[name] = json.loads(text)
        except ValueError:
            given[name] = text
        if not isinstance(given[name], (bool, int, float, str)):
            raise DeclarationError(
                "hyperparameters",
                [Diagnosis(f"{name} = {text!r}", "cannot be read", expected="a number, a Boolean or text")],
            )
    return {**declared, **given}


def _make_baseline(case: UseCase, columns: Columns, times: Array, own: Mapping[str, Array]) -> dict[str, Any]:
    """Return the baseline of features and score, with how much windows of the training period differ by themselves.

    Args:
        case: The declaration: the length of the monitor's window.
        columns: The features and the score.
        times: The event times of the rows of the features.
        own: Column → event times, for columns of other rows.
    """
    window = np.timedelta64(case.monitoring.window, "us")
    found = {
        name: bins | measure_excess(bins, columns[name], own.get(name, times), window)
        for name, bins in compute_baseline(columns).items()
    }
    if found[SCORE]["windows"] < FEWEST_WINDOWS:
        # The rows that judge are of too short a time; the score moves as its features do.
        judged = [found[name] for name in found if name != SCORE and name not in case.monitoring.informational]
        if judged:
            found[SCORE]["excess"] = float(np.median([bins["excess"] for bins in judged]))
            found[SCORE]["windows"] = min(bins["windows"] for bins in judged)
    return found


def describe_runtime() -> dict[str, Any]:
    """Return all of this process that a fit's bytes may depend on, besides data, code and parameters.

    Returns:
        `python`, `machine`, `threads`, and `packages` with their versions.
    """
    packages = {found.metadata["Name"].lower().replace("_", "-"): found.version for found in metadata.distributions()}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "packages": dict(sorted(packages.items())),
    }


def _split(job: Job, rows: Columns) -> tuple[dict[str, Array], Array]:
    """Return the rows as an endpoint would get them, and their outcomes."""
    case = job.use_case
    inputs = {name: values for name, values in rows.items() if name not in (case.key, case.target, FOLD)}
    return inputs, rows[case.target]


def _scored(job: Job, rows: Columns, y: Array, p: Array) -> dict[str, Array]:
    """Return the holdout: key, event time, outcome and score, and the columns that slices group by."""
    case = job.use_case
    groups = {slice_.column: rows[slice_.column] for slice_ in case.slices if slice_.column in rows}
    return {**groups, case.key: rows[case.key], case.event_time: rows[case.event_time], "y": y, "p": p}


def _description(job: Job, dataset: Dataset, rows: Columns, parameters: dict[str, Any]) -> dict[str, Any]:
    case = job.use_case
    times = rows[case.event_time]
    fitted, judged = (dataset.select_folds(fold)[case.event_time] for fold in (FIT, HOLDOUT))
    return {
        "version": 1,
        "use_case": case.name,
        "problem": case.problem.value,
        "target": case.target,
        "threshold": case.threshold,
        "rows": len(times),
        "trained_from": format_time(np.min(times)),
        "trained_until": format_time(np.max(times)),
        # What was measured was measured on a fit of the rows before the first of these.
        "judged": {
            "fitted_until": format_time(np.max(fitted)),
            "from": format_time(np.min(judged)),
            "rows": len(judged),
        },
        "columns": {
            name: c.find_kind(values) for name, values in rows.items() if name not in (case.key, case.target, FOLD)
        },
        # Texts that mean a missing value in a request, for columns where not only an empty text does.
        "missing": {name: list(texts) for name, texts in sorted(case.missing.items())},
        "parameters": parameters,
        "identity": {
            "snapshot": dataset.manifest["snapshot"],
            "dataset": dataset.manifest["sha256"],
            "code": job.code_sha256,
            "parameters": hash_document({"parameters": parameters, "seed": case.seed}),
            "runtime": hash_document(describe_runtime()),
        },
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }
