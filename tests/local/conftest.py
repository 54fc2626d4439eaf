"""Fixtures of the tests of ``local``: a running local cloud."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local import client
from local.credentials import ensure_credentials
from tests import forked

IMAGES = Path(__file__).parent / "images"


def find_test_images() -> dict[str, Path]:
    """Return the images that tests may run: every folder of ``tests/local/images`` under its own name."""
    if not IMAGES.is_dir():
        return {}
    return {path.name: path for path in sorted(IMAGES.iterdir()) if (path / "bin").is_dir()}


@dataclass
class CloudDaemon:
    """A daemon in its own process, and clients for it."""

    state: Path
    scale: float = 60.0
    images: Mapping[str, Path] = field(default_factory=find_test_images)

    def start(self) -> client.Running:
        """Start it, or find it running."""
        self.running = forked.start_cloud(self.state, scale=self.scale, images=self.images)
        return self.running

    def stop(self) -> None:
        """Stop it as a user would."""
        client.stop(self.state)

    @property
    def endpoint_url(self) -> str:
        return self.running.endpoint_url

    @property
    def access(self) -> dict[str, str]:
        """Return the environment variables by which a program reaches it."""
        return {"AWS_ENDPOINT_URL": self.endpoint_url, **ensure_credentials(self.state).to_environment()}

    @cached_property
    def session(self) -> boto3.session.Session:
        return boto3.session.Session(**ensure_credentials(self.state).to_boto3_arguments(), region_name=client.REGION)

    def client(self, service: str, region: str = client.REGION, **config: Any) -> Any:
        """Return a boto3 client of the running daemon; retries are off, so that a test sees every failure."""
        return self.session.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint_url,
            config=Config(retries={"total_max_attempts": 1}, **config),
        )


#: The roles that tests give to the resources that they create.
ROLES = ("any", "endpoint", "features", "flights", "jobs", "pipeline", "serve", "shop")
_SERVICES = ["sagemaker.amazonaws.com", "scheduler.amazonaws.com"]
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": _SERVICES}, "Action": "sts:AssumeRole"}],
}


def make_roles(iam: Any) -> None:
    """Create the roles that tests use, unless they exist."""
    for name in ROLES:
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST))


def _run_daemon(state: Path) -> Iterator[CloudDaemon]:
    daemon = CloudDaemon(state)
    daemon.start()
    make_roles(daemon.client("iam"))
    try:
        yield daemon
    finally:
        daemon.stop()
        log = state / "daemon.log"
        if log.exists() and "Traceback" in (text := log.read_text()):
            sys.stderr.write(f"--- {log}\n{text[-8000:]}\n")


@pytest.fixture(scope="session")
def cloud_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudDaemon]:
    """Yield one daemon for all tests of a run; use your own names in it."""
    yield from _run_daemon(tmp_path_factory.mktemp("cloud") / "state")


@pytest.fixture
def fresh_daemon(tmp_path: Path) -> Iterator[CloudDaemon]:
    """Yield a daemon for this test alone, to be stopped, killed and restarted at will."""
    yield from _run_daemon(tmp_path / "state")
