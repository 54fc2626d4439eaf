"""Output of the fleet and of one stack for people: a table on a terminal, aligned text elsewhere."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cli.aws.endpoints import AWAITED, GONE
from cli.aws.gates import GateResult, format_gates
from cli.console.output import format_age, format_duration, format_time, print_table, say
from cli.fleet import attention, costs
from cli.fleet.document import (
    CostPart,
    DeepDocument,
    FleetDocument,
    ForeignStack,
    RolloutPart,
    RunPart,
    StackDocument,
    name_runs,
)
from queries.packages import APPROVED, PENDING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table


HEAD = ("use case", "env", "serves", "since", "quality", "alarms", "last training", "next", "waits", "cost/month")
#: Rich styles of cells and lines.
_BAD, _WARN, _GOOD, _QUIET = "bold red", "yellow", "green", "dim"
#: Maximum number of lines in a row of the table.
_TALLEST = 3
#: A width that no terminal has.
_UNLIMITED = 100_000


# -- all stacks --------------------------------------------------------------------------------------------------------


def print_fleet(found: FleetDocument) -> None:
    """Print the table, the stacks and facts that could not be queried, and the action items.

    Args:
        found: The document of all queried stacks.
    """
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(render_fleet(found))
    else:
        if found["stacks"]:
            print_table([HEAD, *([text for text, _ in render_cells(row)] for row in found["stacks"])], indent=0)
        for line in list_lines_below(found):
            say(line)


def render_fleet(found: FleetDocument) -> RenderableType:
    """Render the fleet for a terminal: a table if it fits, else one paragraph per stack."""
    from rich.console import Console, Group

    console = Console()
    rows = [render_cells(row) for row in found["stacks"]]
    shown: list[RenderableType] = []
    if rows:
        table = _make_table(rows)
        shown = [table] if _fits(table, console, len(rows)) else [_render_paragraph(row) for row in rows]
    shown += [_render_line(line, console.width) for line in list_lines_below(found)]
    return Group(*shown)


def _make_table(rows: Sequence[Sequence[tuple[str, str]]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(HEAD):
        # A column in which every cell is one word cannot be made narrower.
        shown.add_column(name, no_wrap=not any(" " in row[place][0] for row in rows))
    for row in rows:
        shown.add_row(*(Text(text, style) for text, style in row))
    return shown


def _fits(table: Table, console: Console, rows: int) -> bool:
    """Return True if the terminal has room for the longest word of each column, and no row becomes too tall."""
    from rich.measure import Measurement

    # A measurement never exceeds the width that it is given, so it is given one without limit.
    if Measurement.get(console, console.options.update(width=_UNLIMITED), table).minimum > console.width:
        return False
    head = 2
    return len(console.render_lines(table, pad=False)) <= head + rows * _TALLEST


def _render_paragraph(row: Sequence[tuple[str, str]]) -> RenderableType:
    """Render a stack as a paragraph: its name, then the cells that are not empty, side by side as far as they fit."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    (name, _), (environment, _), *rest = row
    parts = [
        Text(f"{label} ").append(text, style)
        for label, (text, style) in zip(HEAD[2:], rest, strict=True)
        if text != "–"
    ]
    return Group(Text(f"{name} {environment}", "bold"), Padding(Columns(parts, padding=(0, 3)), (0, 0, 1, 2)))


