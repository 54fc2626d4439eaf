"""The cloud's clock: time stamps are real, durations can be hurried.

A scale of 60 makes a 600-second bake last ten seconds. Only what the cloud itself waits for is scaled: bakes,
schedules, cooldowns, alarm periods. Jobs and requests take the time they take.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """A clock whose waits are ``scale`` times shorter than they say."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"clock scale: {self.scale} is not above 0; 1 is real time, 60 a minute per second")

    def now(self) -> float:
        """Seconds since the epoch, real."""
        return time.time()

    def real(self, seconds: float) -> float:
        """How many real seconds a wait of ``seconds`` of the cloud's time lasts."""
        return seconds / self.scale

    def wait(self, seconds: float, unless: threading.Event) -> bool:
        """Wait ``seconds`` of the cloud's time; True at once when ``unless`` is set, False at the end."""
        return unless.wait(self.real(seconds))
