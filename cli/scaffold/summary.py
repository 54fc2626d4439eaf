"""The final output of `millrace new`: what was created, from what, and the next three commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.console.output import NOTE, print_table, say, write_json
from cli.scaffold.plan import Plan
from cli.scaffold.trial import Trial


def make_summary(
    plan: Plan,
    files: Mapping[str, bytes],
    result: Trial,
    settled: list[tuple[str, str, str]],
    dry_run: bool,
    said: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the whole summary as JSON data."""
    return {
        "use_case": plan.name,
        "written": not dry_run,
        "files": {name: len(body) for name, body in files.items()},
        "problem": plan.problem,
        "target": plan.target,
        "key": plan.key,
        "event_time": plan.event_time,
        "features": [feature.name for feature in plan.features],
        "renamed": plan.renamed,
        "left_out": dict(plan.left_out),
        "trusted": list(plan.trusted),
        "inferred": [{"flag": flag, "value": value, "reason": reason} for flag, value, reason in settled],
        "sample": {"rows": plan.sample_rows, "of": plan.rows, "since": plan.since, "until": plan.until},
        "replay_from": plan.replay_from,
        "gates": [
            {"metric": metric, side: bound, "reached": result.metrics[metric], "rows": result.rows}
            for metric, side, bound, _ in plan.gates
        ],
        "read": list(said),
        "hints": [*_list_arrival_hints(plan), *result.hints] if plan.source else [],
        "next": _list_next_commands(plan, dry_run=dry_run),
    }


def print_summary(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the summary, as text for people or as JSON.

    Args:
        found: What :func:`make_summary` returned.
        as_json: Whether to print it as JSON.
    """
    if as_json:
        write_json(found)
        return
    say()
    for each in found["inferred"]:
        say(f"{NOTE} {each['flag']} {each['value']}: {each['reason']}")
    for each in found["read"]:
        say(f"{NOTE} {each}")
    for column, name in found["renamed"].items():
        say(f"{NOTE} {column!r} is renamed to {name}; data.py maps it")
    for column, reason in found["left_out"].items():
        say(f"{NOTE} {column!r} is left out: {reason}")
    for hint in found["hints"]:
        say(f"{NOTE} {hint}")
    say()
    say("created" if found["written"] else "would be created; nothing was written")
    print_table([(name, f"{size:,} bytes") for name, size in found["files"].items()])
    if found["sample"]["rows"]:
        say(f"{NOTE} sample.csv is committed with the code: check whether its rows may be")
    say("next")
    print_table(found["next"])


def _list_arrival_hints(plan: Plan) -> list[str]:
    """Return hints on the consequences if the file has no times."""
    if plan.last is None:
        return []
    return [
        f"{plan.event_time}: the file has no times. On this machine the replay provides them; in other environments "
        f"the last row gets the time at which the object at {plan.variable} was written, and training is refused "
        f"{plan.stale_days} days later: write the object again as data arrive"
    ]


def _list_next_commands(plan: Plan, *, dry_run: bool) -> list[list[str]]:
    if dry_run:
        return [["the same command without --dry-run", "write these files"]]
    return [
        [f"millrace up {plan.name}", "train and serve it on this machine"],
        [f"millrace invoke {plan.name} --sample", "request a prediction"],
        [f"pytest stacks/{plan.package}", "run its tests"],
    ]
