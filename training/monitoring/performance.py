"""How the serving version does on outcomes: calibration, loss, and both by group.

Only rows that this version answered and whose outcome is certain are judged: after a deployment the window still holds
the answers of the version before. Nothing asks for a number of labels: what the rows at hand can tell is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from millrace.metrics import Problem
from millrace.watching import MonitorAlarm
from training.calibration import SHARE, Calibration, Judged, Spread, measure_calibration
from training.columns import Array, is_missing
from training.metrics import compute_calibration_bins, compute_metrics
from training.monitoring.window import Window
from training.quality import Ratio, Registered, compute_losses, compute_ratio
from training.recalibration import AS_GIVEN, Recalibration
from training.slices import find_edges, name_groups

#: With fewer expected outcomes of either kind, nothing is told about a group.
FEWEST_EXPECTED = 10.0
#: With fewer rows, nothing is told about a group of a regression.
FEWEST_ROWS = 30
#: How far a group of a regression may be off in one direction, as a share of its mean error, before it matters.
GROUP_LEAN = 0.25


def measure_performance(window: Window, registered: Registered | None, groups: Mapping[str, Array]) -> dict[str, Any]:
    """Judge calibration and loss; return what the report contains about them.

    Args:
        window: The window, to which checks are added.
        registered: What the serving model was registered with; None for models of earlier versions.
        groups: Declared slice → the value of its column in each row of the window.
    """
    case = window.case
    known = ~np.isnan(window.y)
    chosen = known & window.current & window.mature
    report: dict[str, Any] = {
        "labelled": int(known.sum()),
        "label_coverage": float(known.mean()),
        "judged": int(chosen.sum()),
        "quality": {},
    }
    if not chosen.any():
        window.notes.append(f"no quality: no row that {_name(window)} answered has an outcome that is certain")
        return report
    y, p, days = window.y[chosen], window.scores[chosen], window.days[chosen]
    report["quality"] = compute_metrics(case.problem, y, p)
    spread = registered.spread if registered and registered.spread else Spread()
    meant = registered.meant if registered else AS_GIVEN
    if case.problem is Problem.BINARY:
        found = measure_calibration(y, p, days, spread, case.seed, meant)
        report["calibration"] = compute_calibration_bins(y, p)
        report["quality"]["ece"] = found.ece.value
        report["calibration_of"] = _describe(found)
        _check_calibration(window, found)
        _check_excess(window, found)
    else:
        _check_bias(window, y, p, days, registered)
    _check_relative_loss(window, y, p, days, registered)
    _check_groups(window, chosen, spread, groups, meant)
    return report


def _name(window: Window) -> str:
    return f"version {window.serving}" if window.serving else "the serving model"


def _describe(found: Calibration) -> dict[str, Any]:
    """Return the figures of calibration for the report."""
    return {
        "rows": found.rows,
        "days": found.days,
        "observed": found.observed,
        "expected": found.expected,
        "ece": found.ece.value,
        "ece_by_chance": found.ece.chance,
        "gap": found.gap.value,
        "gap_by_chance": found.gap.chance,
        "loss_excess": found.excess.value,
        "loss_excess_by_chance": found.excess.chance,
        "expected_loss": found.expected_loss,
    }


def _check_calibration(window: Window, found: Calibration) -> None:
    bound, who = window.case.monitoring.calibration_bound, _name(window)
    ratio = f"{found.observed} observed, {found.expected:.1f} expected"
    for judged, what in ((found.ece, "expected calibration error, debiased,"), (found.gap, "mean gap")):
        value = abs(judged.value)
        text = (
            f"the {what} of {who} on {found.rows} outcomes is {value:.4f} ({ratio}); it matters from {bound:g}, and "
            f"chance stays below {judged.chance:.4f}"
        )
        window.add_check(MonitorAlarm.CALIBRATION, value, max(bound, judged.chance), text)


def _check_excess(window: Window, found: Calibration) -> None:
    """Compare the squared error with the one that the model's own probabilities expect."""
    least = window.case.monitoring.quality_alarm * found.expected_loss
    text = (
        f"the squared error of {_name(window)} on {found.rows} outcomes exceeds by {found.excess.value:.5f} the "
        f"{found.expected_loss:.5f} that its probabilities expect; it matters from {least:.5f}, and chance stays below "
        f"{found.excess.chance:.5f}"
    )
    _add_quality(window, found.excess, least, text)


