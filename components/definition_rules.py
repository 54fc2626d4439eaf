"""The rules of pipeline definitions that SageMaker accepts: names, references, order, property files.

They check the JSON, whatever produced it, because the published schema of definitions is older than the service.
"""

import json
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from millrace.errors import InvalidValueError

#: The longest definition that SageMaker accepts, characters.
LONGEST = 1_048_576

_NAME = re.compile(r"^[A-Za-z0-9\-_]{1,64}$")
_TYPES = frozenset(
    {
        "Processing",
        "Training",
        "Transform",
        "Tuning",
        "AutoML",
        "Model",
        "RegisterModel",
        "Callback",
        "Lambda",
        "QualityCheck",
        "ClarifyCheck",
        "EMR",
        "Condition",
        "Fail",
        "Endpoint",
        "EndpointConfig",
        "Lineage",
    }
)
_REFERENCE = re.compile(r"^Steps\.([A-Za-z0-9\-_]+)(?:\.(.*))?$")
_EXECUTION = frozenset(
    {
        "StartDateTime",
        "CurrentDateTime",
        "PipelineName",
        "PipelineArn",
        "PipelineExecutionId",
        "PipelineExecutionArn",
        "TrainingJobName",
        "ProcessingJobName",
    }
)


_SIDES = ("LeftValue", "RightValue")

#: Condition type → the fields that it needs.
_CONDITIONS = {
    "Equals": _SIDES,
    "GreaterThan": _SIDES,
    "GreaterThanOrEqualTo": _SIDES,
    "LessThan": _SIDES,
    "LessThanOrEqualTo": _SIDES,
    "In": ("QueryValue", "Values"),
    "Not": ("Condition",),
    "Or": ("Conditions",),
}


def check_definition(text: str) -> None:
    """Refuse a definition that SageMaker would refuse, or that would fail when it runs.

    Raises:
        InvalidValueError: The definition is not valid; the message lists every problem with its step.
    """
    if found := find_problems(text):
        raise InvalidValueError("pipeline definition:\n" + "\n".join(f"  - {finding}" for finding in found))


def find_problems(text: str) -> list[str]:
    """Return one sentence for each problem of a definition; empty if it is valid."""
    if len(text) > LONGEST:
        return [f"it has {len(text)} characters, expected at most {LONGEST}: make the steps share what they repeat"]
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        return [f"it is not JSON: {error}"]
    top = document.get("Steps")
    if not isinstance(top, list) or not top:
        return ["Steps: expected at least one step"]
    return list(_findings(document, [*_walk(top)]))


def _walk(steps: list[dict[str, Any]], fork: str | None = None) -> Iterator[tuple[dict[str, Any], str | None]]:
    for step in steps:
        yield step, fork
        if step.get("Type") == "Condition":
            arguments = step.get("Arguments", {})
            for branch in ("IfSteps", "ElseSteps"):
                yield from _walk(arguments.get(branch, []), step.get("Name"))


def _findings(document: dict[str, Any], steps: list[tuple[dict[str, Any], str | None]]) -> Iterator[str]:
    parameters = {parameter.get("Name") for parameter in document.get("Parameters", [])}
    by_name: dict[str, dict[str, Any]] = {}
    order: dict[str, set[str]] = {}
    for step, fork in steps:
        name, kind = str(step.get("Name")), step.get("Type")
        if not _NAME.match(name):
            yield f"step {name!r}: the name must match {_NAME.pattern}"
        if name in by_name:
            yield f"step {name!r}: the name is used twice; names must be unique, across branches too"
        if kind not in _TYPES:
            yield f"step {name!r}: unknown step type {kind!r}; known: {', '.join(sorted(_TYPES))}"
        if kind == "Condition" and fork is not None:
            yield f"step {name!r}: a Condition step cannot be nested in another ({fork!r})"
        by_name[name] = step
        order[name] = {fork} if fork else set()
    for step, _ in steps:
        name = str(step["Name"])
        for other in step.get("DependsOn", []):
            order[name].add(other)
            if other not in by_name:
                yield f"step {name!r}: DependsOn names {other!r}, which is not a step"
            elif by_name[other].get("Type") == "Fail":
                yield f"step {name!r}: depends on the Fail step {other!r}, after which nothing runs"
        if step.get("Type") == "Condition":
            yield from _check_conditions(name, step.get("Arguments", {}).get("Conditions", []))
        for reference in _references(_own_arguments(step)):
            yield from _check_reference(name, reference, by_name, parameters, order)
        for property_file, path in _property_files(_own_arguments(step)):
            yield from _check_property_file(name, property_file, path, by_name, order)
    try:
        TopologicalSorter({name: before & by_name.keys() for name, before in order.items()}).prepare()
    except CycleError as error:
        yield f"steps depend on each other in a cycle: {' → '.join(error.args[1])}"


