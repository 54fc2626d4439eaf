"""How often any default alarm fires while a healthy use case serves, as `millrace new` makes one from a file.

Nothing ever changes in the population that is asked about. A file of it becomes a use case with the rules that
`millrace new` declares; each model is trained, judged and packed by the pipeline's own steps, and windows of the length
that the use case declares are examined by the monitor's own code. Only a model that passes its gates serves.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.brought import World, score_in_process, train, watch
from millrace.watching import MonitorAlarm

#: The worlds of the table.
WORLDS = (World(442), World(442, "regression"), World(2000), World(20_000))
#: The stated bound of the share of windows with any alarm.
BOUND = 0.01
#: How many times as many trainings may be refused as serve, and how many are begun together at the end.
_REFUSED, _AT_ONCE = 20, 6
_HEADER = (
    "| rows of the file | problem | outcomes | rows / outcomes of a window | trainings | windows | "
    "windows with any alarm (95 %) | trainings with any | which |\n|---|---|---|---|---|---|---|---|---|\n"
)


def simulate(world: World, seed: int, windows: int) -> list[dict[str, Any]] | None:
    """Train once and watch many windows; return what each found, None where the model was refused.

    Args:
        world: What is simulated.
        seed: The seed, which is also a part of the use case's name.
        windows: How many windows.
    """
    name = f"healthy-{world.rows}-{world.problem[:3]}-{world.labels.replace(' ', '')}-{seed}"
    rng = np.random.default_rng((world.rows, seed))
    # What the steps print is of no interest.
    silent = io.StringIO()
    with (
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
        tempfile.TemporaryDirectory() as folder,
    ):
        serving = train(world, name, Path(folder), rng)
        if serving is None:
            return None
        with score_in_process(serving):
            return [_digest(watch(serving, rng, Path(folder))) for _ in range(windows)]


def _digest(report: dict[str, Any]) -> dict[str, Any]:
    """Return the checks of a window, its size, and the alarms that fire."""
    fired = {str(check["alarm"]) for check in report["checks"] if check["ratio"] > 1.0}
    if not report["measured"]:
        fired.add(MonitorAlarm.UNMEASURED.value)
    sizes = {"rows": report["rows"], "judged": report.get("judged", 0)}
    return {**sizes, "checks": report["checks"], "fired": sorted(fired)}


def find_interval(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Clopper & Pearson 1934).

    Args:
        hits: How often it was true.
        of: How often it could have been.
    """
    from scipy.special import betaincinv

    low = float(betaincinv(hits, of - hits + 1, 0.025)) if hits else 0.0
    return low, float(betaincinv(hits + 1, of - hits, 0.975)) if hits < of else 1.0


def render_row(world: World, found: list[list[dict[str, Any]]], refused: int) -> str:
    """Return a row of the table.

    Args:
        world: What was simulated.
        found: What each window of each training found.
        refused: How many further trainings failed their gates.
    """
    windows = [window for training in found for window in training]
    what = f"| {world.rows:,} | {world.problem} | {world.labels} |"
    if not windows:
        return f"{what} | 0 ({refused} refused) | 0 | | | |"
    fired = Counter(alarm for window in windows for alarm in window["fired"])
    hits, of = sum(bool(window["fired"]) for window in windows), len(windows)
    low, high = find_interval(hits, of)
    ever = sum(any(window["fired"] for window in training) for training in found)
    sizes = " / ".join(f"{np.median([window[name] for window in windows]):,.0f}" for name in ("rows", "judged"))
    alarms = ", ".join(f"`{alarm}` {count / of:.2%}" for alarm, count in fired.most_common())
    return (
        f"{what} {sizes} | {len(found)} ({refused} refused) | {of:,} | {hits / of:.2%} ({low:.2%} to {high:.2%}) | "
        f"{ever} of {len(found)} | {alarms or 'none'} |"
    )


def run_world(
    pool: ProcessPoolExecutor, world: World, windows: int, trainings: int, seed: int, details: Path | None
) -> str:
    """Simulate a world and return its row of the table.

    Args:
        pool: The processes.
        world: What is simulated.
        windows: The windows, at least.
        trainings: The models that they are spread over; those that are refused are replaced.
        seed: The first seed.
        details: A file for all checks of all windows, as lines of JSON.
    """
    found, refused = list[list[dict[str, Any]]](), 0
    while len(found) < trainings and refused < _REFUSED * trainings:
        count = max(trainings - len(found), _AT_ONCE)
        jobs = [
            pool.submit(simulate, world, each, math.ceil(windows / trainings)) for each in range(seed, seed + count)
        ]
        seed += count
        for job in as_completed(jobs):
            result = job.result()
            if result is None:
                refused += 1
                continue
            found.append(result)
            hits = sum(bool(window["fired"]) for training in found for window in training)
            sys.stderr.write(
                f"{world.rows} rows, {world.problem}: {len(found)} of {trainings} trained, {refused} refused, "
                f"{hits} of {sum(map(len, found))} windows with an alarm\n"
            )
            if details:
                with details.open("a") as lines:
                    lines.write(json.dumps({**asdict(world), "windows": result}) + "\n")
    return render_row(world, found, refused)


def main() -> None:
    """Read the options and print the table."""
    # Before the processes begin that fit models: as in a job, one thread each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=2000, help="windows of each world")
    parser.add_argument("--trainings", type=int, default=40, help="trainings of each world")
    parser.add_argument("--size", type=int, action="append", help="rows of the file; may be repeated")
    parser.add_argument("--labels", choices=("late", "blank", "at once"), default="late", help="how outcomes arrive")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--details", type=Path, help="a file for all checks of all windows, as lines of JSON")
    given = parser.parse_args()
    worlds = [
        World(each.rows, each.problem, given.labels) for each in WORLDS if given.size is None or each.rows in given.size
    ]
    sys.stdout.write(_HEADER)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for world in worlds:
            row = run_world(pool, world, given.windows, given.trainings, given.seed, given.details)
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
    sys.stdout.write(
        f"\nThe bound is {BOUND:.0%} of windows. Windows of one training share its model and its baseline.\n"
    )


if __name__ == "__main__":
    main()
