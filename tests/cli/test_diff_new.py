"""Tests of `millrace diff` for stacks that were never deployed, and for previews that only look like it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cli.diff import markdown
from cli.pulumi import previews
from cli.stack import connection
from cli.stack.target import Target
from tests.cli.previewed import PREVIEWS, diff_preview, make_preview, make_step, run_diff, write_preview

ADMINISTRATOR = make_step(
    "create", "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "m", None,
    {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "role": "job"},
)  # fmt: skip


def make_brief_preview(*steps: dict[str, Any]) -> dict[str, Any]:
    """Return a preview as `pulumi preview --json` prints it without `--show-sames`."""
    return {**make_preview(), "steps": list(steps)}


def make_stack_step(op: str) -> dict[str, Any]:
    return make_step(op, "pulumi:pulumi:Stack", "millrace-flights-local", None, {})


def test_additions_to_a_deployed_stack_are_not_taken_for_a_new_stack(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run_diff(capsys, "--preview", write_preview(tmp_path / "p.json", make_brief_preview(ADMINISTRATOR)))

    assert code == 3
    assert "Allows role job to do what AdministratorAccess allows" in out
    assert "never deployed" not in out
    assert "Creates all resources" not in out
    # Unchanged resources are not listed, so the cost of the whole stack is unknown.
    assert "changed resources only" in out


def test_a_stack_is_new_when_its_root_resource_is_created() -> None:
    new, deployed = (
        diff_preview(make_brief_preview(make_stack_step("create"), ADMINISTRATOR)),
        diff_preview(make_brief_preview(make_stack_step("same"), ADMINISTRATOR)),
    )

    assert (new["new"], new["verdict"]) == (True, "changes")
    assert "The stack was never deployed" in markdown.render_comment(new)
    assert (deployed["new"], deployed["verdict"]) == (False, "risky changes")


def test_a_base_without_the_stack_says_nothing_about_deployment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads((PREVIEWS / "new.json").read_text())
    document["compared"] = {
        "base": {"revision": "origin/main", "commit": "0123456789abcdef", "found": False},
        "head": {"revision": "working tree", "commit": None},
    }
    monkeypatch.setattr("cli.base.comparison.compare_revisions", lambda target, base, progress: document)

    code, out, _ = run_diff(capsys, "--base", "origin/main")

    assert code == 2
    assert "never deployed" not in out
    assert "The base has no such stack, so all of it counts as new; whether it is deployed was not checked." in out


def test_a_new_stack_is_previewed_with_the_profile_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = connection.REPOSITORY / "stacks" / "Pulumi.flights-dev.yaml"
    for name, text in {
        "Pulumi.yaml": "name: millrace\n",
        "stacks/Pulumi.flights-dev.yaml": file.read_text().replace("config:", "config:\n  aws:profile: owners", 1),
        "bin/pulumi": '#!/bin/sh\nprintf \'{"profile": "%s", "backend": "%s"}\' "$AWS_PROFILE" "$PULUMI_BACKEND_URL"\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o700)
    monkeypatch.setattr(connection, "REPOSITORY", tmp_path)
    monkeypatch.setattr(connection, "make_search_path", lambda: f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("cli.stack.target.STACKS", tmp_path / "stacks")
    monkeypatch.setenv("AWS_PROFILE", "mine")

    found = previews.preview_new_stack(Target.load("flights", "dev", tmp_path))

    assert found["profile"] == "owners"
    assert found["backend"].startswith("file://")
