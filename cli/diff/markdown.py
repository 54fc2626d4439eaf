"""The document as a comment: what a reviewer must not miss first, and never more than the host takes.

Everything that comes from a resource is text or code here, whatever it looks like: it marks nothing up, links nothing
and pings nobody. When it gets too long the folded part goes first, then details, then lists; a risk goes last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from cli.console.templates import render
from cli.diff.model import as_text
from cli.diff.permissions import openings
from cli.diff.values import Mark

#: What a comment of GitHub's may hold, characters, and what is left free for what others add.
LIMIT, MARGIN = 65_536, 512

#: Characters of a value in a line.
_VALUE = 160
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#!&$^])")
#: An invisible space, after which no name is called and no issue is linked.
_BREAK = "\N{ZERO WIDTH SPACE}"


@dataclass(frozen=True)
class Detail:
    """How much is said.

    Attributes:
        properties: Of each resource, whether its properties stand there.
        documents: Whether long documents stand there, line by line.
        resources: Whether the folded part lists resources at all.
        most: The longest a list gets; None for all.
        sections: Whether there is more than risks.
        risks: The most risks that are told; None for all.
        reasons: Whether each says its consequence, cause and way out.
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
    """How texts and values are written in Markdown."""

    def text(self, value: object) -> str:
        """A text that marks nothing up, on one line."""
        said = _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))
        said = re.sub(r"@(?=\S)", f"@{_BREAK}", said)
        said = re.sub(r"(\\#)(?=\d)", rf"\1{_BREAK}", said)
        # Neither a list nor a heading, nor the line that makes one of the line above.
        return re.sub(r"^([-+=>]|\d+[.)])(?=\s|$|[-=])", r"\\\1", said)

    def prose(self, value: str) -> str:
        """A sentence of ours, in which names stand between backticks."""
        parts = value.split("`")
        if len(parts) % 2 == 0:
            return self.text(value)
        said = [self.code(part) if place % 2 else self._between(part) for place, part in enumerate(parts)]
        return "".join(said).strip()

    def _between(self, part: str) -> str:
        """Text between names, with the spaces around it."""
        inner = self.text(part)
        return f"{' ' if part[:1].isspace() else ''}{inner}{' ' if inner and part[-1:].isspace() else ''}"

    def code(self, value: object) -> str:
        """A name or a value, as code."""
        said = " ".join(str(value).split()) or " "
        longest = max((len(run) for run in re.findall("`+", said)), default=0)
        fence = "`" * (longest + 1)
        pad = " " if longest else ""
        return f"{fence}{pad}{said}{pad}{fence}"

    def cell(self, value: object) -> str:
        """Code within a table."""
        return self.code(value).replace("|", "\\|")

    def value(self, value: Any) -> str:
        """A property's value: as code, shortened; what stands for a value, as words."""
        if value is None:
            return "nothing"
        if isinstance(value, Mark):
            return f"*{self.text(value)}*"
        said = as_text(value) if not isinstance(value, bool) else str(value).lower()
        if len(said) > _VALUE:
            said = f"{said[: _VALUE - 1]}…"
        return self.code(said) if said else "an empty text"

    def bold(self, value: object) -> str:
        return f"**{self.text(value)}**"

    def heading(self, value: str, level: int = 3) -> str:
        return f"{'#' * level} {value}"

    def fence(self, lines: Sequence[str]) -> str:
        """Lines of a diff as a block."""
        longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
        marks = "`" * max(3, longest + 1)
        return "\n".join([f"{marks}diff", *lines, marks])

    def begin_fold(self, summary: str) -> str:
        return f"<details><summary>{summary}</summary>\n"

    def end_fold(self) -> str:
        return "\n</details>"


class Plain(Words):
    """The same for a terminal.

    Args:
        colours: Whether it shows bold letters.
    """

    def __init__(self, *, colours: bool = False) -> None:
        self._colours = colours

    def text(self, value: object) -> str:
        return " ".join(str(value).split())

    def prose(self, value: str) -> str:
        return self.text(value.replace("`", ""))

    def code(self, value: object) -> str:
        return self.text(value)

    def value(self, value: Any) -> str:
        if value is None:
            return "nothing"
        said = as_text(value) if not isinstance(value, bool) else str(value).lower()
        return f"{said[: _VALUE - 1]}…" if len(said) > _VALUE else said or "an empty text"

    def bold(self, value: object) -> str:
        return click.style(self.text(value), bold=True) if self._colours else self.text(value)

    def heading(self, value: str, level: int = 3) -> str:
        return self.bold(value if level == 2 else value.upper())

    def fence(self, lines: Sequence[str]) -> str:
        return "\n".join(f"    {line}" for line in lines)

    def begin_fold(self, summary: str) -> str:
        return f"{summary}\n"

    def end_fold(self) -> str:
        return ""


def comment(document: Mapping[str, Any], limit: int = LIMIT) -> str:
    """The comment, with no more characters than the limit less a margin."""
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


