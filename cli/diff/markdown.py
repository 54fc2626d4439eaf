"""The document as a comment: first what a reviewer must not miss, and never longer than the host allows.

Everything that comes from a resource is rendered as text or code: it cannot add markup or links, or notify anybody.
When the comment is too long, the folded part is dropped first, then details, then lists; risks are dropped last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from cli.console.templates import render
from cli.diff.model import format_value
from cli.diff.permissions import openings
from cli.diff.values import Mark

#: The maximum length of a comment on GitHub, characters, and the margin left for what others add.
LIMIT, MARGIN = 65_536, 512

#: The maximum length of a value within a line, characters.
_VALUE = 160
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#!&$^])")
#: An invisible space, which prevents mentions of users and links to issues.
_BREAK = "\N{ZERO WIDTH SPACE}"


@dataclass(frozen=True)
class Detail:
    """The level of detail of a comment.

    Attributes:
        properties: Whether the properties of each resource are shown.
        documents: Whether long documents are shown, line by line.
        resources: Whether the folded part lists resources at all.
        most: The maximum length of a list; None for no limit.
        sections: Whether sections other than the risks are shown.
        risks: The maximum number of risks that are shown; None for no limit.
        reasons: Whether each risk has its consequence, cause and fix.
    """

    properties: bool = True
    documents: bool = True
    resources: bool = True
    most: int | None = None
    sections: bool = True
    risks: int | None = None
    reasons: bool = True


_DETAILS = (
    Detail(),
    Detail(documents=False),
    Detail(documents=False, properties=False),
    Detail(documents=False, properties=False, resources=False),
    Detail(documents=False, properties=False, resources=False, most=20),
    Detail(documents=False, properties=False, resources=False, most=5),
    Detail(documents=False, properties=False, resources=False, most=1),
    Detail(documents=False, properties=False, resources=False, sections=False),
    Detail(documents=False, properties=False, resources=False, sections=False, reasons=False),
)


class Words:
    """The formatting of texts and values in Markdown."""

    def text(self, value: object) -> str:
        """Return a text on one line, with all markup escaped.

        Args:
            value: The text, or a value whose text is shown.
        """
        said = _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))
        said = re.sub(r"@(?=\S)", f"@{_BREAK}", said)
        said = re.sub(r"(\\#)(?=\d)", rf"\1{_BREAK}", said)
        # Prevents a list, a heading, and a line that makes the line above a heading.
        return re.sub(r"^([-+=>]|\d+[.)])(?=\s|$|[-=])", r"\\\1", said)

    def prose(self, value: str) -> str:
        """Return a sentence of Millrace's own, in which names are between backticks."""
        parts = value.split("`")
        if len(parts) % 2 == 0:
            return self.text(value)
        said = [self.code(part) if place % 2 else self._between(part) for place, part in enumerate(parts)]
        return "".join(said).strip()

    def _between(self, part: str) -> str:
        """Return the text between names, with the spaces around it."""
        inner = self.text(part)
        return f"{' ' if part[:1].isspace() else ''}{inner}{' ' if inner and part[-1:].isspace() else ''}"

    def code(self, value: object) -> str:
        """Return a name or a value as code.

        Args:
            value: The name, or a value whose text is shown.
        """
        said = " ".join(str(value).split()) or " "
        longest = max((len(run) for run in re.findall("`+", said)), default=0)
        fence = "`" * (longest + 1)
        pad = " " if longest else ""
        return f"{fence}{pad}{said}{pad}{fence}"

    def cell(self, value: object) -> str:
        """Return a name or a value as code within a table."""
        return self.code(value).replace("|", "\\|")

    def value(self, value: Any) -> str:
        """Return a property's value as shortened code; a mark in italics.

        Args:
            value: JSON data, or a mark for a value that is secret or not known.
        """
        if value is None:
            return "nothing"
        if isinstance(value, Mark):
            return f"*{self.text(value)}*"
        said = format_value(value) if not isinstance(value, bool) else str(value).lower()
        if len(said) > _VALUE:
            said = f"{said[: _VALUE - 1]}…"
        return self.code(said) if said else "an empty string"

    def bold(self, value: object) -> str:
        """Return a text in bold."""
        return f"**{self.text(value)}**"

    def heading(self, value: str, level: int = 3) -> str:
        """Return a heading."""
        return f"{'#' * level} {value}"

    def fence(self, lines: Sequence[str]) -> str:
        """Return the lines of a diff as a block."""
        longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
        marks = "`" * max(3, longest + 1)
        return "\n".join([f"{marks}diff", *lines, marks])

    def begin_fold(self, summary: str) -> str:
        """Return the start of a folded part."""
        return f"<details><summary>{summary}</summary>\n"

    def end_fold(self) -> str:
        """Return the end of a folded part."""
        return "\n</details>"


