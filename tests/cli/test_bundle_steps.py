"""Tests of the errors of bundle steps that a person runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from .many import Checkout, Cloud

WINDOW = ("--since", "2024-01-01", "--until", "2024-01-02", "--endpoint", "elsewhere")


@pytest.mark.parametrize(
    "arguments", [("invoke", "broken", "--sample"), ("replay", "broken", *WINDOW)], ids=["invoke", "replay"]
)
def test_a_data_error_is_reported_although_nothing_is_deployed(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    cloud = Cloud(tmp_path / "state")
    try:
        checkout = Checkout(tmp_path / "checkout", tmp_path / "state")
        checkout.declare("broken")
        checkout.stack("broken")
        (checkout.folder / "stacks" / "broken" / "data.py").write_text('raise RuntimeError("the plug is out")\n')
        said = checkout(*arguments, code=1).stderr
    finally:
        cloud.daemon.stop()
    assert "the plug is out" in said
    assert "not provisioned" not in said
