"""Values as Python writes them, laid out as a formatter would leave them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

#: Columns of a line.
WIDTH = 120


def text(value: str) -> str:
    """A string literal: double quotes, unless single ones need less escaping."""
    body = value.encode("unicode_escape").decode() if not value.isprintable() else value.replace("\\", "\\\\")
    if '"' in body and "'" not in body:
        return f"'{body}'"
    return '"' + body.replace('"', '\\"') + '"'


def number(value: float) -> str:
    """A number literal without a needless fraction."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def sequence(parts: Iterable[str], indent: int, ends: str = "[]", before: str = "") -> str:
    """A list or tuple of literals on one line where it fits after ``before``, else one part a line."""
    parts = list(parts)
    single = ends == "()" and len(parts) == 1
    line = ends[0] + ", ".join(parts) + ("," if single else "") + ends[1]
    # The comma that follows.
    if indent + len(before) + len(line) + 1 <= WIDTH and "\n" not in line:
        return line
    inner = " " * (indent + 4)
    return ends[0] + "\n" + "".join(f"{inner}{part},{_long(inner + part)}\n" for part in parts) + " " * indent + ends[1]


def call(name: str, arguments: Iterable[str], indent: int, before: str = "") -> str:
    """A call, laid out the same way."""
    return name + sequence(arguments, indent, "()", before + name).replace(",)", ")")


def mapping(entries: Iterable[tuple[str, str]], indent: int) -> str:
    """The entries of a dict, one a line, without its braces."""
    inner = " " * indent
    lines = [f"{inner}{key}: {value}," for key, value in entries]
    return "".join(line + _long(line, 0) + "\n" for line in lines)


def returned(entries: Iterable[tuple[str, str]], indent: int, before: str = "") -> str:
    """A `return` of a dict, which the formatter leaves alone where a long name would be torn apart.

    Args:
        before: A line that comes first.
    """
    inner, outer = mapping(entries, indent + 4), " " * indent
    skip = "  # fmt: skip" if max(map(len, inner.splitlines()), default=0) > WIDTH else ""
    return f"{outer}return {{\n{before}{inner}{outer}}}{skip}"


def comment(text: str, indent: int) -> str:
    """A comment, in as many lines as it needs."""
    before = " " * indent + "# "
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent=before, subsequent_indent=before))


def _long(line: str, comma: int = 1) -> str:
    """What a line that cannot be shortened, because one text is long, says about itself; a single word need not."""
    is_long = "\n" not in line and len(line) + comma > WIDTH and len(line.split()) > 1
    return "  # noqa: E501" if is_long else ""