class Plain(Words):
    """The formatting of texts and values for a terminal.

    Args:
        colours: Whether the terminal shows bold text.
    """

    def __init__(self, *, colours: bool = False) -> None:
        self._colours = colours

    def text(self, value: object) -> str:
        """Return a text on one line."""
        return " ".join(str(value).split())

    def prose(self, value: str) -> str:
        """Return a sentence of Millrace's own, without its backticks."""
        return self.text(value.replace("`", ""))

    def code(self, value: object) -> str:
        """Return a name or a value as text."""
        return self.text(value)

    def value(self, value: Any) -> str:
        """Return a property's value as shortened text."""
        if value is None:
            return "nothing"
        said = format_value(value) if not isinstance(value, bool) else str(value).lower()
        return f"{said[: _VALUE - 1]}…" if len(said) > _VALUE else said or "an empty string"

    def bold(self, value: object) -> str:
        """Return a text, in bold if the terminal shows it."""
        return click.style(self.text(value), bold=True) if self._colours else self.text(value)

    def heading(self, value: str, level: int = 3) -> str:
        """Return a heading in bold; in capitals unless it is the title."""
        return self.bold(value if level == 2 else value.upper())

    def fence(self, lines: Sequence[str]) -> str:
        """Return the lines of a diff, indented."""
        return "\n".join(f"    {line}" for line in lines)

    def begin_fold(self, summary: str) -> str:
        """Return the summary of a part, which is not folded here."""
        return f"{summary}\n"

    def end_fold(self) -> str:
        """Return nothing, because no part is folded here."""
        return ""