def plain(document: Mapping[str, Any], *, colours: bool = False) -> str:
    """The document for a terminal."""
    return _written(document, Detail(), Plain(colours=colours))


def _written(document: Mapping[str, Any], detail: Detail, words: Words) -> str:
    text = render("diff/comment.md.j2", d=document, detail=detail, w=words, say=_Say(words, detail))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


class _Say:
    """Words that templates would have to compute."""

    def __init__(self, words: Words, detail: Detail) -> None:
        self._words, self._detail = words, detail

    def counts(self, document: Mapping[str, Any]) -> str:
        done = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
        said = [f"{count} {done[name]}" for name, count in document["counts"].items()]
        if document["unchanged"]:
            said.append(f"{document['unchanged']} unchanged")
        return ", ".join(said) or "no resource changes"

    def some(self, values: Sequence[Any]) -> Sequence[Any]:
        """The values that are told."""
        return values if self._detail.most is None else values[: self._detail.most]

    def rest(self, values: Sequence[Any]) -> str:
        """What is to be said of the others."""
        left = len(values) - len(self.some(values))
        return f"and {left} more" if left else ""

    def codes(self, values: Sequence[Any], most: int = 12) -> str:
        """Names, one after the other."""
        shown = [self._words.code(each) for each in values[:most]]
        left = len(values) - len(shown)
        return ", ".join([*shown, *([f"and {left} more"] if left else [])])

    def money(self, value: float | None, *, signed: bool = False) -> str:
        if value is None:
            return "unknown"
        sign = ("+" if value > 0 else "-" if value < 0 else "") if signed else ("-" if value < 0 else "")
        # A dollar sign before a number begins no formula.
        return f"{sign}${abs(value):,.2f}"

    def sum(self, cost: Mapping[str, Any], side: str) -> str:
        """What is known of a month, and that it is not all."""
        return f"{'at least ' if cost['at_least'][side] else ''}{self.money(cost[side])}"

    def hourly(self, value: float | None) -> str:
        return "unknown" if value is None else f"${value:g}"

    def minutes(self, value: float | None) -> str:
        if value is None:
            return "a time that is not known"
        if 0 < value < 1:
            return self.count(round(value * 60), "second")
        return f"{value:g} minute{'' if value == 1 else 's'}"

    def share(self, value: float | None) -> str:
        return "a share that is not known" if value is None else f"{value:g} %"

    def fleet(self, side: Mapping[str, Any] | None) -> str:
        if side is None:
            return "nothing"
        return str(side["instance"]) if side["count"] is None else f"{side['count']} × {side['instance']}"

    def short(self, resource: str) -> str:
        """An ARN without what is the same for all of an account."""
        return openings.short(resource)

    def count(self, number: int, noun: str) -> str:
        return f"{number} {noun}{'' if number == 1 else 's'}"

    def risks(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The risks that are told; those that differ in their name alone are told together."""
        found: Sequence[Mapping[str, str]] = document["risks"]
        shown = found if self._detail.risks is None else found[: self._detail.risks]
        together: dict[tuple[str, ...], list[str]] = {}
        for each in shown:
            said = (each["title"], each["consequence"], each["because"], each["fix"])
            together.setdefault(said, []).append(each["name"])
        names = ("title", "consequence", "because", "fix")
        return [{**dict(zip(names, said, strict=True)), "names": each} for said, each in together.items()]

    def left(self, document: Mapping[str, Any]) -> int:
        """How many risks are not told."""
        count = len(document["risks"])
        return 0 if self._detail.risks is None else count - min(count, self._detail.risks)

    def steps(self, changed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Changes of steps; the same change of several steps is told once."""
        together: dict[str, dict[str, Any]] = {}
        for step in changed:
            for each in step["changes"]:
                key = repr((each["path"], as_text(each["before"]), as_text(each["after"])))
                together.setdefault(key, {**each, "steps": []})["steps"].append(step["step"])
        return list(together.values())

    def condition(self, text: str) -> str:
        """A condition of a policy in a line."""
        return openings.as_words(text)

    def told(self, permissions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Roles and resources of which something is known."""
        return [each for each in permissions if each["gained"] or each["lost"]]

    def unseen(self, permissions: Sequence[Mapping[str, Any]], part: str) -> list[str]:
        """Policies of which nothing is known: yet (`unknown`), or here (`unread`)."""
        return [name for each in permissions for name in each[part]]

    def untouched(self, document: Mapping[str, Any]) -> list[str]:
        """The parts of which there is nothing to say."""
        model = document["model"]
        keys = ("serves", "image", "code", "hyperparameters", "features", "declaration", "variables")
        trains = any(each["trains"] for each in document["pipelines"])
        parts = {
            "traffic": document["traffic"],
            "the model and what trains it": trains or any(model[key] for key in keys),
            "permissions": document["permissions"],
            "alarms, schedules and pipelines": document["watching"] or document["pipelines"],
        }
        return [name for name, found in parts.items() if not found]
