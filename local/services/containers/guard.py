"""A helper process that kills the daemon's containers when the daemon dies, for whatever reason.

It reads process groups from a pipe; when the pipe's other end is closed (even by SIGKILL), it kills the groups that
are still registered. Unlike the kernel's parent-death signal this reaches whole groups, does not depend on the thread
that started them, and works on every POSIX system.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    sign, group = line[0], int(line[1:])
    groups.add(group) if sign == "+" else groups.discard(group)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        continue
"""


class Guard:
    """The daemon's end of the pipe; the helper starts with the first process group."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._helper: subprocess.Popen[bytes] | None = None

    def add(self, group: int) -> None:
        """Register a process group, which is killed when this process dies.

        Args:
            group: The group's id.
        """
        with self._lock:
            self._groups.add(group)
            self._tell(b"+%d\n" % group)

    def remove(self, group: int) -> None:
        """Unregister a process group that has ended, because its number may be reused.

        Args:
            group: The group's id; one that is not registered is ignored.
        """
        with self._lock:
            self._groups.discard(group)
            self._tell(b"-%d\n" % group)

    def _tell(self, line: bytes) -> None:
        if self._helper is None or self._helper.poll() is not None:
            self._restart()
            return
        assert self._helper.stdin is not None
        try:
            os.write(self._helper.stdin.fileno(), line)
        except BrokenPipeError:
            self._restart()

    def _restart(self) -> None:
        if self._helper is not None and self._helper.stdin is not None:
            self._helper.stdin.close()
        self._helper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            # Signals meant for the daemon's group (Ctrl-C) must not end its guard first.
            start_new_session=True,
        )
        assert self._helper.stdin is not None
        os.write(self._helper.stdin.fileno(), b"".join(b"+%d\n" % group for group in self._groups))


GUARD = Guard()
