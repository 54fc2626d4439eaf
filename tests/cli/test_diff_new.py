"""What `millrace diff` says of a stack of which nothing is deployed, and of what only looks like one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.diff import markdown
from tests.cli.previewed import PREVIEWS, diff, of, step, whole, written

ADMINISTRATOR = step(
    "create", "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "m", None,
    {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "role": "job"},
)  # fmt: skip


def brief(*steps: dict[str, Any]) -> dict[str, Any]:
    """A preview as `pulumi preview --json` has it without `--show-sames`."""
    return {**whole(), "steps": list(steps)}


def root(op: str) -> dict[str, Any]:
    return step(op, "pulumi:pulumi:Stack", "millrace-flights-local", None, {})


def test_what_only_adds_to_a_deployed_stack_is_not_taken_for_a_new_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = diff(capsys, "--preview", written(tmp_path / "p.json", brief(ADMINISTRATOR)))

    assert code == 3
    assert "Allows role job to do what AdministratorAccess allows" in out
    assert "never deployed" not in out
    assert "Creates all resources" not in out
    # What stays is not named, so it is not known what all of it costs.
    assert "changed resources only" in out


def test_a_stack_is_new_when_it_is_itself_created() -> None:
    new, deployed = of(brief(root("create"), ADMINISTRATOR)), of(brief(root("same"), ADMINISTRATOR))

    assert (new["new"], new["verdict"]) == (True, "changes")
    assert "The stack was never deployed" in markdown.render_comment(new)
    assert (deployed["new"], deployed["verdict"]) == (False, "risky changes")


def test_a_base_without_the_stack_says_nothing_of_what_is_deployed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads((PREVIEWS / "new.json").read_text())
    document["compared"] = {
        "base": {"revision": "origin/main", "commit": "0123456789abcdef", "found": False},
        "head": {"revision": "working tree", "commit": None},
    }
    monkeypatch.setattr("cli.base.comparison.compare_revisions", lambda target, base, progress: document)

    code, out, _ = diff(capsys, "--base", "origin/main")

    assert code == 2
    assert "never deployed" not in out
    assert "The base has no such stack, so all of it counts as new; whether it is deployed was not checked." in out
