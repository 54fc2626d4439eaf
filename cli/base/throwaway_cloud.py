"""The throwaway cloud of a comparison: without credentials or settings of the user's, ended with the command."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cli.console import interrupts
from cli.console.errors import CliError
from cli.stack import connection
from engine import home
from local import client
from local.provider.socket_path import remove_socket

#: The longest wait until it answers, seconds.
_START = 60.0
#: Prefixes of the variables that a comparison's subprocesses do not inherit: AWS accounts and logins, Pulumi's secrets,
#: Python's paths.
_USERS = ("AWS_", "PULUMI_", "PYTHONPATH", "MILLRACE_")


@contextlib.contextmanager
def run_throwaway_cloud(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cloud that creates nothing, in its own folder; yield the environment that makes Pulumi use only it.

    Raises:
        CliError: The cloud does not start.
    """
    folder.mkdir(parents=True)
    log = folder / "rehearsal.out"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", "local.preview_cloud", "--state", str(folder)],
            cwd=connection.REPOSITORY,
            env=_without_the_user(),
            # The cloud ends when its input is closed: however this process ends, nothing is left behind.
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield {
                **_without_the_user(),
                **client.build_environment(_wait_until_running(process, folder, log), folder),
                **home.prepare_home(folder),
                "PATH": connection.make_search_path(),
                # Without bytecode, each revision's modules are read from their source.
                "PYTHONDONTWRITEBYTECODE": "1",
            }
        finally:
            process.kill()
            _remove_socket(folder)


def _remove_socket(folder: Path) -> None:
    """Remove the socket of the killed cloud, which may lie outside its folder."""
    with contextlib.suppress(FileNotFoundError):
        socket = json.loads((folder / "daemon.json").read_text())["provider_socket"]
        remove_socket(Path(socket))


def _without_the_user() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_USERS)}


def _wait_until_running(process: subprocess.Popen[bytes], folder: Path, log: Path) -> client.Running:
    facts, deadline = folder / "daemon.json", time.monotonic() + _START
    while not facts.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip() or "it printed nothing"
            raise CliError("the throwaway cloud of the comparison", f"did not start:\n{said}")
        interrupts.sleep(0.02)
    return client.Running.from_facts(json.loads(facts.read_text()))
