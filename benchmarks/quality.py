"""How often the alarms of calibration and quality are wrong, and how often they are right, on made outcomes."""

from __future__ import annotations

import numpy as np

from benchmarks.parallel import count_on_all_cores, say
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


def count_case(case: tuple[int, float, float, float], seeds: range) -> tuple[int, int]:
    """Return how many windows of a case alarm: of calibration, and of quality.

    Args:
        case: Outcomes, base rate, how much days differ, and bias.
        seeds: The seed of each window.
    """
    rows, base, size, bias = case
    found = [is_alarm(np.random.default_rng((rows, seed)), rows, base, size, bias=bias) for seed in seeds]
    return sum(calibration for calibration, _ in found), sum(quality for _, quality in found)


def print_rates(windows: int = 2000) -> None:
    """Print how often a perfect model alarms, and how often a biased one is seen.

    Args:
        windows: How many windows each case has.
    """
    for rows in (200, 500, 2000, 20_000):
        for base in (0.02, 0.26, 0.5):
            for size in (0.0, 0.3):
                calibration, quality = count_on_all_cores(count_case, (rows, base, size, 0.0), windows)
                days = "days differ" if size else "independent"
                text = f"calibration {calibration / windows:.2%}, quality {quality / windows:.2%} of {windows}"
                say(f"a perfect model, {rows} outcomes, base rate {base:g}, {days}: {text}")
    for base in (0.1, 0.26, 0.5):
        seen, _ = count_on_all_cores(count_case, (500, base, 0.0, 0.08), windows)
        say(f"a bias of .08, 500 outcomes, base rate {base:g}: seen in {seen / windows:.1%} of {windows}")


if __name__ == "__main__":
    print_rates()
