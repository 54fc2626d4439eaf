"""Typed steps of a SageMaker pipeline, and the canonical JSON that is made of them.

Values that are only known when the pipeline runs are written as :func:`parameter`, :func:`execution`,
:func:`refer_to_job`, :func:`join` and :func:`json_get`. The JSON holds no time and no random part: equal
steps give equal text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.definition_rules import check_definition

VERSION = "2020-12-01"


Value = Any  # JSON, with functions at its leaves


def parameter(name: str) -> dict[str, str]:
    """Return a reference to a pipeline parameter.

    Args:
        name: The parameter's name, e.g. `AsOf`.
    """
    return {"Get": f"Parameters.{name}"}


def execution(name: str) -> dict[str, str]:
    """Return a reference to a property of the execution, e.g. `PipelineExecutionId`.

    Args:
        name: The property's name.
    """
    return {"Get": f"Execution.{name}"}


def refer_to_job(step: str, path: str) -> dict[str, str]:
    """Return a reference to a field of the step's described job, e.g. `ModelArtifacts.S3ModelArtifacts`."""
    return {"Get": f"Steps.{step}.{path}"}


def output_uri(step: str, output: str) -> dict[str, str]:
    """Return a reference to the S3 URI of a named output of a processing step."""
    return refer_to_job(step, f"ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")


def join(*values: Value, on: str = "/") -> dict[str, Any]:
    """Return the values as one text, joined when the pipeline runs.

    Args:
        values: Texts, and references to texts that are only known then.
        on: The text between two values.
    """
    return {"Std:Join": {"On": on, "Values": list(values)}}


def json_get(step: str, property_file: str, path: str) -> dict[str, Any]:
    """Return a reference to a value in a step's property file."""
    return {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{step}.PropertyFiles.{property_file}"}, "Path": path}}


@dataclass(frozen=True)
class Parameter:
    """A pipeline parameter."""

    name: str
    default: str | int | float | bool | None = None
    one_of: tuple[str, ...] = ()

    def dump(self) -> dict[str, Any]:
        """Return the JSON for the definition; the type is that of the default, text without one."""
        types = {bool: "Boolean", int: "Integer", float: "Float"}
        document: dict[str, Any] = {"Name": self.name, "Type": types.get(type(self.default), "String")}
        if self.default is not None:
            document["DefaultValue"] = self.default
        if self.one_of:
            document["EnumValues"] = list(self.one_of)
        return document


@dataclass(frozen=True)
class Step:
    """One step of any type.

    Attributes:
        type: `Processing`, `Training`, `RegisterModel`, `Fail` …
        arguments: The request of the API call behind it, without a job name.
        property_files: Property file name → (output name, path below it).
    """

    name: str
    type: str
    arguments: Mapping[str, Value]
    depends_on: tuple[str, ...] = ()
    property_files: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Return the JSON for the definition."""
        document: dict[str, Any] = {"Name": self.name, "Type": self.type, "Arguments": dict(self.arguments)}
        if self.depends_on:
            document["DependsOn"] = list(self.depends_on)
        if self.property_files:
            document["PropertyFiles"] = [
                {"PropertyFileName": name, "OutputName": output, "FilePath": path}
                for name, (output, path) in sorted(self.property_files.items())
            ]
        return document

    def steps(self) -> Iterator["Step | Condition"]:
        """Yield this step."""
        yield self


@dataclass(frozen=True)
class Condition:
    """A condition step: `then` runs if all conditions are met, else `otherwise`."""

    name: str
    conditions: Sequence[Mapping[str, Value]]
    then: Sequence[Step] = ()
    otherwise: Sequence[Step] = ()
    depends_on: tuple[str, ...] = ()

    def dump(self) -> dict[str, Any]:
        """Return the JSON for the definition."""
        document: dict[str, Any] = {
            "Name": self.name,
            "Type": "Condition",
            "Arguments": {
                "Conditions": [dict(condition) for condition in self.conditions],
                "IfSteps": [step.dump() for step in self.then],
                "ElseSteps": [step.dump() for step in self.otherwise],
            },
        }
        if self.depends_on:
            document["DependsOn"] = list(self.depends_on)
        return document

    def steps(self) -> Iterator["Step | Condition"]:
        """Yield this step and the steps of both branches."""
        yield self
        yield from self.then
        yield from self.otherwise


def fail(name: str, message: Value) -> Step:
    """Return a step that ends the execution as failed, with a reason.

    Args:
        name: The step's name in the pipeline.
        message: The reason: a text, or a reference to one that is only known when the pipeline runs.
    """
    return Step(name, "Fail", {"ErrorMessage": message})


def equals(left: Value, right: Value) -> dict[str, Any]:
    """Return a condition that is met if both sides are equal."""
    return {"Type": "Equals", "LeftValue": left, "RightValue": right}


@dataclass(frozen=True)
class Definition:
    """A whole pipeline; `definition()` is named like the method of pipelines in the SageMaker Python SDK."""

    parameters: Sequence[Parameter]
    steps: Sequence[Step | Condition]

    def definition(self) -> str:
        """Return the canonical JSON.

        Raises:
            InvalidValueError: SageMaker would refuse it; the message names the step.
        """
        text = json.dumps(
            {
                "Version": VERSION,
                "Metadata": {},
                "Parameters": [parameter.dump() for parameter in self.parameters],
                "Steps": [step.dump() for step in self.steps],
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        check_definition(text)
        return text
