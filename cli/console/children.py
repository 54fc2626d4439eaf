"""Subprocesses of a command that end with it: asked once to stop, waited for, and never left behind."""

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

#: Seconds between two reads of a child's output.
_LOOK = 0.05
#: Linux: the signal that a process gets when its parent dies, however it dies.
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def run_child(
    command: Sequence[str],
    on_line: Line,
    *,
    folder: Path,
    environment: Mapping[str, str],
    waiting: str,
) -> tuple[int, str]:
    """Run a child process to its end.

    The child has its own session, so that a terminal's Ctrl-C reaches it only once, from here.

    Args:
        command: The program and its arguments.
        on_line: Called with each line of its standard output.
        folder: Its working directory.
        environment: Its environment variables.
        waiting: Printed when the child was asked to stop and does not stop at once.

    Returns:
        Its exit code and what it wrote to standard error.
    """
    # Files, not pipes: when this process is killed, a child that writes into a broken pipe would die before it has
    # cleaned up.
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
            return _follow(child, said, on_line), errors.read()
        except BaseException:
            _end(child, waiting)
            raise
        finally:
            if child.returncode is None or child.returncode < 0:
                _kill_session(child.pid)


@contextlib.contextmanager
def _file() -> Iterator[tuple[int, TextIO]]:
    """Yield a temporary file without a name: a descriptor to write to, and a reader."""
    descriptor, name = tempfile.mkstemp()
    try:
        with Path(name).open(errors="replace") as reader:
            Path(name).unlink()
            yield descriptor, reader
    finally:
        os.close(descriptor)


def _follow(child: subprocess.Popen[bytes], said: TextIO, on_line: Line) -> int:
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
    """Ask the child to stop and wait for it; at a second Ctrl-C kill it."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGINT)
    try:
        try:
            child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            say(f"{waiting}; press Ctrl-C again to stop it immediately", err=True)
            child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise


def _kill_session(session: int) -> None:
    """Kill what a killed child has left behind: its own children, which are still in its session."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


def _end_with_parent() -> None:
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
