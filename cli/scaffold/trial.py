"""A rendered use case, tried where it lies: with the steps by which the pipeline makes the first model."""

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
from millrace.findings import Code, Finding, Level

#: What the templates' own marks look like, and what a writer leaves for later.
_MARKS = ("{{", "{%", "{#", "TO" + "DO")


@dataclass(frozen=True)
class Trial:
    """What came of it."""

    metrics: Mapping[str, float]
    """On the holdout."""
    noise: float
    """The standard error of the metric that the gate is about."""
    plain: float
    """The same metric of a guess that knows no features: the mean of what was trained on."""
    rows: int
    """Of the holdout."""
    leaks: Mapping[str, float]
    """Features that tell the outcome nearly by themselves, by their names here, and how well: the largest AUC."""
    refusals: tuple[str, ...]
    """Why the pipeline would refuse the data, besides leaks."""
    hints: tuple[str, ...]
    """What it would warn of."""
    absent: tuple[str, ...] = ()
    """Features that no row has that the model is fitted on, by their names here."""


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Put rendered files into an empty folder."""
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def check(files: Mapping[str, bytes], folder: Path, plan: Plan) -> None:
    """See that nothing of the templates is left, that Python compiles and the stacks can be what they say.

    Raises:
        CliError: When the templates are at fault.
    """
    for name, body in files.items():
        if name.endswith(".csv"):
            continue
        source = body.decode()
        if mark := next((mark for mark in _MARKS if mark in source and mark not in plan_texts(plan)), None):
            raise CliError(
                f"{name}",
                f"was not rendered completely, {mark!r} is left",
                fix="this is a defect of templates/use_case",
            )
        if name.endswith(".py"):
            ast.parse(source, name)
        elif name.endswith(".yaml"):
            config = yaml.safe_load(source)["config"]
            stack = Path(name).name.removeprefix("Pulumi.").removesuffix(".yaml")
            Environment.of_stack(stack, config["millrace:environment"], config["aws:region"])
    with _there(folder, plan):
        stacks.load(plan.name)


def plan_texts(plan: Plan) -> str:
    """Everything that comes from the data, which may hold what looks like a mark."""
    texts = [each for feature in plan.features for each in (feature.column, *feature.values)]
    return "\n".join(
        [*texts, *plan.columns.values(), *(each for both in plan.left_out for each in both), plan.positive or ""]
    )


def run(folder: Path, plan: Plan) -> Trial:
    """Train on what lies before the replay's start, measure on the newest part of it."""
    # As in a job: the sums of floats depend on how they are split.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from training.columns import is_missing
    from training.data import validate
    from training.data.dataset import FIT, FOLD, HOLDOUT, folds, labelled
    from training.data.ingest import collect
    from training.functions import Functions
    from training.metrics import measure
    from training.modeling.model import fit

    assert plan.replay_from
    assert plan.until
    as_of = np.datetime64(plan.replay_from, "us")
    with _there(folder, plan):
        case = stacks.load(plan.name)
        functions = Functions.load(case)
        findings: list[Finding] = []
        # As the first training will see the data, and a later one, to which all of the sample has happened.
        for time in (np.datetime64(plan.until, "us"), as_of):
            snapshot = collect(functions, time)
            accepted, found, _ = validate.check(case, snapshot)
            findings += found.all
        leaks, refusals, hints = _sorted(findings)
        if refusals or leaks:
            return Trial({}, 0.0, 0.0, 0, leaks, refusals, hints)
        rows = labelled(case, accepted)
        fold = folds(case, rows[case.event_time], as_of, None)

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            p = fit(functions, case.parameters, train, learnt).predict(holdout)
        return Trial(measure(case.problem, y, p), *_around(plan, learnt, y, p), len(y), leaks, refusals, hints)


def _around(plan: Plan, learnt: Any, y: Any, p: Any) -> tuple[float, float]:
    """The standard error of the gate's metric, and what a guess without features reaches."""
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


def _sorted(findings: Sequence[Finding]) -> tuple[dict[str, float], tuple[str, ...], tuple[str, ...]]:
    """Leaking columns, what refuses the batch besides, and warnings."""
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
            hints[subject] = f"{subject} alone tells {target} with an AUC of {auc:.3f}: {asked}"
        elif finding.level is Level.WARN and finding.code is not Code.LEAK_TRUSTED:
            hints.setdefault(finding.rule, finding.rule)
    hints = {name: hint for name, hint in hints.items() if name not in leaks}
    return leaks, tuple(refusals), tuple(hints.values())


@contextmanager
def _there(folder: Path, plan: Plan) -> Iterator[None]:
    """As if the rendered package were under `stacks/` already, and nothing of the user's shell named other data."""
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
