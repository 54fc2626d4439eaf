"""What is done once before the tests."""

from __future__ import annotations

import compileall

import pytest

from tests.house.sources import PACKAGES, REPOSITORY


def pytest_configure(config: pytest.Config) -> None:
    """Compile the product, unless this is a worker: tests copy it with its bytecode, which then no copy compiles."""
    if not hasattr(config, "workerinput"):
        for name in PACKAGES:
            compileall.compile_dir(REPOSITORY / name, quiet=1)
