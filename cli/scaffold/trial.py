"""The trial of a rendered use case: its first model is trained with the same code as in the training pipeline."""

from __future__ import annotations

import ast
import importlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import stacks
from cli.console.errors import CliError
from cli.scaffold.plan import Plan
from millrace import Environment, MillraceError
from millrace.config_files import parse_file_name
from millrace.findings import Code, Finding, Level

#: Template syntax, and the mark of unfinished text, which rendered files must not contain.
_MARKS = ("{{", "{%", "{#", "TO" + "DO")


@dataclass(frozen=True)
class Trial:
    """The result of a trial."""

    metrics: Mapping[str, float]
    """The metrics on the holdout."""
    noise: float
    """The standard error of the gate's metric."""
    plain: float
    """The gate's metric of a prediction without features, which is the mean of the training outcomes."""
    rows: int
    """Number of rows in the holdout."""
    leaks: Mapping[str, float]
    """The features that predict the outcome almost alone, by name in the use case, with their largest AUC."""
    refusals: tuple[str, ...]
    """Reasons other than leaks for which the pipeline would refuse the data."""
    hints: tuple[str, ...]
    """Warnings that the pipeline would give."""
    absent: tuple[str, ...] = ()
    """Features that are missing in all rows on which the model is fitted, by name in the use case."""


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write rendered files into an empty folder.

    Args:
        files: The content of each file by its path in the repository, e.g. `stacks/churn/data.py`.
        folder: The folder, which replaces the repository.
    """
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def check_files(files: Mapping[str, bytes], folder: Path, plan: Plan) -> None:
    """Check that no template syntax is left, that Python files and stack files are valid, and that the use case loads.

    Raises:
        CliError: When template syntax is left, or the use case does not load.
    """
    for name, body in files.items():
        if name.endswith(".csv"):
            continue
        source = body.decode()
        if mark := next((mark for mark in _MARKS if mark in source and mark not in list_data_texts(plan)), None):
            raise CliError(
                name,
                f"was not rendered completely, {mark!r} remains",
                fix="this is a defect of templates/use_case",
            )
        if name.endswith(".py"):
            ast.parse(source, name)
        elif stack := parse_file_name(Path(name).name):
            config = yaml.safe_load(source)["config"]
            Environment.from_stack(stack, config["millrace:environment"], config["aws:region"])
    with _use_rendered_package(folder, plan):
        stacks.load(plan.name)


def list_data_texts(plan: Plan) -> str:
    """Return all texts that come from the data, which may contain what looks like template syntax."""
    texts = [each for feature in plan.features for each in (feature.column, *feature.values)]
    return "\n".join(
        [*texts, *plan.columns.values(), *(each for both in plan.left_out for each in both), plan.positive or ""]
    )


def run_trial(folder: Path, plan: Plan) -> Trial:
    """Train on the rows before the replay's start and measure on the newest part of them."""
    # As in a job: sums of floats depend on the number of threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from training.columns import is_missing
    from training.data import validate
    from training.data.dataset import FIT, FOLD, HOLDOUT, assign_folds, join_labelled_events
    from training.data.ingest import collect_snapshot
    from training.functions import Functions
    from training.metrics import compute_metrics
    from training.modeling.gates import find_useless, make_references
    from training.modeling.leaks import find_leaks
    from training.modeling.model import fit_model

    assert plan.replay_from
    assert plan.until
    as_of = np.datetime64(plan.replay_from, "us")
    with _use_rendered_package(folder, plan):
        case = stacks.load(plan.name)
        functions = Functions.load(case)
        findings: list[Finding] = []
        # Validate the data as a late training sees them, with the whole sample in the past, and as the first one does.
        for time in (np.datetime64(plan.until, "us"), as_of):
            snapshot = collect_snapshot(functions, time)
            accepted, found, _ = validate.check_snapshot(case, snapshot)
            findings += found.all
        leaks, refusals, hints = _split_findings(findings)
        if refusals or leaks:
            return Trial({}, 0.0, 0.0, 0, leaks, refusals, hints)
        rows = join_labelled_events(case, accepted)
        fold = assign_folds(case, rows[case.event_time], None)

        def part(which: str) -> tuple[dict[str, Any], Any]:
            chosen = {name: values[fold == which] for name, values in rows.items() if name != FOLD}
            outcome = chosen.pop(case.target)
            return {name: values for name, values in chosen.items() if name != case.key}, outcome

        train, learnt = part(FIT)
        holdout, y = part(HOLDOUT)
        if plan.is_binary and min(len(np.unique(learnt)), len(np.unique(y))) < 2:
            return Trial({}, 0.0, 0.0, len(y), leaks, refusals, hints)
        if absent := tuple(name for name, values in train.items() if is_missing(values).all()):
            return Trial({}, 0.0, 0.0, 0, leaks, refusals, hints, absent)
        features = functions.features(train)
        for leak in find_leaks(case, features, learnt):
            if len(leak.columns) == 1 and leak.columns[0] not in case.trusted:
                leaks[leak.columns[0]] = leak.auc
        if leaks:
            return Trial({}, 0.0, 0.0, 0, leaks, refusals, hints)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parameters = functions.complete_parameters(case.parameters, len(fold))
            p = fit_model(functions, parameters, train, learnt).predict(holdout)
        useless = find_useless(case, y, p, make_references(case.problem, learnt))
        hints += tuple(f"{text}: training refuses such a model" for text in useless)
        return Trial(
            compute_metrics(case.problem, y, p), *_measure_baseline(plan, learnt, y, p), len(y), leaks, refusals, hints
        )


