"""What is done once before the tests."""

from __future__ import annotations

import compileall

import pytest

from tests.forked import servers
from tests.house.sources import PACKAGES, REPOSITORY


def pytest_configure(config: pytest.Config) -> None:
    """Compile the product, which tests copy with its bytecode, and start what all workers share."""
    if hasattr(config, "workerinput"):
        return
    for name in PACKAGES:
        compileall.compile_dir(REPOSITORY / name, quiet=1)
    if config.getoption("numprocesses", None):
        servers.find_job_server()