def _check_relative_loss(window: Window, y: Array, p: Array, days: Array, registered: Registered | None) -> None:
    """Compare the loss relative to the reference's with the registered one."""
    if registered is None:
        window.notes.append("the model was registered without its loss relative to a reference: it is not compared")
        return
    losses = compute_losses(window.case.problem, y, p)
    theirs = compute_losses(window.case.problem, y, np.full(len(y), registered.reference))
    now, then = compute_ratio(losses, theirs, days), registered.relative_loss
    if not (now.can_be_judged and then.can_be_judged):
        window.notes.append("the loss relative to a reference is not compared: its rows are of fewer than three days")
        return
    least = window.case.monitoring.quality_alarm * then.value
    chance = _quantile(min(now.days, then.days), SHARE) * math.hypot(now.error, then.error)
    text = (
        f"the loss of {_name(window)} on {len(y)} outcomes is {now.value:.3f} of that of predicting "
        f"{registered.reference:g}, registered with {then.value:.3f}; it matters from {least:.3f} more, and chance "
        f"stays below {chance:.3f} more"
    )
    _add_quality(window, Judged(now.value - then.value, chance), least, text)


def _check_bias(window: Window, y: Array, p: Array, days: Array, registered: Registered | None) -> None:
    """Compare the mean error of a regression with its mean absolute error."""
    now = compute_ratio(y - p, np.abs(y - p), days)
    if registered is None or not (now.can_be_judged and registered.lean.can_be_judged):
        return
    least = window.case.monitoring.quality_alarm
    moved, lean = abs(now.value - registered.lean.value), abs(now.value)
    chance = _quantile(min(now.days, registered.lean.days), SHARE / 2.0) * math.hypot(now.error, registered.lean.error)
    # The final fit has seen the rows that registered the lean, so that it leans less: it must lean now, too.
    own = _find_lean_by_chance(now, len(y), registered.rows)
    text = (
        f"outcomes of {_name(window)} are off by {now.value:+.3f} of the mean error in one direction, registered with "
        f"{registered.lean.value:+.3f}; a change matters from {least:g}, chance stays below {chance:.3f}, and without "
        f"any lean below {own:.3f}"
    )
    threshold = max(least, chance)
    if lean < own:
        # In units of the nearer of the two thresholds.
        threshold = max(threshold, moved * own / max(lean, 1e-9))
    _add_quality(window, Judged(moved, threshold), least, text)


def _find_lean_by_chance(now: Ratio, rows: int, fitted: int) -> float:
    """Return how far a fit that leans nowhere may seem to: the mean of its own rows is known as well as theirs are."""
    error = now.error * math.sqrt(1.0 + rows / fitted) if fitted else 0.0
    return _quantile(now.days, SHARE / 2.0) * error


def _add_quality(window: Window, judged: Judged, least: float, text: str) -> None:
    if least > 0.0 or judged.chance > 0.0:
        window.add_check(MonitorAlarm.QUALITY, judged.value, max(least, judged.chance), text)


def _quantile(days: int, share: float) -> float:
    """Return the quantile of t that chance exceeds with a probability."""
    from scipy.special import stdtrit

    return float(stdtrit(days - 1, 1.0 - share))


# -- groups ------------------------------------------------------------------------------------------------------------


