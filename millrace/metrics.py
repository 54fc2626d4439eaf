"""The metrics that a gate, a champion rule or an alarm may name, by problem type.

Each is defined only here; `training/modeling/evaluate.py` computes them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal


class Problem(StrEnum):
    """The kind of answer that a model gives."""

    BINARY = "binary"
    REGRESSION = "regression"


Direction = Literal["higher", "lower"]

#: Metric → whether a higher or a lower value is better, by problem type.
METRICS: Final[dict[Problem, dict[str, Direction]]] = {
    Problem.BINARY: {
        "roc_auc": "higher",  # probability that a random positive scores above a random negative
        "average_precision": "higher",  # area under precision over recall, as a step function
        "brier": "lower",  # mean squared error of the probability
        "brier_skill": "higher",  # 1 - brier / (base rate * (1 - base rate))
        "ece": "lower",  # expected calibration error over ten bins of equal mass
        "log_loss": "lower",  # mean negative log-likelihood, nats
    },
    Problem.REGRESSION: {
        "mae": "lower",  # mean absolute error, in the target's unit
        "rmse": "lower",  # root of the mean squared error, in the target's unit
        "r2": "higher",  # share of the target's variance that is explained
        "bias": "lower",  # absolute mean error, in the target's unit
    },
}

#: The lowest and the highest value that a metric can have; None where it has no bound.
RANGES: Final[dict[str, tuple[float | None, float | None]]] = {
    "roc_auc": (0, 1),
    "average_precision": (0, 1),
    "brier": (0, 1),
    "brier_skill": (None, 1),
    "ece": (0, 1),
    "log_loss": (0, None),
    "mae": (0, None),
    "rmse": (0, None),
    "r2": (None, 1),
    "bias": (0, None),
}

#: The metric that decides between champion and challenger unless the use case names another.
CHAMPION_METRIC: Final[dict[Problem, str]] = {Problem.BINARY: "brier", Problem.REGRESSION: "mae"}


def get_direction(problem: Problem, metric: str) -> Direction:
    """Return whether a higher or a lower value of ``metric`` is better.

    Args:
        problem: The problem type.
        metric: The name of a metric that the problem type has in :data:`METRICS`.
    """
    return METRICS[problem][metric]


#: The rates whose differences between groups are audited, by problem type; `Slice` has a bound for each.
AUDITED: Final[dict[Problem, tuple[str, ...]]] = {
    Problem.BINARY: ("tpr", "fpr", "selection", "precision"),
    Problem.REGRESSION: ("error", "bias"),
}
