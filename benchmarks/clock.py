"""A clock for the parts of a program, by the time of processors: another program on the machine hardly disturbs it."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """A measurement of parts that call each other: the time of a part excludes that of the parts within it.

    Attributes:
        seconds: Part → processor time of this process and of the programs that it ran to their end.
        wall: Part → time by the clock on the wall.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.wall: dict[str, float] = {}
        self._within: list[tuple[float, float]] = []

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Measure what is done in the context."""
        began = _now()
        self._within.append((0.0, 0.0))
        try:
            yield
        finally:
            took = [end - start for end, start in zip(_now(), began, strict=True)]
            inner = self._within.pop()
            for found, all_of_it, within in zip((self.seconds, self.wall), took, inner, strict=True):
                found[part] = found.get(part, 0.0) + all_of_it - within
            if self._within:
                outer = self._within[-1]
                self._within[-1] = (outer[0] + took[0], outer[1] + took[1])

    def watch(self, part: str, owner: Any, name: str) -> None:
        """Replace a function by one that is measured.

        Args:
            part: The part that it belongs to.
            owner: The module or class that it is called through.
            name: Its name there.
        """
        function: Callable[..., Any] = getattr(owner, name)

        def measured(*arguments: Any, **named: Any) -> Any:
            with self.measure(part):
                return function(*arguments, **named)

        setattr(owner, name, measured)


def _now() -> tuple[float, float]:
    return sum(os.times()[:4]), time.perf_counter()


def find_peak() -> float:
    """Return the largest memory that this process has had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
