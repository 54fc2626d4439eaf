"""The cost of a local cloud at rest: start-up time, memory, CPU, and memory after a day of its time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil

from local import client

#: Seconds over which the CPU time is measured.
_OBSERVED = 60
#: The scale at which a day passes in a minute.
_DAY_A_MINUTE = 24 * 60


def measure_fresh() -> list[tuple[str, str]]:
    """Measure a cloud that has just been started and holds nothing."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        state = Path(folder) / "state"
        began = time.perf_counter()
        running = client.start(state)
        seconds = time.perf_counter() - began
        try:
            memory = _measure_memory(running.pid)
        finally:
            client.stop(state)
    return [("start-up of an empty local cloud", f"{seconds:.2f} s"), ("its memory", memory)]


def measure_at_rest(state: Path, images: dict[str, Path]) -> list[tuple[str, str]]:
    """Measure a running cloud with one stack at rest; it is restarted at another scale, and left running.

    Args:
        state: The cloud's folder.
        images: The images that it was started with.
    """
    running = client.find_daemon(state)
    assert running is not None
    # What was just done is over: a rollout's old fleet has ended, and the snapshot has been written.
    time.sleep(15)
    rows = [("memory of the local cloud with one stack at rest", _measure_memory(running.pid))]
    servers = psutil.Process(running.pid).children(recursive=True)
    rows.append(("memory of its model server", f"{sum(each.memory_info().rss for each in servers) / 2**20:.0f} MiB"))
    rows.append((f"its CPU time, an hour a minute, over {_OBSERVED} s", _measure_cpu(running.pid)))
    client.stop(state)
    running = client.start(state, scale=_DAY_A_MINUTE, images=images)
    time.sleep(15)
    before = _measure_memory(running.pid)
    time.sleep(60)
    rows.append(
        ("its memory after a restart, and a day of its time later", f"{before}, {_measure_memory(running.pid)}")
    )
    return rows


def _measure_memory(pid: int) -> str:
    return f"{psutil.Process(pid).memory_info().rss / 2**20:.0f} MiB"


def _measure_cpu(pid: int) -> str:
    process = psutil.Process(pid)
    before = process.cpu_times()
    time.sleep(_OBSERVED)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return f"{used / _OBSERVED:.1%} of a core"
