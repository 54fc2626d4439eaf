"""The lightweight third-party clients; `make clients` runs all of them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.clients.__main__ import REPOSITORY

#: The steps of each client that are refused by name; everything else works.
REFUSED = {
    "aws_cli": {"ec2 describe-vpcs", "cloudformation list-stacks"},
    "javascript": {"InvokeEndpointWithResponseStream"},
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_client_works_or_is_refused_by_name(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.clients", "--only", name],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=840, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert set(re.findall(r"^  – ([^:]+): ", done.stdout, re.MULTILINE)) == REFUSED[name]
    assert len(re.findall(r"^  ✓ ", done.stdout, re.MULTILINE)) >= 6
