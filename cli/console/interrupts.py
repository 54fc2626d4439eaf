"""Being asked to stop: every signal takes the way of Ctrl-C, and none is lost.

An exception that a signal handler raises is swallowed when it happens to land in a destructor or a callback of the
import machinery. What is asked for is therefore remembered, and whoever waits or goes on to the next thing looks.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

_asked = False


def listen() -> None:
    """From here on SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def check() -> None:
    """Stop if it was asked for.

    Raises:
        KeyboardInterrupt: When it was.
    """
    if _asked:
        raise KeyboardInterrupt


def pause(seconds: float) -> None:
    """Sleep, unless it was asked to stop.

    Raises:
        KeyboardInterrupt: When it was.
    """
    check()
    time.sleep(seconds)
    check()


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    global _asked
    _asked = True
    raise KeyboardInterrupt
