"""How often windows without drift alarm and warn, on made columns of which nothing changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rich.table import Table

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


def tabulate(windows: int = WINDOWS) -> Table:
    """Simulate and return the table.

    Args:
        windows: How many windows each case has.
    """
    table = Table("columns", "rows of training", "rows of the window", "alarm", "warn", title="windows without drift")
    for columns, trained, rows in CASES:
        rng = np.random.default_rng(columns + trained + rows)
        # Large cases take long, and have less chance to be wrong.
        count = max(windows * 5 * 2000 // max(columns * (trained + rows), 10_000), 100)
        found = [draw_window(rng, columns, trained, rows) for _ in range(count)]
        shares = [f"{sum(each) / count:.2%}" for each in zip(*found, strict=True)]
        table.add_row(str(columns), f"{trained:,}", f"{rows:,}", *shares)
    return table
