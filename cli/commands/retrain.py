"""`millrace retrain`: train a challenger by hand, and report the outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import click

from cli.aws import gates, model_packages, pipelines
from cli.aws.gates import GateResult
from cli.aws.model_packages import Package
from cli.aws.pipelines import Step
from cli.commands.options import check_time, require_past, with_target
from cli.console.errors import CliError
from cli.console.output import json_option, print_table, say, write_json
from cli.console.progress import Progress, Stage
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.documents import Evaluation, Verdict
from queries.packages import APPROVED, PENDING
from queries.pipelines import EXECUTING

#: The exit code where everything worked but the challenger is not good enough.
REFUSED = 4
#: Values of the parameter Champion other than an ARN.
_LOOK_UP, _NONE = "approved", "none"


@dataclass
class Outcome:
    """The outcome of a training."""

    execution: str
    status: str = EXECUTING
    outcome: str = "started"
    """`started`, `registered`, or `refused`: by a gate, or because the champion is as good."""
    reason: str = ""
    package: Package | None = None
    evaluation: Evaluation | None = None
    steps: list[Step] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The command's exit code."""
        return REFUSED if self.outcome == "refused" else 0


@click.command()
@with_target
@click.option(
    "--champion",
    default=_LOOK_UP,
    show_default=True,
    metavar="approved|none|VERSION",
    help="What the challenger must beat: the newest approved version, nothing, or a given version.",
)
@click.option("--as-of", default="now", show_default=True, help="Data time, ISO 8601, e.g. 2013-04-01T00:00:00Z.")
@click.option("--no-wait", is_flag=True, help="Start it and return.")
@json_option
def retrain(target: Target, champion: str, as_of: str, no_wait: bool, as_json: bool) -> int:
    """Train a challenger and report whether it is better.

    Ends with exit code 0 when a model was registered that may serve, or waits for approval; 4 when the training went
    well and the model is refused, by a gate or because it is no better than the champion; 1 when a step failed. It
    trains also while retraining is paused. Ctrl-C ends the waiting; the training goes on.
    """
    check_time(as_of)
    require_past(target, as_of)
    parameters = {"AsOf": as_of, "Champion": _champion(target, champion), "Trigger": "manual"}
    model_packages.require_group(target)
    if other := pipelines.find_running(target, "training"):
        say(f"note: another training is already running, {other}; this one runs in parallel", err=True)
    outcome = Outcome(pipelines.start_execution(target, "training", **parameters))
    if not no_wait:
        with Progress(err=as_json).stage("training") as stage:
            stage.result = outcome.execution
            outcome.status = pipelines.wait_with_progress(
                target, outcome.execution, stage.note, stage.print_line, outcome.steps
            )
            _set_outcome(target, outcome, stage)
    if as_json:
        write_json(_document(target, outcome))
    else:
        _show(target, outcome)
    return outcome.code


def _champion(target: Target, wanted: str) -> str:
    """Return the value of the pipeline's parameter Champion."""
    if wanted in (_LOOK_UP, _NONE):
        return wanted
    if not wanted.isdecimal() or int(wanted) < 1:
        raise click.BadParameter(
            f"{wanted!r}; expected 'approved', 'none' or the number of a version", param_hint="--champion"
        )
    package = model_packages.get_version(target, int(wanted))
    if because := model_packages.find_obstacle(target, package):
        raise CliError(
            f"version {package.version}", f"cannot be compared with: {because}", fix="name another --champion"
        )
    return package.arn


def _set_outcome(target: Target, outcome: Outcome, stage: Stage) -> None:
    """Set the outcome of an execution that has ended.

    Raises:
        CliError: A step failed or no model was registered, so that nothing is known of the challenger.
    """
    pipelines.require_success(target, outcome.execution, outcome.status)
    outcome.package = model_packages.find_registered_by(target, outcome.execution)
    if outcome.package is None:
        raise CliError(
            outcome.execution,
            (
                "succeeded, but registered no model that is still in "
                f"{target.names.model_package_group}: it may have been deleted, or the pipeline was "
                "changed"
            ),
            fix=f"see `millrace status {render_arguments(target)}`",
        )
    outcome.evaluation = model_packages.find_evaluation(target, outcome.package)
    taken = outcome.package.approval in (APPROVED, PENDING)
    outcome.outcome, outcome.reason = ("registered" if taken else "refused"), outcome.package.description
    stage.result = f"version {outcome.package.version} registered, {outcome.package.approval}"


def _gates(target: Target, outcome: Outcome) -> list[GateResult]:
    if outcome.package:
        return gates.check_gates(target.use_case, outcome.package)
    return gates.check_gates_of_metrics(target.use_case, {})


def _document(target: Target, outcome: Outcome) -> dict[str, Any]:
    package = outcome.package
    return {
        "execution": outcome.execution,
        "pipeline": target.names.training_pipeline,
        "status": outcome.status,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "version": package.version if package else None,
        "approval": package.approval if package else None,
        "gates": _gates(target, outcome),
        "champion": outcome.evaluation.champion.dump() if outcome.evaluation else {},
        "steps": [{"name": step.name, "status": step.status, "seconds": round(step.took, 3)} for step in outcome.steps],
        "next": _list_next_steps(target, outcome),
    }


def _show(target: Target, outcome: Outcome) -> None:
    package = outcome.package
    if package is None:
        say(f"started {outcome.execution}")
    elif outcome.outcome == "refused":
        say(f"refused: version {package.version} is registered as {package.approval}: {outcome.reason}")
    else:
        say(f"registered version {package.version}, {package.approval}: {outcome.reason}")
    print_table(gates.format_gates(_gates(target, outcome)))
    for line in _list_next_steps(target, outcome):
        say(f"next: {line}")


def _list_next_steps(target: Target, outcome: Outcome) -> list[str]:
    name = render_arguments(target)
    package = outcome.package
    if package is None:
        return [f"millrace status {name}"]
    if package.approval == PENDING:
        if package.metadata.get("verdict") == Verdict.UNDECIDED:
            return [
                f"millrace retrain {name}, with more labels",
                f"millrace approve {name} {package.version} --reason …, to approve it anyway",
            ]
        return [f"millrace approve {name} {package.version}"]
    if package.approval == APPROVED:
        return [f"millrace deploy {name}"]
    return [f"millrace approve {name} {package.version} --reason …, to approve it anyway"]
