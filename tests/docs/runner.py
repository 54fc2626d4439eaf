"""Runner for a page of the documentation: in a fresh clone, top to bottom, in one shell, as a reader would."""

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

from local import client
from tests import forked
from tests.docs import pages
from tests.docs.pages import CONSOLE, DIFF, Block, Command, PageError
from tests.e2e.stand import Stand

#: Maximum duration of a command, in seconds.
TIMEOUT = 280.0
#: Lines of output that a failure shows.
_SHOWN = 80

#: Reads commands from one descriptor, each terminated by a zero byte, runs them in this shell and answers on another.
#: Output goes to a file, so that background processes of a command cannot keep a pipe open.
_SHELL = r"""
set -o pipefail
while IFS= read -r -d '' __command <&{commands}; do
  eval "$__command" </dev/null >"$DOCS_OUTPUT" 2>&1 {commands}<&- {answers}>&-
  printf '%s\n' "$?" >&{answers}
done
"""


@dataclass(frozen=True)
class Done:
    """Command that ran as the page describes."""

    command: Command
    output: str
    seconds: float


@dataclass
class Ran:
    """Result of running a page."""

    done: list[Done] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    skipped: list[Block] = field(default_factory=list)


@contextmanager
def clone(folder: Path) -> Iterator[Path]:
    """Yield a fresh clone in a new folder under ``folder``, and stop every cloud that was started there."""
    checkout = folder / "millrace"
    checkout.mkdir(parents=True)
    stand = Stand(checkout, 1.0)
    stand.git("branch", "--move", "main")
    # The virtual environment of the tests is used and complete: `make` has nothing to set up.
    for name in ("requirements.lock", "requirements-bootstrap.lock", "pyproject.toml"):
        os.utime(checkout / name, (0, 0))
    try:
        yield checkout
    finally:
        for found in folder.rglob("daemon.lock"):
            client.stop(found.parent)


def make_reader_environment(checkout: Path) -> dict[str, str]:
    """Return the variables of a reader's shell after `make setup`, without the caller's AWS and Pulumi variables."""
    binaries = checkout / ".venv" / "bin"
    folders = [str(folder) for folder in (forked.get_engine().folder, forked.get_commands(), binaries)]
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PULUMI_", "MILLRACE_", "GIT_", "PYTEST_", "COVERAGE_"))
    }
    return {
        **mine,
        "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
        "HOME": str(forked.get_home()),
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


def run_page(page: Path, checkout: Path, *, variables: dict[str, str] | None = None, timeout: float = TIMEOUT) -> Ran:
    """Follow a page in a checkout.

    Args:
        page: A Markdown file.
        checkout: Where its commands run and its files are written.
        variables: The environment of the shell; None for that of a reader.
        timeout: Maximum duration of a command, in seconds.

    Raises:
        PageError: With page, line, command and output, at the first difference from the page.
    """
    found = pages.parse_blocks(page.name, page.read_text())
    if not any(block.language == CONSOLE for block in found):
        raise PageError(f"{page.name}: there is nothing to run")
    ran = Ran()
    with _Shell(checkout, make_reader_environment(checkout) if variables is None else variables) as shell:
        for block in found:
            if block.reason:
                ran.skipped.append(block)
            elif block.language == CONSOLE:
                for command in pages.parse_commands(block):
                    began = time.monotonic()
                    output = shell.run(command, timeout)
                    ran.done.append(Done(command, output, time.monotonic() - began))
            elif block.excerpt_of:
                check_excerpt(block, checkout)
            elif block.path:
                apply_block(block, checkout)
                ran.written.append(block.path)
    return ran


def apply_block(block: Block, checkout: Path) -> None:
    """Write the file of the block, or apply its change."""
    path = checkout / block.path
    if block.language != DIFF:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        return
    lines = block.text.splitlines()
    if odd := [line for line in lines if line and line[0] not in "-+ "]:
        raise PageError(f"{block.place}: {odd[0]!r} begins with none of '-', '+' and a space")
    old = _join_lines(line[1:] for line in lines if not line.startswith("+"))
    new = _join_lines(line[1:] for line in lines if not line.startswith("-"))
    text = _read_file(block, path)
    if (times := text.count(old)) != 1:
        raise PageError(f"{block.place}: what is to be changed stands {times} times in {block.path}, expected once")
    path.write_text(text.replace(old, new))


def check_excerpt(block: Block, checkout: Path) -> None:
    """Check that the lines of an excerpt are consecutive lines of its file, at any indentation."""
    excerpt = [line.strip() for line in block.text.strip("\n").splitlines()]
    lines = [line.strip() for line in _read_file(block, checkout / block.excerpt_of).splitlines()]
    if not any(lines[start : start + len(excerpt)] == excerpt for start in range(len(lines))):
        raise PageError(f"{block.place}: these lines do not stand in {block.excerpt_of}, or not in a row")


def _read_file(block: Block, path: Path) -> str:
    if not path.is_file():
        raise PageError(f"{block.place}: there is no file {path.name} at {path.parent}")
    return path.read_text()


def _join_lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


class _Shell:
    """Bash process for all commands of a page, so that directories, variables and functions persist."""

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
        # Background processes of the page end with the shell.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._answers)
        self._scratch.cleanup()

    def run(self, command: Command, timeout: float) -> str:
        """Return the output of a command.

        Raises:
            PageError: If its exit code is not the expected one, it takes too long or it ends the shell.
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
    """Run `python -m tests.docs.runner docs/tutorial.md`, for authors of a page."""
    with tempfile.TemporaryDirectory() as folder, clone(Path(folder)) as checkout:
        for name in sys.argv[1:]:
            ran = run_page(Path(name), checkout)
            for each in ran.done:
                command = each.command
                print(f"--- {command.place}, {each.seconds:.1f} s: {command.text}\n{each.output}")  # noqa: T201 - a tool


if __name__ == "__main__":
    main()
