"""How often healthy data break a rule that is inferred from the snapshot accepted before.

Two snapshots of one source, a day, a week or a month apart. The source has weekdays, days that are busier than others,
a heavy tail, integers, a constant, a text of many levels, and missing values that come by the day.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.findings import INFERRED
from training.data.profile import profile_snapshot
from training.data.snapshot import Snapshot
from training.data.validate import check_snapshot
from training.io import format_time

#: The rates that must be kept: of snapshots with a finding.
BOUND = 0.01
_SINCE = np.datetime64("2025-01-01", "us")
_DAY = np.timedelta64(86_400_000_000, "us")
_DAYS = 365


def draw_source(rng: np.random.Generator, rows: int, days: int) -> dict[str, Any]:
    """Return the events of a source with the time at which each label became known, and its outcome.

    Args:
        rng: The source of chance.
        rows: About how many rows.
        days: Over how many days.
    """
    weekly = np.array([1.0, 1.1, 1.0, 1.0, 1.2, 0.6, 0.5])
    busy = weekly[np.arange(days) % 7] * rng.lognormal(0.0, 0.15, days)
    counts = rng.poisson(rows * busy / busy.sum())
    day = np.repeat(np.arange(days), counts)
    n = len(day)
    times = (
        _SINCE
        + day * _DAY
        + (np.sort(rng.random(n)) * 0).astype("m8[us]")
        + (rng.random(n) * 86_400e6).astype("m8[us]")
    )
    levels = np.array([f"level {place}" for place in range(50)], dtype=object)
    often = 1.0 / np.arange(1, 51)
    missing = rng.random(n) < rng.beta(2, 18, days)[day]
    delays = np.minimum(rng.gamma(2.0, 2.0, n), 20.0)
    return {
        "id": np.array([f"e{place}" for place in range(n)], dtype=object),
        "at": times,
        "normal": rng.standard_normal(n).astype(np.float32),
        "heavy": rng.standard_t(2, n).astype(np.float32),
        "amount": np.where(missing, np.nan, rng.lognormal(3.0, 1.0, n)).astype(np.float32),
        "count": rng.poisson(3.0, n).astype(np.float32),
        "constant": np.ones(n, dtype=np.float32),
        "number": (times.astype(np.int64) / 1e12).astype(np.float32),
        "text": rng.choice(levels, n, p=often / often.sum()),
        "reference": np.array([f"r{place}" for place in rng.integers(0, 10**9, n)], dtype=object),
        "y": (rng.random(n) < 0.25).astype(np.float64),
        "known_at": times + (delays * 86_400e6).astype("m8[us]"),
    }


def take_snapshot(source: dict[str, Any], as_of: np.datetime64) -> Snapshot:
    """Return what is known of a source at one time.

    Args:
        source: What :func:`draw_source` returned.
        as_of: The time.
    """
    there, arrived = source["at"] < as_of, source["known_at"] <= as_of
    events = {name: values[there] for name, values in source.items() if name not in ("y", "known_at")}
    labels = {name: source[name][arrived] for name in ("id", "y", "known_at")}
    return Snapshot(as_of, _SINCE, {"events": events, "labels": labels})


def count_findings(rng: np.random.Generator, rows: int, apart: int) -> list[str]:
    """Return the inferred rules that the second of two healthy snapshots breaks.

    Args:
        rng: The source of chance.
        rows: About how many rows there are in a year.
        apart: How many days lie between the two.
    """
    case = UseCase(
        name="healthy",
        target="y",
        key="id",
        event_time="at",
        history=timedelta(days=2 * _DAYS),
        labels_mature_after=None,
    )
    source = draw_source(rng, rows, _DAYS)
    until = _SINCE + _DAYS * _DAY
    before = take_snapshot(source, until - apart * _DAY)
    profile = profile_snapshot(case, before, format_time(before.as_of))
    found = check_snapshot(case, take_snapshot(source, until), profile)[1].all
    return [f"{each.code.value} {each.column or each.table}" for each in found if each.code in INFERRED]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.stdout.write(
        "| rows a year | days between snapshots | with a finding | bound | which |\n|---|---|---|---|---|\n"
    )
    for rows in (442, 2_000, 20_000):
        for apart in (1, 7, 30):
            rng = np.random.default_rng([arguments.seed, rows, apart])
            found = [count_findings(rng, rows, apart) for _ in range(arguments.snapshots)]
            which = Counter(each for findings in found for each in findings)
            share = float(np.mean([bool(findings) for findings in found]))
            named = ", ".join(f"{name}: {count}" for name, count in which.most_common())
            line = f"| {rows:,} | {apart} | {share:.2%} of {len(found):,} | ≤ {BOUND:.0%} | {named} |"
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
