"""What the data do not say: asked of a person, proposed under `--yes`, or named as the flags that are missing."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from cli.console.errors import CliError
from cli.console.output import NOTE, say
from cli.scaffold.inference import Check, Guess


@dataclass
class Questions:
    """How open questions are settled, and what was settled without asking.

    Args:
        yes: Take what is proposed.
    """

    yes: bool
    settled: list[tuple[str, str, str]] = field(default_factory=list)
    """Flag, value and reason of everything that nobody gave."""
    _open: list[tuple[str, str, Guess]] = field(default_factory=list)

    @property
    def can_ask(self) -> bool:
        """Whether a person is there to answer."""
        return not self.yes and sys.stdin.isatty() and sys.stderr.isatty()

    def settle(
        self,
        flag: str,
        question: str,
        given: str | None,
        guess: Guess,
        check: Check | None = None,
        choices: Sequence[str] = (),
    ) -> str:
        """The answer: what was given, what is sure, or what a person says.

        Args:
            check: Refuses an answer that cannot be, so that it is asked for again.
            choices: All answers that there are, where they are few.

        Without a person the proposal is gone on with, and :meth:`require_all` refuses afterwards: so everything that
        is missing is said at once.
        """
        if given is not None:
            return given
        if guess.sure or self.yes:
            self.settled.append((flag, guess.value, guess.reason))
            return guess.value
        if not self.can_ask:
            self._open.append((flag, question, guess))
            return guess.value
        say(f"{NOTE} {question}", err=True)
        say(f"  {guess.value}: {guess.reason}", err=True)
        kind: Any = click.Choice(choices) if choices else None
        answer: str = click.prompt(
            f"  {flag}",
            default=guess.value,
            type=kind,
            value_proc=None if choices or check is None else _checked(check),
            err=True,
        )
        return answer

    def is_agreed(self, flag: str, value: str, question: str, reason: str) -> bool:
        """Whether a flag that nobody gave is taken as proposed."""
        if not self.can_ask and not self.yes:
            self._open.append((flag, question, Guess(value, reason)))
        if not self.can_ask:
            return True
        say(f"{NOTE} {question}", err=True)
        say(f"  {reason}", err=True)
        return click.confirm(f"  {flag} {value}", default=True, err=True)

    def require_all(self) -> None:
        """Refuse to go on with proposals that nobody has agreed to.

        Raises:
            click.UsageError: With the flags that are missing.
        """
        if not self._open:
            return
        lines = [
            f"  {flag} {_quoted(guess.value)}   {question} ({guess.reason})" for flag, question, guess in self._open
        ]
        count = "1 question is" if len(lines) == 1 else f"{len(lines)} questions are"
        raise click.UsageError(
            "\n".join(
                [f"{count} open and nobody can be asked here; what is proposed:", *lines,
                 "give these flags, with other values where they are wrong, or --yes to take them all"]
            )
        )  # fmt: skip


def _checked(check: Check) -> Callable[[str], str]:
    def checked(answer: str) -> str:
        try:
            check(answer)
        except CliError as error:
            raise click.BadParameter(str(error)) from error
        return answer

    return checked


def _quoted(value: str) -> str:
    """As a shell takes it."""
    return shlex.quote(value)
