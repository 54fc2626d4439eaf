"""`millrace logs`: what a job, a pipeline's step or an endpoint printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from cli.aws import log_streams, pipelines
from cli.commands.options import env_option
from cli.console.errors import CliError
from cli.console.output import say
from cli.stack import connection
from queries.client import make_client
from queries.pipelines import list_executions

_GROUPS = ("/aws/sagemaker/TrainingJobs", "/aws/sagemaker/ProcessingJobs")
_ENDPOINTS = "/aws/sagemaker/Endpoints/"
_LINES = 100
_PIPELINE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,255}")
_EXECUTION = re.compile(r"arn:[\w-]+:sagemaker:[\w-]+:\d+:pipeline/[^/]+/execution/[^/]+(/[^/]*)?", re.ASCII)


@click.command()
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Print new lines until Ctrl-C.")
@click.option(
    "--lines", type=click.IntRange(1, log_streams.MOST_LINES), default=_LINES, show_default=True, help="Per stream."
)
@env_option
@connection.state_option
def logs(name: str, follow: bool, lines: int, environment: str, state: Path) -> None:
    """Print the log of a job, a pipeline's step or an endpoint.

    NAME is an endpoint (flights-local), a training or processing job or the start of its name, a pipeline's step
    (flights-local-training/Evaluate: of the newest execution), or the ARN of an execution with or without a step.
    """
    if not name:
        raise click.UsageError("NAME is empty; expected an endpoint, a job or <pipeline>/<step>")
    connection.use_environment(environment, state)
    client = make_client("logs")
    places = _places(client, name)
    if not places:
        raise CliError(
            f"{name!r}",
            "has no logs",
            expected="an endpoint, the start of a job's name, or <pipeline>/<step>",
            fix="see `millrace status` for those that exist",
        )
    if follow:
        if len(places) > 1:
            raise CliError(
                f"{name!r}", f"has {len(places)} logs, but --follow accepts only one", fix="name one step or job of it"
            )
        group, prefix = places[0]
        for stream, line in log_streams.follow_lines(client, group, prefix, lines):
            say(f"{stream}: {line}" if group.startswith(_ENDPOINTS) else line)
    for group, prefix in places:
        for stream in log_streams.list_streams(client, group, prefix):
            say(f"==> {group} {stream}")
            for line in log_streams.read_last_lines(client, group, stream, lines):
                say(line)


def _places(client: Any, name: str) -> list[tuple[str, str]]:
    """Return the log group and stream prefix of everything that the name may mean."""
    if name.startswith("arn:") or "/" in name:
        return _of_execution(name)
    if log_streams.list_streams(client, _ENDPOINTS + name):
        return [(_ENDPOINTS + name, "")]
    return [(group, name) for group in _GROUPS if log_streams.list_streams(client, group, name)]


def _of_execution(name: str) -> list[tuple[str, str]]:
    """Return the log group and stream prefix of each job of an execution, or of one step of it."""
    sagemaker = make_client("sagemaker")
    if name.startswith("arn:"):
        if not _EXECUTION.fullmatch(name):
            raise CliError(
                f"{name!r}",
                "is not the ARN of a pipeline's execution",
                expected=(
                    "arn:aws:sagemaker:<region>:<account>:pipeline/<name>/execution/<id>, /<step> added for one step"
                ),
            )
        parts = name.split("/")
        execution, wanted = "/".join(parts[:4]), "/".join(parts[4:])
    else:
        pipeline, _, wanted = name.partition("/")
        execution = _newest(sagemaker, pipeline)
    found = pipelines.read_steps(sagemaker, execution)
    if wanted and wanted not in [step.name for step in found]:
        have = ", ".join(step.name for step in found) or "none yet"
        raise CliError(f"execution {execution}", f"has run no step {wanted!r}", fix=f"it has: {have}")
    jobs = [pipelines.find_job(sagemaker, step) for step in found if wanted in ("", step.name)]
    return [(f"/aws/sagemaker/{kind}Jobs", f"{job}/") for kind, job in filter(None, jobs)]


def _newest(sagemaker: Any, pipeline: str) -> str:
    if not _PIPELINE.fullmatch(pipeline):
        raise CliError(f"pipeline {pipeline!r}", "does not exist", expected="<pipeline>/<step>")
    found = list_executions(sagemaker, pipeline, 1)
    if found is None:
        raise CliError(f"pipeline {pipeline!r}", "does not exist", expected="<pipeline>/<step>")
    if not found:
        raise CliError(f"pipeline {pipeline}", "has not run yet")
    return str(found[0]["PipelineExecutionArn"])
