"""The cloud's clock: timestamps are real, waits can be shortened.

A scale of 60 makes a 600-second bake last ten seconds. Only what the cloud itself waits for is scaled: bakes,
schedules, cooldowns, alarm periods. Jobs and requests run in real time.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """A clock whose waits are shortened by the factor ``scale``."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(
                f"clock scale: {self.scale} is not a finite number above 0; 1 is real time, 60 a minute per second"
            )

    def now(self) -> float:
        """Return the real time in seconds since the epoch."""
        return time.time()

    def to_real_seconds(self, seconds: float) -> float:
        """Return the real seconds that a wait of ``seconds`` of the cloud's time lasts.

        Args:
            seconds: The duration in the cloud's time.
        """
        return seconds / self.scale

    def wait(self, seconds: float, unless: threading.Event) -> bool:
        """Wait ``seconds`` of the cloud's time, or until ``unless`` is set.

        Args:
            seconds: The longest wait, in the cloud's time.
            unless: The event that ends the wait.

        Returns:
            True as soon as the event is set, else False after the whole wait.
        """
        return unless.wait(self.to_real_seconds(seconds))
