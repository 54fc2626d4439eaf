"""The gates: declared bounds with their intervals, a reference that needs no model, and what is too good to be true.

All are measured on the holdout, with the scores of a fit that has not seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.documents import MeasuredGate, Slice
from millrace.metrics import CHAMPION_METRIC, Problem
from training.columns import Array
from training.data.dataset import FEWEST_OUTCOMES
from training.intervals import Bootstrap
from training.metrics import compute_loss, compute_metric
from training.modeling.champion import number_blocks

#: The confidence of an interval that is only shown.
SHOWN = 0.9
#: Scores that no honest model of the world reaches, by problem type.
TOO_GOOD = {Problem.BINARY: ("roc_auc", 0.995), Problem.REGRESSION: ("r2", 0.999)}


def make_references(problem: Problem, y: Array) -> dict[str, float]:
    """Return the predictions that need no model.

    Args:
        problem: The problem type.
        y: The outcomes of the fitted rows, in the order of time.

    Returns:
        `base_rate`, or `median` and `last` → the constant that it predicts.
    """
    if problem is Problem.BINARY:
        return {"base_rate": float(np.mean(y))}
    return {"median": float(np.median(y)), "last": float(y[-1])}


def measure_gates(case: UseCase, y: Array, p: Array, times: Array) -> list[MeasuredGate]:
    """Return each declared gate with its value, its interval and its verdict.

    Args:
        case: The declaration.
        y: The outcomes of the holdout.
        p: The scores of the holdout.
        times: The event times of the holdout.
    """
    blocks = number_blocks(times, np.timedelta64(case.champion.block, "us"))
    bootstrap = Bootstrap(y, p, blocks, case.seed)
    found = []
    for gate in case.gates:
        value = compute_metric(case.problem, gate.metric, y, p)
        interval = bootstrap.find_interval(gate.metric, gate.confidence or SHOWN)
        low, high = interval or (None, None)
        judged: float | None = value
        if gate.confidence is not None:
            judged = low if gate.at_least is not None else high
        found.append(
            MeasuredGate(
                metric=gate.metric,
                value=None if np.isnan(value) else value,
                lower=low,
                upper=high,
                at_least=gate.at_least,
                at_most=gate.at_most,
                confidence=gate.confidence,
                passed=_is_met(judged, gate.at_least, gate.at_most),
            )
        )
    return found


def _is_met(value: float | None, at_least: float | None, at_most: float | None) -> bool:
    if value is None or np.isnan(value):
        return False
    return (at_least is None or value >= at_least) and (at_most is None or value <= at_most)


def find_failures(
    case: UseCase,
    results: Sequence[MeasuredGate],
    slices: Mapping[str, Slice],
    y: Array,
    p: Array,
    references: Mapping[str, float],
) -> list[str]:
    """Return one sentence for each gate that fails; none where all pass.

    Args:
        case: The declaration.
        results: The declared gates, from :func:`measure_gates`.
        slices: The audited slices.
        y: The outcomes of the holdout.
        p: The scores of the holdout.
        references: The predictions without a model, from :func:`make_references`.
    """
    return [
        *_find_unjudgeable(case, y),
        *(_describe(result) for result in results if not result.passed),
        *_find_unfair(slices),
        *find_useless(case, y, p, references),
        *_find_too_good(case, y, p),
    ]


def _find_unjudgeable(case: UseCase, y: Array) -> list[str]:
    if case.problem is not Problem.BINARY:
        return []
    return [
        f"the holdout has {count} of {len(y)} rows with {case.target} = {outcome}; expected at least {FEWEST_OUTCOMES}"
        for outcome in (0, 1)
        if (count := int(np.sum(y == outcome))) < FEWEST_OUTCOMES
    ]


def _describe(result: MeasuredGate) -> str:
    bound = f"at least {result.at_least:g}" if result.at_least is not None else f"at most {result.at_most:g}"
    if result.value is None:
        return f"{result.metric} is undefined on the holdout, whose outcomes are all the same"
    text = f"{result.metric} is {result.value:.4f}"
    if result.confidence is None:
        return f"{text}; expected {bound}"
    if result.lower is None or result.upper is None:
        why = "its rows are of too few days, or too few of an outcome"
        return f"{text}, without an interval because {why}; expected {bound} with confidence"
    interval = f"{result.lower:.4f} to {result.upper:.4f} with {result.confidence:.0%} confidence"
    return f"{text}, {interval}; expected {bound}, the whole interval"


def _find_unfair(slices: Mapping[str, Slice]) -> list[str]:
    failed = []
    for name, found in slices.items():
        for rate, gap in found.gaps.items():
            if gap.bound is None or gap.value is None or gap.lower is None or gap.lower <= gap.bound:
                continue
            failed.append(
                f"{rate} gap between the groups {' and '.join(gap.between)} of {name} is {gap.value:.3f}, at least "
                f"{gap.lower:.3f}; expected at most {gap.bound:g}"
            )
    return failed


def find_useless(case: UseCase, y: Array, p: Array, references: Mapping[str, float]) -> list[str]:
    """Return one sentence for each reference that a model does not beat.

    Args:
        case: The declaration.
        y: The outcomes of the holdout.
        p: The scores of the holdout.
        references: The predictions without a model, from :func:`make_references`.
    """
    metric = CHAMPION_METRIC[case.problem]
    mine = compute_loss(case.problem, metric, y, p)
    failed = []
    for name, constant in references.items():
        theirs = compute_loss(case.problem, metric, y, np.full(len(y), constant))
        if not mine < theirs:
            failed.append(f"{metric} is {mine:.5f}, no better than {theirs:.5f} of predicting the {name} {constant:g}")
    return failed


def _find_too_good(case: UseCase, y: Array, p: Array) -> list[str]:
    metric, bound = TOO_GOOD[case.problem]
    value = compute_metric(case.problem, metric, y, p)
    if not value > bound or case.near_perfect:
        return []
    return [
        f"{metric} is {value:.5f}, above {bound:g}: too good to be true unless the use case says why, in near_perfect"
    ]


def describe_interval(result: MeasuredGate) -> dict[str, str]:
    """Return the ends of a gate's interval for the registry: metadata of the same names for every model."""
    ends: dict[str, Any] = {"lower": result.lower, "upper": result.upper}
    return {f"{result.metric}_{name}": "none" if end is None else f"{end:.5f}" for name, end in ends.items()}
