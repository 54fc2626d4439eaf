"""Made data of which the truth is known: rows of several days, and models that are wrong by a known amount."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: The Brier score of the true probabilities of :func:`draw_rows` is about this.
LOSS = 0.15


@dataclass(frozen=True)
class Rows:
    """Rows with their true probability and outcome.

    Attributes:
        times: Event times.
        day: The number of each row's day.
        probability: The true probability of the outcome 1.
        y: The outcome.
    """

    times: Array
    day: Array
    probability: Array
    y: Array


def draw_rows(rng: np.random.Generator, rows: int, days: int, *, day_effect: float = 0.0, center: float = -1.2) -> Rows:
    """Return rows, spread evenly over days.

    Args:
        rng: The source of chance.
        rows: How many.
        days: Over how many days.
        day_effect: The standard deviation, in log-odds, of what all rows of a day share and no model knows.
        center: The log-odds of the mean row; the default gives a base rate of about .27.
    """
    day = np.arange(rows) * days // rows
    times = np.datetime64("2026-01-01", "us") + (np.arange(rows) * days * 86_400_000_000 // rows).astype("m8[us]")
    known = center + 1.2 * rng.standard_normal(rows)
    probability = 1 / (1 + np.exp(-known))
    realised = 1 / (1 + np.exp(-(known + day_effect * rng.standard_normal(days)[day])))
    return Rows(times, day, probability, (rng.random(rows) < realised).astype(np.float64))


def predict(rng: np.random.Generator, rows: Rows, excess: float, *, shared: float = 0.0) -> Array:
    """Return the predictions of a model whose expected Brier score is higher than that of the truth.

    Args:
        rng: The source of chance, from which the model's errors are drawn.
        rows: The rows.
        excess: By how much its expected Brier score is higher.
        shared: The share of the squared errors that all rows of a day have in common.
    """
    errors = np.sqrt(1 - shared) * rng.standard_normal(len(rows.day))
    errors += np.sqrt(shared) * rng.standard_normal(rows.day.max() + 1)[rows.day]
    # Not clipped: clipped errors would be smaller than asked for.
    return np.asarray(rows.probability + np.sqrt(excess) * errors)
