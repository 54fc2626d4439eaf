"""Steps of the use case's bundle, run on this machine with the environment variables of a job."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.console import children
from cli.console.errors import CliError
from cli.stack import connection
from cli.stack.target import Target
from millrace.inventory import JobVariable
from training import bundle


def run_step(target: Target, arguments: Sequence[str], on_line: children.Line) -> None:
    """Run a step of the bundle in a subprocess.

    Args:
        target: The stack.
        arguments: The step's name and its options.
        on_line: Called with each line of the step's standard output.

    Raises:
        CliError: The step failed, with the reason that it reported; or the stack is not provisioned.
    """
    built = bundle.build_bundle(target.use_case, connection.REPOSITORY, target.state.resolve() / "bundles")
    command = [sys.executable, str(built), *arguments]
    waiting = f"waiting for the {arguments[0]} to stop"
    with tempfile.TemporaryDirectory() as folder:
        failure = Path(folder) / "failure.json"
        environment = {**os.environ, **target.make_job_variables(), JobVariable.FAILURE_FILE.value: str(failure)}
        code, errors = children.run_child(
            command, on_line, folder=built.parent, environment=environment, waiting=waiting
        )
        if code == 0:
            return
        # A killed step has written no reason.
        why = json.loads(failure.read_text()) if failure.is_file() else {"text": errors.strip(), "code": ""}
        if why["code"] == "NoSuchBucket" and not target.is_provisioned():
            raise target.make_absence_error()
        raise CliError(why["text"] or f"{arguments[0]} ended with exit code {code}")


def replay_events(target: Target, since: str, until: str, on_line: children.Line, options: Sequence[str] = ()) -> None:
    """Send the events of [since, until) to the endpoint; a replayed environment's data time is then ``until``.

    Args:
        target: The stack.
        since: The start of the interval, ISO 8601.
        until: The end of the interval, ISO 8601; events at this time are not sent.
        on_line: Called with each line of the step's standard output.
        options: More options of the step `replay`, each name followed by its value.

    Raises:
        CliError: The step failed, or the stack is not provisioned.
    """
    run_step(target, ["replay", "--since", since, "--until", until, *options], on_line)


def make_sample_request(target: Target) -> dict[str, Any]:
    """Return a real request: the first event predicted after the data clock, with what is known at that time.

    Args:
        target: The stack.

    Raises:
        CliError: The step failed, or the stack is not provisioned.
    """
    lines: list[str] = []
    run_step(target, ["sample", "--as-of", "now"], lines.append)
    return dict(json.loads(lines[-1]))
