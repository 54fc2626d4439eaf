"""`millrace up` broken off in the middle of an update: what is left, and how the next one goes on.

Whole runs are tested with the loop itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from local import client
from local.credentials import ensure_credentials
from tests.local.hosted import eventually

from .conftest import REPOSITORY, STACK, Millrace


@pytest.fixture
def cloud(millrace: Millrace) -> Millrace:
    """With a cloud that runs."""
    millrace("local", "start")
    return millrace


class Up:
    """A running `millrace up`, with what it says going to a file."""

    def __init__(self, millrace: Millrace) -> None:
        self.millrace = millrace
        self._said = millrace.state.parent / f"said-{time.monotonic_ns()}"
        with self._said.open("w") as file:
            self.process = subprocess.Popen(
                millrace.command("up", "--no-observe"),
                cwd=REPOSITORY, env=millrace.environment, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self._said.read_text()

    def once(self, condition: Callable[[], Any]) -> Any:
        """The condition's first true value; a failure when it ends before."""

        def look() -> Any:
            return condition() or (self.process.poll() is not None and pytest.fail(f"it ended: {self.said}"))

        return eventually(look, seconds=60)

    def pulumi(self) -> psutil.Process | None:
        """The child that updates."""
        for child in psutil.Process(self.process.pid).children():
            if child.status() != psutil.STATUS_ZOMBIE and "up" in child.cmdline():
                return child
        return None

    def is_creating(self, kind: str) -> bool:
        """Whether a resource of that type is being created."""
        path = self.millrace.state / "stacks" / ".pulumi" / "stacks" / "millrace" / f"{STACK}.json"
        try:
            latest = json.loads(path.read_text())["checkpoint"].get("latest") or {}
        except (FileNotFoundError, ValueError):
            return False
        return any(kind in each["resource"]["type"] for each in latest.get("pending_operations") or [])

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(60)


def locks(millrace: Millrace) -> list[Path]:
    return list((millrace.state / "stacks" / ".pulumi" / "locks").rglob("*.json"))


def left(millrace: Millrace, before: set[int]) -> list[str]:
    """What runs that did not, but for the cloud and its own children."""
    running = client.find_daemon(millrace.state)
    assert running is not None
    own = {running.pid, *(child.pid for child in psutil.Process(running.pid).children(recursive=True))}
    new = []
    for process in psutil.process_iter():
        if process.pid in own or process.pid in before:
            continue
        try:
            if str(millrace.state) in " ".join(process.environ().values()) and process.pid != os.getpid():
                new.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return new


def test_ctrl_c_ends_pulumi_too_and_gives_its_lock_back(cloud: Millrace) -> None:
    before = set(psutil.pids())
    up = Up(cloud)
    up.once(lambda: up.is_creating("iam/role"))
    assert up.interrupt() == 130
    assert "✗ provision" in up.said
    assert "interrupted" in up.said
    assert "Traceback" not in up.said
    assert eventually(lambda: not left(cloud, before))
    assert locks(cloud) == []
    assert client.find_daemon(cloud.state)


def test_after_a_kill_the_next_up_clears_the_lock_and_adopts_what_was_made(cloud: Millrace) -> None:
    before = set(psutil.pids())
    broken = Up(cloud)
    broken.once(lambda: broken.is_creating("s3/bucket:Bucket"))
    pulumi = broken.pulumi()
    assert pulumi is not None
    pulumi.kill()
    assert broken.process.wait(60) == 1
    assert "terminated by signal 9" in broken.said
    assert len(locks(cloud)) == 1
    assert eventually(lambda: not left(cloud, before))

    up = Up(cloud)
    up.once(lambda: "✓ provision" in up.said)
    assert locks(cloud) == []
    # In the middle of the training now, which goes on without it.
    assert up.interrupt(signal.SIGTERM) == 130
    buckets = _buckets(cloud)
    assert buckets == [f"{STACK}-lake-123456789012"]
    assert eventually(lambda: not left(cloud, before))


def test_of_two_at_once_the_second_waits(cloud: Millrace) -> None:
    both = [Up(cloud), Up(cloud)]
    # Each in the middle of its training: the one that did not wait would be at its end when the other has provisioned.
    first = both[0].once(lambda: next((up for up in both if "✓ provision" in up.said), None))
    assert first.interrupt() == 130
    [second] = [up for up in both if up is not first]
    second.once(lambda: "✓ provision" in second.said)
    assert second.interrupt() == 130
    assert locks(cloud) == []


def test_an_update_that_runs_is_waited_for(cloud: Millrace) -> None:
    first = Up(cloud)
    first.once(lambda: first.is_creating("iam/role"))
    # As a bare `pulumi up` would be: without the command's own lock.
    (cloud.state / "stacks" / f"{STACK}.lock").unlink()
    second = Up(cloud)
    second.once(lambda: "✓ provision" in second.said)
    assert "✓ provision" in first.said
    assert [up.interrupt() for up in (first, second)] == [130, 130]


def test_pulumi_ends_when_the_command_is_killed(cloud: Millrace) -> None:
    before = set(psutil.pids())
    up = Up(cloud)
    up.once(lambda: up.is_creating("iam/role"))
    up.process.kill()
    up.process.wait(10)
    assert eventually(lambda: not left(cloud, before), 60)
    assert locks(cloud) == []


def test_an_endpoint_that_serves_what_nobody_approves_any_more_is_not_taken_away(cloud: Millrace) -> None:
    sagemaker = _client(cloud, "sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=STACK)
    sagemaker.create_model(ModelName=STACK, PrimaryContainer={"Image": "millrace"})
    variant = {"VariantName": "main", "ModelName": STACK, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=STACK, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=STACK, EndpointConfigName=STACK)
    said = cloud("up", "--no-observe", code=1).stderr
    assert f"endpoint {STACK} would be deleted, because no model of {STACK} is approved" in said
    assert "nothing was changed" in said
    assert "`millrace deploy flights --remove-endpoint`" in said
    assert [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]] == [STACK]
    assert _buckets(cloud) == []


def _buckets(millrace: Millrace) -> list[str]:
    return [bucket["Name"] for bucket in _client(millrace, "s3").list_buckets()["Buckets"]]


def _client(millrace: Millrace, service: str) -> Any:
    running = client.find_daemon(millrace.state)
    assert running is not None
    import boto3

    return boto3.client(
        service,
        endpoint_url=running.endpoint_url,
        region_name=client.REGION,
        **ensure_credentials(millrace.state).to_boto3_arguments(),
    )
