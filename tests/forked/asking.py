"""A request for a fork: made by a test, or by a program that represents the fork where a process is expected.

As a program: `asking.py SOCKET ARGUMENT…`. It takes as long to start as an interpreter without `site`, passes its
input, its output and its signals on, and ends with the fork's exit code.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

#: Seconds between checks whether the process that started this program is still there.
_LOOK = 0.5


class Fork:
    """A program that runs; unless it is detached, it is killed at the end of the block."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection = connection
        self.pid = pid

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def wait(self, timeout: float) -> int:
        """Return its exit code, negative after a signal.

        Raises:
            TimeoutError: It did not end in time.
        """
        self._connection.settimeout(timeout)
        return _receive_number(self._connection)


def start(
    server: str | Path,
    arguments: Sequence[str],
    folder: str | Path,
    environment: Mapping[str, str],
    files: list[int],
    *,
    detached: bool = False,
) -> Fork:
    """Start a program.

    Args:
        server: The socket of the server.
        arguments: Those of the interpreter.
        folder: Where it runs.
        environment: All its variables.
        files: Its standard input, output and error.
        detached: Whether it has a session of its own and outlives the one who asked.
    """
    parts = [
        str(int(detached)),
        str(folder),
        str(len(arguments)),
        *arguments,
        *(f"{key}={value}" for key, value in environment.items()),
    ]
    request = "\0".join(parts).encode("utf-8", "surrogateescape")
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(server))
    socket.send_fds(connection, [len(request).to_bytes(8, "big")], files)
    connection.sendall(request)
    return Fork(connection, _receive_number(connection))


def _receive_number(connection: socket.socket) -> int:
    received = b""
    while len(received) < 8:
        block = connection.recv(8 - len(received))
        if not block:
            raise EOFError(f"the server of forks closed its connection after {len(received)} of 8 bytes")
        received += block
    return int.from_bytes(received, "big", signed=True)


def main() -> int:
    """Run a fork for the process that started this one: pass its signals on, and return its exit code."""
    parent = os.getppid()
    here = os.getcwd()  # noqa: PTH109 - pathlib would double the time to start
    with start(sys.argv[1], sys.argv[2:], here, os.environ, [0, 1, 2]) as fork:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(fork.pid, number))
        while os.getppid() == parent:
            try:
                return fork.wait(_LOOK)
            except TimeoutError:
                continue
    return 1


if __name__ == "__main__":
    code = main()
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
