"""Pipeline definitions: the rendered JSON, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.steps import (
    Condition,
    Definition,
    Parameter,
    Step,
    check_definition,
    equals,
    execution,
    fail,
    join,
    json_get,
    parameter,
    refer_to_job,
)

EVALUATE = Step("Evaluate", "Processing", {"RoleArn": "r"}, property_files={"Report": ("evaluation", "report.json")})


def test_a_definition_renders_exactly_its_steps() -> None:
    pipeline = Definition(
        [Parameter("AsOf", "now"), Parameter("Rows", 3), Parameter("Mode", "full", ("full", "quick"))],
        [
            Step("Train", "Training", {"Path": join("s3:/", "b", execution("PipelineExecutionId"))}),
            Step("Check", "Processing", {"Data": refer_to_job("Train", "ModelArtifacts.S3ModelArtifacts")}, ("Train",)),
        ],
    )
    assert json.loads(pipeline.definition()) == {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": "AsOf", "Type": "String", "DefaultValue": "now"},
            {"Name": "Rows", "Type": "Integer", "DefaultValue": 3},
            {"Name": "Mode", "Type": "String", "DefaultValue": "full", "EnumValues": ["full", "quick"]},
        ],
        "Steps": [
            {
                "Name": "Train",
                "Type": "Training",
                "Arguments": {
                    "Path": {"Std:Join": {"On": "/", "Values": ["s3:/", "b", {"Get": "Execution.PipelineExecutionId"}]}}
                },
            },
            {
                "Name": "Check",
                "Type": "Processing",
                "Arguments": {"Data": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}},
                "DependsOn": ["Train"],
            },
        ],
    }
    assert pipeline.definition() == pipeline.definition()


def test_a_condition_declares_its_branches() -> None:
    gate = Condition(
        "Gate",
        [equals(json_get("Evaluate", "Report", "passed"), 1)],
        then=[Step("Register", "RegisterModel", {})],
        otherwise=[fail("Refuse", "too weak")],
    )
    steps = json.loads(Definition([], [EVALUATE, gate]).definition())["Steps"]
    assert steps[0]["PropertyFiles"] == [
        {"PropertyFileName": "Report", "OutputName": "evaluation", "FilePath": "report.json"}
    ]
    assert [step["Name"] for step in steps[1]["Arguments"]["IfSteps"]] == ["Register"]
    assert steps[1]["Arguments"]["ElseSteps"][0]["Arguments"] == {"ErrorMessage": "too weak"}


def _make_condition(**more: Any) -> Condition:
    return Condition("Gate", [equals(1, 1)], **more)


@pytest.mark.parametrize(
    ("steps", "finding"),
    [
        ([Step("A b", "Processing", {})], "'A b': the name must match"),
        ([Step("A", "Processing", {}), _make_condition(then=[Step("A", "Processing", {})])], "is used twice"),
        ([Step("A", "CreateModel", {})], "unknown step type 'CreateModel'"),
        ([Step("A", "Processing", {"x": parameter("Nope")})], "names no parameter"),
        ([Step("A", "Processing", {"x": execution("Nope")})], "not an execution property"),
        ([Step("A", "Processing", {"x": refer_to_job("B", "Arn")})], "'B', which is not a step"),
        ([Step("A", "Processing", {}, ("B",))], "DependsOn names 'B'"),
        ([fail("F", "m"), Step("A", "Processing", {}, ("F",))], "depends on the Fail step"),
        ([Step("A", "Processing", {"x": json_get("B", "R", "p")})], "does not name a property file"),
        ([EVALUATE, Step("A", "Processing", {"x": json_get("Evaluate", "R", "p")})], "does not declare"),
        (
            [Step("A", "Processing", {"x": refer_to_job("B", "Arn")}), Step("B", "Processing", {}, ("A",))],
            "in a cycle",
        ),
        ([_make_condition(then=[Condition("Inner", [], then=[])])], "cannot be nested in another"),
    ],
)
def test_an_invalid_definition_is_refused(steps: list[Step | Condition], finding: str) -> None:
    with pytest.raises(ValueError, match="pipeline definition") as refused:
        Definition([], steps).definition()
    assert finding in str(refused.value)


@pytest.mark.parametrize(
    ("text", "finding"), [("{", "not JSON"), ("{}", "at least one step"), ("x" * 1_048_577, "1048577")]
)
def test_text_that_is_not_a_definition_is_refused(text: str, finding: str) -> None:
    with pytest.raises(ValueError, match=finding):
        check_definition(text)
