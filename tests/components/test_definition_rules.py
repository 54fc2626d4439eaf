"""Rules for pipeline definitions as JSON: what SageMaker refuses or what would fail in the middle of a run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.definition_rules import find_problems

REPORT = {"PropertyFileName": "Report", "OutputName": "o", "FilePath": "r.json"}
READ = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.A.PropertyFiles.Report"}, "Path": "x"}}


def step(name: str, kind: str = "Processing", arguments: Any = None, **more: Any) -> dict[str, Any]:
    """Return a step."""
    return {"Name": name, "Type": kind, "Arguments": arguments or {}, **more}


def fork(*conditions: dict[str, Any], then: Any = (), otherwise: Any = ()) -> dict[str, Any]:
    """Return a Condition step."""
    return step("Fork", "Condition", {"Conditions": [*conditions], "IfSteps": [*then], "ElseSteps": [*otherwise]})


def text(*steps: dict[str, Any], parameters: Any = ()) -> str:
    """Return a definition as text."""
    return json.dumps({"Version": "2020-12-01", "Parameters": [*parameters], "Steps": [*steps]})


EQUAL = {"Type": "Equals", "LeftValue": READ, "RightValue": 1}


@pytest.mark.parametrize(
    "definition",
    [
        text(step("A")),
        text(step("A" * 64)),
        text(step("A"), step("B", DependsOn=["A"])),
        text(step("A", PropertyFiles=[REPORT]), fork(EQUAL, then=[step("B")], otherwise=[step("C", "Fail")])),
        text(step("A", PropertyFiles=[REPORT]), fork({"Type": "Not", "Condition": EQUAL})),
        text(step("A", PropertyFiles=[REPORT]), fork({"Type": "Or", "Conditions": [EQUAL, EQUAL]})),
        text(step("A", PropertyFiles=[REPORT]), fork({"Type": "In", "QueryValue": READ, "Values": [1]})),
        text(step("A", arguments={"x": {"Get": "Parameters.P"}}), parameters=[{"Name": "P", "Type": "String"}]),
    ],
)
def test_a_valid_definition_has_no_problems(definition: str) -> None:
    assert find_problems(definition) == []


@pytest.mark.parametrize(
    ("definition", "finding"),
    [
        (text(), "Steps: expected at least one step"),
        ("[", "it is not JSON"),
        (text(step("A" * 65)), "the name must match"),
        (text(step("A.b")), "step 'A.b': the name must match"),
        (text(step("A"), step("A")), "step 'A': the name is used twice"),
        (text(step("A"), fork(then=[step("A")])), "step 'A': the name is used twice"),
        (text(step("A", "CreateModel")), "step 'A': unknown step type 'CreateModel'; known: AutoML,"),
        (text(step("A", DependsOn=["B"])), "step 'A': DependsOn names 'B', which is not a step"),
        (text(step("F", "Fail"), step("A", DependsOn=["F"])), "step 'A': depends on the Fail step 'F'"),
        (text(step("A", arguments={"x": {"Get": "Steps.B.Arn"}})), "step 'A': 'Steps.B.Arn' names 'B', which is not"),
        (
            text(step("F", "Fail"), step("A", arguments={"x": {"Get": "Steps.F.ErrorMessage"}})),
            "'Steps.F.ErrorMessage' refers to a Fail step, which has no properties",
        ),
        (
            text(fork(), step("A", arguments={"x": {"Get": "Steps.Fork.Outcome"}})),
            "refers to a Condition step, which has no",
        ),
        (
            text(step("A", arguments={"x": {"Get": "Pipeline.Name"}})),
            "begins with none of Parameters, Execution, Steps",
        ),
        (text(step("A", arguments={"x": {"Get": "Parameters.P"}})), "'Parameters.P' names no parameter; known: []"),
        (text(step("A", arguments={"x": {"Get": "Execution.Id"}})), "'Execution.Id' is not an execution property"),
        (
            text(step("A"), fork(EQUAL)),
            "step 'Fork': JsonGet reads the property file 'Report', which step 'A' does not",
        ),
        (text(fork(EQUAL)), "step 'Fork': JsonGet of 'x' does not name a property file of a step"),
        (text(step("A", DependsOn=["B"]), step("B", DependsOn=["A"])), "steps depend on each other in a cycle: "),
        (text(step("A", arguments={"x": {"Get": "Steps.A.Arn"}})), "steps depend on each other in a cycle: A → A"),
        (text(fork(then=[{**fork(), "Name": "Inner"}])), "a Condition step cannot be nested in another"),
        (
            text(step("A", PropertyFiles=[REPORT]), fork({"Type": "Not", "Expression": EQUAL})),
            "step 'Fork': a condition of type 'Not' needs 'Condition'",
        ),
        (
            text(step("A", PropertyFiles=[REPORT]), fork({"Type": "Or", "Conditions": [{"Type": "Equals"}]})),
            "step 'Fork': a condition of type 'Equals' needs 'LeftValue' and 'RightValue'",
        ),
        (text(fork({"Type": "Equal", "LeftValue": 1, "RightValue": 1})), "step 'Fork': unknown condition 'Equal'"),
        ("x" * 1_048_577, "it has 1048577 characters, expected at most 1048576"),
    ],
)
def test_an_invalid_definition_has_exactly_one_problem(definition: str, finding: str) -> None:
    found = find_problems(definition)
    assert any(finding in each for each in found), found
    assert len(found) == 1, found


def test_a_step_in_a_branch_depends_on_its_condition_step() -> None:
    inside = step("B")
    waiting = step("A", DependsOn=["B"], PropertyFiles=[REPORT])
    assert any("in a cycle" in each for each in find_problems(text(waiting, fork(EQUAL, then=[inside]))))
