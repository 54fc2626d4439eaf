"""Stages of work: one line each when done, with its duration; a spinner meanwhile on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from cli.console import interrupts
from cli.console.output import DONE, FAILED, format_duration

_WIDTH = 10


class Stage:
    """A running stage."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.result = ""
        self._progress = progress
        self._name = name

    def note(self, text: str) -> None:
        """Show what is happening now; only on a terminal.

        Args:
            text: A few words, cut to the width of the terminal.
        """
        self._progress.spin(self._name, text)

    def print_line(self, text: str) -> None:
        """Print a line that stays.

        Args:
            text: The line, which is printed with an indent.
        """
        self._progress.print(f"    {text}")


class Progress:
    """The stages of a command.

    Args:
        err: Write to standard error, because standard output is for a program.
    """

    def __init__(self, *, err: bool = False) -> None:
        self.took: dict[str, float] = {}
        self._console = Console(stderr=err, highlight=False, soft_wrap=True)
        self._status = self._console.status("", spinner="dots")

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Yield a stage and print its line at the end; an exception marks it as failed.

        Args:
            name: A short name, which is also its key in ``took``, the durations in seconds.

        Raises:
            KeyboardInterrupt: A stop was requested before or during the stage.
        """
        stage = Stage(self, name)
        began = time.monotonic()
        mark, colour = FAILED, "red"
        if self._console.is_terminal:
            self.spin(name, "")
            self._status.start()
        try:
            interrupts.raise_if_interrupted()
            yield stage
            interrupts.raise_if_interrupted()
            mark, colour = DONE, "green"
        finally:
            took = self.took[name] = round(time.monotonic() - began, 3)
            self._status.stop()
            line = Text.assemble(
                (mark, colour), f" {name:<{_WIDTH}} {stage.result}".rstrip(), (f"  {format_duration(took)}", "dim")
            )
            self._console.print(line)

    def print(self, text: str) -> None:
        """Print a line above the spinner.

        Args:
            text: The line, in which nothing is read as markup.
        """
        self._console.print(Text(text))

    def spin(self, name: str, text: str) -> None:
        """Set the spinner's text."""
        words = Text(f"{name}  {text}", no_wrap=True, overflow="ellipsis")
        words.truncate(max(self._console.width - 4, 20), overflow="ellipsis")
        self._status.update(words)
