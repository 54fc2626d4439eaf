"""Tests of comparing two revisions with the real engine, without the user's cloud, credentials or network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.base import stack_file
from tests.e2e.stand import Stand, eventually

STACK_FILE = "stacks/Pulumi.flights-dev.yaml"
#: Settings that a fork's workflow must not need and that a comparison must not use; none of them works.
USERS = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "users",
    "AWS_SECRET_ACCESS_KEY": "users",
    "AWS_PROFILE": "users",
    "PULUMI_ACCESS_TOKEN": "users",
    "PULUMI_BACKEND_URL": "file:///nowhere",
    "PULUMI_HOME": "/nowhere",
}
_COMPARE = """
import json, sys
from pathlib import Path
from cli.base import comparison
from cli.console import interrupts
from cli.console.progress import Progress
from cli.stack import deployable
interrupts.install_handlers()
use_case, environment, base, *head = sys.argv[1:]
target = deployable.load_deployable(use_case, environment, Path(".millrace"))
print(json.dumps(comparison.compare_revisions(target, base, Progress(err=True), *head)))
"""


class Fork:
    """A checkout of somebody without AWS or Pulumi accounts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scratch = folder / "checkout", folder / "scratch"
        self.folder.mkdir()
        self.scratch.mkdir()
        self.stand = Stand(self.folder, 1.0)
        self.base = self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        return self.stand.git(*arguments).strip()

    @property
    def environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
        return {**mine, **USERS, "TMPDIR": str(self.scratch)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", _COMPARE, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        # No temporary files are left in any case.
        assert list(self.scratch.iterdir()) == []
        return done

    def compare(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def error(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 1
        return done.stderr

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text()
        assert old in text, f"{path} has no {old!r}"
        file.write_text(text.replace(old, new, 1))

    @contextmanager
    def edited(self) -> Iterator[None]:
        """Discard all changes and commits of the block when it ends."""
        head = self.git("rev-parse", "HEAD")
        try:
            yield
        finally:
            self.git("reset", "--quiet", "--hard", head)
            self.git("clean", "--quiet", "--force", "-d")


def list_operations(document: dict[str, Any]) -> dict[str, str]:
    """Return the operation of each changed resource by the resource's name."""
    steps = [step for step in document["steps"] if step["op"] not in ("same", "create-replacement", "delete-replaced")]
    return {step["urn"].rpartition("::")[2]: step["op"] for step in steps}


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Fork:
    return Fork(tmp_path_factory.mktemp("offline"))


def test_equal_revisions_show_no_changes_and_no_file_is_touched(fork: Fork) -> None:
    with fork.edited():
        # Settings of an owner whose account and key nobody else can use, and a lake created by another stack.
        fork.edit(STACK_FILE, "promotion: manual", "promotion: manual\n    lake: shared")
        text = (fork.folder / STACK_FILE).read_text()
        text = text.replace("config:", "config:\n  aws:profile: owners\n  millrace:token:\n    secure: v1:AAAA:BBBB", 1)
        (fork.folder / STACK_FILE).write_text(f"secretsprovider: awskms://alias/owners\nencryptedkey: AAAA\n{text}")
        fork.git("commit", "--quiet", "--all", "--message", "with a secret")
        before = {path: path.stat().st_mtime_ns for path in fork.folder.rglob("*") if "__pycache__" not in path.parts}
        document = fork.compare("flights", "dev", "HEAD")
        after = {path: path.stat().st_mtime_ns for path in fork.folder.rglob("*") if "__pycache__" not in path.parts}
        assert set(document["changeSummary"]) == {"same"}
        assert list_operations(document) == {}
        # The endpoint exists on both sides, so that a change of it would show.
        assert "flights-dev-endpoint" in {step["urn"].rpartition("::")[2] for step in document["steps"]}
        assert "BBBB" not in json.dumps(document)
        assert document["compared"]["base"] == {
            "revision": "HEAD",
            "commit": fork.git("rev-parse", "HEAD"),
            "found": True,
        }
        assert document["compared"]["head"] == {"revision": "working tree", "commit": None}
        assert {path for path in before if before[path] != after.get(path)} == set()


def test_each_change_is_shown_as_the_engine_and_provider_report_it(fork: Fork) -> None:
    with fork.edited():
        fork.edit(STACK_FILE, "endpoint_count: 2", "endpoint_count: 2\n    endpoint_instance: ml.m5.xlarge")
        fork.edit(STACK_FILE, "bake_seconds: 300", "bake_seconds: 120")
        fork.edit("stacks/flights/__init__.py", '"temp": "number"', '"temp": "number", "dewpoint": "number"')
        fork.edit("stacks/flights/__init__.py", "calibration_alarm=0.04", 'off=("calibration",)')
        fork.edit("stacks/flights/__init__.py", 'on=("calibration",)', "on=()")
        fork.edit("components/access.py", '"s3:GetObject"', '"s3:GetObject", "s3:GetObjectTagging"')
        document = fork.compare("flights", "dev", fork.base)
    assert list_operations(document) == {
        "flights-dev-code": "replace",
        "flights-dev-config": "replace",
        "flights-dev-endpoint": "update",
        "flights-dev-endpoint-policy": "update",
        "flights-dev-features-pipeline": "update",
        "flights-dev-job-policy": "update",
        "flights-dev-monitor-calibration": "delete",
        "flights-dev-monitor-page-model": "update",
        "flights-dev-monitor-pipeline": "update",
        "flights-dev-pipeline-policy": "update",
        "flights-dev-retraining-on-alarm": "delete",
        "flights-dev-retraining-on-alarm-target": "delete",
        "flights-dev-retraining-recheck": "delete",
        "flights-dev-training-pipeline": "update",
        "flights-dev-weather-schema": "update",
    }
    [config] = [step for step in document["steps"] if step["op"] == "replace" and step["urn"].endswith("dev-config")]
    assert config["replaceReasons"] == ["productionVariants"]
    [endpoint] = [step for step in document["steps"] if step["urn"].endswith("dev-endpoint")]
    waits = endpoint["newState"]["inputs"]["deploymentConfig"]["blueGreenUpdatePolicy"]["trafficRoutingConfiguration"]
    assert waits["waitIntervalInSeconds"] == 120


def test_a_removed_feature_is_refused_as_on_the_stack(fork: Fork) -> None:
    with fork.edited():
        fork.edit("stacks/flights/__init__.py", '"temp": "number", ', "")
        fork.edit("stacks/flights/__init__.py", 'Expect("temp", ', 'Expect("visib", ')
        fork.edit("stacks/flights/__init__.py", '"weather_temp", ', "")
        said = fork.error("flights", "dev", fork.base)
    assert "the program of the head, working tree, 1 file not committed, cannot be previewed" in said
    assert "'temp' was removed" in said


def test_against_a_base_without_the_stack_everything_is_new(fork: Fork) -> None:
    with fork.edited():
        fork.git("rm", "--quiet", STACK_FILE)
        fork.git("commit", "--quiet", "--message", "without the environment")
        bare = fork.git("rev-parse", "HEAD")
        fork.git("revert", "--no-edit", "HEAD")
        done = fork.run("flights", "dev", bare, "HEAD")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
    assert set(list_operations(document).values()) == {"create"}
    assert document["compared"]["base"]["found"] is False
    assert f"has no {STACK_FILE}: everything is new" in done.stderr


def test_a_failing_base_program_is_reported_with_its_diagnostics(fork: Fork) -> None:
    with fork.edited():
        fork.edit(
            "components/mlops_stack.py",
            "class MlopsStack(",
            "raise OSError('the base is broken')\n\n\nclass MlopsStack(",
        )
        fork.git("commit", "--quiet", "--all", "--message", "broken")
        fork.git("revert", "--no-edit", "HEAD")
        said = fork.error("flights", "dev", "HEAD~1")
    assert "the program of the base" in said
    assert "the base is broken" in said
    assert "choose another base with --base" in said


def test_the_platform_itself_can_be_compared(fork: Fork) -> None:
    with fork.edited():
        text = (fork.folder / STACK_FILE).read_text()
        (fork.folder / "stacks" / "Pulumi.platform-dev.yaml").write_text(text)
        fork.git("add", "--all")
        fork.git("commit", "--quiet", "--message", "platform")
        fork.edit("stacks/flights/__init__.py", "calibration_alarm=0.04", 'off=("calibration",)')
        fork.edit("stacks/flights/__init__.py", 'on=("calibration",)', "on=()")
        assert list_operations(fork.compare("platform", "dev", "HEAD")) == {"platform-dev-dashboard": "update"}


def test_an_interrupt_leaves_no_files_and_no_processes(fork: Fork) -> None:
    with subprocess.Popen(
        fork.command("flights", "dev", fork.base), cwd=fork.folder, env=fork.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        children = psutil.Process(process.pid)

        def at_work() -> list[psutil.Process] | None:
            found = children.children(recursive=True)
            return found if any("pulumi" in each.name() for each in found) else None

        found = eventually(at_work, "Pulumi to be started", 60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in said
    _, alive = psutil.wait_procs(found, timeout=10)
    assert alive == []
    assert list(fork.scratch.iterdir()) == []


def test_killing_the_command_stops_its_cloud_too(fork: Fork) -> None:
    with subprocess.Popen(
        fork.command("flights", "dev", fork.base), cwd=fork.folder, env=fork.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        parent = psutil.Process(process.pid)

        def cloud() -> psutil.Process | None:
            return next((each for each in parent.children() if "local.preview_cloud" in each.cmdline()), None)

        found = eventually(cloud, "the throwaway cloud", 60)
        process.kill()
    deadline = time.monotonic() + 20
    while found.is_running() and found.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not found.is_running() or found.status() == psutil.STATUS_ZOMBIE


def test_owner_settings_are_removed_from_a_stack_file(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.churn-prod.yaml"
    path.write_text(
        "secretsprovider: awskms://alias/owners\n"
        "encryptedkey: AAAA\n"
        "config:\n"
        "  aws:region: eu-west-1\n"
        "  aws:assumeRoles: [{roleArn: 'arn:aws:iam::123456789012:role/owners'}]\n"
        "  aws:allowedAccountIds: ['999999999999']\n"
        "  aws:defaultTags: {tags: {team: churn}}\n"
        "  millrace:token: {secure: v1:AAAA:BBBB}\n"
        "  millrace:environment:\n"
        "    name: prod\n"
        "    replay_from: 2013-04-01T00:00:00Z\n"
        "    variables: {KEY: {secure: v1:CCCC:DDDD}, PLAIN: 'yes'}\n"
    )
    stack_file.remove_owner_settings(path)
    text = path.read_text()
    assert not {word for word in ("owners", "AAAA", "BBBB", "DDDD", "999999999999") if word in text}
    assert "aws:defaultTags: {tags: {team: churn}}" in text
    assert "replay_from: 2013-04-01T00:00:00Z" in text
    assert "PLAIN: 'yes'" in text
    assert text.count("secret-") == 2
