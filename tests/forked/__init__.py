"""Python programs in processes of their own that begin with their imports done.

Most of a short program's time is the start of the interpreter and its imports. A server (:mod:`tests.forked.server`)
has them done; each program is a fork of it, with its own arguments, environment, folder, input, output and exit code.
What a server has not imported, the fork imports from where the program would.

- :func:`run` is used as `subprocess.run` is. A worker has a server for each set of the product's packages that a
  checkout shares with this one.
- Programs that Pulumi runs: the command line finds an engine in :func:`get_home`, tests by :func:`get_engine`.
- :func:`start_cloud` is used as `client.start` is.
- Commands that a shell runs: it finds `millrace` in :func:`get_commands`.
- Jobs and endpoints of a checkout: :func:`add_python` puts a `python3` into its image.

Programs that a test signals, or whose start is what is tested, are started by `subprocess`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine import bootstrap
from local import client
from local.credentials import ensure_credentials
from local.files import make_private_folder
from tests.house.sources import REPOSITORY

from . import asking, servers

#: Modules of the product by package, each package after those that it imports; of `cli`, all commands.
OWN = {
    "millrace": ("millrace",),
    "queries": ("queries.endpoints", "queries.packages", "queries.pauses", "queries.pipelines", "queries.rollbacks"),
    "engine": ("engine.bootstrap", "engine.home"),
    "local": ("local.client",),
    "cli": ("cli.main",),
}
_SHIM = """#!/bin/sh
exec {python} -I -S {program} {socket} {arguments} "$@"
"""


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
        env: Its environment; with the caller's own home, its home is :func:`get_home`.
        input: Its standard input.
        timeout: The seconds after which it is killed.
        check: Whether another exit code than 0 is raised.

    Raises:
        subprocess.CalledProcessError: It failed, and ``check`` is set.
        subprocess.TimeoutExpired: It did not end in time.
    """
    arguments = [str(each) for each in command]
    assert arguments[0] == sys.executable, arguments
    if env.get("HOME") == os.environ.get("HOME"):
        env = {**env, "HOME": str(get_home())}
    shared = _list_shared(cwd)
    modules = (*servers.LIBRARIES, *(module for package in shared for module in OWN[package]))
    return _run(servers.find_own_server(modules, commands="cli" in shared), arguments, cwd, env, input, timeout, check)


def run_job(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a program as :func:`run`, with the imports of jobs done and none of the product's."""
    server = servers.find_job_server()
    return _run(server, [str(each) for each in command], cwd, env, "", timeout, check=False)


def _run(
    server: servers.Server,
    arguments: list[str],
    cwd: Path,
    env: Mapping[str, str],
    input: str,
    timeout: float,
    check: bool,
) -> subprocess.CompletedProcess[str]:
    if not server.has_started_as(env):
        return subprocess.run(
            arguments, cwd=cwd, env=env, input=input, capture_output=True, text=True, timeout=timeout, check=check
        )
    with contextlib.ExitStack() as files:
        stdin, stdout, stderr = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        stdin.write(input)
        stdin.seek(0)
        descriptors = [file.fileno() for file in (stdin, stdout, stderr)]
        with asking.start(server.socket, arguments[1:], cwd, env, descriptors) as fork:
            try:
                code = fork.wait(timeout)
            except TimeoutError:
                raise subprocess.TimeoutExpired(arguments, timeout) from None
        printed = []
        for file in (stdout, stderr):
            file.seek(0)
            printed.append(file.read())
    done = subprocess.CompletedProcess(arguments, code, *printed)
    if check:
        done.check_returncode()
    return done


def start_cloud(state: Path, *, scale: float, images: Mapping[str, Path]) -> client.Running:
    """Return the daemon of this state folder, starting one if none is running.

    Args:
        state: The state folder, which is created if it does not exist.
        scale: Seconds of the cloud's time per real second.
        images: The folder of each unpacked container image by repository name.
    """
    state = state.resolve()
    make_private_folder(state)
    ensure_credentials(state)
    folders = {name: str(folder.resolve()) for name, folder in images.items()}
    arguments = client.make_arguments(state, port=0, scale=scale, images=folders)
    deadline = time.monotonic() + 60
    while client.find_daemon(state) is None:
        assert time.monotonic() < deadline, (state / "daemon.out").read_text()
        _start_daemon(state, arguments)
    return client.start(state, scale=scale, images=images)


def _start_daemon(state: Path, arguments: list[str]) -> None:
    """Start a daemon, and return when it answers or has ended: an earlier one may still hold the folder."""
    server = servers.find_own_server(servers.CLOUD)
    (state / "daemon.out").touch(mode=0o600)
    with (state / "daemon.out").open("wb") as out, Path(os.devnull).open("rb") as nothing:
        files = [nothing.fileno(), out.fileno(), out.fileno()]
        with asking.start(server.socket, arguments, REPOSITORY, os.environ, files, detached=True) as fork:
            while client.find_daemon(state) is None:
                with contextlib.suppress(TimeoutError):
                    fork.wait(0.02)
                    return


def get_engine() -> bootstrap.Engine:
    """Return a Pulumi CLI whose Python programs are forks."""
    return bootstrap.Engine(get_home() / bootstrap.version_folder().relative_to(Path.home()), "found")


@functools.cache
def get_home() -> Path:
    """Return a home folder with Pulumi's CLI, beside which is a language host that asks a server for a fork."""
    home = servers.make_folder("home")
    folder = home / bootstrap.version_folder().relative_to(Path.home())
    folder.mkdir(parents=True)
    real = bootstrap.ensure_cli().cli.resolve()
    try:
        (folder / "pulumi").hardlink_to(real)
    except OSError:
        # It is on another file system.
        shutil.copy2(real, folder / "pulumi")
    server = servers.find_own_server(servers.SDK)
    _write_shim(folder / "pulumi-language-python", server, "-P -m engine.language_host")
    return home


@functools.cache
def get_commands() -> Path:
    """Return a folder with a `millrace` that runs the command line of the checkout that is first in PYTHONPATH."""
    folder = servers.make_folder("commands")
    program = "'import sys; from cli.main import main; sys.argv[0] = \"millrace\"; sys.exit(main())'"
    _write_shim(folder / "millrace", servers.find_own_server(servers.LIBRARIES), f"-c {program}")
    return folder


def add_python(image: Path) -> None:
    """Put a `python3` into an image that comes before the real one there.

    Args:
        image: The folder of the image, in a checkout of a test.
    """
    _write_shim(image / "bin" / "python3", servers.find_job_server())


def _write_shim(file: Path, server: servers.Server, arguments: str = "") -> None:
    text = _SHIM.format(python=sys.executable, program=asking.__file__, socket=server.socket, arguments=arguments)
    file.write_text(text)
    file.chmod(0o755)


def _list_shared(folder: Path) -> tuple[str, ...]:
    """Return the packages that a checkout has in common with this one, up to the first that it has a copy of."""
    return tuple(itertools.takewhile(lambda name: (folder / name).resolve() == (REPOSITORY / name).resolve(), OWN))
