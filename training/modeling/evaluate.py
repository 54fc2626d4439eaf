"""Step 5: measure the model on rows it has not seen, audit its groups, compare it with the champion, decide.

The scores of the holdout are those of the first fit, which has not seen it; where it is small, rows before it count,
too, with the scores of a fit before them. The comparison uses rows that neither model was fitted on: the holdout if the
champion has seen none of it, or else rows that both held out. Without such rows a person decides.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from millrace import DeclarationError, UseCase
from millrace.documents import (
    Approval,
    CalibrationBin,
    Comparison,
    Evaluation,
    Gate,
    MeasuredGate,
    Rates,
    Slice,
    Verdict,
)
from millrace.environment import ApprovalMode
from millrace.errors import DataError, Diagnosis
from millrace.inventory import JobVariable
from millrace.metrics import Problem
from queries.packages import APPROVED, PENDING, REJECTED, list_packages
from training import columns as c
from training.bias import audit_groups
from training.columns import Array, Columns
from training.data.dataset import FEWEST, FOLD, Dataset
from training.data.dataset import HOLDOUT as HELD_OUT
from training.io import print_progress, write_json
from training.job import Job
from training.metrics import compute_calibration_bins, compute_metrics, compute_rates, round_floats
from training.modeling import gates
from training.modeling.champion import compare_predictions, number_blocks
from training.modeling.model import EARLIER, HOLDOUT, Model
from training.modeling.score import score_with
from training.notify import tell_people
from training.registry import Package, fetch_champion, unpack_archive
from training.slices import find_edges, name_groups

#: One-row predictions that are timed.
TIMED = 100

#: The parts of an identity that determine the final fit, with the window; folds determine what was measured.
_RECIPE = ("snapshot", "code", "parameters", "runtime")

#: Characters that the registry does not accept in a property's value.
_UNTAKEN = re.compile(r"[^\w .:/=+\-@]")


def run_evaluate(job: Job, wanted_champion: str) -> None:
    """Write `evaluation.json`.

    Args:
        job: This job.
        wanted_champion: The ARN of the champion's package; ``approved`` or empty to look it up; ``none`` for no
            champion.

    Raises:
        DataError: When another bundle trained the model, or the model, the dataset or the champion cannot be read.
    """
    case = job.use_case
    archive = job.get_input_folder("model") / "model.tar.gz"
    dataset = Dataset.read(job.get_input_folder("dataset"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = unpack_archive(archive, Path(scratch) / "challenger")
        model = Model.load(folder, job.functions)
        if model.document["identity"]["code"] != job.code_sha256:
            raise DataError(
                "the model", "was trained by a different bundle than the one that evaluates it", fix="train again"
            )
        holdout = _read_judged(folder)
        y, p = holdout["y"], holdout["p"]
        metrics = compute_metrics(case.problem, y, p)
        slices = audit_slices(case, holdout)
        measured = gates.measure_gates(case, y, p, holdout[case.event_time])
        failed = gates.find_failures(case, measured, slices, y, p, model.document["references"])
        package = fetch_champion(job, wanted_champion, Path(scratch) / "champion")
        look = count_looks(job, package) if package else 1
        comparison = compare_with_champion(case, model, folder, dataset, package, look, Path(scratch))
        latency = measure_latency(model, dataset.rows)
    identity = {**model.document["identity"], "model": hashlib.sha256(archive.read_bytes()).hexdigest()}
    status, reason = decide_approval(failed, package, comparison, _promotion(job))
    evaluation = Evaluation(
        version=1,
        gate=Gate(passed=0 if failed else 1, failed="; ".join(failed), measured=measured),
        approval=Approval(status=status, description=reason[:1024]),
        metrics={"rows": len(y), **metrics, **latency},
        champion=comparison.model_copy(update={"package": package.arn if package else ""}),
        slices=slices,
        calibration=[CalibrationBin.model_validate(each) for each in compute_calibration_bins(y, p)],
        identity=identity,
        metadata=_metadata(case, metrics, measured, identity, dataset.manifest["as_of"], package, comparison, reason),
    )
    write_json(job.make_output_folder("evaluation") / "evaluation.json", round_floats(evaluation.dump()))
    for name, value in metrics.items():
        print_progress(f"{name}={value:.6f};")
    print_progress(f"gate {'failed: ' + '; '.join(failed) if failed else 'passed'}")
    print_progress(f"{status}: {reason}")
    _tell_people(job, bool(failed), status, reason, comparison)


def _read_judged(folder: Path) -> Columns:
    """Return the rows on which a model is judged by itself, with their scores: none of its fit had seen them."""
    holdout = c.read(folder / HOLDOUT)
    if not (folder / EARLIER).is_file():
        return holdout
    earlier = c.read(folder / EARLIER)
    print_progress(f"{len(holdout['y'])} rows of the holdout are judged with {len(earlier['y'])} of an earlier one")
    return {name: np.concatenate([earlier[name], holdout[name]]) for name in holdout}


def _tell_people(job: Job, has_failed: bool, status: str, reason: str, comparison: Comparison) -> None:
    """Tell the people of the use case when a model is refused by a gate, or waits for their approval.

    That a challenger is beaten, or cannot be told from the champion yet, needs nobody. One that cannot be compared
    does.
    """
    name, environment = job.use_case.name, job.names.environment
    group = job.names.model_package_group
    if has_failed:
        text = f"a new model of {group} fails its gates and is registered as {REJECTED}: {reason}"
        tell_people(job, f"{group}: a model was refused", f"{text}\nSee `millrace status {name} --env {environment}`.")
    elif status == PENDING and comparison.verdict is not Verdict.UNDECIDED:
        text = f"a new model of {group} waits for approval: {reason}"
        tell_people(
            job,
            f"{group}: a model waits for approval",
            f"{text}\nDecide: `millrace approve {name} --env {environment}`.",
        )


def audit_slices(case: UseCase, holdout: Columns) -> dict[str, Slice]:
    """Return the rates of the groups of each slice, and the differences between groups."""
    y, p = holdout["y"], holdout["p"]
    days = number_blocks(holdout[case.event_time], np.timedelta64(case.champion.block, "us"))
    found: dict[str, Slice] = {}
    for part in case.slices:
        groups = name_groups(holdout[part.column], find_edges(holdout[part.column]))
        rates = {str(name): _measure_group(case, y[groups == name], p[groups == name]) for name in np.unique(groups)}
        gaps = audit_groups(
            case.problem, y, p, groups, days, threshold=case.threshold, min_rows=part.min_rows, bounds=part.bounds
        )
        found[part.column] = Slice(groups=rates, gaps=gaps)
        for rate, gap in gaps.items():
            if gap.bound is not None and gap.unclear:
                print_progress(f"cannot tell about the {rate} of {part.column}={', '.join(gap.unclear)}: too few rows")
    return found


def _measure_group(case: UseCase, y: Array, p: Array) -> Rates:
    if case.problem is Problem.BINARY:
        return Rates.model_validate(compute_rates(y, p, case.threshold))
    return Rates(rows=len(y), mae=float(np.mean(np.abs(p - y))), bias=float(np.mean(p - y)))


def compare_with_champion(
    case: UseCase, model: Model, folder: Path, dataset: Dataset, package: Package | None, look: int, scratch: Path
) -> Comparison:
    """Compare champion and challenger on rows that neither was fitted on.

    Args:
        case: The declaration.
        model: The challenger.
        folder: Where the challenger's archive is unpacked.
        dataset: The training set.
        package: The champion; None without one.
        look: Which challenger of this champion it is, from 1.
        scratch: A folder for temporary files.
    """
    if package is None:
        return Comparison(text="no champion exists")
    version = f"champion version {package.version}"
    documents = (package.document, model.document)
    recipes = [
        [document.get("window"), *(document["identity"].get(name) for name in _RECIPE)] for document in documents
    ]
    if recipes[0] == recipes[1]:
        text = f"{version} is the same model: same data, code, parameters and libraries"
        return Comparison(text=text, verdict=Verdict.BEATEN)
    ours = c.read(folder / HOLDOUT)
    y, mine, times = ours["y"], ours["p"], ours[case.event_time]
    if dataset.is_unseen:
        held_out = dataset.select_folds(HELD_OUT)
        rows = {name: values for name, values in held_out.items() if name not in (case.target, FOLD)}
        try:
            theirs = score_with(package.folder, rows, scratch).scores
        except DataError as error:
            return Comparison(text=f"{version} could not be evaluated: {error}", verdict=Verdict.INCOMPARABLE)
        which = f"the {len(y)} newest rows"
    else:
        other = c.read(package.folder / HOLDOUT)
        _, left, right = np.intersect1d(ours[case.key].astype(str), other[case.key].astype(str), return_indices=True)
        if len(left) < FEWEST:
            text = f"{version} was fitted on all rows: the two cannot be compared"
            return Comparison(text=text, verdict=Verdict.INCOMPARABLE)
        y, mine, times, theirs = y[left], mine[left], times[left], other["p"][right]
        which = f"{len(y)} rows that both held out"
    return compare_predictions(case, y, mine, theirs, times, look=look, version=version, rows=which)


def decide_approval(
    failed: list[str], package: Package | None, comparison: Comparison, mode: ApprovalMode
) -> tuple[str, str]:
    """Return the approval status of the model and its reason."""
    passed = APPROVED if mode is ApprovalMode.AUTOMATIC else PENDING
    if failed:
        return REJECTED, "; ".join(failed)
    if package is None:
        return passed, "the gate is passed and no champion exists"
    statuses = {Verdict.BETTER: passed, Verdict.BEATEN: REJECTED}
    return statuses.get(comparison.verdict or Verdict.UNDECIDED, PENDING), comparison.text


def count_looks(job: Job, champion: Package) -> int:
    """Return which challenger of a champion this one is: 1 and the models that were registered after the champion."""
    looks = 1
    for summary in list_packages(job.make_client("sagemaker"), job.names.model_package_group):
        if summary["ModelPackageArn"] == champion.arn:
            return looks
        looks += 1
    return looks


def measure_latency(model: Model, rows: Columns) -> dict[str, float]:
    """Return the milliseconds from one row's joined columns to its score: median and 99th percentile."""
    seconds = []
    for row in np.linspace(0, c.count_rows(rows) - 1, TIMED).astype(int):
        one = {name: rows[name][row : row + 1] for name in model.document["inputs"]}
        began = time.perf_counter()
        model.predict(one)
        seconds.append(time.perf_counter() - began)
    return {
        "latency_ms_p50": float(np.quantile(seconds, 0.5) * 1e3),
        "latency_ms_p99": float(np.quantile(seconds, 0.99) * 1e3),
    }


