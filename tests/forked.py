"""Python programs in processes of their own that begin with their imports done.

Most of a short program's time is the start of the interpreter and its imports. A server has them done; each program is
a fork of it, with its own arguments, environment, folder, input, output and exit code. A worker has a server for each
set of the product's packages that a checkout shares with this one: what a checkout has a copy of, the fork imports.

`run` is used as `subprocess.run` is. Programs that a test signals, or whose start is what is tested, are started by
`subprocess`.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import functools
import gc
import importlib
import itertools
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO

REPOSITORY = Path(__file__).parents[1]
#: What most commands import. None of it reads the environment or starts a thread when it is imported.
LIBRARIES = (
    "asyncio", "boto3", "botocore.args", "botocore.client", "botocore.endpoint", "botocore.httpsession",
    "botocore.parsers", "botocore.session", "botocore.signers", "botocore.waiter", "click", "concurrent.futures",
    "dateutil.parser", "difflib", "email.parser", "http.client", "jinja2", "logging.config", "multiprocessing",
    "numpy", "pandas", "psutil", "pyarrow.csv", "pyarrow.parquet", "pydantic", "rich.console", "rich.live",
    "rich.markup", "rich.progress", "rich.table", "s3transfer.manager", "sqlite3", "tarfile", "unittest.mock",
    "urllib3", "yaml", "zipfile",
)  # fmt: skip
#: Modules of the product by package, each package after those that it imports; of `cli`, all commands.
OWN = {
    "millrace": ("millrace",),
    "queries": ("queries.endpoints", "queries.packages", "queries.pauses", "queries.pipelines", "queries.rollbacks"),
    "engine": ("engine.bootstrap", "engine.home"),
    "local": ("local.client",),
    "cli": ("cli.main",),
}
#: An environment that differs in one of these needs an interpreter of its own.
_READ_AT_START = (
    "LANG", "LC_ALL", "PYTHONDEVMODE", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONIOENCODING",
    "PYTHONPATH", "PYTHONUTF8", "PYTHONWARNINGS", "TZ",
)  # fmt: skip
_EXIT_CODE = struct.Struct("i")


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    input: str = "",
    timeout: float = 120,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end, and return what it printed.

    Args:
        command: This interpreter's path, then `-m` and a module, `-c` and code, or a file; then the arguments.
        cwd: The folder that it runs in.
        env: Its environment.
        input: Its standard input.
        timeout: The seconds after which it is killed.
        check: Whether another exit code than 0 is raised.

    Raises:
        subprocess.CalledProcessError: It failed, and ``check`` is set.
        subprocess.TimeoutExpired: It did not end in time.
    """
    arguments = [str(each) for each in command]
    assert arguments[0] == sys.executable, arguments
    if any(env.get(name) != os.environ.get(name) for name in _READ_AT_START):
        return subprocess.run(
            arguments, cwd=cwd, env=env, input=input, capture_output=True, text=True, timeout=timeout, check=check
        )
    with contextlib.ExitStack() as files:
        stdin, stdout, stderr = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        stdin.write(input)
        stdin.seek(0)
        request = json.dumps({"arguments": arguments[1:], "cwd": str(cwd), "env": dict(env)}).encode()
        server = _get_server(_list_shared(cwd))
        code = _ask_server(server, request, (stdin, stdout, stderr), arguments, timeout)
        printed = []
        for file in (stdout, stderr):
            file.seek(0)
            printed.append(file.read())
    done = subprocess.CompletedProcess(arguments, code, *printed)
    if check:
        done.check_returncode()
    return done


def _list_shared(folder: Path) -> tuple[str, ...]:
    """Return the packages that a checkout has in common with this one, up to the first that it has a copy of."""
    return tuple(itertools.takewhile(lambda name: (folder / name).resolve() == (REPOSITORY / name).resolve(), OWN))


def _ask_server(
    server: socket.socket, request: bytes, files: Sequence[IO[str]], arguments: Sequence[str], timeout: float
) -> int:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            descriptors = array.array("i", [theirs.fileno(), *(file.fileno() for file in files)])
            socket.send_fds(server, [struct.pack("!Q", len(request))], list(descriptors))
        ours.settimeout(timeout)
        ours.sendall(request)
        pid = _EXIT_CODE.unpack(_receive(ours, _EXIT_CODE.size))[0]
        try:
            return int(_EXIT_CODE.unpack(_receive(ours, _EXIT_CODE.size))[0])
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(arguments, timeout) from None


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        block = connection.recv(size - len(received))
        if not block:
            raise EOFError(f"the server of forks closed its connection after {len(received)} of {size} bytes")
        received += block
    return received


@functools.cache
def _get_server(packages: tuple[str, ...]) -> socket.socket:
    """Start a server that has packages imported; it ends when the worker's end of the connection is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(theirs.fileno()), *packages],
            cwd=REPOSITORY, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            # A fork has no threads but its own.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return ours


def serve(connection: socket.socket, packages: Sequence[str]) -> int:
    """Fork for each request, until the worker closes its connection.

    Returns:
        The exit code: the server's in the server, the program's in a fork.
    """
    for name in (*LIBRARIES, *(module for package in packages for module in OWN[package])):
        importlib.import_module(name)
    if "cli" in packages:
        for module, _ in importlib.import_module("cli.main").COMMANDS.values():
            importlib.import_module(module)
    gc.freeze()
    # The kernel reaps those that wait for a program.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        head, descriptors, _, _ = socket.recv_fds(connection, 8, 4)
        if not head:
            return 0
        if os.fork() == 0:
            connection.close()
            return _run_program(struct.unpack("!Q", head)[0], descriptors)
        for each in descriptors:
            os.close(each)


def _run_program(size: int, descriptors: Sequence[int]) -> int:
    """Fork the program; wait for it and report its exit code, or be it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(fileno=descriptors[0]) as asked:
        request = json.loads(_receive(asked, size))
        pid = os.fork()
        if pid:
            asked.sendall(_EXIT_CODE.pack(pid))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(BrokenPipeError):
                # The test gave up waiting.
                asked.sendall(_EXIT_CODE.pack(code))
            os._exit(0)
    for number, descriptor in enumerate(descriptors[1:]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    return _execute(request["arguments"])


def _execute(arguments: list[str]) -> int:
    """Do what the interpreter does with its arguments; return the exit code, or raise SystemExit."""
    sys.path[0] = str(Path.cwd() if arguments[0] in ("-m", "-c") else Path(arguments[0]).resolve().parent)
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), main.__dict__)
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        # It is run as `__main__`, which is another module than the imported one.
        sys.modules.pop(arguments[1], None)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]))
