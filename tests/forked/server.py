"""A process that has its imports done and forks a program for each request."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import sys
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

#: What this process has on its search path already.
_SEARCHED = os.environ.get("PYTHONPATH", "")


def serve(listener: socket.socket, alive: int, modules: Sequence[str], *, commands: bool) -> int:
    """Fork for each connection, until the worker ends.

    Args:
        listener: The socket on which programs are requested.
        alive: A pipe whose other end the worker holds.
        modules: What is imported first.
        commands: Whether the modules of all commands are imported, too.

    Returns:
        The exit code: the server's in the server, the program's in a fork.
    """
    for name in modules:
        importlib.import_module(name)
    if commands:
        for module, _ in importlib.import_module("cli.main").COMMANDS.values():
            importlib.import_module(module)
    gc.freeze()
    # The kernel reaps those that wait for a program.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        if alive in select.select([listener.fileno(), alive], [], [])[0]:
            return 0
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(alive)
            return _run_program(connection)
        connection.close()


def _run_program(connection: socket.socket) -> int:
    """Fork the program; wait for it and report its exit code, or be it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    size, request = int.from_bytes(head, "big"), b""
    while len(request) < size:
        request += connection.recv(size - len(request))
    detached, folder, count, *rest = request.decode("utf-8", "surrogateescape").split("\0")
    arguments, variables = rest[: int(count)], rest[int(count) :]
    if pid := os.fork():
        for each in descriptors:
            os.close(each)
        _wait_for_program(connection, pid, is_awaited=detached == "0")
    connection.close()
    if detached == "1":
        os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    return _execute(arguments)


def _wait_for_program(connection: socket.socket, pid: int, *, is_awaited: bool) -> None:
    """Report the program's id and its exit code, and end; kill one that is awaited when nobody waits any more."""
    connection.sendall(pid.to_bytes(8, "big"))

    def kill_unawaited() -> None:
        # Who asked was killed: its connection ends, or is reset where the number has not been read.
        with contextlib.suppress(ConnectionResetError):
            connection.recv(1)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    if is_awaited:
        threading.Thread(target=kill_unawaited, daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(code.to_bytes(8, "big", signed=True))
    os._exit(0)


def _execute(arguments: list[str]) -> int:
    """Do what the interpreter does with its arguments; return the exit code, or raise SystemExit."""
    first: list[str] = []
    if arguments[0] == "-P":
        arguments = arguments[1:]
    elif arguments[0] in ("-m", "-c"):
        first = [str(Path.cwd())]
    elif not zipfile.is_zipfile(arguments[0]):
        first = [str(Path(arguments[0]).resolve().parent)]
    if (searched := os.environ.get("PYTHONPATH", "")) != _SEARCHED:
        first += [str(Path(each).absolute()) for each in searched.split(os.pathsep) if each]
    sys.path[:1] = first
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), main.__dict__)
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        if not hasattr(sys.modules.get(arguments[1]), "__path__"):
            # It is run as `__main__`, which is another module than the imported one.
            sys.modules.pop(arguments[1], None)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        # A zip file is put on the search path by this.
        runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    # Not the folder of this file.
    sys.path[0] = str(Path.cwd())
    sys.exit(
        serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[4:], commands=bool(int(sys.argv[3])))
    )
