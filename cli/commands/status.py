"""`millrace status`: what serves, how good it is, and what needs attention, of all stacks or of one in depth.

With ``--json`` the table is one document, described at `cli.fleet.status.query_stacks`; one stack is its row of that
document, `cli.fleet.document.StackDocument`, with the parts that `cli.fleet.depth.add_details` adds.
"""

from __future__ import annotations

from pathlib import Path

import click

from cli.commands import choices
from cli.console.output import json_option, say, write_json
from cli.fleet import depth, view
from cli.fleet.accounts import Accounts
from cli.fleet.members import Stack, list_stacks
from cli.fleet.status import query_stack, query_stacks
from cli.stack import connection

#: The values of `--fail-on`.
ATTENTION, NOT_ASKED = "attention", "not-asked"


@click.command()
@click.argument("use_case", required=False, shell_complete=choices.complete_use_cases)
@click.option("--env", "environment", shell_complete=choices.complete_environments, help="Only this environment.")
@click.option(
    "--fail-on",
    "fail_on",
    type=click.Choice([ATTENTION, NOT_ASKED]),
    multiple=True,
    help="Exit with code 1 when something needs attention, or when a stack did not answer; for scripts.",
)
@connection.state_option
@json_option
def status(use_case: str | None, environment: str | None, fail_on: tuple[str, ...], state: Path, as_json: bool) -> int:
    """Show what serves, how good it is, and what needs attention.

    Shows every use case in every environment, or USE_CASE alone. With --env too, or where only one stack of USE_CASE
    answers, it shows that stack in depth.
    """
    chosen = list_stacks(state, use_case, environment)
    if use_case and environment:
        target, row = query_stack(chosen[0], Accounts(state))
        deep = depth.add_details(target, row)
        if as_json:
            write_json(deep)
        else:
            view.print_stack(deep)
        return int(bool((ATTENTION in fail_on and deep["attention"]) or (NOT_ASKED in fail_on and deep["unknown"])))
    known = Accounts(state)
    found = query_stacks(chosen, known)
    if use_case:
        # Their names alone do not tell which use case they belong to.
        found["elsewhere"] = []
    if as_json:
        write_json(found)
    else:
        view.print_fleet(found)
        if use_case:
            _show_in_depth(chosen, known, [row["stack"] for row in found["stacks"]])
    silent = found["not_asked"] or any(row["unknown"] for row in found["stacks"])
    return int(bool((ATTENTION in fail_on and found["attention"]) or (NOT_ASKED in fail_on and silent)))


def _show_in_depth(chosen: list[Stack], known: Accounts, answered: list[str]) -> None:
    """Print in depth the only stack that answers; where several do, print how to see one of them in depth."""
    if len(answered) == 1:
        [stack] = [stack for stack in chosen if stack.name == answered[0]]
        say()
        view.print_stack(depth.add_details(*query_stack(stack, known)))
    elif answered:
        first = next(stack for stack in chosen if stack.name == answered[0])
        say(f"details: millrace status {first.use_case} --env {first.environment}")
