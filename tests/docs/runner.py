"""Runs a page of the documentation as a reader would: in a fresh clone, top to bottom, in one shell."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from engine import bootstrap
from local import client
from tests.docs import pages
from tests.docs.pages import CONSOLE, DIFF, Block, Command, PageError
from tests.e2e.stand import Stand

#: How long a command may take, seconds.
TIMEOUT = 280.0
#: Lines of output that a failure shows.
_SHOWN = 80

#: Reads commands from one descriptor, each ended by a zero byte, runs them in this very shell and answers on another.
#: Output goes to a file, so that what a command leaves running cannot keep a pipe open.
_SHELL = r"""
set -o pipefail
while IFS= read -r -d '' __command <&{commands}; do
  eval "$__command" </dev/null >"$DOCS_OUTPUT" 2>&1 {commands}<&- {answers}>&-
  printf '%s\n' "$?" >&{answers}
done
"""


@dataclass(frozen=True)
class Done:
    """A command that went as the page says."""

    command: Command
    output: str
    seconds: float


@dataclass
class Ran:
    """What came of a page."""

    done: list[Done] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    skipped: list[Block] = field(default_factory=list)


@contextmanager
def clone(folder: Path) -> Iterator[Path]:
    """A fresh clone in a new folder under ``folder``; every cloud that a page has started there is stopped after it."""
    checkout = folder / "millrace"
    checkout.mkdir(parents=True)
    stand = Stand(checkout, 1.0)
    stand.git("branch", "--move", "main")
    # The virtual environment is that of the tests and ready: `make` has nothing to set up.
    for name in ("requirements.lock", "requirements-bootstrap.lock", "pyproject.toml"):
        os.utime(checkout / name, (0, 0))
    try:
        yield checkout
    finally:
        for found in folder.rglob("daemon.lock"):
            client.stop(found.parent)


def environment(checkout: Path) -> dict[str, str]:
    """What a reader's shell has after `make setup` and activation, with nothing of the caller's AWS or Pulumi."""
    binaries = checkout / ".venv" / "bin"
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PULUMI_", "MILLRACE_", "GIT_", "PYTEST_", "COVERAGE_"))
    }
    return {
        **mine,
        "PATH": os.pathsep.join(
            [str(bootstrap.ensure_cli().folder), str(binaries), os.environ.get("PATH", os.defpath)]
        ),
        "VIRTUAL_ENV": str(binaries.parent),
        # The virtual environment is shared with the repository under test: imports must come from the clone, or from
        # a clone of it that a page works in.
        "PYTHONPATH": os.pathsep.join([".", str(checkout)]),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "Reader"), ("EMAIL", "reader@localhost"))},
        "GIT_EDITOR": "true",
        "PAGER": "cat",
        "TERM": "dumb",
    }  # fmt: skip


def run(page: Path, checkout: Path, *, variables: dict[str, str] | None = None, timeout: float = TIMEOUT) -> Ran:
    """Follow a page in a checkout.

    Args:
        page: A Markdown file.
        checkout: Where its commands run and its files are written.
        variables: The shell's environment; None for a reader's.
        timeout: How long a command may take, seconds.

    Raises:
        PageError: With page, line, command and output, at the first thing that is not as the page says.
    """
    found = pages.blocks(page.name, page.read_text())
    if not any(block.language == CONSOLE for block in found):
        raise PageError(f"{page.name}: there is nothing to run")
    ran = Ran()
    with _Shell(checkout, environment(checkout) if variables is None else variables) as shell:
        for block in found:
            if block.reason:
                ran.skipped.append(block)
            elif block.language == CONSOLE:
                for command in pages.commands(block):
                    began = time.monotonic()
                    output = shell.run(command, timeout)
                    ran.done.append(Done(command, output, time.monotonic() - began))
            elif block.excerpt_of:
                compare(block, checkout)
            elif block.path:
                write(block, checkout)
                ran.written.append(block.path)
    return ran


def write(block: Block, checkout: Path) -> None:
    """Write the block's file, or make its change."""
    path = checkout / block.path
    if block.language != DIFF:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        return
    lines = block.text.splitlines()
    if odd := [line for line in lines if line and line[0] not in "-+ "]:
        raise PageError(f"{block.place}: {odd[0]!r} begins with none of '-', '+' and a space")
    old = _text(line[1:] for line in lines if not line.startswith("+"))
    new = _text(line[1:] for line in lines if not line.startswith("-"))
    text = _read(block, path)
    if (times := text.count(old)) != 1:
        raise PageError(f"{block.place}: what is to be changed stands {times} times in {block.path}, expected once")
    path.write_text(text.replace(old, new))


