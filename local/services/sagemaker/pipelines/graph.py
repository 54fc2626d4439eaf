"""A pipeline definition as a graph: every step, including both branches of conditions, and its dependencies."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.services.sagemaker import values

#: The branches of a Condition step, by the outcome that selects them.
BRANCHES = {True: "IfSteps", False: "ElseSteps"}

Document = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """One step.

    Attributes:
        branch: The Condition step whose branch contains this step, and the outcome that selects it; or None.
        after: The steps that must succeed first: those in DependsOn, those referred to, and the enclosing condition.
    """

    name: str
    type: str
    document: Document
    branch: tuple[str, bool] | None
    after: frozenset[str]


def walk_steps(steps: list[Document], branch: tuple[str, bool] | None = None) -> Iterator[tuple[Document, Any]]:
    """Yield each step with the branch that contains it, in the order of the definition."""
    for step in steps:
        yield step, branch
        if step["Type"] == "Condition":
            for outcome, member in BRANCHES.items():
                yield from walk_steps(step["Arguments"].get(member, []), (step["Name"], outcome))


def get_own_values(step: Document) -> Any:
    """Return the values that a step evaluates: its arguments, or the conditions of a Condition step."""
    arguments = step.get("Arguments", {})
    return arguments.get("Conditions", []) if step["Type"] == "Condition" else arguments


def build_graph(definition: Document) -> dict[str, Node]:
    """Return the steps by name, in the order of the definition.

    Raises:
        ValueError: A function call is malformed.
    """
    nodes = {}
    for step, branch in walk_steps(definition["Steps"]):
        after = {
            *step.get("DependsOn", ()),
            *(found.step for found in values.find_references(get_own_values(step)) if found.step),
        }
        if branch:
            after.add(branch[0])
        nodes[step["Name"]] = Node(step["Name"], step["Type"], step, branch, frozenset(after))
    return nodes


# -- parameters ------------------------------------------------------------------------------------------------------

#: The Python types of a parsed JSON value, by the type of a parameter.
PARAMETERS: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (int, float),
    "Boolean": (bool,),
}


def parse_parameter(kind: str, text: str) -> Any:
    """Convert the text of a parameter to its type.

    Raises:
        ValueError: The text is not of the type.
    """
    if kind == "Integer" and re.fullmatch(r"[+-]?\d{1,19}", text) and _is_in_range(int(text)):
        return int(text)
    if kind == "Float" and re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text) and _is_in_range(float(text)):
        return float(text)
    if kind == "Boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "String":
        return text
    raise ValueError(f"'{text}' is not of type {kind}")


def _is_in_range(value: float) -> bool:
    """Return True if the value is a 64-bit integer or a finite number."""
    return -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)


def is_of_type(kind: str, value: Any) -> bool:
    """Return True if a value of a definition is of a parameter's type."""
    if not isinstance(value, PARAMETERS[kind]) or (kind != "Boolean" and isinstance(value, bool)):
        return False
    return not isinstance(value, int | float) or _is_in_range(value)
