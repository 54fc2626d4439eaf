"""Quantiles of counts, as `scipy.stats` has them, whose import would cost each job more than a second."""

from __future__ import annotations

import math


def compute_binomial_quantile(share: float, count: int, chance: float) -> float:
    """Return the smallest number of successes that at least a share of all draws does not exceed.

    Args:
        share: The share of draws, below 1.
        count: The trials of a draw.
        chance: The probability of success of each.
    """
    from scipy.special import bdtr, bdtrik

    if chance <= 0.0 or chance >= 1.0:
        return float(count) if chance >= 1.0 else 0.0
    found = math.ceil(float(bdtrik(share, count, chance)))
    before = max(found - 1, 0)
    return float(before if bdtr(before, count, chance) >= share else found)


def compute_negative_binomial_quantile(share: float, size: float, chance: float) -> float:
    """Return the smallest number of failures that at least a share of all draws does not exceed.

    Args:
        share: The share of draws, below 1.
        size: The successes after which a draw ends; it need not be whole.
        chance: The probability of success of each trial.
    """
    from scipy.special import betainc, nbdtrik

    found = math.ceil(float(nbdtrik(share, size, chance)))
    before = max(found - 1, 0)
    return float(before if betainc(size, before + 1.0, chance) >= share else found)