def _metadata(
    case: UseCase,
    metrics: dict[str, float],
    measured: Sequence[MeasuredGate],
    identity: dict[str, str],
    as_of: str,
    package: Package | None,
    comparison: Comparison,
    reason: str,
) -> dict[str, str]:
    """Return the package's metadata: texts of at most 256 characters, with the same names for every model."""
    names = dict.fromkeys([*(bound.metric for bound in case.gates), case.champion_metric])
    figures = {name: f"{metrics[name]:.5f}" if name in metrics else "undefined" for name in names}
    compared = {
        "gain": comparison.gain,
        "gain_lower": comparison.lower,
        "gain_upper": comparison.upper,
        "margin": comparison.margin,
        "look": comparison.look,
    }
    return {
        **identity,
        **figures,
        **{name: text for gate in measured for name, text in gates.describe_interval(gate).items()},
        "as_of": as_of,
        "champion": package.arn if package else "none",
        "verdict": comparison.verdict.value if comparison.verdict else "none",
        **{name: "none" if value is None else f"{value:.6g}" for name, value in compared.items()},
        "comparison": _UNTAKEN.sub("", reason)[:256],
    }


def _promotion(job: Job) -> ApprovalMode:
    text = job.environment.get(JobVariable.PROMOTION) or ApprovalMode.MANUAL.value
    try:
        return ApprovalMode(text)
    except ValueError as error:
        known = ", ".join(mode.value for mode in ApprovalMode)
        raise DeclarationError(
            "environment variables",
            [Diagnosis(f"{JobVariable.PROMOTION}={text!r}", "is not known", expected=f"one of {known}")],
        ) from error
