"""A page of the documentation as a reader works through it: what to run, what to write, what only to look at.

The fenced blocks of a page are read by these rules, and a block that fits none is an error, because nobody would
notice that it is wrong:

- ``console``: commands, one a line; `\\` continues a line, `# exit code 3` at its end is the code it ends with.
- ``console title="on AWS: needs an account"``: not run here, for the reason after the colon.
- ``python title="stacks/churn/data.py"`` and other languages: a file to be written, whole.
- ``python title="from stacks/flights/data.py"``: lines that stand so in that file.
- ``diff title="stacks/churn/data.py"``: a change to be made by hand, as lines with `-`, `+` or a space before them.
- ``text``: what a command prints; only looked at.
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
#: Before a path: the block shows what is in that file already.
_FROM = "from "


class PageError(AssertionError):
    """A page that cannot be followed as it is written."""


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is that of its first line of content."""

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
        """Why commands are not run here; empty where they are."""
        return self.title if self.language == CONSOLE else ""

    @property
    def path(self) -> str:
        """The file that the block writes or changes; empty where it does neither."""
        is_written = (self.language in FILES and not self.excerpt_of) or self.language == DIFF
        return self.title if is_written else ""

    @property
    def excerpt_of(self) -> str:
        """The file whose lines the block shows."""
        found = self.language in FILES and self.title.startswith(_FROM)
        return self.title.removeprefix(_FROM) if found else ""


@dataclass(frozen=True)
class Command:
    """A command of a console block, its continued lines joined as the shell would."""

    page: str
    line: int
    text: str
    code: int

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page, in order.

    Args:
        page: What messages call it.
        text: Its Markdown.

    Raises:
        PageError: For a fence that is never closed, and for a block that nobody would run, write or compare.
    """
    found = fences(page, text)
    for block in found:
        if problem := _problem(block):
            raise PageError(f"{block.place}: {problem}")
    return found


def fences(page: str, text: str) -> list[Block]:
    """The same of a page that is not held to these rules, such as the README.

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


def _problem(block: Block) -> str:
    """Why nobody would notice that a block is wrong; empty where somebody would."""
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


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block.

    Raises:
        PageError: For a prompt, and for a line that goes on after the block.
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
        yield _command(block.page, began, "\n".join(parts))
        parts = []
    if parts:
        raise PageError(f"{block.page}:{began}: the line goes on after the block")


def _command(page: str, line: int, text: str) -> Command:
    code = _CODE.search(text)
    return Command(page, line, text[: code.start()] if code else text, int(code["code"]) if code else 0)
