"""`millrace run`: start a pipeline and show its steps."""

from __future__ import annotations

from datetime import datetime

import click

from cli import pipelines, registry
from cli.errors import CliError
from cli.output import json_option, say, write_json
from cli.pipelines import Step
from cli.progress import Progress
from cli.target import Target, of_use_case
from millrace.inventory import PIPELINE_KINDS
from queries.pipelines import EXECUTING


@click.command()
@of_use_case
@click.option("--pipeline", type=click.Choice(list(PIPELINE_KINDS)), required=True, help="Which one.")
@click.option("--as-of", default="now", show_default=True, help="Data time, ISO 8601, e.g. 2013-04-01T00:00:00Z.")
@click.option("--no-wait", is_flag=True, help="Start it and return.")
@json_option
def run(target: Target, pipeline: str, as_of: str, no_wait: bool, as_json: bool) -> None:
    """Run a pipeline and show its steps.

    Ends with exit code 1 when the pipeline fails. Ctrl-C ends the waiting; the pipeline goes on. To train, use
    `millrace retrain`, which says what came of it.
    """
    check_time(as_of)
    if pipeline == "features" and not target.use_case.tables:
        raise CliError(f"use case {target.use_case.name!r} has no feature tables, so it has no features pipeline")
    execution = pipelines.start(target, pipeline, AsOf=as_of)
    status, steps = EXECUTING, list[Step]()
    if not no_wait:
        with Progress(err=as_json).stage(pipeline) as stage:
            stage.result = execution
            status = follow(target, execution, stage.note, stage.line, steps)
            pipelines.require_success(target, execution, status)
    if as_json:
        found = [{"name": step.name, "status": step.status, "seconds": round(step.took, 3)} for step in steps]
        name = target.names.pipeline(pipeline)
        write_json({"execution": execution, "pipeline": name, "status": status, "steps": found})
    elif no_wait:
        say(f"started {execution}")
    elif pipeline == "training" and (package := registry.made_by(target, execution)):
        say(f"registered version {package.version}, {package.approval}: {package.description}")


def follow(
    target: Target, execution: str, note: pipelines.Note, line: pipelines.Note, steps: list[Step] | None = None
) -> str:
    """Wait for an execution: each step that is over gets a line, those that run are noted; its status."""
    told: set[str] = set()

    def watch(found: list[Step]) -> None:
        if steps is not None:
            steps[:] = found
        for step in found:
            if step.is_over and step.name not in told:
                told.add(step.name)
                line(step.text)
        note(", ".join(step.name for step in found if not step.is_over) or "waiting for the next step")

    return pipelines.follow(target, execution, watch)


def check_time(as_of: str) -> None:
    """Refuse what is no time."""
    if as_of == "now":
        return
    try:
        datetime.fromisoformat(as_of)
    except ValueError as error:
        raise click.BadParameter(
            f"{as_of!r}; expected 'now' or an ISO time such as 2013-04-01T00:00:00Z", param_hint="--as-of"
        ) from error
