"""The stacks of flights under mocks, as their configuration files describe them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import yaml

import stacks
from components.data_lake import Lake
from components.mlops_stack import MlopsStack
from components.stack_args import MlopsStackArgs
from millrace import Environment, UseCase
from tests.components import mocked

REPOSITORY = Path(__file__).parents[2]
BUNDLE = "millrace-flights-0123456789abcdef.pyz"

_FOLDER = tempfile.TemporaryDirectory()
#: A real file, because the pipelines contain the hash of its content.
BUNDLE_FILE = Path(_FOLDER.name) / BUNDLE
BUNDLE_FILE.write_bytes(b"code")
REGION = "eu-west-1"


def environment(name: str) -> Environment:
    """Return the environment in the configuration of a stack."""
    document = yaml.safe_load((REPOSITORY / "stacks" / f"Pulumi.flights-{name}.yaml").read_text())
    return Environment.from_stack(f"flights-{name}", document["config"]["millrace:environment"], REGION)


def package(name: str, version: int = 3) -> str:
    """Return the ARN of a model package."""
    return f"arn:aws:sagemaker:{REGION}:{mocked.ACCOUNT}:model-package/flights-{name}/{version}"


def register_stack(
    use_case: UseCase, where: Environment, approved: str | None = None, lake: Lake | None = None
) -> dict[str, mocked.Registered]:
    """Return all resources that a stack registers."""
    args = MlopsStackArgs(use_case, where, mocked.ACCOUNT, "aws", BUNDLE_FILE, approved, lake)
    return mocked.run(lambda: MlopsStack(use_case.name, args))


@cache
def flights(name: str, approved: bool = True) -> dict[str, mocked.Registered]:
    """Return the resources of the flights stack in an environment, with version 3 approved or none."""
    return register_stack(stacks.load("flights"), environment(name), package(name) if approved else None)