def compare(block: Block, checkout: Path) -> None:
    """Hold an excerpt against its file: its lines stand there, in a row, at whatever depth."""
    excerpt = [line.strip() for line in block.text.strip("\n").splitlines()]
    lines = [line.strip() for line in _read(block, checkout / block.excerpt_of).splitlines()]
    if not any(lines[start : start + len(excerpt)] == excerpt for start in range(len(lines))):
        raise PageError(f"{block.place}: these lines do not stand in {block.excerpt_of}, or not in a row")


def _read(block: Block, path: Path) -> str:
    if not path.is_file():
        raise PageError(f"{block.place}: there is no file {path.name} at {path.parent}")
    return path.read_text()


def _text(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


class _Shell:
    """One bash for all commands of a page, so that directories, variables and functions last."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self._folder, self._variables = folder, variables

    def __enter__(self) -> _Shell:
        self._scratch = tempfile.TemporaryDirectory()
        self._output = Path(self._scratch.name) / "output"
        commands_in, commands_out = os.pipe()
        answers_in, answers_out = os.pipe()
        script = _SHELL.replace("{commands}", str(commands_in)).replace("{answers}", str(answers_out))
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", script],
            cwd=self._folder, env={**self._variables, "DOCS_OUTPUT": str(self._output)},
            stdin=subprocess.DEVNULL, pass_fds=(commands_in, answers_out), start_new_session=True,
        )  # fmt: skip
        os.close(commands_in)
        os.close(answers_out)
        self._commands: IO[bytes] = os.fdopen(commands_out, "wb", buffering=0)
        self._answers = answers_in
        return self

    def __exit__(self, *_: object) -> None:
        self._commands.close()
        # What the page left running in the background goes with the shell.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._answers)
        self._scratch.cleanup()

    def run(self, command: Command, timeout: float) -> str:
        """What a command printed.

        Raises:
            PageError: When it ends with another code than the page says, takes too long or ends the shell.
        """
        try:
            self._commands.write(command.text.encode() + b"\0")
        except BrokenPipeError:
            raise self._failed(command, "the shell has ended before it") from None
        answer, deadline = b"", time.monotonic() + timeout
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise self._failed(command, f"took more than {timeout:g} s")
            if not (read := os.read(self._answers, 64)):
                raise self._failed(command, "ended the shell")
            answer += read
        if (code := int(answer)) != command.code:
            raise self._failed(command, f"ended with exit code {code}, expected {command.code}")
        return self._output.read_text(errors="replace")

    def _failed(self, command: Command, what: str) -> PageError:
        printed = self._output.read_text(errors="replace").splitlines() if self._output.exists() else []
        left_out = [f"… ({len(printed) - _SHOWN} lines before)"] if len(printed) > _SHOWN else []
        shown = "\n".join([*left_out, *printed[-_SHOWN:]]) or "(nothing)"
        return PageError(f"{command.place}: {what}:\n\n    {command.text}\n\nit printed:\n{shown}")


def main() -> None:
    """`python -m tests.docs.runner docs/tutorial.md`: for who writes a page."""
    with tempfile.TemporaryDirectory() as folder, clone(Path(folder)) as checkout:
        for name in sys.argv[1:]:
            ran = run(Path(name), checkout)
            for each in ran.done:
                command = each.command
                print(f"--- {command.place}, {each.seconds:.1f} s: {command.text}\n{each.output}")  # noqa: T201 - a tool


if __name__ == "__main__":
    main()
