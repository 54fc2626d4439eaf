"""A population of which nothing changes, as a file that a user would bring: numbers, texts, gaps, and a target."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.simulated import Array

_CITIES = 1 / np.arange(1, 21)
_DAY = np.timedelta64(1, "D").astype("m8[us]")
#: Days until the first outcome of a day is known, and the mean of what is added to that.
_SOONEST, _LATER = 1.0, 4.0


def draw_rows(rng: np.random.Generator, rows: int, since: np.datetime64, days: int, problem: str) -> dict[str, Any]:
    """Return rows in the order of time; on weekends half as many as on other days.

    Args:
        rng: The source of chance.
        rows: How many.
        since: The start of the span, or its end if ``days`` is negative.
        days: The length of the span.
        problem: `binary`, with about a fifth of the outcomes 1, or `regression`, of which two fifths can be explained.
    """
    first = min(since, since + days * _DAY)
    all_days = first + np.arange(abs(days)) * _DAY
    weights = np.where(np.isin(all_days.astype("M8[D]").astype(int) % 7, (2, 3)), 0.5, 1.0)
    seconds = rng.integers(0, 86_400, rows).astype("m8[s]")
    times = np.sort(rng.choice(all_days, rows, p=weights / weights.sum()) + seconds)
    tenure, calls, city = rng.integers(1, 73, rows), rng.poisson(3, rows), _draw_cities(rng, rows)
    age, usage, plan = rng.normal(45, 15, rows).round(), rng.lognormal(1, 0.6, rows).round(3), rng.integers(0, 3, rows)
    amount, is_new = (50 * (1 + rng.pareto(1.5, rows))).round(2), rng.random(rows) < 0.3
    income = rng.lognormal(10.3, 0.5, rows).round()
    known = 0.4 * (calls - 3) - 0.03 * (tenure - 36) + 0.8 * (np.log(usage) - 1) + 0.01 * (age - 45)
    known += 0.4 * (plan - 1) + 0.03 * (city - 5) + 0.2 * is_new
    if problem == "binary":
        outcome = np.where(rng.random(rows) < 1 / (1 + np.exp(2.1 - 1.5 * known)), "yes", "no")
    else:
        outcome = (150 + 40 * known + rng.normal(0, 58, rows)).round(1)
    return {
        "customer": np.array([f"c{number:09}" for number in rng.choice(10**9, rows, replace=False, shuffle=False)]),
        "asked_at": times, "tenure": tenure, "calls": calls, "amount": amount, "age": age, "usage": usage,
        "income": np.where(rng.random(rows) < 0.2, np.nan, income), "is_new": is_new,
        "city": np.array([f"city {number:02}" for number in range(20)])[city],
        "plan": np.array(["basic", "family", "premium"])[plan], "country": np.full(rows, "DE"), "outcome": outcome,
    }  # fmt: skip


def _draw_cities(rng: np.random.Generator, rows: int) -> Array:
    return rng.choice(20, rows, p=_CITIES / _CITIES.sum())


def find_delays(keys: Array) -> Array:
    """Return how long after its event each outcome is known: at least a day, five on average, whatever the outcome."""
    hashes = (hashlib.sha256(str(key).encode()).digest()[:6] for key in keys)
    shares = np.array([int.from_bytes(each) for each in hashes]) / 2.0**48
    days = _SOONEST - _LATER * np.log1p(-shares)
    return (days * 86_400_000_000).astype("m8[us]")


def write_file(path: Path, rows: dict[str, Any], now: np.datetime64, *, blank: bool) -> None:
    """Write rows as CSV.

    Args:
        path: The file.
        rows: The rows.
        now: The time of writing.
        blank: Whether outcomes that are not known yet are left empty.
    """
    hidden = (rows["asked_at"] + find_delays(rows["customer"]) > now) & blank
    shown = {name: pa.array(values, from_pandas=True) for name, values in rows.items()}
    shown["outcome"] = pa.array(rows["outcome"], mask=hidden)
    shown["asked_at"] = pa.array(np.datetime_as_string(rows["asked_at"], unit="s"))
    pyarrow.csv.write_csv(pa.table(shown), path)
