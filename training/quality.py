"""What a model's quality in production is compared with: what was registered, and a reference that needs no model.

A season changes how hard the outcomes are to predict, and with it every loss, without any fault of the model. So a loss
is compared with that of a reference on the same rows, and their ratio with the registered one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from millrace.metrics import Problem
from training.calibration import FEWEST_DAYS, Spread, measure_spread
from training.columns import Array
from training.recalibration import AS_GIVEN, Recalibration, fit_recalibration

#: The reference that the loss is compared with, by problem type, of those in the model's document.
REFERENCE: Mapping[Problem, str] = {Problem.BINARY: "base_rate", Problem.REGRESSION: "median"}


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums over days, and how well it is known.

    Attributes:
        value: The ratio.
        error: Its standard error; 0 where the rows are of one day.
        days: The number of days.
    """

    value: float
    error: float
    days: int

    @property
    def can_be_judged(self) -> bool:
        """False if the rows are of too few days to tell how well the ratio is known."""
        return self.days >= FEWEST_DAYS and math.isfinite(self.value)


def compute_ratio(upper: Array, lower: Array, days: Array) -> Ratio:
    """Return the ratio of two sums over the same rows; days are its independent units.

    Args:
        upper: n values of the numerator.
        lower: n values of the denominator, 1 for a mean.
        days: The number of each row's day, 0, 1, …
    """
    tops, bottoms = np.bincount(days, weights=upper), np.bincount(days, weights=lower)
    present = np.bincount(days) > 0
    tops, bottoms = tops[present], bottoms[present]
    count, total = len(tops), float(bottoms.sum())
    if not total:
        return Ratio(math.nan, math.nan, count)
    value = float(tops.sum()) / total
    if count < 2:
        return Ratio(value, 0.0, count)
    return Ratio(value, math.sqrt(count / (count - 1) * float(np.sum((tops - value * bottoms) ** 2))) / total, count)


def compute_losses(problem: Problem, y: Array, p: Array) -> Array:
    """Return the loss of each row: the squared error of a probability, the absolute error of a number.

    Args:
        problem: The problem type.
        y: The outcomes of n rows.
        p: The n predictions.
    """
    return np.asarray((p - y) ** 2 if problem is Problem.BINARY else np.abs(p - y))


def _load_ratio(document: Mapping[str, Any]) -> Ratio:
    value, error = (math.nan if document[name] is None else document[name] for name in ("value", "error"))
    return Ratio(value, error, document["days"])


@dataclass(frozen=True)
class Registered:
    """What the judged fit did on rows that it had not seen.

    Attributes:
        reference: The constant that needs no model: the base rate or the median of the fitted rows.
        relative_loss: The loss relative to that of the reference.
        lean: The mean of outcome minus prediction, relative to the mean loss.
        spread: By how much the outcomes of days differ from what the probabilities mean; None where it cannot be told.
        meant: What the probabilities mean.
        rows: The rows of the final fit; 0 where it is not known.
    """

    reference: float
    relative_loss: Ratio
    lean: Ratio
    spread: Spread | None
    meant: Recalibration = AS_GIVEN
    rows: int = 0

    def dump(self) -> dict[str, Any]:
        """Return it as JSON data; a ratio that cannot be told is None."""
        document = asdict(self)
        for name in ("relative_loss", "lean"):
            ratio = document[name]
            document[name] = {key: value if math.isfinite(value) else None for key, value in ratio.items()}
        return document

    @classmethod
    def load(cls, document: Mapping[str, Any] | None) -> Registered | None:
        """Return it from JSON data; None for the models of earlier versions, which have none.

        Args:
            document: What :meth:`dump` returned, or None.
        """
        if document is None:
            return None
        spread = document["spread"]
        return cls(
            document["reference"],
            _load_ratio(document["relative_loss"]),
            _load_ratio(document["lean"]),
            None if spread is None else Spread(**spread),
            Recalibration.load(document.get("meant")),
            document.get("rows", 0),
        )


def describe_quality(
    problem: Problem, y: Array, p: Array, days: Array, references: Mapping[str, float], rows: int
) -> Registered:
    """Return what a model's quality in production is compared with.

    Args:
        problem: The problem type.
        y: The outcomes of rows that were scored by fits that had not seen them.
        p: Their scores.
        days: The number of each row's day, 0, 1, …
        references: The predictions without a model.
        rows: The rows of the final fit.
    """
    reference = references[REFERENCE[problem]]
    losses = compute_losses(problem, y, p)
    return Registered(
        reference,
        compute_ratio(losses, compute_losses(problem, y, np.full(len(y), reference)), days),
        compute_ratio(y - p, losses, days),
        *(_describe_probabilities(y, p, days) if problem is Problem.BINARY else (None, AS_GIVEN)),
        rows,
    )


def _describe_probabilities(y: Array, p: Array, days: Array) -> tuple[Spread | None, Recalibration]:
    """Return by how much days differ, and what probabilities mean."""
    meant = fit_recalibration(y, p, days)
    return measure_spread(y, meant.apply(p), days), meant
