"""A SageMaker pipeline as typed steps, and the canonical JSON that they make.

Values that are only known when the pipeline runs are written as :func:`parameter`, :func:`execution`, :func:`result`,
:func:`join` and :func:`json_get`. The JSON holds no time and no random part: the same steps give the same text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.definition_rules import check

VERSION = "2020-12-01"


Value = Any  # JSON, with functions at its leaves


def parameter(name: str) -> dict[str, str]:
    """The value of a pipeline parameter."""
    return {"Get": f"Parameters.{name}"}


def execution(name: str) -> dict[str, str]:
    """A fact of the execution, e.g. `PipelineExecutionId`."""
    return {"Get": f"Execution.{name}"}


def result(step: str, path: str) -> dict[str, str]:
    """What `Describe…` says of the step's job, e.g. `ModelArtifacts.S3ModelArtifacts`."""
    return {"Get": f"Steps.{step}.{path}"}


def output_uri(step: str, output: str) -> dict[str, str]:
    """Where a processing step put the output of that name."""
    return result(step, f"ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")


def join(*values: Value, on: str = "/") -> dict[str, Any]:
    """The values as one text."""
    return {"Std:Join": {"On": on, "Values": list(values)}}


def json_get(step: str, property_file: str, path: str) -> dict[str, Any]:
    """A value out of a step's property file."""
    return {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{step}.PropertyFiles.{property_file}"}, "Path": path}}


@dataclass(frozen=True)
class Parameter:
    """A pipeline parameter."""

    name: str
    default: str | int | float | bool | None = None
    one_of: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As the definition holds it; the type follows the default, text without one."""
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

    def document(self) -> dict[str, Any]:
        """As the definition holds it."""
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
        """This step."""
        yield self


@dataclass(frozen=True)
class Condition:
    """A fork: all conditions met → `then`, else `otherwise`."""

    name: str
    conditions: Sequence[Mapping[str, Value]]
    then: Sequence[Step] = ()
    otherwise: Sequence[Step] = ()
    depends_on: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As the definition holds it."""
        document: dict[str, Any] = {
            "Name": self.name,
            "Type": "Condition",
            "Arguments": {
                "Conditions": [dict(condition) for condition in self.conditions],
                "IfSteps": [step.document() for step in self.then],
                "ElseSteps": [step.document() for step in self.otherwise],
            },
        }
        if self.depends_on:
            document["DependsOn"] = list(self.depends_on)
        return document

    def steps(self) -> Iterator["Step | Condition"]:
        """This fork and the steps of both branches."""
        yield self
        yield from self.then
        yield from self.otherwise


def fail(name: str, message: Value) -> Step:
    """A step that ends the execution as failed, with a reason."""
    return Step(name, "Fail", {"ErrorMessage": message})


def equals(left: Value, right: Value) -> dict[str, Any]:
    """A condition: both sides are the same."""
    return {"Type": "Equals", "LeftValue": left, "RightValue": right}


@dataclass(frozen=True)
class Definition:
    """A whole pipeline; `definition()` has the name that the SageMaker Python SDK's pipelines have."""

    parameters: Sequence[Parameter]
    steps: Sequence[Step | Condition]

    def definition(self) -> str:
        """The canonical JSON.

        Raises:
            InvalidValueError: When SageMaker would refuse it; the message names the step.
        """
        text = json.dumps(
            {
                "Version": VERSION,
                "Metadata": {},
                "Parameters": [parameter.document() for parameter in self.parameters],
                "Steps": [step.document() for step in self.steps],
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        check(text)
        return text
