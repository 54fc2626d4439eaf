"""When outcomes are known: how long labels take to arrive, and from which age on an event's outcome is certain.

One outcome is often known earlier than the other: a default is reported within days, that there was none only after
weeks. Young events with a label are then mostly of one outcome, so that neither training nor any measurement uses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from millrace import UseCase
from training.columns import Array

#: The share of labels that have arrived at the age from which events are judged, where none is declared.
MATURE = 0.95
#: Steps of the distribution of delays that a model keeps.
_STEPS = 20
#: The learned age is at most this share of the history: labels that were loaded at once say nothing about delays.
_LARGEST_SHARE = 0.25
#: The youngest events, as a share and at least so many, that show whether outcomes are empty until they are known, and
#: the chance with which they seem to be where they are not.
_YOUNGEST, _FEWEST, _CHANCE = 0.05, 20, 0.001
#: Times that the age is learned from events of at least that age.
_ROUNDS = 5


@dataclass(frozen=True)
class Maturity:
    """How labels arrive.

    Attributes:
        after: The age of an event from which its outcome counts as known for certain.
        delays: Quantiles of the delay of labels in seconds, from the smallest to the largest in equal steps; empty
            without any label.
        coverage: The share of events of at least that age that have a label; None where there is no such event.
    """

    after: np.timedelta64
    delays: tuple[float, ...] = ()
    coverage: float | None = None

    def dump(self) -> dict[str, Any]:
        """Return it as JSON data."""
        seconds = self.after / np.timedelta64(1, "s")
        return {"mature_after": float(seconds), "delays": list(self.delays), "coverage": self.coverage}

    @classmethod
    def load(cls, document: dict[str, Any]) -> Maturity:
        """Return it from JSON data.

        Args:
            document: What :meth:`dump` returned; empty for models of earlier versions.
        """
        after = np.timedelta64(round(document.get("mature_after", 0.0) * 1e6), "us")
        return cls(after, tuple(document.get("delays", ())), document.get("coverage"))

    def expect_labels(self, ages: Array) -> Array:
        """Return the probability that events have a label by now.

        Args:
            ages: How old each event is, `timedelta64`.
        """
        if not self.delays or self.coverage is None:
            return np.full(len(ages), np.nan)
        shares = np.linspace(0.0, 1.0, len(self.delays))
        # Of equal delays, the largest share counts.
        values, last = np.unique(np.array(self.delays)[::-1], return_index=True)
        arrived = np.interp(ages / np.timedelta64(1, "s"), values, shares[::-1][last], left=0.0, right=1.0)
        return np.asarray(arrived * self.coverage)


def learn_maturity(use_case: UseCase, times: Array, known_at: Array, as_of: np.datetime64) -> Maturity:
    """Return how labels arrive.

    Args:
        use_case: The declaration: the age, where it is declared, and the history that bounds it.
        times: The event times of n events.
        known_at: When each event's label became known; NaT where none has arrived.
        as_of: The time of the data.
    """
    labelled = ~np.isnat(known_at)
    delays = (known_at[labelled] - times[labelled]) / np.timedelta64(1, "s")
    # A label may be known before its event, as that of a booking; its delay is then none.
    delays = np.maximum(delays, 0.0)
    quantiles = () if delays.any() else _learn_by_age(use_case.history, as_of - times, labelled)
    if use_case.labels_mature_after is not None:
        after: np.timedelta64 = np.timedelta64(use_case.labels_mature_after, "us")
    elif quantiles:
        after = np.timedelta64(round(float(np.interp(MATURE, np.linspace(0, 1, _STEPS + 1), quantiles)) * 1e6), "us")
    else:
        after = _learn_age(use_case.history, times[labelled], delays, as_of)
    old = times <= as_of - after
    if not quantiles and (chosen := delays[old[labelled]]).size:
        quantiles = tuple(map(float, np.quantile(chosen, np.linspace(0.0, 1.0, _STEPS + 1))))
    return Maturity(after, quantiles, float(np.mean(labelled[old])) if old.any() else None)


def _learn_by_age(history: timedelta, ages: Array, labelled: Array) -> tuple[float, ...]:
    """Return the quantiles of delays that a source without times of labels shows: outcomes are empty until known.

    Args:
        history: The declared history, which bounds a delay.
        ages: How old each event is.
        labelled: Whether it has an outcome.

    Returns:
        The quantiles in seconds; empty where young events have outcomes as often as old ones.
    """
    from scipy.special import bdtr
    from sklearn.isotonic import IsotonicRegression

    seconds, longest = ages / np.timedelta64(1, "s"), _LARGEST_SHARE * history.total_seconds()
    order = np.argsort(seconds, kind="stable")
    youngest = order[: max(_FEWEST, round(_YOUNGEST * len(order)))]
    old = labelled[seconds > min(longest, float(np.median(seconds)))] if len(order) else labelled
    if len(order) < 2 * _FEWEST or not old.size or not old.any():
        return ()
    share = float(old.mean())
    if bdtr(labelled[youngest].sum(), len(youngest), share) > _CHANCE:
        return ()
    arrived = IsotonicRegression(out_of_bounds="clip").fit_transform(seconds[order], labelled[order].astype(float))
    steps = np.linspace(0.0, 1.0, _STEPS + 1)
    found = np.searchsorted(np.maximum.accumulate(np.minimum(arrived / share, 1.0)), steps - 1e-9)
    # At its start, an event has no outcome yet.
    delays = np.concatenate([[0.0], seconds[order][np.minimum(found[1:], len(order) - 1)]])
    return tuple(map(float, np.minimum(delays, longest)))


def _learn_age(history: timedelta, times: Array, delays: Array, as_of: np.datetime64) -> np.timedelta64:
    """Return the delay by which most labels have arrived, learned from events of at least that age.

    Of younger events only the fast labels are known, which would make the delay look shorter.
    """
    since: Array = as_of - times
    seconds, ages = 0.0, since / np.timedelta64(1, "s")
    for _ in range(_ROUNDS):
        chosen = delays[ages >= seconds]
        if not chosen.size:
            break
        longer = float(np.quantile(chosen, MATURE))
        if longer <= seconds:
            break
        seconds = longer
    longest = _LARGEST_SHARE * history.total_seconds()
    return np.timedelta64(round(min(seconds, longest) * 1e6), "us")
