"""Simulations on all cores: the windows of a case in chunks, each with its own seeds."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Case = TypeVar("Case")

_CHUNK = 50


def count_on_all_cores(count: Callable[[Case, range], tuple[int, int]], case: Case, windows: int) -> tuple[int, int]:
    """Return the two counts of a case over all its windows.

    Args:
        count: Counts the windows of some seeds; a function of a module.
        case: The case.
        windows: How many windows there are; their seeds are 0, 1, …
    """
    chunks = [range(first, min(first + _CHUNK, windows)) for first in range(0, windows, _CHUNK)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(count, [case] * len(chunks), chunks))
    return sum(first for first, _ in found), sum(second for _, second in found)


def say(line: str) -> None:
    """Print a line at once.

    Args:
        line: The text.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
