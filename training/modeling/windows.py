"""The window of history to fit on: all of it, or a trailing one, whichever predicts newer rows with the lower loss.

After a change of the world old rows mislead; without one they help. Which is true is measured at an earlier origin:
each window is fitted on the rows before it and scored on the rows after it, none of which judges the model later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from millrace.errors import DataError
from millrace.metrics import Problem
from training import columns as c
from training.columns import Array, Columns
from training.data.dataset import FEWEST, FEWEST_OUTCOMES, FOLD
from training.functions import Functions
from training.io import print_progress
from training.metrics import compute_loss
from training.modeling.model import fit_model

#: The share of the rows that a window must leave out: windows that hardly differ are not worth a fit.
_LEFT_OUT = 0.1
#: Parts of the time of which each is scored by a fit on the others.
_PARTS = 5


@dataclass(frozen=True)
class Choice:
    """The chosen window.

    Attributes:
        window: How far back the fitted rows reach; None for all history.
        losses: Window in days, or `all` → its loss at the earlier origin; empty where only one window was possible.
        scored: The rows after the earlier origin, with their scores in the column ``p``; None where none were scored.
    """

    window: timedelta | None
    losses: dict[str, float]
    scored: Columns | None = None

    def select(self, times: Array) -> Array:
        """Return the mask of the rows to fit on.

        Args:
            times: The event times of all rows that may be fitted.
        """
        if self.window is None:
            return np.ones(len(times), dtype=bool)
        return np.asarray(times > times.max() - np.timedelta64(self.window, "us"))


def choose_window(
    functions: Functions, parameters: Mapping[str, Any], rows: Columns, *, needs_scores: bool = False
) -> Choice:
    """Return the window with the lowest loss on the newest share of the rows, fitted on the others.

    Args:
        functions: The use case's own functions, with its declaration.
        parameters: What `model()` is called with.
        rows: Joined rows that may be fitted, in the order of time, with key and target.
        needs_scores: Whether the newest share of the rows is scored even where there is only one window.
    """
    case = functions.use_case
    times, y = rows[case.event_time], rows[case.target]
    cut = len(times) - round(case.holdout * len(times))
    newer = times >= times[min(cut, len(times) - 1)]
    inputs = {name: values for name, values in rows.items() if name not in (case.key, case.target)}
    candidates: dict[timedelta | None, Array] = {None: ~newer}
    for window in case.windows:
        kept = ~newer & Choice(window, {}).select(np.where(newer, times.min(), times))
        if _can_be_fitted(case.problem, y[kept]) and kept.sum() <= (1 - _LEFT_OUT) * (~newer).sum():
            candidates[window] = kept
    is_alone = len(candidates) == 1 or not _can_be_fitted(case.problem, y[newer])
    if is_alone and not (needs_scores and _can_be_fitted(case.problem, y[~newer])):
        return Choice(None, {})
    losses: dict[timedelta | None, float] = {}
    scores: dict[timedelta | None, Array] = {}
    for span, kept in ({None: ~newer} if is_alone else candidates).items():
        try:
            model = fit_model(functions, parameters, c.select_rows(inputs, kept), y[kept])
        except DataError as error:
            print_progress(f"window {_name(span)} cannot be fitted: {error}")
            continue
        scores[span] = model.predict(c.select_rows(inputs, newer))
        losses[span] = compute_loss(case.problem, case.champion_metric, y[newer], scores[span])
    losses = {span: loss for span, loss in losses.items() if is_alone or np.isfinite(loss)}
    if not losses:
        return Choice(None, {})
    best = min(losses, key=lambda span: losses[span])
    scored = {**c.select_rows(rows, newer), "p": scores[best]}
    if is_alone:
        return Choice(None, {}, scored)
    told = {_name(span): loss for span, loss in losses.items()}
    print_progress(f"window {_name(best)}: loss of " + ", ".join(f"{name} {loss:.5f}" for name, loss in told.items()))
    return Choice(best, told, scored)


def cross_fit(functions: Functions, parameters: Mapping[str, Any], rows: Columns) -> Columns | None:
    """Score every row by a fit on the rows of other times.

    Args:
        functions: The use case's own functions, with its declaration.
        parameters: What `model()` is called with.
        rows: Joined rows, in the order of time, with key and target.

    Returns:
        The event time of each row with its outcome `y` and its score `p`; None where the rows are too few to be split.
    """
    case = functions.use_case
    times, y = rows[case.event_time], rows[case.target]
    inputs = {name: values for name, values in rows.items() if name not in (case.key, case.target, FOLD)}
    order = np.argsort(times, kind="stable")
    part, p = np.empty(len(y), dtype=np.int64), np.empty(len(y))
    part[order] = np.arange(len(y)) * _PARTS // max(1, len(y))
    for held in range(_PARTS):
        kept = part != held
        if not _can_be_fitted(case.problem, y[kept]) or not (~kept).any():
            return None
        try:
            model = fit_model(functions, parameters, c.select_rows(inputs, kept), y[kept])
        except DataError as error:
            print_progress(f"rows of a fifth of the time cannot be left out: {error}")
            return None
        p[~kept] = model.predict(c.select_rows(inputs, ~kept))
    if not np.isfinite(p).all():
        print_progress("a model of four fifths of the time gives scores that are not finite: they are not used")
        return None
    return {case.event_time: times, "y": y, "p": p}


def _can_be_fitted(problem: Problem, y: Array) -> bool:
    counts = [int(np.sum(y == outcome)) for outcome in (0, 1)] if problem is Problem.BINARY else [FEWEST_OUTCOMES]
    return len(y) >= FEWEST and min(counts) >= FEWEST_OUTCOMES


def _name(window: timedelta | None) -> str:
    return "all" if window is None else f"{window / timedelta(days=1):g} days"
