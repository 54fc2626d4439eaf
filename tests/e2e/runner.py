"""Workflow runner: executes the commands of a rendered workflow in order, with the variables that a host sets.

Actions are replaced by the minimum that the commands can observe: credentials are those of the local cloud, and
artifacts are stored in the API that the commands query.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests import forked
from tests.cli.hosts import GitHub, zip_files

_EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
_FILES = re.compile(r"hashFiles\('([^']+)'\) (==|!=) ''")
#: Prefixes of variables that are removed from the environment of this process.
_THEIRS = ("AWS_", "PULUMI_", "GITHUB_", "GITLAB_", "CI_", "MILLRACE_")


def make_plain_env() -> dict[str, str]:
    """Return the environment of this process, with another home, without variables of accounts, hosts and Millrace."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_THEIRS)}
    return {**kept, "HOME": str(forked.get_home())}


def set_up(folder: Path) -> None:
    """Create what `make setup` leaves in a fresh clone: its own Python with the packages that are already installed."""
    shutil.rmtree(folder / ".venv", ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    [packages] = (folder / ".venv" / "lib").glob("python*/site-packages")
    # Packages only: the checkout that is installed there in editable mode must not be found before this one.
    (packages / "here.pth").write_text(f"{folder}\n{sysconfig.get_path('purelib')}\n")
    script = folder / ".venv" / "bin" / "millrace"
    script.write_text(f"#!{folder}/.venv/bin/python\nfrom cli.main import main\n\nmain()\n")
    script.chmod(0o755)
    (folder / ".venv" / ".ready").touch()


def reset_checkout(folder: Path) -> None:
    """Reset a clone to what a job finds: the checkout without any files of the previous job."""
    for command in (["reset", "--quiet", "--hard"], ["clean", "--quiet", "--force", "-d", "-x", "--exclude", ".venv"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


@dataclass
class Runner:
    """Runner for jobs of GitHub Actions in a clone.

    Attributes:
        account: Environment variables that an action that assumes a role sets.
        values: Values of the expressions in the workflow, by their text.
    """

    folder: Path
    host: GitHub
    account: Mapping[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    run_id: int = 1
    summary: str = ""
    log: str = ""

    def workflow(self, name: str) -> dict[str, Any]:
        """Return a workflow of the clone."""
        path = self.folder / ".github" / "workflows" / f"millrace-{name}.yml"
        return dict(yaml.safe_load(path.read_text()))

    def stacks(self, workflow: Mapping[str, Any]) -> None:
        """Run the job that lists the stacks and keep its outputs for the expressions of other jobs."""
        outputs = self.job(workflow, "stacks")
        for name, expression in workflow["jobs"]["stacks"]["outputs"].items():
            self.values[f"needs.stacks.outputs.{name}"] = self._filled(expression, outputs)

    def matrix(self, workflow: Mapping[str, Any], job: str) -> list[dict[str, str]]:
        """Return the entries of the matrix of a job."""
        expression = workflow["jobs"][job]["strategy"]["matrix"]["include"]
        match = re.fullmatch(r"\$\{\{ fromJSON\((.+)\) \}\}", expression)
        assert match is not None
        return list(json.loads(self.values[match[1]]))

    def job(
        self, workflow: Mapping[str, Any], name: str, entry: Mapping[str, str] | None = None, code: int = 0
    ) -> dict[str, str]:
        """Run a job.

        Args:
            entry: The entry of its matrix.
            code: The expected exit code of its commands; after a failure only steps with `failure()` run.

        Returns:
            The outputs of its steps, by their expression.
        """
        outputs: dict[str, str] = {f"matrix.{key}": value for key, value in (entry or {}).items()}
        job, environment, ended = workflow["jobs"][name], {}, 0
        for key, value in job.get("env", {}).items():
            environment[key] = self._filled(value, outputs)
        for step in job["steps"]:
            if not self._is_due(str(step.get("if", "success()")), failed=ended != 0):
                continue
            if "uses" in step:
                environment |= self._action(step, outputs)
                continue
            given = {key: self._filled(value, outputs) for key, value in step.get("env", {}).items()}
            ended = self._command(step, environment | given, outputs) or ended
        assert ended == code, f"job {name} ended with {ended}:\n{self.log}"
        return outputs

    def _is_due(self, condition: str, *, failed: bool) -> bool:
        condition = _EXPRESSION.sub(r"\1", condition)
        for part in condition.split(" && "):
            if part in ("success()", "failure()"):
                holds = failed is (part == "failure()")
            elif match := _FILES.fullmatch(part):
                holds = (self.folder / match[1]).exists() is (match[2] == "!=") and (
                    not failed or "failure()" in condition
                )
            else:
                holds = bool(self.values[part]) and not failed
            if not holds:
                return False
        return True

    def _filled(self, value: Any, outputs: Mapping[str, str]) -> str:
        """Return a text with its expressions replaced by their values; an unknown expression fails the test."""
        known = {**self.values, **outputs}
        return _EXPRESSION.sub(lambda match: str(known[match[1]]), str(value))

    def _command(self, step: Mapping[str, Any], given: Mapping[str, str], outputs: dict[str, str]) -> int:
        assert "${{" not in step["run"]
        output, summary = self.folder.parent / "output", self.folder.parent / "summary"
        for file in (output, summary):
            file.write_text("")
        environment = {
            **make_plain_env(),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.host.url,
            "GITHUB_REPOSITORY": "acme/models",
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
            **given,
        }
        try:
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.folder, env=environment, capture_output=True, text=True, timeout=240, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            running = subprocess.run(
                ["ps", "-eo", "pid,ppid,etimes,stat,wchan:24,args"], capture_output=True, text=True
            )
            raise AssertionError(f"{step['run']}\n{error.stdout}\n{error.stderr}\n{running.stdout}") from error
        self.log += f"$ {step['run']}\n{done.stdout}{done.stderr}"
        self.summary += summary.read_text()
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            outputs[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode

    def _action(self, step: Mapping[str, Any], outputs: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables that the action of a step sets for later steps."""
        action = step["uses"].partition("@")[0]
        given = {key: self._filled(value, outputs) for key, value in step.get("with", {}).items() if key != "key"}
        if action == "aws-actions/configure-aws-credentials":
            assert re.fullmatch(r"arn:aws:iam::\d{12}:role/\S+", given["role-to-assume"])
            return {**self.account, "AWS_REGION": given["aws-region"]}
        if action == "actions/upload-artifact":
            files = {name: self.folder / name for name in given["path"].split()}
            there = {name: path.read_bytes() for name, path in files.items() if path.exists()}
            assert there, f"{given['name']}: none of {sorted(files)} is there"
            self.host.leave(self.run_id, given["name"], zip_files(there))
        elif action == "actions/download-artifact":
            content = [content for facts, content in self.host.artifacts.values() if facts["name"] == given["name"]]
            with zipfile.ZipFile(io.BytesIO(content[-1])) as archive:
                archive.extractall(self.folder)
        elif action == "actions/checkout":
            reset_checkout(self.folder)
        else:
            assert action in ("actions/setup-python", "actions/cache"), action
        return {}


def build_script(job: Mapping[str, Any], every: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Return the commands and variables of a GitLab job, including those of the jobs that it extends."""
    chain = [dict(job)]
    while parent := chain[0].get("extends"):
        chain.insert(0, dict(every[parent]))
    variables: dict[str, str] = {}
    before: list[str] = []
    for each in chain:
        variables |= each.get("variables", {})
        before = each.get("before_script", before)
    return [*before, *job["script"]], variables


def run_script(
    commands: Iterable[str], folder: Path, environment: Mapping[str, str], said: Callable[[str], None]
) -> int:
    """Run the commands of a GitLab job in one shell, as its runner does, and return the exit code."""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder, env={**make_plain_env(), "CI": "true", **environment}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    said(done.stdout + done.stderr)
    return done.returncode


def expand_variables(variables: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with references to other variables expanded, as GitLab does."""
    return {
        name: re.sub(r"\$([A-Z_]+)", lambda match: known.get(match[1], ""), value) for name, value in variables.items()
    }
