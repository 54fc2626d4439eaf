"""The steps of the use case's bundle that a person runs: here, with the environment that jobs have."""

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


def run(target: Target, arguments: Sequence[str], on_line: children.Line) -> None:
    """Run a step.

    Args:
        arguments: The step and its options.
        on_line: Told each line that it prints.

    Raises:
        CliError: With what it said, when it fails.
    """
    built = bundle.build(target.use_case, connection.REPOSITORY, target.state.resolve() / "bundles")
    command = [sys.executable, str(built), *arguments]
    waiting = f"waiting for the {arguments[0]} to stop"
    with tempfile.TemporaryDirectory() as folder:
        failure = Path(folder) / "failure.json"
        environment = {**os.environ, **target.job_environment(), JobVariable.FAILURE_FILE.value: str(failure)}
        code, errors = children.run(command, on_line, folder=built.parent, environment=environment, waiting=waiting)
        if code == 0:
            return
        # A step that was killed has not written why.
        why = json.loads(failure.read_text()) if failure.is_file() else {"text": errors.strip(), "code": ""}
        if why["code"] == "NoSuchBucket" and not target.is_provisioned():
            raise target.absent()
        raise CliError(why["text"] or f"{arguments[0]} ended with exit code {code}")


def replay(target: Target, since: str, until: str, on_line: children.Line, options: Sequence[str] = ()) -> None:
    """Send the events of [since, until) to the endpoint; data time stands at ``until`` afterwards."""
    run(target, ["replay", "--since", since, "--until", until, *options], on_line)


def sample(target: Target) -> dict[str, Any]:
    """A real request: the first event that is predicted after the data clock, with what is known then."""
    lines: list[str] = []
    run(target, ["sample", "--as-of", "now"], lines.append)
    return dict(json.loads(lines[-1]))
