"""Check of commands that a reader types against the existing commands, without running them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from cli.main import millrace

#: Operators that end the arguments of a command in a shell line.
_OPERATORS = frozenset({"|", "||", "&", "&&", ";", "(", ")", "<", ">", ">>", "<<<", ">&", "|&"})


def find_problems(line: str, *, whole: bool = True) -> list[str]:
    """Return the problems of the calls of `millrace` in a shell line: unknown commands, options or values.

    Args:
        whole: Whether the line must be complete; otherwise required parts may be missing, as in a mention.
    """
    return [problem for words in find_calls(line) if (problem := _find_problem(words, whole))]


def find_calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of `millrace` in a shell line, including those within `$(…)`."""
    within = re.findall(r"\$\(([^()]*)\)", line)
    for part in (re.sub(r"\$\([^()]*\)", "$", line), *within):
        lexer = shlex.shlex(part, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        starts = [place for place, word in enumerate(words) if word.rpartition("/")[2] == "millrace"]
        for start in starts:
            if start and not (words[start - 1] in _OPERATORS or "=" in words[start - 1] or words[start - 1] == "time"):
                continue
            end = next((place for place in range(start, len(words)) if words[place] in _OPERATORS), len(words))
            yield words[start + 1 : end]


def _find_problem(words: list[str], whole: bool) -> str:
    command: click.Command = millrace
    context: click.Context | None = None
    name = "millrace"
    try:
        while True:
            context = command.make_context(name, list(words), parent=context)
            if not isinstance(command, click.Group):
                return ""
            rest = [*context._protected_args, *context.args]
            if not rest:
                return ""
            found, below, words = command.resolve_command(context, rest)
            assert found is not None
            assert below is not None
            name, command = found, below
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        # --help, --version, and a group without a command.
        return ""
    except ModuleNotFoundError as error:
        return f"millrace {' '.join(words)}: {error}"
    except click.BadParameter as error:
        # Only a run can show the value of a shell variable and whether a file exists.
        unknown = any("$" in word for word in words) or isinstance(error.param and error.param.type, click.Path)
        return "" if unknown else _format_problem(words, error.format_message(), whole)
    except click.ClickException as error:
        # Commands with their own exit codes raise their own exceptions.
        return _format_problem(words, error.format_message(), whole)


def _format_problem(words: list[str], message: str, whole: bool) -> str:
    is_short = "Missing" in message or "requires an argument" in message
    return "" if is_short and not whole else f"{' '.join(words)}: {message}"
