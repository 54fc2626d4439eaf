"""Tests of the jobs of both hosts with a fake command: committed files do not change what is shown or deployed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.e2e.runner import Runner, build_script, expand_variables, reset_checkout, run_script

from .checkouts import Checkout, checkout
from .hosts import GitHub

__all__ = ["checkout"]

STACK = {"use_case": "flights", "environment": "dev", "stack": "flights-dev", "region": "eu-west-1"}
#: A fake command: it plans if a stack exists, finds a saved plan, and logs which plan it would deploy or keep.
COMMAND = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
diff*) echo "made anew" > comment.md; test ! -e "$here/stack" || echo "new plan" > plan.json; exit 3 ;;
"workflows saved"*) test ! -e "$here/saved" || echo "saved plan" > plan.json ;;
"workflows keep"*) cat "$4" >> "$here/log" ;;
deploy*--plan*) cat plan.json >> "$here/log" ;;
deploy*) echo "no plan" >> "$here/log" ;;
esac
"""


class Clone:
    """A clone in which somebody committed files with the names of those that jobs write.

    Attributes:
        bin: The folder of the fake command; the files `stack` and `saved` in it tell the command what exists.
    """

    def __init__(self, folder: Path, checkout: Checkout) -> None:
        self.folder, self.bin = folder, folder / ".venv" / "bin"
        self.bin.mkdir(parents=True)
        (self.bin / "millrace").write_text(COMMAND)
        (self.bin / "millrace").chmod(0o755)
        checkout("github", "--output", str(folder / ".github" / "workflows"))
        checkout("gitlab", "--output", str(folder))
        (folder / "Makefile").write_text("setup engine:\n\t@true\n")
        (folder / ".gitignore").write_text(".venv/\n")
        (folder / "plan.json").write_text("committed plan\n")
        (folder / "comment.md").write_text("No risk found\n")
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        for command in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message", "begin"]):
            subprocess.run(["git", *command], cwd=folder, check=True)

    @property
    def log(self) -> str:
        file = self.bin / "log"
        return file.read_text() if file.exists() else ""


def on_github(clone: Clone, *jobs: str) -> str:
    """Run jobs of a workflow; return the summary that an approver reads."""
    role = "arn:aws:iam::123456789012:role/any"
    values = {
        **dict.fromkeys(("vars.AWS_ROLE_ARN_DEV", "vars.AWS_PREVIEW_ROLE_ARN_DEV"), role),
        **dict.fromkeys(("vars.PULUMI_BACKEND_URL", "secrets.PULUMI_CONFIG_PASSPHRASE", "github.token"), "any"),
        **dict.fromkeys(("github.run_id", "github.event.pull_request.number"), "3"),
        "!inputs.new-plans": True,
    }
    host = GitHub()
    host.run(1, "a" * 40)
    runner = Runner(clone.folder, host, {}, values)
    for job in jobs:
        if job == "preview":
            runner.job(runner.workflow("preview"), "preview-dev", STACK)
            # The workflow itself keeps this plan.
            if any(facts["name"].startswith("plan-") for facts, _ in host.artifacts.values()):
                (clone.bin / "log").write_bytes((clone.folder / "plan.json").read_bytes())
        else:
            runner.job(runner.workflow("deploy"), f"{job}-dev_use_cases", STACK)
    return runner.summary


def on_gitlab(clone: Clone, *jobs: str) -> str:
    """Run jobs of the pipeline, each with the artifacts of the one before; return their output."""
    every = yaml.safe_load((clone.folder / ".gitlab-ci.yml").read_text())
    printed, left = [], {}
    for name in jobs:
        reset_checkout(clone.folder)
        for file, content in left.items():
            (clone.folder / file).write_bytes(content)
        job = every[f"{name}:flights-dev"]
        commands, variables = build_script(job, every)
        known = {"CI_PROJECT_DIR": str(clone.folder), "AWS_ID_TOKEN": "an-identity"}
        environment = {**known, **expand_variables(variables, known)}
        assert run_script(commands, clone.folder, environment, printed.append) == 0, printed[-1]
        paths = [clone.folder / file for file in job.get("artifacts", {}).get("paths", [])]
        left = {path.name: path.read_bytes() for path in paths if path.exists()}
    return "".join(printed)


@pytest.fixture
def clone(checkout: Checkout, tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone", checkout)


@pytest.mark.parametrize("run", [on_github, on_gitlab])
@pytest.mark.parametrize(
    ("there", "deployed"),
    [(("stack", "saved"), "saved plan\n"), (("stack",), "new plan\n"), ((), "no plan\n")],
    ids=["saved", "not saved", "never made"],
)
def test_the_approver_sees_and_deploys_no_committed_files(
    clone: Clone, run: Callable[..., str], there: tuple[str, ...], deployed: str
) -> None:
    for name in there:
        (clone.bin / name).touch()
    shown = run(clone, "plan", "deploy")
    assert "made anew" in shown
    assert "No risk found" not in shown
    assert clone.log == deployed


@pytest.mark.parametrize("run", [on_github, on_gitlab])
@pytest.mark.parametrize(("there", "kept"), [(["stack"], "new plan\n"), ([], "")], ids=["a stack", "never made"])
def test_a_preview_keeps_its_own_plan_or_none(
    clone: Clone, run: Callable[..., str], there: list[str], kept: str
) -> None:
    for name in there:
        (clone.bin / name).touch()
    run(clone, "preview")
    assert clone.log == kept
    assert (clone.folder / "comment.md").read_text() == "made anew\n"
