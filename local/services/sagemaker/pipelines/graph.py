"""A pipeline definition as a graph: every step, those of both branches of a condition too, and what each waits for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.services.sagemaker import values

#: The branches of a Condition step by the outcome that leads into them.
BRANCHES = {True: "IfSteps", False: "ElseSteps"}

Document = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """One step.

    Attributes:
        branch: The Condition step that it stands in, and the outcome that leads to it.
        after: The steps that have to succeed first: named in DependsOn, referred to, and the condition around it.
    """

    name: str
    type: str
    document: Document
    branch: tuple[str, bool] | None
    after: frozenset[str]


def walk(steps: list[Document], branch: tuple[str, bool] | None = None) -> Iterator[tuple[Document, Any]]:
    """Each step with the branch it stands in, as they are written."""
    for step in steps:
        yield step, branch
        if step["Type"] == "Condition":
            for outcome, member in BRANCHES.items():
                yield from walk(step["Arguments"].get(member, []), (step["Name"], outcome))


def own(step: Document) -> Any:
    """What a step evaluates itself: its arguments, or of a Condition its conditions."""
    arguments = step.get("Arguments", {})
    return arguments.get("Conditions", []) if step["Type"] == "Condition" else arguments


def graph(definition: Document) -> dict[str, Node]:
    """The steps by name, in the order of the definition.

    Raises:
        ValueError: When a function in it is not called as it should be.
    """
    nodes = {}
    for step, branch in walk(definition["Steps"]):
        after = {*step.get("DependsOn", ()), *(found.step for found in values.references(own(step)) if found.step)}
        if branch:
            after.add(branch[0])
        nodes[step["Name"]] = Node(step["Name"], step["Type"], step, branch, frozenset(after))
    return nodes


# -- parameters ------------------------------------------------------------------------------------------------------

#: The types of parameters, and what a value of each is in JSON.
PARAMETERS: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (int, float),
    "Boolean": (bool,),
}


def coerce(kind: str, text: str) -> Any:
    """The value that the text of a parameter stands for.

    Raises:
        ValueError: When it is none of the type.
    """
    if kind == "Integer" and re.fullmatch(r"[+-]?\d{1,19}", text) and _fits(int(text)):
        return int(text)
    if kind == "Float" and re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text) and _fits(float(text)):
        return float(text)
    if kind == "Boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "String":
        return text
    raise ValueError(f"'{text}' is not of type {kind}")


def _fits(value: float) -> bool:
    """Whether it is an integer of 64 bits or a finite number."""
    return -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)


def is_of(kind: str, value: Any) -> bool:
    """Whether a value of a definition is of a parameter's type."""
    if not isinstance(value, PARAMETERS[kind]) or (kind != "Boolean" and isinstance(value, bool)):
        return False
    return not isinstance(value, int | float) or _fits(value)
