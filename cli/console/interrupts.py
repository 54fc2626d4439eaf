"""Requests to stop: every signal acts like Ctrl-C, and none is lost.

An exception that a signal handler raises is swallowed when it happens to land in a destructor or a callback of the
import machinery. The request is therefore remembered, and checked before every wait and every next piece of work.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

_asked = False


def install_handlers() -> None:
    """Make SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt from now on, as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def raise_if_interrupted() -> None:
    """Raise when a stop was requested.

    Raises:
        KeyboardInterrupt: A stop was requested.
    """
    if _asked:
        raise KeyboardInterrupt


def sleep(seconds: float) -> None:
    """Sleep; raise when a stop was requested before or meanwhile.

    Args:
        seconds: How long to sleep.

    Raises:
        KeyboardInterrupt: A stop was requested.
    """
    raise_if_interrupted()
    time.sleep(seconds)
    raise_if_interrupted()


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    global _asked
    _asked = True
    raise KeyboardInterrupt
