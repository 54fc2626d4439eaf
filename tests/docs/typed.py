"""What a reader types, held against the commands that there are, without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from cli.main import millrace

#: What ends a command's arguments in a shell's line.
_OPERATORS = frozenset({"|", "||", "&", "&&", ";", "(", ")", "<", ">", ">>", "<<<", ">&", "|&"})


def problems(line: str, *, whole: bool = True) -> list[str]:
    """What is wrong with the calls of `millrace` in a shell's line: commands, options or values that cannot be.

    Args:
        whole: Whether the line can be typed as it is; else it may leave out what is needed, as a mention does.
    """
    return [problem for words in calls(line) if (problem := _problem(words, whole))]


def calls(line: str) -> Iterator[list[str]]:
    """The arguments of each call of `millrace` in a shell's line, those within `$(…)` too."""
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


def _problem(words: list[str], whole: bool) -> str:
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
        # --help, --version, and a group alone.
        return ""
    except ModuleNotFoundError as error:
        return f"millrace {' '.join(words)}: {error}"
    except click.BadParameter as error:
        # What the shell puts in the place of a variable, and whether a file is there, only a run can tell.
        unknown = any("$" in word for word in words) or isinstance(error.param and error.param.type, click.Path)
        return "" if unknown else _told(words, error.format_message(), whole)
    except click.ClickException as error:
        # Commands with exit codes of their own raise their own.
        return _told(words, error.format_message(), whole)


def _told(words: list[str], message: str, whole: bool) -> str:
    is_short = "Missing" in message or "requires an argument" in message
    return "" if is_short and not whole else f"{' '.join(words)}: {message}"
