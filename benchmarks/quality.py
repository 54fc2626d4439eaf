"""How often the alarms of calibration and quality are wrong, and how often they are right, on made outcomes."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.simulated import Array
from training.calibration import Spread, measure_calibration, measure_spread

#: The sizes from which calibration and quality matter: the stricter of the first use case and the default.
CALIBRATION, QUALITY = 0.04, 0.1
#: Rows of a holdout, at least, and its days and those of a window.
HOLDOUT, DAYS = 2000, 28


def draw_window(
    rng: np.random.Generator, rows: int, base: float, size: float, *, bias: float = 0.0, days: int = DAYS
) -> tuple[Array, Array, Array]:
    """Return outcomes, probabilities and days; the probabilities are right on average over days.

    Args:
        rng: The generator of random numbers.
        rows: How many rows.
        base: About the share of outcomes that are 1.
        size: The standard deviation of a day's shift in logits.
        bias: By how much outcomes are more likely than the probabilities say.
        days: How many days.
    """
    logits = rng.normal(np.log(base / (1 - base)), 1.0, rows)
    day = np.sort(rng.integers(0, days, rows))
    points, weights = np.polynomial.hermite_e.hermegauss(9)
    p = _to_probability(logits[:, None] + size * points) @ (weights / weights.sum())
    true = _to_probability(logits + (size * rng.standard_normal(days))[day])
    y = (rng.random(rows) < np.clip(true + bias, 0.0, 1.0)).astype(float)
    return y, p, np.unique(day, return_inverse=True)[1]


def _to_probability(logits: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def is_alarm(rng: np.random.Generator, rows: int, base: float, size: float, *, bias: float = 0.0) -> tuple[bool, bool]:
    """Return whether a window raises the alarm of calibration, and that of quality by the expected loss.

    Args:
        rng: The generator of random numbers.
        rows: Outcomes in the window.
        base: About the share of outcomes that are 1.
        size: By how much days differ, in logits.
        bias: By how much outcomes are more likely than the probabilities say.
    """
    spread = measure_spread(*draw_window(rng, max(rows, HOLDOUT), base, size)) or Spread()
    found = measure_calibration(*draw_window(rng, rows, base, size, bias=bias), spread, seed=0)
    judged = (found.ece.value, found.ece.chance), (abs(found.gap.value), found.gap.chance)
    return (
        any(value > max(CALIBRATION, chance) for value, chance in judged),
        found.excess.value > max(found.excess.chance, QUALITY * found.expected_loss),
    )


def print_rates() -> None:
    """Print how often a perfect model alarms, and how often a biased one is seen."""
    for rows, windows in ((200, 2000), (500, 2000), (2000, 500), (20_000, 500)):
        for base in (0.02, 0.26, 0.5):
            for size in (0.0, 0.3):
                found = [is_alarm(np.random.default_rng((rows, seed)), rows, base, size) for seed in range(windows)]
                calibration, quality = (np.mean(each) for each in zip(*found, strict=True))
                days = "days differ" if size else "independent"
                text = f"calibration {calibration:.2%}, quality {quality:.2%} of {windows}"
                _say(f"a perfect model, {rows} outcomes, base rate {base:g}, {days}: {text}")
    for base in (0.1, 0.26, 0.5):
        seen = [is_alarm(np.random.default_rng((9, seed)), 500, base, 0.0, bias=0.08)[0] for seed in range(1000)]
        _say(f"a bias of .08, 500 outcomes, base rate {base:g}: seen in {np.mean(seen):.1%} of 1000")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    print_rates()
