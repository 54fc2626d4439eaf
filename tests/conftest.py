"""What is done once before the tests."""

from __future__ import annotations

import compileall
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
_FOLDERS = ("cli", "components", "engine", "local", "millrace", "queries", "stacks", "training")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the product, unless this is a worker: tests copy it with its bytecode, which then no copy compiles."""
    if not hasattr(config, "workerinput"):
        for name in _FOLDERS:
            compileall.compile_dir(REPOSITORY / name, quiet=1)
