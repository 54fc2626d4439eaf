"""`millrace run`: start a pipeline and show its steps."""

from __future__ import annotations

import click

from cli.aws import model_packages, pipelines
from cli.aws.pipelines import Step
from cli.commands.options import check_time, require_past, with_target
from cli.console.errors import CliError
from cli.console.output import json_option, say, write_json
from cli.console.progress import Progress
from cli.stack.target import Target
from millrace.inventory import PIPELINE_KINDS
from queries.pipelines import EXECUTING


@click.command()
@with_target
@click.option("--pipeline", type=click.Choice(list(PIPELINE_KINDS)), required=True, help="The pipeline.")
@click.option("--as-of", default="now", show_default=True, help="Data time, ISO 8601, e.g. 2013-04-01T00:00:00Z.")
@click.option("--no-wait", is_flag=True, help="Start it and return.")
@json_option
def run(target: Target, pipeline: str, as_of: str, no_wait: bool, as_json: bool) -> None:
    """Run a pipeline and show its steps.

    Ends with exit code 1 when the pipeline fails. Ctrl-C ends the waiting; the pipeline goes on. To train, use
    `millrace retrain`, which reports the outcome.
    """
    check_time(as_of)
    require_past(target, as_of)
    if pipeline == "features" and not target.use_case.tables:
        raise CliError(f"use case {target.use_case.name!r}", "has no feature tables, so it has no features pipeline")
    execution = pipelines.start_execution(target, pipeline, AsOf=as_of)
    status, steps = EXECUTING, list[Step]()
    if not no_wait:
        with Progress(err=as_json).stage(pipeline) as stage:
            stage.result = execution
            status = pipelines.wait_with_progress(target, execution, stage.note, stage.print_line, steps)
            pipelines.require_success(target, execution, status)
    if as_json:
        found = [{"name": step.name, "status": step.status, "seconds": round(step.took, 3)} for step in steps]
        name = target.names.pipeline(pipeline)
        write_json({"execution": execution, "pipeline": name, "status": status, "steps": found})
    elif no_wait:
        say(f"started {execution}")
    elif pipeline == "training" and (package := model_packages.find_registered_by(target, execution)):
        say(f"registered version {package.version}, {package.approval}: {package.description}")
