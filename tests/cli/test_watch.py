"""Tests of `millrace watch` with lines and with a screen, and of completing versions from a running cloud."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.hosted import eventually

from .many import Checkout, Cloud


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, Checkout]]:
    """Yield a separate cloud with one stack, which tests may stop, and a checkout of the stack."""
    found = Cloud(tmp_path_factory.mktemp("alone") / "state")
    try:
        found.whole("uc21-local")
        checkout = Checkout(tmp_path_factory.mktemp("checkout"), found.daemon.state)
        checkout.declare("uc21")
        checkout.stack("uc21")
        yield found, checkout
    finally:
        found.daemon.stop()


def test_watch_prints_changes_and_stops_cleanly(alone: tuple[Cloud, Checkout], tmp_path: Path) -> None:
    cloud, fleet = alone
    out = tmp_path / "out"
    with out.open("w") as file:
        process_ = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "watch", "uc21", "--every", "1"],
            cwd=fleet.folder, env={**fleet.environment, "PYTHONUNBUFFERED": "1"}, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        eventually(lambda: "uc21-local  serves version 1, InService; alarms firing: none" in out.read_text(), 30)
        cloud.fire("uc21-local-drift")
        eventually(lambda: "uc21-local  alarm drift: INSUFFICIENT_DATA → ALARM" in out.read_text(), 30)
        cloud.daemon.client("ssm").put_parameter(
            Name="/millrace/uc21-local/paused", Type="String", Value=json.dumps({"by": "ada\n  and others"})
        )
        eventually(lambda: "uc21-local  paused: no → by ada …" in out.read_text(), 30)
        cloud.daemon.client("ssm").delete_parameter(Name="/millrace/uc21-local/paused")
        eventually(lambda: "uc21-local  paused: by ada … → no" in out.read_text(), 30)
        cloud.daemon.stop()
        eventually(lambda: "uc21-local  does not answer: the local cloud of" in out.read_text(), 30)
        cloud.daemon.start()
        eventually(lambda: "uc21-local  answers again" in out.read_text(), 30)
        process_.send_signal(signal.SIGINT)
        assert process_.wait(timeout=30) == 0
        assert "Traceback" not in out.read_text()
        # Each change is exactly one line.
        assert all(re.match(r"\d{4}-\d\d-\d\d [\d:]+Z  uc21-local  \S", line) for line in out.read_text().splitlines())
    finally:
        process_.kill()
        process_.wait()


def test_versions_are_completed_only_while_the_cloud_runs(alone: tuple[Cloud, Checkout]) -> None:
    cloud, fleet = alone
    program = (
        "import click\n"
        "from cli.commands import choices\n"
        "from cli.commands.options import with_target\n"
        "@click.command()\n"
        "@with_target\n"
        "@click.argument('version', shell_complete=choices.complete_versions)\n"
        "def decide(target, version): pass\n"
        "decide(prog_name='decide', complete_var='ASK')"
    )

    def offered() -> list[str]:
        asked = {"ASK": "bash_complete", "COMP_WORDS": "decide uc21 ", "COMP_CWORD": "2"}
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=fleet.folder, env={**fleet.environment, **asked}, capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip

    cloud.register("uc21-local", "Rejected")
    assert offered() == ["plain,2", "plain,1"]
    cloud.daemon.stop()
    try:
        assert offered() == []
    finally:
        cloud.daemon.start()


def test_watch_on_a_terminal_restores_the_previous_screen(alone: tuple[Cloud, Checkout]) -> None:
    _, fleet = alone
    master, slave = pty.openpty()
    process_ = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "watch", "uc21"],
        cwd=fleet.folder, env={**fleet.environment, "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"},
        stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    os.set_blocking(master, False)
    seen = b""

    def read() -> bytes:
        nonlocal seen
        # No output yet, or the command has closed the terminal.
        with contextlib.suppress(OSError):
            seen += os.read(master, 65_536)
        return seen

    try:
        eventually(lambda: b"uc21" in read() and b"Ctrl-C ends" in read(), 30)
        process_.send_signal(signal.SIGINT)
        eventually(lambda: read() is not None and process_.poll() is not None, 30)
        assert process_.returncode == 0
        # The previous screen is restored.
        assert read().count(b"\x1b[?1049h") == read().count(b"\x1b[?1049l") == 1
    finally:
        process_.kill()
        process_.wait()
        os.close(master)
