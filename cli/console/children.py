"""Children of a command that end with it: told once to stop and waited for, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import psutil

from cli.console.output import say

Line = Callable[[str], None]

#: Seconds between two looks at what a child says.
_LOOK = 0.05
#: Linux: the signal that a process gets when its parent dies, however it dies.
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def run(
    command: Sequence[str],
    on_line: Line,
    *,
    folder: Path,
    environment: Mapping[str, str],
    waiting: str,
) -> tuple[int, str]:
    """Run a child to its end.

    The child has a session of its own, so that a terminal's Ctrl-C reaches it only once, from here.

    Args:
        on_line: Told each line of its standard output.
        waiting: Said when it was told to stop and takes its time.

    Returns:
        Its exit code and what it wrote to standard error.
    """
    # Files, not pipes: when this process is killed, a child that writes into a broken pipe dies before it has put its
    # house in order.
    with (
        _file() as (out, said),
        _file() as (err, errors),
        subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=_end_with_parent if _LIBC else None,
        ) as child,
    ):
        try:
            return _followed(child, said, on_line), errors.read()
        except BaseException:
            _end(child, waiting)
            raise
        finally:
            if child.returncode is None or child.returncode < 0:
                _sweep(child.pid)


@contextlib.contextmanager
def _file() -> Iterator[tuple[int, TextIO]]:
    """A file without a name, to write to and to read from."""
    descriptor, name = tempfile.mkstemp()
    try:
        with Path(name).open(errors="replace") as reader:
            Path(name).unlink()
            yield descriptor, reader
    finally:
        os.close(descriptor)


def _followed(child: subprocess.Popen[bytes], said: TextIO, on_line: Line) -> int:
    part = ""
    while True:
        code = child.poll()
        *lines, part = (part + said.read()).split("\n")
        for line in lines:
            on_line(line)
        if code is not None:
            if part:
                on_line(part)
            return code
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_LOOK)


def _end(child: subprocess.Popen[bytes], waiting: str) -> None:
    """Ask once, wait; at the second Ctrl-C end it at once."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGINT)
    try:
        try:
            child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            say(f"{waiting}; Ctrl-C again ends it at once", err=True)
            child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise


def _sweep(session: int) -> None:
    """End what a child that was killed has left behind: its own children are still of its session."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


def _end_with_parent() -> None:
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
