"""Drift: each feature, as the model's own code makes it, and the score, compared with the model's baseline."""

from __future__ import annotations

from typing import Any

import numpy as np

from millrace import UseCase
from millrace.metrics import Problem
from millrace.monitor_report import Explanation, Shift
from millrace.watching import MonitorAlarm
from training import columns as c
from training.columns import Columns, is_missing
from training.drift import compute_shares
from training.io import read_json
from training.modeling.model import BASELINE, HOLDOUT
from training.modeling.train import SCORE
from training.monitoring.causes import MOST, explain_move
from training.monitoring.window import Window
from training.registry import Package
from training.significance import FEWEST_WINDOWS, KINDS, VALUES, measure_shifts

#: With fewer rows no drift is published: hardly any bin has as many as a test needs.
MIN_ROWS = 50
_KIND_TEXTS = {
    "values": "its population stability index is {value:.3f}",
    "missing": "the index of its missing share is {value:.3f}",
    "rare": "{value:.1%} of its values are rare ones of training",
    "new": "{value:.1%} of its values are new",
}


def measure_drift(window: Window, package: Package, features: Columns) -> dict[str, Any]:
    """Compare features and score with the baseline; return what the report contains about them.

    Inputs are compared whichever version answered; scores only where the serving version did.

    Args:
        window: The window, to which checks are added.
        package: The serving model.
        features: The features of the rows whose inputs are all known.
    """
    case = window.case
    baseline: dict[str, Any] = read_json(package.folder / BASELINE)
    for bins in baseline.values():
        # The previous version did not count the rows of a baseline.
        bins.setdefault("rows", package.document["rows"])
    scores = window.scores[window.current]
    values = {**features, SCORE: scores}
    if absent := sorted(set(values) - set(baseline)):
        window.notes.append(f"no drift of {', '.join(absent)}: the baseline of {package.arn} does not have them")
        values = {name: values[name] for name in values if name in baseline}
    found = _measure_shifts(case, baseline, values)
    judged = {
        name: each["drift"] for name, each in found.items() if each["drift"] is not None and not each["informational"]
    }
    if len(window.scores) < MIN_ROWS:
        window.notes.append(f"no drift: {len(window.scores)} row(s), expected at least {MIN_ROWS}")
    elif unknown := sorted(name for name in judged if baseline[name].get("windows", 0) < FEWEST_WINDOWS):
        window.notes.append(
            f"{', '.join(unknown)}: the training rows have fewer than {FEWEST_WINDOWS} windows of "
            f"{case.monitoring.window}, so how much days differ by themselves is not part of the thresholds of drift"
        )
    warned = []
    for name in judged:
        shifts = [Shift.model_validate(shift) for shift in found[name]["shifts"]]
        _add_checks(window, name, shifts)
        warned += [_describe_warning(name, shift) for shift in shifts if shift.warning < shift.value <= shift.threshold]
    of = max((name for name in judged if name != SCORE), key=judged.__getitem__, default=None)
    largest = max(
        (Shift.model_validate(shift) for shift in (found[of]["shifts"] if of else [])),
        key=lambda shift: shift.ratio,
        default=None,
    )
    report: dict[str, Any] = {
        "features": found,
        "drift": judged[of] if of else None,
        "drift_of": of,
        "drift_kind": largest.kind if largest else None,
        "score_drift": judged.get(SCORE),
        "warned": warned,
    }
    if len(scores):
        now = compute_shares(baseline[SCORE], scores)
        report["scores"] = {"edges": baseline[SCORE]["edges"], "then": baseline[SCORE]["shares"], "now": now}
    return report


def explain_moves(window: Window, package: Package, features: Columns) -> list[Explanation]:
    """Return which features explain that the scores, or the losses, of the serving version have moved.

    Args:
        window: The window.
        package: The serving model.
        features: The features of the rows whose inputs are all known.
    """
    chosen = window.current[window.complete]
    if not features or not chosen.any():
        return []
    baseline = read_json(package.folder / BASELINE)
    rows = {name: values[chosen] for name, values in features.items()}
    scores, days, y = (each[window.complete][chosen] for each in (window.scores, window.days, window.y))
    shifts = _measure_shifts(window.case, baseline, rows)
    names = sorted((name for name in rows if shifts[name]["drift"]), key=lambda name: -shifts[name]["drift"])[:MOST]
    judged = c.read(package.folder / HOLDOUT)
    seed = window.case.seed
    found = explain_move("score", scores, float(np.mean(judged["p"])), rows, baseline, days, names, seed)
    known = ~np.isnan(y)
    if window.case.problem is Problem.BINARY and known.any():
        excess = (1.0 - 2.0 * scores[known]) * (y[known] - scores[known])
        seen = {name: values[known] for name, values in rows.items()}
        found += explain_move("loss", excess, 0.0, seen, baseline, days[known], names, seed)
    return found


def _add_checks(window: Window, name: str, shifts: list[Shift]) -> None:
    alarm, what = (MonitorAlarm.SCORE_DRIFT, "the score") if name == SCORE else (MonitorAlarm.DRIFT, name)
    for shift in shifts:
        text = _KIND_TEXTS[shift.kind].format(value=shift.value)
        window.add_check(
            alarm, shift.value, shift.threshold, f"{what}: {text}; it alarms from {shift.threshold:.3f}", name
        )


def _describe_warning(name: str, shift: Shift) -> str:
    what = "the score" if name == SCORE else name
    text = _KIND_TEXTS[shift.kind].format(value=shift.value)
    return f"{what}: {text}; it is worth a look from {shift.warning:.3f} and alarms from {shift.threshold:.3f}"


def _measure_shifts(case: UseCase, baseline: dict[str, Any], values: Columns) -> dict[str, dict[str, Any]]:
    """Return the drift of each column; all tests of columns that may raise the alarm share its false-alarm rate."""
    judged = [name for name in values if name not in case.monitoring.informational]
    # Of the score, only its values are tested.
    tests = sum(1 if name == SCORE else len(KINDS) for name in judged) or 1
    features = {}
    for name, column in values.items():
        shifts: list[Shift] = []
        if len(column) >= MIN_ROWS:
            shifts = measure_shifts(baseline[name], column, tests=tests, effect=case.monitoring.psi_alarm)
            shifts = [shift for shift in shifts if name != SCORE or shift.kind == VALUES]
        features[name] = {
            "rows": len(column),
            "psi": next((shift.value for shift in shifts if shift.kind == VALUES), None),
            "missing": float(np.mean(is_missing(column))) if len(column) else 0.0,
            "missing_then": baseline[name]["missing"],
            "informational": name in case.monitoring.informational,
            "excess": baseline[name].get("excess", 0.0),
            "shifts": [shift.dump() for shift in shifts],
            "drift": max((shift.ratio for shift in shifts), default=None),
        }
    return features
