"""Whether rows and labels arrive as they did: the volume of a day against its weekdays, labels against their delays.

Both are judged against what chance explains where whole days differ. The monitor asks it of what was served, the
validation of what a source returned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.columns import Array
from training.quantiles import compute_negative_binomial_quantile

#: The chance with which the volume of a healthy day is named.
DAY_CHANCE = 0.001
#: The chance with which the variance of days is larger than the bound that is used.
_DOUBT = 0.05
#: With fewer weeks before it, a day's volume is not compared.
_FEWEST_WEEKS = 2
#: How many standard errors labels may be short, and the share of a day's uncertain labels that arrive together.
_LABEL_DOUBT, _TOGETHER = 3.1, 0.25


@dataclass(frozen=True)
class DayVolume:
    """The volume of a day, compared with the same weekdays before it.

    Attributes:
        found: Its rows.
        expected: The mean of the same weekdays.
        weeks: How many there are.
        moved: The logarithm of the factor between the two.
        least: The logarithm of the factor from which it matters and is not chance.
    """

    found: int
    expected: float
    weeks: int
    moved: float
    least: float


def judge_volume(
    counts: Mapping[np.datetime64, int], day: np.datetime64, factor: float, chance: float = DAY_CHANCE
) -> DayVolume | None:
    """Compare a day's rows with the same weekdays before it.

    Counts of days vary more than independent rows would; by how much, the other days show.

    Args:
        counts: Day → its rows, without gaps.
        day: The day that is judged.
        factor: The factor from which a difference matters.
        chance: How often a healthy day may be named.

    Returns:
        The comparison; None where too few weeks are known.
    """
    week = np.timedelta64(7, "D")
    first = min(counts, default=day)
    before = [counts[each] for each in np.arange(day - week, first - np.timedelta64(1, "D"), -week) if each in counts]
    while before and not before[-1]:
        # Nothing arrived yet.
        before.pop()
    if day not in counts or len(before) < _FEWEST_WEEKS or not sum(before):
        return None
    expected, found = float(np.mean(before)), counts[day]
    # In logarithms, so that half and double are equally far; half a row keeps an empty day finite.
    moved = abs(math.log((found + 0.5) / (expected + 0.5)))
    variation = _measure_variation({each: count for each, count in counts.items() if each < day}, before)
    # Half of the chance is for either side. The mean is itself known from a few weeks only.
    bound = _find_count(expected, variation, len(before), chance / 2 if found < expected else 1 - chance / 2)
    least = abs(math.log((bound + 0.5) / (expected + 0.5)))
    return DayVolume(found, expected, len(before), moved, max(math.log(factor), least))


def _find_count(expected: float, variation: float, weeks: int, share: float) -> float:
    """Return the quantile of a day's count, which varies beyond independent rows: it is negative binomial.

    Args:
        expected: The mean of so many weeks.
        variation: The relative variance of days.
        weeks: How many.
        share: The share of days with at most so many rows.
    """
    beyond = variation + (variation + 1.0 / expected) / weeks
    size = 1.0 / beyond
    return compute_negative_binomial_quantile(share, size, size / (size + expected))


def _measure_variation(counts: Mapping[np.datetime64, int], before: list[int]) -> float:
    """Return the variance of the logarithm of a day's count beyond that of independent rows, by weekday."""
    groups: dict[int, list[float]] = {}
    for day, count in counts.items():
        if count:
            groups.setdefault(int(day.astype("datetime64[D]").astype(np.int64)) % 7, []).append(math.log(count + 0.5))
    spread = [float(np.sum((np.array(logs) - np.mean(logs)) ** 2)) for logs in groups.values() if len(logs) > 1]
    freedom = sum(len(logs) - 1 for logs in groups.values() if len(logs) > 1)
    if not freedom:
        return 0.0
    from scipy.special import chdtri

    noise = float(np.mean([1.0 / (count + 0.5) for count in before]))
    # A few days show the variance only roughly: its upper bound of confidence counts.
    return max(0.0, sum(spread) / float(chdtri(freedom, 1.0 - _DOUBT)) - noise)


def find_missing_bound(expected: Array, days: Array, share: float) -> float:
    """Return the share of the expected labels that may be missing, because it matters or is chance.

    Whole days are late together: labels of one day arrive together.

    Args:
        expected: The probability that each event has a label by now.
        days: The number of each event's day.
        share: The share from which it matters.
    """
    uncertain = expected * (1.0 - expected)
    by_day = np.bincount(days, weights=uncertain)
    variance = float(np.sum(uncertain)) + float(np.sum((_TOGETHER * by_day) ** 2))
    return max(share, min(1.0, _LABEL_DOUBT * math.sqrt(variance) / float(expected.sum())))