def _check_conditions(name: str, conditions: list[dict[str, Any]]) -> Iterator[str]:
    for condition in conditions:
        kind = condition.get("Type")
        if kind not in _CONDITIONS:
            yield f"step {name!r}: unknown condition {kind!r}; known: {', '.join(_CONDITIONS)}"
        elif not set(_CONDITIONS[kind]) <= condition.keys():
            needed = " and ".join(map(repr, _CONDITIONS[kind]))
            yield f"step {name!r}: a condition of type {kind!r} needs {needed}"
        else:
            inner = condition["Conditions"] if kind == "Or" else [condition["Condition"]] if kind == "Not" else []
            yield from _check_conditions(name, inner)


def _own_arguments(step: dict[str, Any]) -> Any:
    arguments = step.get("Arguments", {})
    return arguments.get("Conditions", []) if step.get("Type") == "Condition" else arguments


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)


def _references(value: Any) -> Iterator[str]:
    for node in _nodes(value):
        if set(node) == {"Get"} and isinstance(node["Get"], str) and ".PropertyFiles." not in node["Get"]:
            yield node["Get"]


def _property_files(value: Any) -> Iterator[tuple[str, str]]:
    for node in _nodes(value):
        if "Std:JsonGet" in node and "PropertyFile" in node["Std:JsonGet"]:
            yield node["Std:JsonGet"]["PropertyFile"].get("Get", ""), node["Std:JsonGet"].get("Path", "")


def _check_reference(
    name: str, reference: str, by_name: dict[str, Any], parameters: set[Any], order: dict[str, set[str]]
) -> Iterator[str]:
    kind, _, rest = reference.partition(".")
    if kind == "Parameters":
        if rest not in parameters:
            yield f"step {name!r}: {reference!r} names no parameter; known: {sorted(map(str, parameters))}"
    elif kind == "Execution":
        if rest not in _EXECUTION:
            yield f"step {name!r}: {reference!r} is not an execution property; known: {', '.join(sorted(_EXECUTION))}"
    elif match := _REFERENCE.match(reference):
        other = match[1]
        order[name].add(other)
        if other not in by_name:
            yield f"step {name!r}: {reference!r} names {other!r}, which is not a step"
        elif by_name[other].get("Type") in ("Fail", "Condition"):
            yield f"step {name!r}: {reference!r} refers to a {by_name[other]['Type']} step, which has no properties"
    else:
        yield f"step {name!r}: {reference!r} begins with none of Parameters, Execution, Steps"


def _check_property_file(
    name: str, reference: str, path: str, by_name: dict[str, Any], order: dict[str, set[str]]
) -> Iterator[str]:
    match = re.match(r"^Steps\.([^.]+)\.PropertyFiles\.(.+)$", reference)
    if match is None or match[1] not in by_name:
        yield f"step {name!r}: JsonGet of {path!r} does not name a property file of a step: {reference!r}"
        return
    order[name].add(match[1])
    declared = {each.get("PropertyFileName") for each in by_name[match[1]].get("PropertyFiles", [])}
    if match[2] not in declared:
        yield f"step {name!r}: JsonGet reads the property file {match[2]!r}, which step {match[1]!r} does not declare"
