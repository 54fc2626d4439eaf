"""Checks of pipeline definitions at their creation: everything that can be refused before a run.

A refusal lists the findings and names their steps. Arguments are checked against botocore's shape of the request that
a step sends; what is known only at run time is not checked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from local.core.errors import AwsError, validation_error
from local.core.protocol import is_nested_deeper_than
from local.errors import LocalError
from local.services.sagemaker import values
from local.services.sagemaker.members import find_refused, is_empty
from local.services.sagemaker.pipelines import arguments
from local.services.sagemaker.pipelines.graph import (
    BRANCHES,
    PARAMETERS,
    Document,
    build_graph,
    get_own_values,
    is_of_type,
    walk_steps,
)
from local.services.sagemaker.pipelines.policies import EXCEPTIONS, parse_duration
from local.services.sagemaker.pipelines.steps import KINDS

VERSION = "2020-12-01"

#: The maximum number of parameters in a definition.
_PARAMETERS = 200

#: The maximum nesting depth of a definition.
_LEVELS = 100

#: The properties of ``Execution`` to which a definition can refer.
EXECUTION = (
    "StartDateTime", "CurrentDateTime", "PipelineName", "PipelineArn", "PipelineExecutionId", "PipelineExecutionArn",
    "TrainingJobName", "ProcessingJobName",
)  # fmt: skip
_TOP = {"Version", "Metadata", "Parameters", "PipelineExperimentConfig", "MlflowConfig", "Steps"}
_STEP = {"Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"}
_MORE = {
    "Processing": {"CacheConfig", "RetryPolicies", "PropertyFiles"},
    "Training": {"CacheConfig", "RetryPolicies"},
    "Model": {"RetryPolicies"},
    "RegisterModel": {"RetryPolicies"},
    "Condition": set(),
    "Fail": set(),
}
_TYPES = tuple(_MORE)
_ELSEWHERE = {
    "Transform", "Tuning", "AutoML", "Callback", "Lambda", "QualityCheck", "ClarifyCheck", "EMR", "EMRServerless",
    "NotebookJob", "Endpoint", "EndpointConfig", "Lineage",
}  # fmt: skip
_PYTHON = {"String": "string", "Integer": "integer", "Float": "double", "Boolean": "boolean"}
#: The maximum number of findings that a refusal lists.
_SHOWN = 10


_DEEP = f"it is nested deeper than {_LEVELS} levels"


class _Broken(LocalError):
    """A finding because of which the rest of the definition cannot be checked."""


def parse_definition(text: str) -> Document:
    """Parse and check the JSON text of a definition.

    Args:
        text: The text that a client sent or uploaded.

    Returns:
        The definition, with its functions unresolved.

    Raises:
        AwsError: ``ValidationException`` with the findings.
    """
    try:
        definition = json.loads(text, parse_constant=_refuse_constant, parse_float=_parse_finite_number)
    except ValueError as error:
        raise _make_refusal([f"it is not JSON: {error}"]) from error
    except RecursionError as error:
        raise _make_refusal([_DEEP]) from error
    if is_nested_deeper_than(definition, _LEVELS):
        raise _make_refusal([_DEEP])
    try:
        found = list(_find_faults(definition))
    except _Broken as error:
        found = [str(error)]
    if found:
        raise _make_refusal(found)
    return dict(definition)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def _parse_finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:100]} is too large; expected one of at most 1.8e308")
    return number


def _make_refusal(found: list[str]) -> AwsError:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return validation_error(
        f"Unable to parse pipeline definition. Model Validation failed: {'; '.join(found[:_SHOWN])}{more}"
    )


def _find_faults(definition: Any) -> Iterator[str]:
    _expect(definition, dict, "the definition", "a JSON object")
    yield from _find_unknown_members(definition, _TOP, "the definition")
    if not is_empty(definition.get("MlflowConfig")):
        yield "MlflowConfig of the definition is not available in the local cloud"
    if definition.get("Version") != VERSION:
        yield f"Version is {definition.get('Version')!r}; expected '{VERSION}'"
    yield from _check_parameters(_expect(definition.get("Parameters", []), list, "Parameters", "a list"))
    steps = _expect(definition.get("Steps"), list, "Steps", "a list")
    if not steps:
        yield "Steps is empty; expected at least one step"
    for step in steps:
        yield from _check_form(step, "Steps", nested=False)
    named = [step for step, _ in walk_steps(steps)]
    names = [step["Name"] for step in named]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"Step name '{name}' is not unique; each step needs a name of its own, in branches too"
    scope = _Scope(definition, {step["Name"]: step for step in named})
    yield from scope.check_all()


def _expect(value: Any, kind: type, where: str, what: str) -> Any:
    if not isinstance(value, kind):
        raise _Broken(f"{where} is {value!r}; expected {what}")
    return value


def _find_unknown_members(given: Document, known: set[str], where: str) -> Iterator[str]:
    for name in sorted(set(given) - known):
        yield f"Unknown member '{name}' of {where}; known: {', '.join(sorted(known))}"


# -- parameters ------------------------------------------------------------------------------------------------------


def _check_parameters(parameters: list[Any]) -> Iterator[str]:
    if len(parameters) > _PARAMETERS:
        yield f"there are {len(parameters)} Parameters; expected at most {_PARAMETERS}"
    seen: set[str] = set()
    for parameter in parameters:
        _expect(parameter, dict, "an entry of Parameters", "an object with Name and Type")
        name, kind = parameter.get("Name"), parameter.get("Type")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9\-_]{1,256}", name):
            raise _Broken(f"parameter name {name!r} must match [A-Za-z0-9\\-_]{{1,256}}")
        where = f"parameter '{name}'"
        yield from _find_unknown_members(parameter, {"Name", "Type", "DefaultValue", "EnumValues"}, where)
        if name in seen:
            yield f"{where} is there twice"
        seen.add(name)
        if not isinstance(kind, str) or kind not in PARAMETERS:
            raise _Broken(f"{where}: Type is {kind!r}; expected one of {', '.join(PARAMETERS)}")
        yield from _check_parameter_values(parameter, where)


def _check_parameter_values(parameter: Document, where: str) -> Iterator[str]:
    kind = parameter["Type"]
    enum = _expect(parameter.get("EnumValues", []), list, f"{where}: EnumValues", "a list")
    for value in [parameter["DefaultValue"], *enum] if "DefaultValue" in parameter else enum:
        if not is_of_type(kind, value):
            yield f"{where}: value {value!r} is not of type {kind}"
    if "DefaultValue" in parameter and enum and parameter["DefaultValue"] not in enum:
        yield f"{where}: DefaultValue {parameter['DefaultValue']!r} is not among EnumValues {enum}"


# -- the form of a step ----------------------------------------------------------------------------------------------


def _check_form(step: Any, where: str, *, nested: bool) -> Iterator[str]:
    """Yield the findings about a step by itself.

    Raises:
        _Broken: The rest of the definition cannot be checked.
    """
    _expect(step, dict, f"an entry of {where}", "a step")
    name, kind = step.get("Name"), step.get("Type")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9\-_]{1,64}", name):
        raise _Broken(f"step name {name!r} in {where} must match [A-Za-z0-9\\-_]{{1,64}}")
    where = f"step '{name}'"
    if kind not in _TYPES:
        what = f"{kind} steps are" if str(kind) in _ELSEWHERE else f"type {kind!r} is"
        raise _Broken(f"{where}: {what} not available in the local cloud; available: {', '.join(_TYPES)}")
    if kind == "Condition" and nested:
        raise _Broken(f"{where}: a Condition step must not stand in a branch of another one")
    yield from _find_unknown_members(step, _STEP | _MORE[kind], f"{where} of type {kind}")
    given = _expect(step.get("Arguments"), dict, f"{where}: Arguments", "an object")
    for other in _expect(step.get("DependsOn", []), list, f"{where}: DependsOn", "a list of step names"):
        _expect(other, str, f"{where}: an entry of DependsOn", "a step's name")
    for member in ("DisplayName", "Description"):
        _expect(step.get(member, ""), str, f"{where}: {member}", "text")
    if kind == "Condition":
        yield from _find_unknown_members(given, {"Conditions", *BRANCHES.values()}, f"the Arguments of {where}")
        conditions = _expect(given.get("Conditions"), list, f"{where}: Conditions", "a list")
        if not conditions:
            yield f"{where}: Conditions is empty; expected at least one"
        for condition in conditions:
            yield from _check_condition(condition, where)
        for branch in BRANCHES.values():
            for inner in _expect(given.get(branch, []), list, f"{where}: {branch}", "a list"):
                yield from _check_form(inner, f"{branch} of {where}", nested=True)
    elif kind == "Fail":
        yield from _find_unknown_members(given, {"ErrorMessage"}, f"the Arguments of {where}")
        if "ErrorMessage" not in given:
            yield f"{where}: ErrorMessage is required"
    yield from _check_optional_members(step, where)


def _check_condition(condition: Any, where: str) -> Iterator[str]:
    _expect(condition, dict, f"{where}: a condition", "an object with Type")
    kind = condition.get("Type")
    if not isinstance(kind, str) or kind not in values.CONDITIONS:
        raise _Broken(f"{where}: condition type {kind!r}; expected one of {', '.join(values.CONDITIONS)}")
    expected = values.CONDITIONS[kind]
    if missing := sorted(expected - set(condition)):
        raise _Broken(f"{where}: condition {kind} needs {', '.join(missing)}")
    yield from _find_unknown_members(condition, {"Type", *expected}, f"condition {kind} of {where}")
    if kind == "Not":
        yield from _check_condition(condition["Condition"], where)
    elif kind == "Or":
        for part in _expect(condition["Conditions"], list, f"{where}: Conditions of Or", "a list"):
            yield from _check_condition(part, where)
    elif kind == "In":
        _expect(condition["Values"], list, f"{where}: Values of In", "a list")


def _check_optional_members(step: Document, where: str) -> Iterator[str]:
    """Yield the findings about CacheConfig, RetryPolicies and PropertyFiles."""
    cache = _expect(step.get("CacheConfig", {}), dict, f"{where}: CacheConfig", "an object")
    yield from _find_unknown_members(cache, {"Enabled", "ExpireAfter"}, f"CacheConfig of {where}")
    _expect(cache.get("Enabled", False), bool, f"{where}: Enabled of CacheConfig", "true or false")
    if "ExpireAfter" in cache:
        try:
            parse_duration(cache["ExpireAfter"])
        except ValueError as error:
            yield f"{where}: ExpireAfter of CacheConfig: {error}"
    for policy in _expect(step.get("RetryPolicies", []), list, f"{where}: RetryPolicies", "a list"):
        yield from _check_retry_policy(_expect(policy, dict, f"{where}: a retry policy", "an object"), where)
    seen: set[str] = set()
    for file in _expect(step.get("PropertyFiles", []), list, f"{where}: PropertyFiles", "a list"):
        members = {"PropertyFileName", "OutputName", "FilePath"}
        if not isinstance(file, dict) or set(file) != members or not all(isinstance(v, str) for v in file.values()):
            raise _Broken(f"{where}: property file {file!r}; expected {', '.join(sorted(members))} as text")
        if file["PropertyFileName"] in seen:
            yield f"{where}: property file '{file['PropertyFileName']}' is there twice"
        seen.add(file["PropertyFileName"])
        yield from _check_property_file(step, file, where)


def _check_property_file(step: Document, file: Document, where: str) -> Iterator[str]:
    config = step["Arguments"].get("ProcessingOutputConfig", {})
    outputs = config.get("Outputs", []) if isinstance(config, dict) else []
    if not isinstance(outputs, list):
        # The check of the arguments reports it.
        return
    names = [output.get("OutputName") for output in outputs if isinstance(output, dict)]
    if file["OutputName"] not in names and all(isinstance(name, str) for name in names):
        known = ", ".join(map(str, names)) or "none"
        what = f"property file '{file['PropertyFileName']}'"
        yield f"{where}: {what} is of output '{file['OutputName']}'; outputs: {known}"


def _check_retry_policy(policy: Document, where: str) -> Iterator[str]:
    known = {"ExceptionType", "IntervalSeconds", "BackoffRate", "MaxAttempts", "ExpireAfterMin"}
    yield from _find_unknown_members(policy, known, f"a retry policy of {where}")
    types = policy.get("ExceptionType")
    if not isinstance(types, list) or not types or not set(map(str, types)) <= set(EXCEPTIONS):
        yield f"{where}: ExceptionType of a retry policy is {types!r}; expected a list of {', '.join(EXCEPTIONS)}"
    if "MaxAttempts" in policy and "ExpireAfterMin" in policy:
        yield f"{where}: a retry policy has either MaxAttempts or ExpireAfterMin, and not both"
    limits = (
        ("IntervalSeconds", 0, None),
        ("BackoffRate", 1, None),
        ("MaxAttempts", 1, 20),
        ("ExpireAfterMin", 1, 14400),
    )
    for member, low, high in limits:
        value = policy.get(member, low)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < low or (high and value > high):
            yield f"{where}: {member} of a retry policy is {value!r}; expected {low} to {high or 'any number'}"


# -- references between steps ----------------------------------------------------------------------------------------


class _Scope:
    """The checks of a definition whose steps passed :func:`_check_form`: references, arguments, order."""

    def __init__(self, definition: Document, steps: dict[str, Document]) -> None:
        self._definition = definition
        self._parameters = {entry["Name"]: entry for entry in definition.get("Parameters", [])}
        self._steps = steps

    def check_all(self) -> Iterator[str]:
        sound = True
        for step in self._steps.values():
            for finding in self._step(step):
                sound = False
                yield finding
        yield from self._experiment()
        if sound:
            yield from self._order()

    def _step(self, step: Document) -> Iterator[str]:
        where = f"step '{step['Name']}'"
        for other in step.get("DependsOn", []):
            if other not in self._steps:
                yield f"{where}: DependsOn names '{other}', which is no step of the pipeline"
            elif self._steps[other]["Type"] == "Fail":
                yield f"{where}: DependsOn names '{other}'; a Fail step cannot be depended on"
        try:
            found = list(values.find_references(get_own_values(step)))
        except ValueError as error:
            yield f"{where}: {error}"
            return
        wrong = [finding for reference in found for finding in self._reference(reference)]
        for finding in wrong:
            yield f"{where}: {finding}"
        if not wrong and (kind := KINDS.get(step["Type"])):
            shape = arguments.get_shape(kind.operation)
            without = frozenset({kind.named or "ClientToken"})
            for finding in arguments.find_violations(
                shape, step["Arguments"], "Arguments", self._type_of, without=without
            ):
                # AWS's message about an enumeration does not name the step.
                yield finding if "enum value set" in finding else f"{where}: {finding}"
            for finding in find_refused(kind.operation, step["Arguments"]):
                yield f"{where}: {finding} in the local cloud"
        elif not wrong and step["Type"] == "Fail":
            yield from self._error_message(step["Arguments"].get("ErrorMessage", ""), where)

    def _error_message(self, message: Any, where: str) -> Iterator[str]:
        text = isinstance(message, str) or (
            values.find_function_name(message) and self._type_of(message) in ("string", None)
        )
        if not text:
            yield f"{where}: ErrorMessage is {message!r}; expected text"

    def _experiment(self) -> Iterator[str]:
        config = self._definition.get("PipelineExperimentConfig")
        if config is None:
            return
        _expect(config, dict, "PipelineExperimentConfig", "an object or null")
        yield from _find_unknown_members(config, {"ExperimentName", "TrialName"}, "PipelineExperimentConfig")
        try:
            found = list(values.find_references(config))
        except ValueError as error:
            yield f"PipelineExperimentConfig: {error}"
            return
        for reference in found:
            if reference.step:
                yield f"PipelineExperimentConfig: '{reference.text}': steps are not known when an execution starts"
            else:
                yield from self._reference(reference)

    def _reference(self, reference: values.Reference) -> Iterator[str]:
        head, *rest = reference.path
        text = f"Get '{reference.text}'"
        if head == "Parameters":
            if len(rest) != 1 or rest[0] not in self._parameters:
                yield f"{text}: there is no such parameter; known: {', '.join(self._parameters) or 'none'}"
        elif head == "Execution":
            if len(rest) != 1 or rest[0] not in EXECUTION:
                yield f"{text}: expected Execution. with one of {', '.join(EXECUTION)}"
        elif head != "Steps" or len(rest) < 2:
            yield f"{text}: expected Parameters.…, Execution.… or Steps.<step>.<property>"
        elif rest[0] not in self._steps:
            yield f"{text}: '{rest[0]}' is no step of the pipeline"
        elif reference.file:
            yield from self._file_reference(text, rest)
        else:
            yield from self._property(text, rest)

    def _file_reference(self, text: str, rest: values.Path) -> Iterator[str]:
        declared = [file["PropertyFileName"] for file in self._steps[str(rest[0])].get("PropertyFiles", [])]
        if len(rest) != 3 or rest[1] != "PropertyFiles" or rest[2] not in declared:
            known = ", ".join(declared) or "none"
            yield f"{text}: PropertyFiles of step '{rest[0]}' does not declare it at step level; declared: {known}"

    def _property(self, text: str, rest: values.Path) -> Iterator[str]:
        kind = KINDS.get(self._steps[str(rest[0])]["Type"])
        if kind is None:
            yield f"{text}: a {self._steps[str(rest[0])]['Type']} step has no properties"
        elif arguments.find_property_shape(arguments.get_shape(kind.describe, output=True), rest[1:]) is None:
            yield f"{text}: {kind.describe} answers no such property"

    def _type_of(self, value: Any) -> str | None:
        """Return botocore's name for the type of a function's result, or None if only the run can tell."""
        name = values.find_function_name(value)
        if name != "Get":
            return "string" if name == "Std:Join" else None
        head, *rest = values.parse_path(value["Get"])
        if head == "Parameters":
            return _PYTHON[self._parameters[str(rest[0])]["Type"]]
        if head == "Execution":
            return "string"
        kind = KINDS[self._steps[str(rest[0])]["Type"]]
        shape = arguments.find_property_shape(arguments.get_shape(kind.describe, output=True), rest[1:])
        return str(shape.type_name) if shape is not None else None

    def _order(self) -> Iterator[str]:
        nodes = build_graph(self._definition)
        try:
            TopologicalSorter({name: node.after for name, node in nodes.items()}).prepare()
        except CycleError as error:
            yield f"the steps depend on each other in a cycle: {' → '.join(reversed(error.args[1]))}"
