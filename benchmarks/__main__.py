"""`make bench`: each stage of `make up`, previews, invocations, and the memory of the local cloud.

Everything runs in a separate state folder, which is removed afterwards. The endpoint is compared with the alternative
that a user would choose: the same model called in this process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table

from benchmarks import fleet, idle
from engine import bootstrap, home
from local import client

REPOSITORY = Path(__file__).resolve().parents[1]
STACK = "flights-local"
INVOCATIONS = 500


def main() -> None:
    """Measure everything and print the table."""
    out = Console()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as scratch:
        state = Path(scratch) / "state"
        try:
            _measure(out, state)
        finally:
            client.stop(state)


def _measure(out: Console, state: Path) -> None:
    began = time.perf_counter()
    done = _run_python(["-m", "cli.main", "up", "--json"], {**os.environ, "MILLRACE_STATE": str(state)})
    total = time.perf_counter() - began
    summary = json.loads(done)
    running = client.find_daemon(state)
    assert running is not None
    environment = _make_environment(running, state)
    rows = [(f"up: {stage}", f"{seconds:.1f} s") for stage, seconds in summary["stages"].items()]
    rows.append(("up: all", f"{total:.1f} s"))
    rows.append(
        (
            "up again, nothing changed",
            _time_action(lambda: _run_python(["-m", "cli.main", "up", "--json"], environment)),
        )
    )
    rows += _measure_previews(environment)
    rows += _measure_invocations(environment, summary)
    rows += idle.measure_fresh()
    rows += idle.measure_at_rest(state, {name: Path(folder) for name, folder in running.images.items()})
    rows += fleet.measure()
    table = Table("what", "measured", title=f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    for name, value in rows:
        table.add_row(name, value)
    out.print(table)


def _make_environment(running: client.Running, state: Path) -> dict[str, str]:
    folder = bootstrap.ensure_cli().folder
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {
        **client.build_environment(running, state),
        **home.prepare_home(state),
        "PATH": path,
        "MILLRACE_STATE": str(state),
    }
    return {**os.environ, **own}


def _measure_previews(environment: dict[str, str]) -> list[tuple[str, str]]:
    def preview(*options: str) -> str:
        command = ["pulumi", "preview", "--non-interactive", "--stack", STACK, *options]
        return _time_action(
            lambda: subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=True)
        )

    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as changed:
        text = (REPOSITORY / "stacks" / f"Pulumi.{STACK}.yaml").read_text()
        changed.write(text.replace("    name: local\n", "    name: local\n    retention_days: 30\n"))
        changed.flush()
        return [
            ("preview, nothing changed", preview()),
            ("preview, one change", preview("--config-file", changed.name)),
        ]


def _measure_invocations(environment: dict[str, str], summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Measure single-row invocations over one connection, and the same model called without an endpoint."""
    runtime = boto3.session.Session().client(
        "sagemaker-runtime",
        region_name=client.REGION,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    body = json.dumps(summary["sample"]["request"]).encode()
    seconds = []
    for _ in range(INVOCATIONS):
        began = time.perf_counter()
        runtime.invoke_endpoint(EndpointName=STACK, ContentType="application/json", Body=body)["Body"].read()
        seconds.append(time.perf_counter() - began)
    cuts = statistics.quantiles(seconds, n=100)
    evaluated = summary["evaluation"]["metrics"]
    return [
        ("one invocation, looked up online: p50", f"{cuts[49] * 1e3:.1f} ms"),
        ("one invocation, looked up online: p99", f"{cuts[98] * 1e3:.1f} ms"),
        ("one prediction in the training job's process: p50", f"{evaluated['latency_ms_p50']:.1f} ms"),
        ("one prediction in the training job's process: p99", f"{evaluated['latency_ms_p99']:.1f} ms"),
    ]


def _time_action(action: Callable[[], object]) -> str:
    began = time.perf_counter()
    action()
    return f"{time.perf_counter() - began:.1f} s"


def _run_python(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    main()
