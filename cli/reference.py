"""The reference of the command line, `docs/cli.md`, generated from the commands: `python -m cli.reference`.

The page depends on the commands alone: not on the terminal, the machine or the path of the checkout.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from cli.examples import EXAMPLES
from cli.main import COMMANDS, millrace

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

_WRAP = textwrap.TextWrapper(width=120, break_long_words=False, break_on_hyphens=False)

_INTRODUCTION = """\
<!-- Made by `make docs` from the commands themselves; change them, not this page. -->

# Command line

`millrace <command> --help` says the same on a terminal. What changes infrastructure is `pulumi up`; these commands do
what it does not, and those that call it (`up`, `deploy`, `destroy`, …) call the stock Pulumi CLI.
"""

#: The section about all commands, in the words of `cli/main.py`, `cli/stack/target.py` and `cli/stack/connection.py`.
_COMMON = """\
## What all commands share

**Which stack.** Most commands are about one use case in one environment, `USE_CASE --env ENV`. Its configuration is
`stacks/Pulumi.<use case>-<environment>.yaml`. Without `--env` it is `local`, whose AWS is this machine.

**Which AWS.** For `local`, the cloud in the folder that `--state` names; without it, what `AWS_ENDPOINT_URL` says, else
the cloud in the checkout's `.millrace`. For every other environment the credentials are your own, as the AWS CLI finds
them, or the profile that the stack's file names as `aws:profile`; a command refuses to take this machine's cloud for an
account.

**For programs.** Every command that reads prints one JSON document with `--json` (`invoke`, whose `--json` is the
request, with `--json-output`); progress then goes to standard error.

**Exit codes.**

| code | meaning |
|---|---|
| 0 | done |
| 1 | could not be done; the last line says why and what to do next |
| 2 | used wrongly: an option or argument that cannot be, whatever the files and AWS say |
| 130 | interrupted with Ctrl-C; what was started is ended or goes on where the command says so |

A command with codes of its own says so below.

**Environment variables.**

| variable | read by | meaning |
|---|---|---|
{variables}
| `MILLRACE_PRICES` | whatever says a cost | a price table of your own, laid over `cli/prices.toml` |
| `MILLRACE_STAND_IN` | commands of other environments | 1: the local cloud stands in for every account, to rehearse |
| `AWS_ENDPOINT_URL` | commands of `local` | another address of the local cloud, as `millrace local env` prints it |
| `AWS_PROFILE`, `AWS_REGION` and the other settings of AWS | all other environments | your own account |
| `PULUMI_BACKEND_URL`, `PULUMI_CONFIG_PASSPHRASE`, … | what calls Pulumi | where its state is; `local` keeps its own |

**Before a command.** `millrace --verbose <command>` shows an error's whole trace, `millrace --version` the version.
"""


def render_page() -> str:
    """Render the whole page."""
    context = click.Context(millrace, info_name="millrace")
    found = {name: millrace.get_command(context, name) for name in COMMANDS}
    parts = [_INTRODUCTION, _overview(list(found)), _COMMON.replace("{variables}", "\n".join(_variables(context)))]
    parts += ["\n".join(_sections(command, name, context, 2)) for name, command in found.items() if command is not None]
    return "\n".join(parts)


def _variables(context: click.Context) -> Iterator[str]:
    """Yield a table row for each environment variable that sets an option."""
    options: dict[str, click.Option] = {}
    for command in _every(millrace, context):
        for option in (each for each in command.params if isinstance(each, click.Option)):
            for name in [option.envvar] if isinstance(option.envvar, str) else option.envvar or ():
                options.setdefault(name, option)
    for name, option in sorted(options.items()):
        help_ = _plain(re.sub(rf"; also {name}\.$", ".", option.help or ""))
        yield f"| `{name}` | whatever has `{option.opts[0]}` | {help_} |"


def _every(group: click.Group, context: click.Context) -> Iterator[click.Command]:
    """Yield the commands of a group and of the groups in it."""
    for command in filter(None, (group.get_command(context, name) for name in group.list_commands(context))):
        yield command
        if isinstance(command, click.Group):
            yield from _every(command, context)


def _overview(names: Sequence[str]) -> str:
    rows = [f"| [`{name}`](#millrace-{name}) | {_plain(COMMANDS[name][1])} |" for name in names]
    return "\n".join(["| command | what it does |", "|---|---|", *rows, ""])


def _sections(command: click.Command, name: str, parent: click.Context, depth: int) -> Iterator[str]:
    """Yield the command's section, then those of its own commands."""
    context = click.Context(command, info_name=name, parent=parent)
    path = context.command_path
    yield f"{'#' * depth} millrace {path.removeprefix('millrace ')}\n"
    yield f"{_usage(command, context)}\n"
    yield f"{_text(command.help or '')}\n"
    yield from _table("argument", _arguments(command, context))
    yield from _table("option", _options(command, context))
    examples = [(f"`{line}`", _plain(purpose)) for line, purpose in EXAMPLES.get(path, ())]
    yield from _table("example", examples)
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            if (below := command.get_command(context, each)) is not None and not below.hidden:
                yield from _sections(below, each, context, depth + 1)


def _usage(command: click.Command, context: click.Context) -> str:
    pieces = " ".join(command.collect_usage_pieces(context))
    return f"`{context.command_path} {pieces}`".replace(" `", "`")


def _table(what: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if rows:
        cells = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
        yield "\n".join([f"| {what} | |", "|---|---|", *(f"| {each} |" for each in cells), ""])


def _arguments(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    """Return the arguments that have their own help; the command's text explains the others."""
    return [
        (f"`{each.make_metavar(context)}`", _plain(help_))
        for each in command.params
        if isinstance(each, click.Argument) and (help_ := getattr(each, "help", None))
    ]


def _options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    return [
        (_spelled(each, context), _explained(each, context))
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden
    ]


def _spelled(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag or option.count else f"{names} `{option.make_metavar(context)}`"


def _explained(option: click.Option, context: click.Context) -> str:
    extra = option.get_help_extra(context)
    more = [_plain(option.help or "")]
    if option.required:
        more.append("Required.")
    if option.multiple and not re.search("repeated|more than once", more[0]):
        more.append("May stand several times.")
    if isinstance(option.show_default, str):
        more.append(f"Default: {_plain(option.show_default)}.")
    elif default := extra.get("default"):
        more.append(f"Default: `{default}`.")
    if bounds := extra.get("range"):
        more.append(f"`{bounds}`.")
    variables = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
    if variables and not all(name in (option.help or "") for name in variables):
        more.append(f"Also {', '.join(f'`{name}`' for name in variables)}.")
    return " ".join(part for part in more if part)


def _text(help_: str) -> str:
    """Convert a command's help to Markdown: paragraphs are wrapped, those marked to be kept stay as they are."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(help_).partition("\f")[0].strip()):
        if paragraph.startswith("\b"):
            parts.append(f"```text\n{paragraph.removeprefix(chr(8)).strip(chr(10))}\n```")
        else:
            parts.append("\n".join(_WRAP.wrap(_plain(paragraph))))
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    """Escape a text so that nothing but `code` is Markdown."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else _escaped(piece) for piece in pieces)


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Within a word an underscore needs no escape.
    return re.sub(r"([*\[\]]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def main() -> None:
    """Write the page and report whether it has changed."""
    text = render_page()
    changed = not PAGE.is_file() or PAGE.read_text() != text
    if changed:
        PAGE.write_text(text)
    sys.stderr.write(f"{PAGE.name}: {'written' if changed else 'up to date'}\n")


if __name__ == "__main__":
    main()
