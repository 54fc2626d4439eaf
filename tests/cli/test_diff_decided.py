"""Pipelines that decide otherwise than before, or leave something out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.previewed import UNKNOWN, comment, step, told

PASSED = [{"Type": "Equals", "LeftValue": {"Get": "gate.passed"}, "RightValue": 1}]
EVALUATED = {"Std:JsonGet": {"Path": "approval.status"}}


def training(
    status: Any = EVALUATED, conditions: Any = PASSED, without: str = "", branch: str = "IfSteps"
) -> dict[str, Any]:
    """A pipeline of training, whose gate decides whether the model is registered."""
    register = {"Name": "Register", "Type": "RegisterModel", "Arguments": {"ModelApprovalStatus": status}}
    gate = {"Name": "Gate", "Type": "Condition", "Arguments": {"Conditions": conditions, branch: [register]}}
    steps: list[dict[str, Any]] = [{"Name": "Validate", "Type": "Processing"}, {"Name": "Train", "Type": "Training"}]
    steps += [register] if without == "Gate" else [gate]
    kept = [each for each in steps if each["Name"] != without]
    return {"pipelineName": "training", "pipelineDefinition": json.dumps({"Steps": kept})}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (training(), training(status="Approved"), [("promotion-automatic", "registers it also approves it")]),
        (training(status="Approved"), training(), []),
        (training(), training(conditions=[]), [("gate-loosened", "The step Gate, which decides")]),
        (training(), training(branch="ElseSteps"), [("gate-loosened", "no longer controls the same steps.")]),
        (training(), training(without="Gate"), [("gate-loosened", "decides about a model, is removed.")]),
        (training(), training(without="Validate"), [("step-removed", "Validate: their actions and checks")]),
        (training(without="Validate"), training(), []),
        (training(), {**training(), "pipelineDefinition": UNKNOWN}, []),
    ],
)
def test_a_pipeline_that_decides_otherwise(
    old: dict[str, Any], new: dict[str, Any], said: list[tuple[str, str]]
) -> None:
    changed = step("update", "Pipeline", "p", old, new)
    found = told(changed)["risks"]

    assert [(each["kind"], each["name"]) for each in found] == [(kind, "training") for kind, _ in said]
    assert all(words in each["consequence"] for each, (_, words) in zip(found, said, strict=True))
    assert "its training" not in comment(changed).partition("Unchanged: ")[2]