def _render_line(line: str, room: int) -> RenderableType:
    """Render a line of text, wrapped between words; where it is too long, its command begins a line of its own."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    style = _WARN if line.startswith("! ") else ""
    indent = len(line) - len(line.lstrip())
    text, arrow, command = line.strip().rpartition(" → millrace ")
    parts = [(indent, text), (indent + 2, f"→ millrace {command}")] if arrow else [(indent, line.strip())]
    if len(line) <= room:
        parts = [(indent, line.strip())]
    return Group(*(Padding(Text(part, style), (0, 0, 0, left)) for left, part in parts))


def render_live(found: FleetDocument) -> RenderableType:
    """Render the fleet for a screen that may cut off its end: the action items come first.

    Args:
        found: The document of all queried stacks.

    Returns:
        What to print, made for the terminal's current width.
    """
    from rich.console import Console, Group

    room = Console().width
    lines = [f"! {need['stack']}: {need['what']} → {need['command']}" for need in found["attention"]]
    needs = [_render_line(line, room) for line in lines]
    return Group(*needs, render_fleet({**found, "attention": []}) if needs else render_fleet(found))


def list_lines_below(found: FleetDocument) -> Iterator[str]:
    """Yield the lines below the table, the action items last."""
    if total := costs.render_total([row["cost"] for row in found["stacks"]]):
        yield f"billed cost: {total} a month, plus jobs and requests"
    unknown = {(fact, why) for row in found["stacks"] for fact, why in row["unknown"].items()}
    for fact, why in sorted(unknown):
        stacks = [row["stack"] for row in found["stacks"] if row["unknown"].get(fact) == why]
        yield f"unknown: {fact} of {', '.join(stacks)}: {why}"
    if found["not_asked"]:
        yield "not queried:"
        for why in dict.fromkeys(each["reason"] for each in found["not_asked"]):
            silent = [each["stack"] for each in found["not_asked"] if each["reason"] == why]
            yield f"  {', '.join(silent)}: {why}"
    yield from _list_foreign_stacks(found["elsewhere"])
    if not found["attention"]:
        if not any(row["attention"] for row in found["stacks"]):
            yield "nothing needs attention" if found["stacks"] else "no stack answered"
        return
    yield "needs attention:"
    for need in found["attention"]:
        yield f"! {need['stack']}: {need['what']} → {need['command']}"


def _list_foreign_stacks(found: Sequence[ForeignStack]) -> Iterator[str]:
    """Yield one line per account and region about stacks without a file in this checkout."""
    for account, region in dict.fromkeys((each["account"], each["region"]) for each in found):
        names = [each["stack"] for each in found if (each["account"], each["region"]) == (account, region)]
        yield (
            f"also in account {account}, {region}, without a file in this checkout: {', '.join(names)}; "
            "to inspect or destroy one, use the checkout or commit that declares it"
        )


def render_cells(row: StackDocument) -> list[tuple[str, str]]:
    """Return a row of the table: text and style of each cell, in the order of `HEAD`."""
    fires = [alarm for alarm in row["alarms"] if alarm["state"] == "ALARM"]
    firing = [f"{alarm['kind']}{' (snoozed)' if alarm['snoozed'] else ''}" for alarm in fires]
    alarms = "unknown" if "alarms" in row["unknown"] else ", ".join(firing) or ("none" if row["alarms"] else "–")
    waiting = [
        f"{'reject' if attention.is_too_old(row, each['version']) else 'approve'} v{each['version']}"
        for each in row["pending"]
    ]
    waiting += ["unknown"] if "registry" in row["unknown"] else []
    if row["paused"]:
        waiting.append("paused")
    return [
        (row["use_case"], ""),
        (row["environment"], ""),
        _serves(row),
        (format_age(row["endpoint"]["since"]) if row["endpoint"]["since"] else "–", ""),
        _quality(row),
        (alarms, _BAD if firing else ""),
        _training(row),
        (_next(row), ""),
        (", ".join(waiting) or "–", _WARN if waiting else ""),
        (costs.render_cost(row["cost"]), _QUIET if not row["cost"]["billed"] else ""),
    ]


def _serves(row: StackDocument) -> tuple[str, str]:
    endpoint, rolling = row["endpoint"], row["rollout"]
    if endpoint["config"] is None:
        said = "no model yet" if endpoint["status"] == AWAITED else endpoint["status"]
        return said, _BAD if endpoint["status"] == GONE else _WARN
    version = f"v{endpoint['version']}" if endpoint["version"] else "no package of its own"
    if not attention.knows_what_serves(row):
        version = "unknown"
    if rolling:
        return f"{version} → v{rolling['green']['version'] or '?'}, rolling out", _WARN
    if endpoint["status"] != "InService":
        return f"{version}, {endpoint['status']}", _BAD
    return version, "" if endpoint["version"] else _WARN


def _quality(row: StackDocument) -> tuple[str, str]:
    """Return text and style of the metric that decides between models and of the gates; failed gates are named."""
    model = row["model"]
    if model is None:
        return ("unknown" if row["endpoint"]["config"] or "endpoint" in row["unknown"] else "–"), ""
    value = model["metric"]["value"]
    text = f"{model['metric']['name']} {'unknown' if value is None else f'{value:.4f}'}"
    gates = model["gates"]
    if not gates:
        return f"{text}, no gates", ""
    failed = [f"{gate['metric']} {gate['value']:.4f} {_bound(gate)}" for gate in gates if gate["passed"] is False]
    unknown = [gate["metric"] for gate in gates if gate["passed"] is None]
    if failed:
        return f"{text}, FAILS {', '.join(failed)}", _BAD
    if unknown:
        return f"{text}, unknown: {', '.join(unknown)}", _WARN
    return f"{text}, gates {len(gates)}/{len(gates)}", _GOOD


def _bound(gate: GateResult) -> str:
    return f"< {gate['at_least']:g}" if gate["at_least"] is not None else f"> {gate['at_most']:g}"


def _training(row: StackDocument) -> tuple[str, str]:
    if name_runs("training") in row["unknown"]:
        return "unknown", _WARN
    run = row["last"]["training"]
    if run is None:
        return "never", ""
    words = {"Executing": "running", "Succeeded": "succeeded"}
    text = "skipped" if run["skipped"] else words.get(run["status"], run["status"].lower())
    return f"{text}, {format_age(run['started'])} ago", _BAD if run["status"] == "Failed" else ""


def _next(row: StackDocument) -> str:
    times = [(kind, row["next"][kind]["at"]) for kind in ("training", "monitor")]
    known = [f"{kind} in {format_age(at)}" for kind, at in times if at]
    if known:
        return ", ".join(known)
    if "schedules" in row["unknown"]:
        return "unknown"
    states = {each["state"] for each in row["next"].values() if each["state"]}
    return "off" if states == {"DISABLED"} else "–"


# -- one stack ---------------------------------------------------------------------------------------------------------


def print_stack(found: DeepDocument) -> None:
    """Print all details of one stack; on a terminal, wrap the lines to its width.

    Args:
        found: The stack's document with all details.
    """
    if not sys.stdout.isatty():
        _print_stack_lines(found)
        return
    from rich.console import Console

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        _print_stack_lines(found)
    console = Console(highlight=False)
    for line in text.getvalue().splitlines():
        console.print(_render_line(line, console.width))


def _print_stack_lines(found: DeepDocument) -> None:
    say(f"{found['stack']}  account {found['account']}, {found['region']}")
    _say_endpoint(found)
    _say_rollout(found["rollout"])
    _say_pending(found)
    if found["data_time"]:
        say(f"data time {format_time(found['data_time'])}")
    _say_figures(found)
    _say_alarms(found)
    say("executions")
    ran = [(kind, run) for kind, runs in (found["executions"] or {}).items() for run in runs]
    print_table(
        (kind, "Skipped" if run["skipped"] else run["status"], format_time(run["started"]), _explain_run(run))
        for kind, run in ran
    )
    _say_schedules(found)
    _say_registry(found)
    if letters := found["dead_letters"]:
        say(f"dead letters: {letters['waiting']} waiting in {letters['queue'].rpartition('/')[2]}")
    _say_cost(found["cost"])
    for fact, why in found["unknown"].items():
        say(f"unknown: {fact}: {why}")
    for warning in found["warnings"]:
        say(f"note: {warning['text']}")
    for need in found["attention"]:
        say(f"! {need['what']} → {need['command']}")
    if found["deployed"] and not found["attention"]:
        say("nothing needs attention")


def _say_endpoint(found: DeepDocument) -> None:
    endpoint, model = found["endpoint"], found["model"]
    if endpoint["config"] is None:
        say(f"endpoint {endpoint['name']}: {endpoint['status']}")
        return
    serves = f"version {endpoint['version']}" if endpoint["version"] else endpoint["package"] or "no package"
    if not attention.knows_what_serves(found):
        serves = "an unknown package"
    since = f" since {format_time(endpoint['since'])}" if endpoint["since"] else ""
    say(f"endpoint {endpoint['name']}: {endpoint['status']}, serves {serves}{since}")
    if endpoint["reason"]:
        say(f"  {attention.shorten(endpoint['reason'])}")
    if model:
        said = model["reason"] or model["description"]
        say(f"  {model['approval']}{f': {said}' if said else ''}")
        value = model["metric"]["value"]
        rows = format_gates(model["gates"])
        if model["metric"]["name"] not in [row[0] for row in rows]:
            rows.append((model["metric"]["name"], "unknown" if value is None else f"{value:.4f}", "decides champions"))
        print_table(rows)


def _say_rollout(rolling: RolloutPart | None) -> None:
    if rolling is None:
        return
    baked = f", bakes {format_duration(rolling['bake_seconds'])} a stage" if rolling["bake_seconds"] is not None else ""
    say(f"rollout {rolling['traffic'] or ''} since {format_time(rolling['started'])}{baked}")
    for colour in ("blue", "green"):
        fleet = rolling[colour]
        version = f"version {fleet['version']}" if fleet["version"] else fleet["config"]
        say(f"  {colour:<6} {version}: {fleet['instances']} of {fleet['wanted']} instance(s)")
        for stage in fleet["stages"]:
            say(f"         {stage['status']}: {attention.shorten(stage['message'])}")
    if rolling["alarms"]:
        say(f"  rolled back by: {', '.join(rolling['alarms'])}")


def _say_pending(found: DeepDocument) -> None:
    for package in found["pending"]:
        version = package["version"]
        if attention.is_too_old(found, version):
            command = attention.build_command(found, "reject", version)
            newer = f"version {found['approved']} is approved and newer"
            say(f"version {version} waits for approval, but {newer}: {command}")
        else:
            say(f"version {version} waits for approval: {attention.build_command(found, 'approve', version)}")
        print_table(format_gates(package.get("gates", [])))


def _say_figures(found: DeepDocument) -> None:
    figures, traffic = found["figures"], found["traffic"]
    if "figures" in found["unknown"]:
        say("monitor: its metrics are unknown")
    elif figures is None:
        say("monitor: no metrics were published in the last 7 days")
    else:
        say(f"monitor: last published {format_age(figures['at'])} ago, {format_time(figures['at'])}")
        print_table((name, f"{value:.4g}") for name, value in figures.items() if name not in ("at", "age_seconds"))
    if monitor := found["monitor"]:
        for finding in monitor["findings"]:
            say(f"  {finding['alarm']}: {finding['text']}")
        for text in monitor["warned"]:
            say(f"  no alarm: {text}")
        if not monitor["measured"]:
            say(f"  it could not judge what was served: {'; '.join(monitor['notes'])}")
    if traffic and traffic["requests"]:
        errors = f"{traffic['errors_5xx'] or 0:.0f} failed, {traffic['errors_4xx'] or 0:.0f} refused"
        latency = traffic["latency_ms_p99"]
        slow = f", 99 % within {latency:.0f} ms" if latency is not None else ""
        say(f"last hour: {traffic['requests']:.0f} requests, {errors}{slow}")


def _say_alarms(found: DeepDocument) -> None:
    say("alarms" if found["alarms"] else f"alarms: {_name_emptiness(found, 'alarms')}")
    if found["off"]:
        say(f"  off, by monitoring.off: {', '.join(found['off'])}")
    signs = {"GreaterThanThreshold": ">", "LessThanThreshold": "<"}
    rows = []
    for alarm in found["alarms"]:
        sign = signs.get(alarm["comparison"] or "", alarm["comparison"] or "")
        fires = f"{alarm['metric']} {sign} {alarm['threshold']:,.10g}" if alarm["threshold"] is not None else ""
        reason = attention.shorten(alarm["reason"])
        said = {"ALARM": f"{alarm['description']} {reason}".strip(), "OK": ""}.get(alarm["state"], reason)
        said = f"{alarm['snoozed']} {said}".strip()
        rows.append((alarm["name"], alarm["state"], format_time(alarm["since"]), fires, said))
    print_table(rows)


def _say_schedules(found: DeepDocument) -> None:
    say("schedules" if found["schedules"] else f"schedules: {_name_emptiness(found, 'schedules')}")
    rows = []
    for each in found["schedules"] or []:
        at = f"next {format_time(each['next'])}" if each["next"] else ""
        odd = f"changed by hand: the declared value is {each['expected']}" if each["expected"] else ""
        rows.append((each["pipeline"], each["state"], each["expression"], at, odd))
    print_table(rows)
    if paused := found["paused"]:
        by, why = paused["by"] or "somebody", f": {attention.shorten(paused['reason'])}" if paused["reason"] else ""
        say(f"  paused by {by} since {paused['since']}{why}")


def _say_registry(found: DeepDocument) -> None:
    say("registry" if found["registry"] else f"registry: {_name_emptiness(found, 'registry')}")
    rows = []
    for package in found["registry"] or []:
        serves = "serves" if package["version"] == found["endpoint"]["version"] else ""
        who = f"by {package['changed_by']}" if package["changed_by"] else ""
        said = package["reason"] or package["description"]
        words = {PENDING: "waits", APPROVED: "approved"}
        approval = words.get(package["approval"], package["approval"].lower())
        when = format_time(package["changed"] or package["created"])
        rows.append((f"v{package['version']}", approval, serves, when, f"{who} {said}".strip()))
    print_table(rows)


def _say_cost(cost: CostPart) -> None:
    say(
        f"cost a month: {costs.render_amount(cost)}" + ("" if cost["billed"] else " on AWS; this machine costs nothing")
    )
    print_table(
        (each["item"], each["detail"], "unknown" if each["monthly_usd"] is None else f"${each['monthly_usd']:,.2f}")
        for each in cost["items"]
    )


def _name_emptiness(found: DeepDocument, fact: str) -> str:
    return "unknown" if fact in found["unknown"] else "none"


def _explain_run(run: RunPart) -> str:
    said = attention.shorten(str(run["reason"]))
    return f"{run['step']}: {said}" if run["step"] else said
