"""A page of the documentation as a reader follows it: blocks to run, to write and only to read.

The fenced blocks of a page follow these rules, and a block that matches none is an error, because its mistakes would
not be noticed:

- ``console``: commands, one per line; `\\` continues a line, `# exit code 3` at its end is the expected exit code.
- ``console title="on AWS: needs an account"``: not run here, for the reason after the colon.
- ``python title="stacks/churn/data.py"`` and other languages: the complete file to write.
- ``python title="from stacks/flights/data.py"``: lines of that file.
- ``diff title="stacks/churn/data.py"``: a change to apply, as lines that begin with `-`, `+` or a space.
- ``text``: the output of a command; only read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Languages of files that a reader writes.
FILES = frozenset(
    {"python", "yaml", "json", "jsonl", "csv", "toml", "sql", "html", "jinja", "make", "dockerfile", "ini"}
)
CONSOLE, DIFF, TEXT = "console", "diff", "text"

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
_TITLE = re.compile(r'\btitle="(?P<title>[^"]*)"')
_CODE = re.compile(r"\s+# exit code (?P<code>\d+)$")
#: Prefix of a path: the block shows lines of that existing file.
_FROM = "from "


class PageError(AssertionError):
    """Error in a page that cannot be followed as written."""


@dataclass(frozen=True)
class Block:
    """Fenced block; ``line`` is the number of its first line of content."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def reason(self) -> str:
        """Return why commands are not run; empty if they are run."""
        return self.title if self.language == CONSOLE else ""

    @property
    def path(self) -> str:
        """Return the file that the block writes or changes; empty if it does neither."""
        is_written = (self.language in FILES and not self.excerpt_of) or self.language == DIFF
        return self.title if is_written else ""

    @property
    def excerpt_of(self) -> str:
        """Return the file whose lines the block shows."""
        found = self.language in FILES and self.title.startswith(_FROM)
        return self.title.removeprefix(_FROM) if found else ""


@dataclass(frozen=True)
class Command:
    """Command of a console block, with continued lines joined as the shell would."""

    page: str
    line: int
    text: str
    code: int

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def parse_blocks(page: str, text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order.

    Args:
        page: Its name in messages.
        text: Its Markdown.

    Raises:
        PageError: For a fence that is never closed, and for a block that cannot be run, written or compared.
    """
    found = parse_fences(page, text)
    for block in found:
        if problem := _find_problem(block):
            raise PageError(f"{block.place}: {problem}")
    return found


def parse_fences(page: str, text: str) -> list[Block]:
    """Return the fenced blocks of a page that need not follow these rules, such as the README.

    Raises:
        PageError: For a fence that is never closed.
    """
    found: list[Block] = []
    opened: tuple[int, re.Match[str]] | None = None
    content: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, content = (number, fence), []
            continue
        start, first = opened
        if fence and not fence["info"].strip() and fence["fence"].startswith(first["fence"]):
            title = _TITLE.search(first["info"])
            language = first["info"].strip().split(" ")[0]
            lines = "".join(f"{each}\n" for each in content)
            found.append(Block(page, start + 1, language, title["title"] if title else "", lines))
            opened = None
        else:
            content.append(line.removeprefix(first["indent"]))
    if opened:
        raise PageError(f"{page}:{opened[0]}: the block is never closed")
    return found


def _find_problem(block: Block) -> str:
    """Return why mistakes in a block would not be noticed; empty if they would be."""
    language, title = block.language, block.title
    if language == TEXT:
        return ""
    if language == CONSOLE:
        where, colon, why = title.partition(": ")
        if title and not (where and colon and why.strip()):
            return f'commands that are not run need a reason, title="<where>: <why>"; found title="{title}"'
        return ""
    if language not in FILES | {DIFF}:
        kind = repr(language) if language else "no language"
        return f"a block of {kind} is not run: use console for commands, text for the rest"
    path = block.excerpt_of or title
    if not path:
        return f'a block of {language!r} without a file is not tried: say title="<path>", title="from <path>", or text'
    if Path(path).is_absolute() or ".." in Path(path).parts:
        return f'title="{title}" leaves the checkout: expected a path within it'
    return ""


def parse_commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block.

    Raises:
        PageError: For a prompt, and for a line that continues after the block.
    """
    parts: list[str] = []
    began = 0
    for offset, line in enumerate(block.text.splitlines()):
        if not parts:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            began = block.line + offset
            if line.startswith(("$ ", "% ", "> ")):
                raise PageError(f"{block.page}:{began}: a prompt cannot be typed: leave it out; output is a text block")
        parts.append(line)
        if line.endswith("\\"):
            continue
        yield _parse_command(block.page, began, "\n".join(parts))
        parts = []
    if parts:
        raise PageError(f"{block.page}:{began}: the line goes on after the block")


def _parse_command(page: str, line: int, text: str) -> Command:
    code = _CODE.search(text)
    return Command(page, line, text[: code.start()] if code else text, int(code["code"]) if code else 0)
