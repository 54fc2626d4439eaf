"""The comment on a pull request: the real engine, and the example in the documentation."""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path

import pytest

from .stand import REPOSITORY, STACK, Stand

pytestmark = pytest.mark.timeout(300)

EXAMPLE = REPOSITORY / "docs" / "examples" / "pull-request.md"
#: Variable with which the example is rewritten instead of compared.
WRITE = "MILLRACE_WRITE_EXAMPLES"

#: File, old text and new text of each change in the pull request.
PULL_REQUEST = [
    # The rollout of a new model, and its instances.
    (
        f"stacks/Pulumi.{STACK}.yaml",
        "    rollout:\n      bake_seconds: 60\n",
        "    endpoint_instance: ml.m5.xlarge\n    endpoint_count: 2\n"
        "    rollout:\n      traffic: canary\n      step_percent: 10\n      bake_seconds: 300\n",
    ),
    # A feature, and a gate.
    ("stacks/flights/__init__.py", '"visib": "number"}', '"visib": "number", "pressure": "number"}'),
    ("stacks/flights/__init__.py", 'Gate("roc_auc", at_least=0.65)', 'Gate("roc_auc", at_least=0.6)'),
    # A role.
    ("components/access.py", '"sagemaker:GetRecord"],', '"sagemaker:GetRecord", "sagemaker:DeleteRecord"],'),
]


def propose(stand: Stand) -> None:
    for path, old, new in PULL_REQUEST:
        file = stand.folder / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new))


def withdraw(stand: Stand) -> None:
    stand.git("checkout", "--quiet", ".")


def normalise_comment(text: str) -> str:
    """Return a comment without the values that differ between runs or after each change of the code."""
    hashes = dict.fromkeys(re.findall(r"\b[0-9a-f]{16}\b", text))
    for number, found in enumerate(hashes, start=1):
        text = text.replace(found, f"{number:016}")
    return re.sub(r"(flights-local-(?:config|model|job-role))-[0-9a-f]{7}\b", r"\1-1234567", text)


def test_a_diff_of_a_missing_stack_reports_it_and_creates_nothing(stand: Stand) -> None:
    told = stand.millrace("diff", "flights", "--format", "markdown", "--save-plan", "plan.json", code=2)

    assert "**Creates all resources**" in told.stdout
    assert "No plan was saved" in told.stdout
    assert not (stand.folder / "plan.json").exists()
    assert json.loads(stand._run(["pulumi", "stack", "ls", "--json"], 0, 60).stdout) == []
    assert stand.git("status", "--porcelain") == ""


def test_a_pull_request_gets_the_comment_of_the_documentation(prepared: Stand) -> None:
    propose(prepared)
    try:
        told = prepared.millrace("diff", "flights", "--output", "comment.md", code=3)
        text = normalise_comment((prepared.folder / "comment.md").read_text())
    finally:
        withdraw(prepared)

    assert "risky changes, written to comment.md" in told.stderr
    if os.environ.get(WRITE):
        EXAMPLE.parent.mkdir(parents=True, exist_ok=True)
        EXAMPLE.write_text(text)
    kept = EXAMPLE.read_text()
    difference = "\n".join(
        difflib.unified_diff(kept.splitlines(), text.splitlines(), "example", "comment", lineterm="")
    )
    assert text == kept, f"{EXAMPLE} is another one; {WRITE}=1 writes it anew:\n{difference}"
    # What a reviewer has to know, most important first.
    places = [text.index(part) for part in (
        "Accepts weaker models:", "The gate on roc\\_auc required at least 0.65, now at least 0.6.",
        "1. 10 % of the traffic to the new fleet, alarms watched for 5 minutes", "2 × ml.m5.xlarge",
        "**Features added** to `weather`: `pressure`", "gains `sagemaker:DeleteRecord`", "Monthly cost", "<details>",
    )]  # fmt: skip
    assert places == sorted(places)
    assert str(prepared.folder) not in text


def test_an_unchanged_stack_is_reported_and_its_plan_is_saved(prepared: Stand) -> None:
    plan = prepared.folder / "saved.json"

    told = prepared.millrace("diff", "flights", "--save-plan", str(plan))

    assert "**Nothing changes.**" in told.stdout
    assert json.loads(plan.read_text())
    plan.unlink()
    assert prepared.git("status", "--porcelain", "--untracked-files=no") == ""


def test_a_changed_model_is_reported_with_its_metrics(prepared: Stand) -> None:
    [package] = prepared.packages()
    sagemaker = prepared.client("sagemaker")
    figures = {**package["CustomerMetadataProperties"], "roc_auc": "0.7512"}
    sagemaker.create_model_package(
        ModelPackageGroupName=STACK, ModelApprovalStatus="Approved",
        InferenceSpecification=package["InferenceSpecification"], CustomerMetadataProperties=figures,
    )  # fmt: skip

    serves = json.loads(prepared.millrace("diff", "flights", "--json", "--refresh", code=2).stdout)["model"]["serves"]

    assert (serves["before"]["version"], serves["after"]["version"]) == (1, 2)
    assert serves["before"]["metrics"]["roc_auc"] == round(float(package["CustomerMetadataProperties"]["roc_auc"]), 4)
    assert serves["after"]["metrics"]["roc_auc"] == 0.7512


def test_a_refused_change_fails_with_the_reason(prepared: Stand) -> None:
    file = prepared.folder / "stacks" / "flights" / "__init__.py"
    file.write_text(file.read_text().replace(', "visib": "number"}', "}"))
    try:
        told = prepared.millrace("diff", "flights", code=1)
    finally:
        withdraw(prepared)

    assert told.stdout == ""
    assert "'visib' was removed" in told.stderr
    assert "Traceback" not in told.stderr


def test_the_example_contains_no_local_paths() -> None:
    assert not re.search(r"/(tmp|home|root|work)/", Path(EXAMPLE).read_text())
