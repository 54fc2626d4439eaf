"""How often windows without drift alarm and warn, on made columns of which nothing changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.parallel import count_on_all_cores, say
from benchmarks.simulated import Array
from training.drift import compute_baseline
from training.significance import measure_shifts

#: Columns, rows of training and rows of the window.
CASES = [
    (5, 200, 200), (5, 200, 20_000), (5, 20_000, 200), (25, 200, 2000), (25, 2000, 200), (25, 2000, 2000),
    (25, 20_000, 20_000), (100, 2000, 2000),
]  # fmt: skip
WINDOWS = 2000
EFFECT = 0.25


def _draw_text(rng: np.random.Generator, rows: int) -> Array:
    weights = 1 / np.arange(1, 51)
    return np.array([f"t{each:02}" for each in range(50)], dtype=object)[
        rng.choice(50, rows, p=weights / weights.sum())
    ]


def _draw_missing(share: float) -> Callable[[np.random.Generator, int], Array]:
    def draw(rng: np.random.Generator, rows: int) -> Array:
        values = rng.standard_normal(rows).astype(np.float32)
        values[rng.random(rows) < share] = np.nan
        return values

    return draw


#: The kinds of columns: normal, text of 50 Zipf levels, integers, heavy tails, constant, often and rarely missing.
KINDS: list[Callable[[np.random.Generator, int], Array]] = [
    lambda rng, rows: rng.standard_normal(rows).astype(np.float32),
    _draw_text,
    lambda rng, rows: rng.poisson(3, rows).astype(np.float32),
    lambda rng, rows: rng.standard_t(1.5, rows).astype(np.float32),
    lambda _, rows: np.full(rows, 3, np.float32),
    _draw_missing(0.3),
    _draw_missing(0.01),
]


def draw_window(rng: np.random.Generator, columns: int, trained: int, rows: int) -> tuple[bool, bool]:
    """Return whether a window without drift alarms, and whether it warns.

    Args:
        rng: The source of chance.
        columns: How many columns are tested, of all kinds in turn.
        trained: The rows of the baseline.
        rows: The rows of the window.
    """
    found = []
    for column in range(columns):
        draw = KINDS[column % len(KINDS)]
        bins = compute_baseline({"x": draw(rng, trained)})["x"]
        found += measure_shifts(bins, draw(rng, rows), tests=4 * columns + 1, effect=EFFECT)
    return any(shift.ratio > 1 for shift in found), any(shift.value > shift.warning for shift in found)


def count_case(case: tuple[int, int, int], seeds: range) -> tuple[int, int]:
    """Return how many windows of a case alarm, and how many warn.

    Args:
        case: Columns, rows of training and rows of the window.
        seeds: The seed of each window.
    """
    found = [draw_window(np.random.default_rng((*case, seed)), *case) for seed in seeds]
    return sum(alarms for alarms, _ in found), sum(warns for _, warns in found)


def print_rates(windows: int = WINDOWS) -> None:
    """Simulate, on all cores, and print a line for each case.

    Args:
        windows: How many windows each case has.
    """
    for case in CASES:
        alarms, warns = count_on_all_cores(count_case, case, windows)
        columns, trained, rows = case
        what = f"{columns} columns, {trained:,} rows of training, {rows:,} of the window"
        say(f"{what}: {alarms / windows:.2%} of {windows} alarm, {warns / windows:.2%} warn")


if __name__ == "__main__":
    print_rates()