def _measure_baseline(plan: Plan, learnt: Any, y: Any, p: Any) -> tuple[float, float]:
    """Return the standard error of the gate's metric, and the metric of a prediction without features."""
    if not plan.is_binary:
        error = np.abs(p - y)
        return float(np.std(error) / math.sqrt(len(y))), float(np.mean(np.abs(y - np.mean(learnt))))
    from training.metrics import roc_auc

    positives, negatives = float(np.sum(y == 1)), float(np.sum(y != 1))
    auc = roc_auc(y, p)
    if math.isnan(auc):
        return 0.0, 0.5
    # Hanley and McNeil, The meaning and use of the area under a ROC curve, 1982.
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (one - auc**2) + (negatives - 1) * (two - auc**2)
    return math.sqrt(max(variance, 0.0) / (positives * negatives)), 0.5


def _split_findings(findings: Sequence[Finding]) -> tuple[dict[str, float], tuple[str, ...], tuple[str, ...]]:
    """Split findings into leaking columns with their AUC, other reasons for refusal, and warnings."""
    leaks: dict[str, float] = {}
    refusals: dict[str, None] = {}
    hints: dict[str, str] = {}
    for finding in findings:
        subject = finding.column or finding.table
        if finding.code is Code.LEAK_REFUSED:
            leaks[subject] = max(leaks.get(subject, 0.0), finding.fields["auc"])
        elif finding.level is Level.REFUSE:
            refusals[finding.rule] = None
        elif finding.code is Code.LEAK:
            target, auc = finding.fields["target"], finding.fields["auc"]
            asked = "is it known when the prediction is made?"
            hints[subject] = f"{subject} alone predicts {target} with an AUC of {auc:.3f}: {asked}"
        elif finding.level is Level.WARN and finding.code is not Code.LEAK_TRUSTED:
            hints.setdefault(finding.rule, finding.rule)
    hints = {name: hint for name, hint in hints.items() if name not in leaks}
    return leaks, tuple(refusals), tuple(hints.values())


@contextmanager
def _use_rendered_package(folder: Path, plan: Plan) -> Iterator[None]:
    """Make the rendered package importable as if it were in `stacks/`, and hide the variable that names other data.

    Raises:
        CliError: When the use case raises an error of Millrace.
    """
    place = str(folder / "stacks")
    name = f"stacks.{plan.package}"
    given = os.environ.pop(plan.variable, None)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    stacks.__path__.insert(0, place)
    importlib.invalidate_caches()
    try:
        yield
    except MillraceError as error:
        raise CliError("the generated use case", f"does not run: {error}") from error
    finally:
        stacks.__path__.remove(place)
        sys.dont_write_bytecode = written
        for module in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
            del sys.modules[module]
        if given is not None:
            os.environ[plan.variable] = given
