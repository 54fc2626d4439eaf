"""The first gate of a new use case: a bound that its own sample reaches, with the reason for it."""

from __future__ import annotations

import math

from cli.scaffold.plan import Plan
from cli.scaffold.trial import Trial

#: Distance of the bound from the reached value, in standard errors, and the minimum distance for an AUC.
_ERRORS, _LEAST = 2.0, 0.02
#: An area under the ROC curve that chance alone may reach.
_CHANCE = 0.52


def choose_gate(plan: Plan, trial: Trial) -> tuple[str, str, float, str]:
    """Return metric, side (`at_least` or `at_most`), bound and reason of the gate."""
    return _binary(trial) if plan.is_binary else _regression(trial)


def _binary(trial: Trial) -> tuple[str, str, float, str]:
    reached = trial.metrics["roc_auc"]
    bound = math.floor((reached - max(_LEAST, _ERRORS * trial.noise)) * 100) / 100
    said = f"The {trial.rows} newest rows before the replay reach {reached:.3f}"
    if bound >= _CHANCE:
        return "roc_auc", "at_least", bound, f"{said}; the bound is two standard errors lower."
    bound = max(min(0.5, math.floor((reached - _LEAST) * 100) / 100), 0.0)
    return "roc_auc", "at_least", bound, f"{said}, hardly better than chance, 0.5: raise the bound once a model is."


def _regression(trial: Trial) -> tuple[str, str, float, str]:
    reached = trial.metrics["mae"]
    bound = _round_up(reached + max(0.05 * reached, _ERRORS * trial.noise))
    said = f"The {trial.rows} newest rows before the replay reach {reached:.4g}"
    if bound < trial.plain:
        return "mae", "at_most", bound, f"{said}; always predicting the mean would give {trial.plain:.4g}."
    return "mae", "at_most", bound, f"{said}, hardly better than the mean, {trial.plain:.4g}: lower it once a model is."


def _round_up(value: float) -> float:
    """Round up to two significant digits; return 0.01 for a value that is not positive."""
    if value <= 0:
        return 0.01
    digits = 1 - math.floor(math.log10(value))
    return round(math.ceil(round(value * 10.0**digits, 6)) / 10.0**digits, max(digits, 0))
