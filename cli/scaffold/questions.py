"""Questions that the data do not answer: a person is asked, `--yes` accepts proposals, else missing flags are named."""

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
    """The open questions of a command, and the answers that were taken without asking.

    Attributes:
        yes: Whether every proposal is accepted without asking.
    """

    yes: bool
    settled: list[tuple[str, str, str]] = field(default_factory=list)
    """Flag, value and reason of each answer that was taken without asking."""
    _open: list[tuple[str, str, Guess]] = field(default_factory=list)

    @property
    def can_ask(self) -> bool:
        """True if a person can be asked."""
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
        """Return the answer to a question: the given value, a sure guess, or a person's answer.

        If nobody can be asked, the guess is returned and :meth:`require_all` refuses later, so that all missing flags
        are reported at once.

        Args:
            flag: The option that answers the question.
            question: The question to show to a person.
            given: The value of the option; None if it was not given.
            guess: The proposed answer.
            check: Raises a CliError for an invalid answer, which makes the prompt repeat.
            choices: All possible answers, if they are few.
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

    def ask_agreement(self, flag: str, value: str, question: str, reason: str) -> bool:
        """Return True if a proposed flag is accepted: by a person, by `--yes`, or until :meth:`require_all` refuses."""
        if not self.can_ask and not self.yes:
            self._open.append((flag, question, Guess(value, reason)))
        if not self.can_ask:
            return True
        say(f"{NOTE} {question}", err=True)
        say(f"  {reason}", err=True)
        return click.confirm(f"  {flag} {value}", default=True, err=True)

    def require_all(self) -> None:
        """Refuse to continue with proposals that nobody has accepted.

        Raises:
            click.UsageError: When questions are open, with the missing flags.
        """
        if not self._open:
            return
        lines = [
            f"  {flag} {_quoted(guess.value)}   {question} ({guess.reason})" for flag, question, guess in self._open
        ]
        count = "1 question is" if len(lines) == 1 else f"{len(lines)} questions are"
        raise click.UsageError(
            "\n".join(
                [f"{count} open, and this terminal is not interactive; the proposed answers:", *lines,
                 "give these flags, with corrected values where needed, or --yes to accept them all"]
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
    """Quote a value for a shell."""
    return shlex.quote(value)
