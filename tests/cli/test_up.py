"""Tests of `millrace up` interrupted during an update: what remains, and how the next run continues.

Complete runs are covered by the tests of the loop.
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
    """Return the command with a running local cloud."""
    millrace("local", "start")
    return millrace


class Up:
    """A running `millrace up` whose output goes to a file."""

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
        """Return the condition's first true value; fail if the command ends before that."""

        def look() -> Any:
            return condition() or (self.process.poll() is not None and pytest.fail(f"it ended: {self.said}"))

        return eventually(look, seconds=60)

    def pulumi(self) -> psutil.Process | None:
        """Return the child process that runs the update."""
        for child in psutil.Process(self.process.pid).children():
            if child.status() != psutil.STATUS_ZOMBIE and "up" in child.cmdline():
                return child
        return None

    def is_creating(self, kind: str) -> bool:
        """Return True if a resource of that type is being created."""
        path = self.millrace.state / "stacks" / ".pulumi" / "stacks" / "millrace" / f"{STACK}.json"
        try:
            latest = json.loads(path.read_text())["checkpoint"].get("latest") or {}
        except (FileNotFoundError, ValueError):
            return False
        return any(kind in each["resource"]["type"] for each in latest.get("pending_operations") or [])

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


def list_locks(millrace: Millrace) -> list[Path]:
    return list((millrace.state / "stacks" / ".pulumi" / "locks").rglob("*.json"))


def list_leftover_processes(millrace: Millrace, before: set[int]) -> list[str]:
    """Return the commands of new processes of this state folder, except for the cloud and its children."""
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


def test_ctrl_c_stops_pulumi_and_releases_its_lock(cloud: Millrace) -> None:
    before = set(psutil.pids())
    up = Up(cloud)
    up.once(lambda: up.is_creating("iam/role"))
    assert up.interrupt() == 130
    assert "✗ provision" in up.said
    assert "interrupted" in up.said
    assert "Traceback" not in up.said
    assert eventually(lambda: not list_leftover_processes(cloud, before))
    assert list_locks(cloud) == []
    assert client.find_daemon(cloud.state)


def test_after_a_kill_the_next_up_clears_the_lock_and_adopts_resources(cloud: Millrace) -> None:
    before = set(psutil.pids())
    broken = Up(cloud)
    broken.once(lambda: broken.is_creating("s3/bucket:Bucket"))
    pulumi = broken.pulumi()
    assert pulumi is not None
    pulumi.kill()
    assert broken.process.wait(60) == 1
    assert "terminated by signal 9" in broken.said
    assert len(list_locks(cloud)) == 1
    assert eventually(lambda: not list_leftover_processes(cloud, before))

    up = Up(cloud)
    up.once(lambda: "✓ provision" in up.said)
    assert list_locks(cloud) == []
    # It is waiting for the training now, which continues without it.
    assert up.interrupt(signal.SIGTERM) == 130
    buckets = _list_buckets(cloud)
    assert buckets == [f"{STACK}-lake-123456789012"]
    assert eventually(lambda: not list_leftover_processes(cloud, before))


def test_the_second_of_two_concurrent_runs_waits(cloud: Millrace) -> None:
    both = [Up(cloud), Up(cloud)]
    # Both are stopped during training: a run that did not wait would have ended when the other has provisioned.
    first = both[0].once(lambda: next((up for up in both if "✓ provision" in up.said), None))
    assert first.interrupt() == 130
    [second] = [up for up in both if up is not first]
    second.once(lambda: "✓ provision" in second.said)
    assert second.interrupt() == 130
    assert list_locks(cloud) == []


def test_a_running_update_is_waited_for(cloud: Millrace) -> None:
    first = Up(cloud)
    first.once(lambda: first.is_creating("iam/role"))
    # Make the first run look like a bare `pulumi up`, which does not have the command's own lock.
    (cloud.state / "stacks" / f"{STACK}.lock").unlink()
    second = Up(cloud)
    second.once(lambda: "✓ provision" in second.said)
    assert "✓ provision" in first.said
    assert [up.interrupt() for up in (first, second)] == [130, 130]


def test_pulumi_stops_when_the_command_is_killed(cloud: Millrace) -> None:
    before = set(psutil.pids())
    up = Up(cloud)
    up.once(lambda: up.is_creating("iam/role"))
    up.process.kill()
    up.process.wait(10)
    assert eventually(lambda: not list_leftover_processes(cloud, before), 60)
    assert list_locks(cloud) == []


def test_an_endpoint_without_an_approved_model_is_not_deleted(cloud: Millrace) -> None:
    sagemaker = _make_client(cloud, "sagemaker")
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
    assert _list_buckets(cloud) == []


def _list_buckets(millrace: Millrace) -> list[str]:
    return [bucket["Name"] for bucket in _make_client(millrace, "s3").list_buckets()["Buckets"]]


def _make_client(millrace: Millrace, service: str) -> Any:
    running = client.find_daemon(millrace.state)
    assert running is not None
    import boto3

    return boto3.client(
        service,
        endpoint_url=running.endpoint_url,
        region_name=client.REGION,
        **ensure_credentials(millrace.state).to_boto3_arguments(),
    )
