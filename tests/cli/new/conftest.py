"""Fixtures for `millrace new`: a copied checkout, a pseudo-terminal, and rows that raise no questions."""

from __future__ import annotations

import csv
import json
import math
import os
import pty
import random
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import REPOSITORY

Row = dict[str, Any]
#: Runs commands one after another in one process, so that modules are imported only once.
_RUNNER = """
import contextlib, io, json, sys
from cli import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main.run(json.loads(line))
        except Exception as error:
            import traceback
            code = traceback.print_exc() or 99
    sys.__stdout__.write(json.dumps([code, out.getvalue(), err.getvalue()]) + "\\n")
    sys.__stdout__.flush()
"""
FOLDERS = ("cli", "components", "local", "millrace", "queries", "stacks", "templates", "training")


class Checkout:
    """A copy of the parts of this repository that `millrace new` needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("nycflights*")
        for name in FOLDERS:
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        for name in ("ruff.toml", "pyproject.toml"):
            shutil.copy2(REPOSITORY / name, folder / name)
        # Ignore use cases that were scaffolded in the working tree in the meantime.
        for path in (folder / "stacks").iterdir():
            if "flights" not in path.name and path.name != "__init__.py":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.before = self.files()
        self._runner = subprocess.Popen(
            [sys.executable, "-c", _RUNNER], cwd=folder, env=self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def stop(self) -> None:
        self._runner.communicate(timeout=30)

    @property
    def environment(self) -> dict[str, str]:
        mine = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_", "MILLRACE_"))}
        return {**mine, "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}

    def files(self) -> set[str]:
        found = (self.folder / "stacks").rglob("*")
        return {path.relative_to(self.folder).as_posix() for path in found if "__pycache__" not in path.parts}

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", "new", *arguments]

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.write(json.dumps(["new", *arguments]) + "\n")
        self._runner.stdin.flush()
        done = subprocess.CompletedProcess(arguments, *json.loads(self._runner.stdout.readline()))
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    def refused(self, *arguments: str, code: int = 1) -> str:
        """Return the error output of a refused command; assert that it left no files."""
        said = self(*arguments, code=code).stderr
        assert self.files() == self.before
        return said

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def clear(self) -> None:
        for name in sorted(self.files() - self.before, reverse=True):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="package")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path_factory.mktemp("new") / "millrace")
    yield checkout
    checkout.stop()


@pytest.fixture
def checkout(copied: Checkout) -> Iterator[Checkout]:
    yield copied
    copied.clear()


def churn(count: int = 400, change: Callable[[int, Row], Any] = lambda _, row: None) -> list[Row]:
    """Return one customer every four hours; the odds of leaving rise with their calls and fall with their months."""
    chance, start = random.Random(11), datetime(2025, 1, 1)
    rows = []
    for number in range(count):
        calls, months, plan = chance.randint(0, 6), chance.randint(1, 48), chance.choice(["basic", "family"])
        odds = math.exp(0.5 * calls - 0.05 * months - 0.5 + (plan == "basic"))
        left = chance.random() < odds / (1 + odds)
        asked = (start + timedelta(hours=4 * number)).isoformat()
        row = {"customer": f"c{number}", "asked_at": asked, "calls": calls, "months": months, "plan": plan}
        row["left"] = "yes" if left else "no"
        change(number, row)
        rows.append(row)
    return rows


def write(path: Path, rows: list[Row], **options: Any) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of a file that raises no questions."""
    return write(tmp_path_factory.mktemp("data") / "churn.csv", churn())


class Terminal:
    """The command in a pseudo-terminal, as a person runs it."""

    def __init__(self, checkout: Checkout, *arguments: str) -> None:
        mine, theirs = pty.openpty()
        self.terminal, self.text = mine, ""
        self.process = subprocess.Popen(
            checkout.command(*arguments), cwd=checkout.folder, env=checkout.environment,
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def until(self, words: str, seconds: float = 60) -> None:
        """Read until these words appear."""
        deadline, start = time.monotonic() + seconds, len(self.text)
        while words not in self.text[start:]:
            assert time.monotonic() < deadline, f"waited for {words!r}:\n{self.text}"
            if select.select([self.terminal], [], [], 0.2)[0] and not self._read():
                break
        assert words in self.text[start:], f"ended before {words!r}:\n{self.text}"

    def answer(self, words: str) -> None:
        os.write(self.terminal, f"{words}\n".encode())

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        os.close(self.terminal)
        return self.process.wait(timeout=30)

    def _read(self) -> bool:
        try:
            data = os.read(self.terminal, 65_536)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)
