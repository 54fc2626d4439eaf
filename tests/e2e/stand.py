"""A checkout with its own local cloud, driven through the command line as a user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from engine import home
from local import client
from local.credentials import ensure_credentials
from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
STACK = "flights-local"
REGION = client.REGION

T = TypeVar("T")


class Stand:
    """Copy of the tracked files of this repository in another folder, with its own local cloud.

    Args:
        folder: The target folder; it must be empty.
        scale: Seconds of the cloud's time per second: at 17,280 a day takes five.
        has_forks: Whether its jobs and endpoints are forks of a process that has their imports.
    """

    def __init__(self, folder: Path, scale: float, *, has_forks: bool = True) -> None:
        self.folder, self.scale = folder, scale
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY, capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        for name in listed:
            # With its bytecode, so that the copy need not be compiled.
            for path in (name, cache_from_source(name)) if name.endswith(".py") else (name,):
                if (REPOSITORY / path).is_file():
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(REPOSITORY / path, folder / path)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
            self.git(*command)
        if has_forks:
            self.add_python()
        self.engine = forked.get_engine()

    @property
    def state(self) -> Path:
        return self.folder / ".millrace"

    def add_python(self) -> None:
        """Let the jobs and endpoints of this checkout be forks; git does not see it."""
        forked.add_python(self.folder / "training" / "image")
        (self.folder / ".git" / "info" / "exclude").write_text("/training/image/bin/python3\n")

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    def start(self) -> client.Running:
        """Start the cloud at the scale of this stand."""
        return forked.start_cloud(self.state, scale=self.scale, images={"millrace": self.folder / "training" / "image"})

    @property
    def environment(self) -> dict[str, str]:
        running = client.find_daemon(self.state)
        assert running is not None, "the cloud of this stand does not run"
        path = [str(self.engine.folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
        return {
            **mine,
            **client.build_environment(running, self.state),
            **home.prepare_home(self.state),
            "HOME": str(forked.get_home()),
            "PATH": os.pathsep.join(path),
        }

    def millrace(self, *arguments: str, code: int | None = 0, timeout: float = 280) -> subprocess.CompletedProcess[str]:
        """Run the command line of this checkout; ``code`` None accepts any exit code."""
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = forked.run(command, cwd=self.folder, env=self.environment, timeout=timeout)
        return self._require(done, code)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Yield the running command line; it is killed at the end of the block."""
        command = [sys.executable, "-m", "cli.main", *arguments]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def pulumi(self, *arguments: str, code: int | None = 0, timeout: float = 280) -> str:
        """Run the stock Pulumi CLI and return its output."""
        done = self._run(["pulumi", *arguments, "--stack", STACK, "--non-interactive"], code, timeout)
        return done.stdout + done.stderr

    def _run(self, command: list[str], code: int | None, timeout: float) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        return self._require(done, code)

    @staticmethod
    def _require(done: subprocess.CompletedProcess[str], code: int | None) -> subprocess.CompletedProcess[str]:
        if code is not None:
            assert done.returncode == code, f"{done.args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def up(self) -> str:
        return self.pulumi("up", "--yes", "--skip-preview")

    def changes(self) -> dict[str, int]:
        """Return the planned steps of a preview by kind; only `same` if there is nothing to do."""
        summary: dict[str, int] = json.loads(self.pulumi("preview", "--json"))["changeSummary"]
        return summary

    def plan(self) -> dict[str, str]:
        """Return the planned operation of a preview for each changed resource, by name."""
        steps = json.loads(self.pulumi("preview", "--json"))["steps"]
        return {step["urn"].rpartition("::")[2]: step["op"] for step in steps}

    def client(self, service: str) -> Any:
        environment = self.environment
        return boto3.session.Session().client(
            service,
            region_name=REGION,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            **ensure_credentials(self.state).to_boto3_arguments(),
            config=Config(retries={"total_max_attempts": 1}),
        )

    def packages(self) -> list[dict[str, Any]]:
        """Return the description of every registered model, oldest first."""
        sagemaker = self.client("sagemaker")
        listed = sagemaker.list_model_packages(
            ModelPackageGroupName=STACK, SortBy="CreationTime", SortOrder="Ascending"
        )
        return [
            sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
            for package in listed["ModelPackageSummaryList"]
        ]

    def executions(self, pipeline: str) -> list[dict[str, Any]]:
        """Return every execution of `<stack>-<pipeline>`, oldest first."""
        found = self.client("sagemaker").list_pipeline_executions(
            PipelineName=f"{STACK}-{pipeline}", SortBy="CreationTime", SortOrder="Ascending"
        )
        executions: list[dict[str, Any]] = found["PipelineExecutionSummaries"]
        return executions

    def failed_step(self, execution: str) -> tuple[str, str]:
        """Return the name and reason of the step that failed."""
        steps = self.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=execution)
        [step] = [step for step in steps["PipelineExecutionSteps"] if step["StepStatus"] == "Failed"]
        return step["StepName"], step["FailureReason"]

    def settled(self, pipeline: str, count: int) -> list[dict[str, Any]]:
        """Return the executions of a pipeline as soon as ``count`` exist and none is running."""

        def all_of_them() -> list[dict[str, Any]] | None:
            found = self.executions(pipeline)
            running = [each for each in found if each["PipelineExecutionStatus"] in ("Executing", "Stopping")]
            return found if len(found) >= count and not running else None

        return eventually(all_of_them, f"{count} settled executions of {pipeline}")

    def alarm(self, kind: str) -> str:
        [alarm] = self.client("cloudwatch").describe_alarms(AlarmNames=[f"{STACK}-{kind}"])["MetricAlarms"]
        return str(alarm["StateValue"])


def start_stand(
    folder: Path, scale: float, prepare: Callable[[Path], None] = lambda _: None, *, has_forks: bool = True
) -> Iterator[Stand]:
    """Yield a new stand whose cloud runs, and stop it.

    Args:
        folder: Its folder, which is created.
        scale: Seconds of the cloud's time per second.
        prepare: Called with the folder before the cloud starts.
        has_forks: Whether its jobs and endpoints are forks.
    """
    folder.mkdir()
    stand = Stand(folder, scale, has_forks=has_forks)
    prepare(folder)
    stand.start()
    try:
        yield stand
    finally:
        client.stop(stand.state)


def eventually(look: Callable[[], T | None], what: str, seconds: float = 120.0) -> T:
    """Return the result of ``look`` as soon as it is not None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:g} s for {what}")


def raise_alarm_during_bake(stand: Stand, stack: str = STACK) -> None:
    """Set the errors alarm once all traffic is on the new fleet."""
    sagemaker, cloudwatch = stand.client("sagemaker"), stand.client("cloudwatch")

    def bakes() -> bool | None:
        pending = sagemaker.describe_endpoint(EndpointName=stack).get("PendingDeploymentSummary", {})
        statuses = [status for each in pending.get("ProductionVariants", []) for status in each["VariantStatus"]]
        return True if any(status["Status"] == "Baking" for status in statuses) else None

    eventually(bakes, "the bake", 60)
    cloudwatch.set_alarm_state(AlarmName=f"{stack}-errors", StateValue="ALARM", StateReason="set by the test")
