"""Python literals and calls as source text, laid out as a formatter would leave them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

#: Maximum length of a line, characters.
WIDTH = 120


def render_text(value: str) -> str:
    """Return a string literal with double quotes, or single quotes if these need less escaping."""
    body = value.encode("unicode_escape").decode() if not value.isprintable() else value.replace("\\", "\\\\")
    if '"' in body and "'" not in body:
        return f"'{body}'"
    return '"' + body.replace('"', '\\"') + '"'


def render_number(value: float) -> str:
    """Return a number literal without a needless fraction."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def render_sequence(parts: Iterable[str], indent: int, ends: str = "[]", before: str = "") -> str:
    """Return a list or tuple literal on one line if it fits there after ``before``, else with one part per line."""
    parts = list(parts)
    single = ends == "()" and len(parts) == 1
    line = ends[0] + ", ".join(parts) + ("," if single else "") + ends[1]
    # One more character for the comma that follows.
    if indent + len(before) + len(line) + 1 <= WIDTH and "\n" not in line:
        return line
    inner = " " * (indent + 4)
    return (
        ends[0]
        + "\n"
        + "".join(f"{inner}{part},{_mark_long_line(inner + part)}\n" for part in parts)
        + " " * indent
        + ends[1]
    )


def render_call(name: str, arguments: Iterable[str], indent: int, before: str = "") -> str:
    """Return a call expression, laid out like a sequence."""
    return name + render_sequence(arguments, indent, "()", before + name).replace(",)", ")")


def render_entries(entries: Iterable[tuple[str, str]], indent: int) -> str:
    """Return the entries of a dict literal, one per line, without its braces."""
    inner = " " * indent
    lines = [f"{inner}{key}: {value}," for key, value in entries]
    return "".join(line + _mark_long_line(line, 0) + "\n" for line in lines)


def render_return(entries: Iterable[tuple[str, str]], indent: int, before: str = "") -> str:
    """Return a `return` statement with a dict literal; if a line is too long, it is excluded from formatting.

    Args:
        entries: The source text of each key and its value.
        indent: Number of spaces before the statement.
        before: A line to insert before the entries.
    """
    inner, outer = render_entries(entries, indent + 4), " " * indent
    skip = "  # fmt: skip" if max(map(len, inner.splitlines()), default=0) > WIDTH else ""
    return f"{outer}return {{\n{before}{inner}{outer}}}{skip}"


def render_comment(text: str, indent: int) -> str:
    """Return a comment, wrapped to as many lines as it needs.

    Args:
        text: The text, without `#`.
        indent: Number of spaces before each line.
    """
    before = " " * indent + "# "
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent=before, subsequent_indent=before))


def _mark_long_line(line: str, comma: int = 1) -> str:
    """Return the `noqa` comment for a line that is too long; empty if it fits, has line breaks or is a single word."""
    is_long = "\n" not in line and len(line) + comma > WIDTH and len(line.split()) > 1
    return "  # noqa: E501" if is_long else ""
