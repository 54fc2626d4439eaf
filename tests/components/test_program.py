"""The program: its errors for an invalid configuration; test_mlops_stack tests the resources."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockMonitor

PROGRAM = Path(__file__).parents[2] / "__main__.py"
IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/millrace@sha256:{'0' * 64}"


class Silent(pulumi.runtime.Mocks):
    """Mocks that refuse every call and resource, because the declaration must be checked first."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        raise AssertionError(f"{args.name} was made")

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        raise AssertionError(f"{args.token} was called")


def run_program(stack: str, configured: Any) -> None:
    """Run the program as the engine would for a stack."""
    mocks = Silent()
    pulumi.runtime.set_mocks(mocks, "millrace", stack, preview=True, monitor=MockMonitor(mocks))
    pulumi.runtime.set_all_config({"millrace:environment": json.dumps(configured), "aws:region": "eu-west-1"})
    runpy.run_path(str(PROGRAM))


def test_an_invalid_environment_ends_the_run_with_its_error() -> None:
    with pytest.raises(pulumi.RunError) as ended:
        run_program("flights-dev", {"name": "dev"})
    assert str(ended.value).startswith("stack 'flights-dev', millrace:environment:\n  - image=")


def test_a_missing_use_case_ends_the_run_with_its_error() -> None:
    with pytest.raises(pulumi.RunError) as ended:
        run_program("flihgts-dev", {"name": "dev", "image": IMAGE})
    assert str(ended.value) == (
        "use case 'flihgts':\n  - package stacks/flihgts does not exist; choose one of: "
        + ", ".join(sorted(path.parent.name.replace("_", "-") for path in PROGRAM.parent.glob("stacks/*/__init__.py")))
    )