def _check_groups(
    window: Window, chosen: Array, spread: Spread, groups: Mapping[str, Array], meant: Recalibration
) -> None:
    """Judge the mean gap of each group; all groups of all slices share the rate of false alarms (Holm)."""
    from scipy.special import ndtri

    found: list[tuple[float, str, float, str, float]] = []
    least = {part.column: part.min_rows for part in window.case.slices}
    for column, values in groups.items():
        names = name_groups(values, find_edges(values))[chosen]
        unclear = []
        for name in np.unique(names):
            member = names == name
            judged = _judge_group(window, chosen, member, spread, meant) if member.sum() >= least[column] else None
            if judged is None:
                unclear.append(str(name))
                continue
            found.append((judged[0], f"{column}={name}", *judged[1:]))
        if unclear:
            window.notes.append(f"cannot tell about {column}={', '.join(unclear)}: too few outcomes")
    alarm = MonitorAlarm.CALIBRATION if window.case.problem is Problem.BINARY else MonitorAlarm.QUALITY
    for rank, (p_value, subject, gap, text, bound) in enumerate(sorted(found)):
        needed = -float(ndtri(SHARE / 2.0 / (len(found) - rank)))
        strength = -float(ndtri(max(p_value, 1e-300) / 2.0))
        # Both the size and the strength of the evidence are needed; what is further from its bound counts.
        threshold = gap / min(gap / bound, strength / needed) if gap > 0 and strength > 0 else bound
        why = f"{subject}: {text}; it matters from {bound:.3g}, and chance stays below {threshold:.3g}"
        window.add_check(alarm, gap, threshold, why, subject)


def _judge_group(
    window: Window, chosen: Array, member: Array, spread: Spread, meant: Recalibration
) -> tuple[float, float, str, float] | None:
    """Return the p-value of a group's mean gap, its size, a sentence and the size from which it matters."""
    from scipy.special import ndtr, stdtr

    y, p, days = (values[chosen][member] for values in (window.y, window.scores, window.days))
    gap = float(np.mean(y - p))
    if window.case.problem is Problem.BINARY:
        q = meant.apply(p)
        if min(q.sum(), (1.0 - q).sum()) < FEWEST_EXPECTED:
            return None
        weights = q * (1.0 - q)
        by_day = np.bincount(days, weights=weights)
        variance = float(weights.sum() + spread.size**2 * np.sum(by_day**2)) + meant.measure_variance(p, weights)
        error = math.sqrt(variance) / len(y)
        # The skewness of the sum: without it, few expected outcomes would alarm too often.
        skewness = float(np.sum(weights * (1.0 - 2.0 * q))) / (error * len(y)) ** 3
        # Evidence is what differs from the registered meaning of the probabilities.
        beyond = float(np.mean(y - q))
        z = abs(beyond) / error
        tail = float(ndtr(-z)) + math.copysign(skewness, beyond * skewness) * (z**2 - 1.0) * math.exp(-(z**2) / 2.0) / (
            6.0 * math.sqrt(2.0 * math.pi)
        )
        text = f"of {len(y)} outcomes {int(y.sum())} are 1, and {p.sum():.1f} are expected: a mean gap of {gap:+.4f}"
        return min(max(2.0 * tail, 1e-300), 1.0), abs(gap), text, window.case.monitoring.calibration_bound
    ratio = compute_ratio(y - p, np.abs(y - p), days)
    if len(y) < FEWEST_ROWS or not ratio.can_be_judged or not ratio.error:
        return None
    p_value = 2.0 * float(stdtr(ratio.days - 1, -abs(ratio.value) / ratio.error))
    text = f"{len(y)} outcomes are off by {ratio.value:+.3f} of the mean error in one direction"
    return max(p_value, 1e-300), abs(ratio.value), text, GROUP_LEAN


def find_groups(window: Window, events: Mapping[str, Array]) -> dict[str, Array]:
    """Return the values of each slice's column in the window: as served, or else as events() returns them.

    Args:
        window: The window; a slice whose column is nowhere is noted.
        events: The columns of events() for the window.
    """
    case = window.case
    at: Array | None = None
    found: dict[str, Array] = {}
    for part in case.slices:
        if part.column in window.rows:
            found[part.column] = window.rows[part.column]
        elif part.column in events and len(events[part.column]):
            # Only now is it worth the time to match all rows with their events.
            at = _match_events(window, events) if at is None else at
            values = events[part.column][at]
            values[at < 0] = np.nan if values.dtype.kind == "f" else None
            if not is_missing(values).all():
                found[part.column] = values
        if part.column not in found:
            window.notes.append(f"no groups of {part.column}: neither requests nor events() of these keys have it")
    return found


def _match_events(window: Window, events: Mapping[str, Array]) -> Array:
    """Return the position of each row's event; -1 where there is none."""
    key = window.case.key
    place = {each: row for row, each in enumerate(events[key].tolist())} if key in events else {}
    return np.array([place.get(each, -1) for each in window.rows[key].tolist()], dtype=np.int64)
