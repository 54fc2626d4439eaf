"""`millrace status` of two dozen serving use cases, compared with `aws`, which needs one call per stack."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from local.credentials import ensure_credentials
from tests.cli.many import Checkout, Cloud

NAMES = [f"uc{number:02d}" for number in range(24)]
#: The first run also compiles the modules of the checkout.
TIMES = 5


def measure() -> list[tuple[str, str]]:
    """Return the rows of the table."""
    with tempfile.TemporaryDirectory(prefix="millrace-fleet-") as scratch:
        cloud = Cloud(Path(scratch) / "state")
        try:
            cloud.whole(*(f"{name}-local" for name in NAMES))
            checkout = Checkout(_make_folder(Path(scratch) / "checkout"), cloud.daemon.state)
            for name in NAMES:
                checkout.declare(name)
                checkout.stack(name)
            took = sorted(_time_action(lambda: checkout("status")) for _ in range(TIMES))
            one = _time_action(lambda: _describe_endpoint(cloud, f"{NAMES[0]}-local"))
        finally:
            cloud.daemon.stop()
    return [
        ("status of 24 use cases, fastest / middle / slowest of 5", f"{took[0]:.2f} / {took[2]:.2f} / {took[4]:.2f} s"),
        ("`aws sagemaker describe-endpoint` of one of them, which says less", f"{one:.2f} s"),
    ]


def _make_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _describe_endpoint(cloud: Cloud, endpoint: str) -> None:
    settings = {
        "AWS_ENDPOINT_URL": cloud.daemon.endpoint_url,
        **ensure_credentials(cloud.daemon.state).to_environment(),
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    folder = Path(sys.executable).parent
    command = [str(folder / "aws"), "sagemaker", "describe-endpoint", "--endpoint-name", endpoint]
    subprocess.run(command, env={"PATH": str(folder), **settings}, capture_output=True, check=True)


def _time_action(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
