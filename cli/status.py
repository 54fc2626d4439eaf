"""`millrace status`: what serves, how good it is, and what needs attention, of all stacks or of one in depth.

With ``--json`` the table is one document, described at `cli.fleet.ask`; one stack is what its row there is, described
at `cli.fleet._row`, with what `cli.fleet.depth.add` adds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import cloud, completion, fleet
from cli.fleet import depth, view
from cli.fleet.accounts import Accounts
from cli.fleet.document import AlarmPart
from cli.fleet.served import AWAITED
from cli.output import json_option, say, write_json
from cli.serving import Endpoint
from cli.target import Target
from millrace.inventory import ALARM_KINDS

#: What `--fail-on` may name.
ATTENTION, NOT_ASKED = "attention", "not-asked"


@click.command()
@click.argument("use_case", required=False, shell_complete=completion.use_cases)
@click.option("--env", "environment", shell_complete=completion.environments, help="One environment alone.")
@click.option(
    "--fail-on",
    "fail_on",
    type=click.Choice([ATTENTION, NOT_ASKED]),
    multiple=True,
    help="End with exit code 1 when something needs attention, or when a stack could not be asked; for scripts.",
)
@cloud.state_option
@json_option
def status(use_case: str | None, environment: str | None, fail_on: tuple[str, ...], state: Path, as_json: bool) -> int:
    """What serves, how good it is, and what needs attention.

    Of every use case in every environment; of USE_CASE alone; with --env too, that stack in depth, as it is where
    only one of USE_CASE's answers.
    """
    chosen = fleet.stacks_of(state, use_case, environment)
    if use_case and environment:
        target, row = fleet.ask_one(chosen[0], Accounts(state))
        deep = depth.add(target, row)
        if as_json:
            write_json(deep)
        else:
            view.stack(deep)
        return int(bool((ATTENTION in fail_on and deep["attention"]) or (NOT_ASKED in fail_on and deep["unknown"])))
    known = Accounts(state)
    found = fleet.ask(chosen, known)
    if use_case:
        # Whose they are cannot be told from their names alone.
        found["elsewhere"] = []
    if as_json:
        write_json(found)
    else:
        view.table_of(found)
        if use_case:
            _closer(chosen, known, [row["stack"] for row in found["stacks"]])
    silent = found["not_asked"] or any(row["unknown"] for row in found["stacks"])
    return int(bool((ATTENTION in fail_on and found["attention"]) or (NOT_ASKED in fail_on and silent)))


def _closer(chosen: list[fleet.Stack], known: Accounts, answered: list[str]) -> None:
    """The only stack of a use case that answers, in depth; how to see more of one of several."""
    if len(answered) == 1:
        [stack] = [stack for stack in chosen if stack.name == answered[0]]
        say()
        view.stack(depth.add(*fleet.ask_one(stack, known)))
    elif answered:
        first = next(stack for stack in chosen if stack.name == answered[0])
        say(f"in depth: millrace status {first.use_case} --env {first.environment}")


# -- what other commands show of a stack -------------------------------------------------------------------------------


def alarms(target: Target) -> list[AlarmPart]:
    """Every alarm of the stack and what it says."""
    names = [target.names.alarm(kind) for kind in ALARM_KINDS]
    found = target.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    return fleet.alarms_of(target.names, {alarm["AlarmName"]: alarm for alarm in found})


def rows_of_alarms(found: list[AlarmPart]) -> list[tuple[str, str, str]]:
    """The alarms as a table's rows; what those that fire mean."""
    return [
        (
            each["name"],
            each["state"],
            {"ALARM": each["description"], "INSUFFICIENT_DATA": each["reason"]}.get(each["state"], ""),
        )
        for each in found
    ]


def endpoint_document(target: Target, endpoint: Endpoint | None) -> dict[str, Any]:
    """The endpoint, for programs."""
    return {
        "name": target.names.endpoint,
        "status": endpoint.status if endpoint else AWAITED,
        "version": endpoint.version if endpoint else None,
        "since": endpoint.since if endpoint else None,
        "reason": endpoint.reason if endpoint else "",
    }
