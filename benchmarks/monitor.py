"""`make bench-monitor`: the time of the monitor of a large window, part by part, beside that of parsing its capture.

The model, its baseline and the capture are real: made by the steps of a pipeline and written as the local cloud writes
them. What runs is the monitor itself, without network: capture files are read from disk. One column drifts and with it
the score, so that the monitor looks for what explains it, too. Evidently measures the drift of the same rows.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import made, made_capture
from benchmarks.clock import Clock, find_peak
from millrace.monitor_report import MonitorReport
from millrace.names import Names
from training.functions import Functions
from training.metrics import round_floats
from training.monitoring import captured, drifts, monitor, performance, silence, skew
from training.monitoring.report import render_page
from training.monitoring.silence import Traffic

ROWS, TRAINED = 1_000_000, 100_000
#: Part of the monitor → the functions of which it consists; without what other parts of the list do in them.
PARTS: dict[str, list[tuple[Any, str]]] = {
    "rows and outcomes of the use case, matched by key": [
        (Functions, "events"), (Functions, "labels"), (monitor, "_find_outcomes"), (performance, "find_groups"),
    ],
    "features and scores, by the model's own code": [(monitor, "score_rows")],
    "drift of 25 columns and the score": [(drifts, "measure_drift")],
    "what explains a move": [(drifts, "explain_moves")],
    "calibration": [(performance, "measure_calibration")],
    "quality": [(monitor, "measure_performance")],
    "slices": [(performance, "_check_groups")],
    "volume": [(silence, "check_volume")],
    "labels": [(silence, "check_labels")],
    "skew": [(skew, "pair_rows"), (skew, "measure_skew")],
}  # fmt: skip
READ, REST, PAGE = "parsing the capture", "everything else", "the report and its page"


class FolderClient:
    """An S3 client of which every object is a file of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_paginator(self, _: str) -> FolderClient:
        """Return a paginator."""
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        """Yield one page with all objects."""
        yield {"Contents": [{"Key": path.name} for path in sorted(self._folder.iterdir())]}

    def get_object(self, Key: str, **_: str) -> dict[str, Any]:
        """Return an object."""
        return {"Body": io.BytesIO((self._folder / Key).read_bytes())}


def prepare(folder: Path, rows: int, trained: int) -> None:
    """Train the model, and write the rows that it answered, those of training beside them."""
    made.train(folder, trained)
    made_capture.answer(folder, rows)


def run(folder: Path, per_request: int) -> dict[str, Any]:
    """Run the monitor and return what was measured: `seconds` and `wall` of each part, and `memory`, two peaks in GiB.

    Args:
        folder: Where :func:`prepare` wrote the model and the rows, and the capture is.
        per_request: Rows of a request.
    """
    clock = Clock()
    for part, functions in PARTS.items():
        for owner, name in functions:
            clock.watch(part, owner, name)
    names = Names(made.CASE.name, "local", "123456789012", "eu-west-1")
    client = FolderClient(folder / f"capture-{per_request}")
    functions_of_case = made.load_functions(folder)
    job: Any = SimpleNamespace(
        use_case=made.CASE, functions=functions_of_case, environment={}, names=names, make_client=lambda _: client
    )
    package = made.load_package(folder)
    with clock.measure(READ):
        served = captured.read_capture(job, package.document["inputs"], package.document.get("missing", {}), made.SINCE)
    after = find_peak()
    assert not served.unreadable, served.unreadable
    traffic = Traffic(datetime(2026, 10, 5, tzinfo=UTC), served.requests, 0, 1.0)
    with clock.measure(REST), tempfile.TemporaryDirectory() as scratch:
        found = monitor.examine_rows(job, package, served, traffic, made.SINCE, made.NOW, Path(scratch))
    with clock.measure(PAGE):
        base = {"endpoint": "made", "as_of": str(made.NOW), "since": str(made.SINCE)}
        report = MonitorReport.model_validate(round_floats({**base, **found}))
        render_page(report, made.CASE.monitoring)
    return {"seconds": clock.seconds, "wall": clock.wall, "memory": (after, find_peak())}


def compare(python: Path, folder: Path) -> dict[str, Any]:
    """Return what Evidently measured about the same rows.

    Args:
        python: The interpreter of its environment.
        folder: Where :func:`prepare` wrote the rows.
    """
    command = [python, Path(__file__).with_name("with_evidently.py"), *made_capture.write_frames(folder)]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def print_table(rows: int, runs: dict[int, dict[str, Any]], theirs: dict[str, Any]) -> None:
    """Print all that was measured as Markdown.

    Args:
        rows: Rows of the window.
        runs: Rows of a request → what :func:`run` returned.
        theirs: What :func:`compare` returned; empty without Evidently.
    """
    lines = [[f"{rows:,} rows × 25 columns, processor time", *(f"{each} row(s) per request" for each in runs)]]
    lines.append(["---"] * len(lines[0]))
    for part in [READ, *PARTS, REST, PAGE]:
        lines.append([part, *(f"{found['seconds'].get(part, 0.0):.2f} s" for found in runs.values())])
    for kind, name in (("seconds", "all of it"), ("wall", "all of it, by the clock on the wall")):
        totals = [(sum(found[kind].values()), found[kind][READ]) for found in runs.values()]
        lines.append([name, *(f"{total:.1f} s, {total / parsing:.2f} × parsing" for total, parsing in totals)])
    peaks = [found["memory"] for found in runs.values()]
    lines.append(["peak memory, of parsing / in all", *(f"{one:.2f} / {both:.2f} GiB" for one, both in peaks)])
    if theirs:
        name = f"Evidently {theirs['version']}: drift of the same 26 columns by their index, and nothing else"
        lines.append([name, f"{theirs['seconds']:.2f} s, {theirs['peak'] / 2**30:.2f} GiB"])
    width = len(lines[0])
    text = "\n".join(f"| {' | '.join([*line, *[''] * (width - len(line))])} |" for line in lines)
    sys.stdout.write(f"\n{text}\n")


def main() -> None:
    """Make a model and its capture, measure in processes of their own, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.monitor", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the window")
    parser.add_argument("--per-request", type=int, nargs="+", default=[100, 1], help="rows of a request, one run each")
    parser.add_argument("--evidently", type=Path, metavar="PYTHON", help="the interpreter of Evidently's environment")
    options = parser.parse_args()
    # As in jobs: one thread.
    os.environ["OMP_NUM_THREADS"] = "1"
    runs, theirs = {}, {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as scratch:
        folder = Path(scratch)
        _run_apart(prepare, folder, options.rows, min(options.rows, TRAINED))
        for per_request in options.per_request:
            _run_apart(made_capture.write_capture, folder, per_request)
            runs[per_request] = _run_apart(run, folder, per_request)
            shutil.rmtree(folder / f"capture-{per_request}")
        if options.evidently:
            theirs = compare(options.evidently, folder)
    print_table(options.rows, runs, theirs)


def _run_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, whose memory is then its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
