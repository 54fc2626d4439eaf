"""`millrace watch`: what `millrace status` shows, live; without a terminal, a line for each change."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from cli.commands import choices
from cli.console import interrupts
from cli.console.output import format_time, json_option, say
from cli.fleet import attention, depth, members, status, view
from cli.fleet.accounts import Accounts
from cli.fleet.document import FleetDocument, StackDocument
from cli.stack import connection
from cli.stack.target import Target
from millrace import MillraceError
from millrace.inventory import ALARM_KINDS

#: The known facts of each stack, by name; a change of one is a line. A fact whose request failed is left out.
Facts = dict[str, dict[str, str]]

#: The name under which changes of the stacks' files themselves are reported.
_FILES = "files"


@click.command()
@click.argument("use_case", required=False, shell_complete=choices.complete_use_cases)
@click.option("--env", "environment", shell_complete=choices.complete_environments, help="Only this environment.")
@click.option(
    "--every", type=click.FloatRange(min=1, max=3600), default=5.0, show_default=True, help="Seconds between updates."
)
@connection.state_option
@json_option
def watch(use_case: str | None, environment: str | None, every: float, state: Path, as_json: bool) -> int:
    """Show the status live.

    It repeats what `millrace status` shows until Ctrl-C. Without a terminal it prints a line for each change; with
    --json a line is a document: at, stack, what, before, after.
    """
    known = Accounts(state)

    def look() -> FleetDocument:
        known.expire()
        return status.query_stacks(members.list_stacks(state, use_case, environment), known)

    # A stack that does not exist is an error at once, not a change.
    chosen = members.list_stacks(state, use_case, environment)
    try:
        if sys.stdout.isatty() and not as_json:
            _live(
                _make_depth_view(chosen[0], known) if use_case and environment else lambda: view.render_live(look()),
                every,
            )
        else:
            _print_changes(look, every, as_json=as_json)
    except KeyboardInterrupt:
        # Ctrl-C is the only way to end it.
        return 0


def _make_depth_view(stack: members.Stack, known: Accounts) -> Callable[[], Any]:
    """Return a function that shows one stack in depth."""

    def look() -> Any:
        from rich.text import Text

        known.expire()
        target, row = status.query_stack(stack, known)
        return Text(_printed(target, row))

    return look


def _printed(target: Target, row: StackDocument) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        view.print_stack(depth.add_details(target, row))
    return text.getvalue()


def _live(look: Callable[[], Any], every: float) -> NoReturn:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    with Live(Text("loading …"), console=Console(highlight=False), screen=True, auto_refresh=False) as screen:
        while True:
            try:
                shown = look()
            except MillraceError as error:
                shown = Text(str(error), "yellow")
            head = Text(f"{format_time(datetime.now(UTC))}, every {every:g} s; Ctrl-C ends", "dim")
            screen.update(Group(head, shown), refresh=True)
            interrupts.sleep(every)


# -- without a terminal ------------------------------------------------------------------------------------------------


#: The prefix of an alarm's kind in the name of a fact.
_ALARM = "alarm "


def _print_changes(look: Callable[[], FleetDocument], every: float, *, as_json: bool) -> NoReturn:
    before: Facts = {}
    while True:
        try:
            now = keep_unanswered(before, collect_facts(look())) | {_FILES: {"status": "they can be read"}}
        except MillraceError as error:
            # Perhaps a stack's file is being written; keep the known facts.
            now = {**before, _FILES: {"status": str(error)}}
        for change in find_changes(before, now):
            _print_change(change, as_json=as_json)
        before = now
        interrupts.sleep(every)


def collect_facts(found: FleetDocument) -> Facts:
    """Return the facts of each stack whose change is worth a line."""
    known = {each["stack"]: {"answers": each["reason"]} for each in found["not_asked"]}
    return known | {row["stack"]: _collect_stack_facts(row) for row in found["stacks"]}


def _collect_stack_facts(row: StackDocument) -> dict[str, str]:
    endpoint, unknown = row["endpoint"], row["unknown"]
    known = {"answers": "yes", "not known": ", ".join(unknown) or "nothing"}
    if attention.knows_what_serves(row):
        known["serves"] = f"version {endpoint['version']}" if endpoint["version"] else endpoint["package"] or "nothing"
    if "endpoint" not in unknown:
        known["endpoint"] = " ".join(filter(None, (endpoint["status"], attention.shorten(endpoint["reason"]))))
        known["rollout"] = _rollout(row["rollout"])
    if "registry" not in unknown:
        known["approved"] = f"version {row['approved']}" if row["approved"] else "none"
        known["waits for approval"] = ", ".join(f"version {each['version']}" for each in row["pending"]) or "none"
    if not {"endpoint", "model", "registry"} & set(unknown):
        known["notes"] = "; ".join(each["text"] for each in row["warnings"]) or "none"
    if "paused" not in unknown:
        known["paused"] = "no" if row["paused"] is None else f"by {row['paused']['by'] or 'somebody'}"
    if "alarms" not in unknown:
        states = {alarm["kind"]: alarm["state"] for alarm in row["alarms"]}
        known |= {f"{_ALARM}{kind}": states.get(kind, "none") for kind in ALARM_KINDS}
    for kind, run in row["last"].items():
        if f"{kind} runs" not in unknown:
            known[kind] = f"{run['status']}, started {format_time(run['started'])}" if run else "never"
    return known


def _rollout(rolling: Mapping[str, Any] | None) -> str:
    if rolling is None:
        return "none"
    stages = [f"{each['status']}: {attention.shorten(each['message'])}" for each in rolling["green"]["stages"]]
    return "; ".join(stages) or "in progress"


def find_changes(before: Facts, now: Facts) -> list[dict[str, str | None]]:
    """Return each change: stack, what, before and after."""
    found: list[dict[str, str | None]] = []
    for stack, known in now.items():
        old = before.get(stack)
        if old is None:
            if stack != _FILES:
                found.append(_change(stack, "found", None, _summarize(known)))
            continue
        differs = [what for what in dict.fromkeys([*old, *known]) if old.get(what) != known.get(what)]
        if set(old) == {"answers"} and len(known) > 1:
            found += [
                _change(stack, "answers", old["answers"], "yes"),
                _change(stack, "found", None, _summarize(known)),
            ]
            continue
        found += [_change(stack, what, old.get(what), known.get(what)) for what in differs]
    return found + [_change(stack, "found", "yes", None) for stack in before if stack not in now]


def keep_unanswered(before: Facts, now: Facts) -> Facts:
    """Keep the previous value where a request failed, so that an outage is not reported as a change."""
    return {stack: {**before.get(stack, {}), **known} for stack, known in now.items()}


def _change(stack: str, what: str, before: str | None, after: str | None) -> dict[str, str | None]:
    return {"stack": stack, "what": what, "before": before, "after": after}


def _summarize(known: Mapping[str, str]) -> str:
    if known["answers"] != "yes":
        return f"does not answer: {known['answers']}"
    firing = [what.removeprefix(_ALARM) for what, state in known.items() if state == "ALARM"]
    serves, endpoint = (known.get(what, "unknown") for what in ("serves", "endpoint"))
    return f"serves {serves}, {endpoint}; alarms firing: {', '.join(firing) or 'none'}"


def _print_change(change: Mapping[str, str | None], *, as_json: bool) -> None:
    at = datetime.now(UTC)
    if as_json:
        say(json.dumps({"at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **change}))
        return
    if change["what"] == "found":
        said = change["after"] or "its file was deleted"
    elif change["what"] == "answers":
        after = change["after"] or ""
        said = "answers again" if after == "yes" else f"does not answer: {after}"
    else:
        before, after = (attention.shorten(change[key] or "unknown") for key in ("before", "after"))
        said = f"{change['what']}: {before} → {after}"
    # A change is one line, also where a message has several.
    say(f"{format_time(at)}  {change['stack']}  {' '.join(said.split())}")