def render_comment(document: Mapping[str, Any], limit: int = LIMIT) -> str:
    """Return the document as a comment with at most as many characters as the limit less a margin.

    Args:
        document: The document of `millrace diff`.
        limit: The maximum length that the host allows, characters; the margin is at most half of it.
    """
    room = max(limit - MARGIN, limit // 2)
    for detail in _DETAILS:
        text = _written(document, detail, Words())
        if len(text) <= room:
            return text
    count = len(document["risks"])
    while count > 0:
        count = count * 2 // 3
        text = _written(document, Detail(False, False, False, 1, False, count, False), Words())
        if len(text) <= room:
            return text
    return text[:room]


def render_plain(document: Mapping[str, Any], *, colours: bool = False) -> str:
    """Return the document as text for a terminal.

    Args:
        document: The document of `millrace diff`.
        colours: Whether the terminal shows bold text.
    """
    return _written(document, Detail(), Plain(colours=colours))


def _written(document: Mapping[str, Any], detail: Detail, words: Words) -> str:
    text = render("diff/comment.md.j2", d=document, detail=detail, w=words, say=_Say(words, detail))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


class _Say:
    """Phrases that templates would otherwise have to compute."""

    def __init__(self, words: Words, detail: Detail) -> None:
        self._words, self._detail = words, detail

    def counts(self, document: Mapping[str, Any]) -> str:
        done = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
        said = [f"{count} {done[name]}" for name, count in document["counts"].items()]
        if document["unchanged"]:
            said.append(f"{document['unchanged']} unchanged")
        return ", ".join(said) or "no resource changes"

    def limit(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values that are shown."""
        return values if self._detail.most is None else values[: self._detail.most]

    def format_rest(self, values: Sequence[Any]) -> str:
        """Return the phrase for the values that are not shown."""
        left = len(values) - len(self.limit(values))
        return f"and {left} more" if left else ""

    def format_codes(self, values: Sequence[Any], most: int = 12) -> str:
        """Return names as code, one after the other."""
        shown = [self._words.code(each) for each in values[:most]]
        left = len(values) - len(shown)
        return ", ".join([*shown, *([f"and {left} more"] if left else [])])

    def money(self, value: float | None, *, signed: bool = False) -> str:
        if value is None:
            return "unknown"
        sign = ("+" if value > 0 else "-" if value < 0 else "") if signed else ("-" if value < 0 else "")
        # A dollar sign before a number does not begin a formula in Markdown.
        return f"{sign}${abs(value):,.2f}"

    def format_sum(self, cost: Mapping[str, Any], side: str) -> str:
        """Return the known cost of a month, marked as a minimum when it is not all."""
        return f"{'at least ' if cost['at_least'][side] else ''}{self.money(cost[side])}"

    def hourly(self, value: float | None) -> str:
        return "unknown" if value is None else f"${value:g}"

    def minutes(self, value: float | None) -> str:
        if value is None:
            return "an unknown time"
        if 0 < value < 1:
            return self.count(round(value * 60), "second")
        return f"{value:g} minute{'' if value == 1 else 's'}"

    def share(self, value: float | None) -> str:
        return "an unknown share" if value is None else f"{value:g} %"

    def fleet(self, side: Mapping[str, Any] | None) -> str:
        if side is None:
            return "nothing"
        return str(side["instance"]) if side["count"] is None else f"{side['count']} × {side['instance']}"

    def short(self, resource: str) -> str:
        """Return an ARN as service and resource only."""
        return openings.shorten_arn(resource)

    def count(self, number: int, noun: str) -> str:
        return f"{number} {noun}{'' if number == 1 else 's'}"

    def risks(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the risks that are shown; those that differ only in their name are combined."""
        found: Sequence[Mapping[str, str]] = document["risks"]
        shown = found if self._detail.risks is None else found[: self._detail.risks]
        together: dict[tuple[str, ...], list[str]] = {}
        for each in shown:
            said = (each["title"], each["consequence"], each["because"], each["fix"])
            together.setdefault(said, []).append(each["name"])
        names = ("title", "consequence", "because", "fix")
        return [{**dict(zip(names, said, strict=True)), "names": each} for said, each in together.items()]

    def count_left(self, document: Mapping[str, Any]) -> int:
        """Return the number of risks that are not shown."""
        count = len(document["risks"])
        return 0 if self._detail.risks is None else count - min(count, self._detail.risks)

    def steps(self, changed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the changes of steps; the same change of several steps is combined."""
        together: dict[str, dict[str, Any]] = {}
        for step in changed:
            for each in step["changes"]:
                key = repr((each["path"], format_value(each["before"]), format_value(each["after"])))
                together.setdefault(key, {**each, "steps": []})["steps"].append(step["step"])
        return list(together.values())

    def condition(self, text: str) -> str:
        """Return the condition of a policy as one line of text."""
        return openings.format_condition(text)

    def list_known(self, permissions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the roles and resources of which changes are known."""
        return [each for each in permissions if each["gained"] or each["lost"]]

    def list_unknown(self, permissions: Sequence[Mapping[str, Any]], part: str) -> list[str]:
        """Return the policies whose content is not known: yet (`unknown`), or here (`unread`)."""
        return [name for each in permissions for name in each[part]]

    def list_unchanged(self, document: Mapping[str, Any]) -> list[str]:
        """Return the names of the parts that do not change."""
        model = document["model"]
        keys = ("serves", "image", "code", "hyperparameters", "features", "declaration", "variables")
        trains = any(each["trains"] for each in document["pipelines"])
        parts = {
            "traffic": document["traffic"],
            "the model and its training": trains or any(model[key] for key in keys),
            "permissions": document["permissions"],
            "alarms, schedules and pipelines": document["watching"] or document["pipelines"],
        }
        return [name for name, found in parts.items() if not found]
