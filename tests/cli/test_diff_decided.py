"""Tests of risks from pipelines that decide differently than before or drop a step."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.previewed import UNKNOWN, comment_on, diff_steps, make_step

PASSED = [{"Type": "Equals", "LeftValue": {"Get": "gate.passed"}, "RightValue": 1}]
EVALUATED = {"Std:JsonGet": {"Path": "approval.status"}}


def make_training_pipeline(
    status: Any = EVALUATED, conditions: Any = PASSED, without: str = "", branch: str = "IfSteps"
) -> dict[str, Any]:
    """Return a training pipeline whose gate decides whether the model is registered."""
    register = {"Name": "Register", "Type": "RegisterModel", "Arguments": {"ModelApprovalStatus": status}}
    gate = {"Name": "Gate", "Type": "Condition", "Arguments": {"Conditions": conditions, branch: [register]}}
    steps: list[dict[str, Any]] = [{"Name": "Validate", "Type": "Processing"}, {"Name": "Train", "Type": "Training"}]
    steps += [register] if without == "Gate" else [gate]
    kept = [each for each in steps if each["Name"] != without]
    return {"pipelineName": "training", "pipelineDefinition": json.dumps({"Steps": kept})}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            make_training_pipeline(),
            make_training_pipeline(status="Approved"),
            [("promotion-automatic", "registers it also approves it")],
        ),
        (make_training_pipeline(status="Approved"), make_training_pipeline(), []),
        (
            make_training_pipeline(),
            make_training_pipeline(conditions=[]),
            [("gate-loosened", "The step Gate, which decides")],
        ),
        (
            make_training_pipeline(),
            make_training_pipeline(branch="ElseSteps"),
            [("gate-loosened", "no longer controls the same steps.")],
        ),
        (
            make_training_pipeline(),
            make_training_pipeline(without="Gate"),
            [("gate-loosened", "decides about a model, is removed.")],
        ),
        (
            make_training_pipeline(),
            make_training_pipeline(without="Validate"),
            [("step-removed", "Validate: their actions and checks")],
        ),
        (make_training_pipeline(without="Validate"), make_training_pipeline(), []),
        (make_training_pipeline(), {**make_training_pipeline(), "pipelineDefinition": UNKNOWN}, []),
    ],
)
def test_pipelines_that_decide_differently_are_risks(
    old: dict[str, Any], new: dict[str, Any], said: list[tuple[str, str]]
) -> None:
    changed = make_step("update", "Pipeline", "p", old, new)
    found = diff_steps(changed)["risks"]

    assert [(each["kind"], each["name"]) for each in found] == [(kind, "training") for kind, _ in said]
    assert all(words in each["consequence"] for each, (_, words) in zip(found, said, strict=True))
    assert "its training" not in comment_on(changed).partition("Unchanged: ")[2]
