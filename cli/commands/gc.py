"""`millrace gc`: delete what no model that may still serve needs."""

from __future__ import annotations

from datetime import timedelta

import click

from cli.aws import model_packages
from cli.commands.options import require_yes_with_json, with_target
from cli.console import interrupts
from cli.console.durations import Duration
from cli.console.errors import CliError, DeclinedError
from cli.console.output import format_size, format_time, json_option, print_table, say, write_json
from cli.console.progress import Progress, Stage
from cli.deployment import garbage
from cli.deployment.garbage import CONFIG, MODEL, PREFIX, Inventory, Item, Reason
from cli.stack.target import Target


@click.command()
@with_target
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Number of versions before the serving one whose configurations are kept for a rollback.",
)
@click.option(
    "--older-than",
    default="30d",
    show_default=True,
    type=Duration(),
    metavar="AGE",
    help="Keep what is younger: 12h, 30d, 4w.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")
@json_option
def gc(target: Target, keep: int, older_than: timedelta, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Delete what is no longer needed by any model that may serve.

    That is: endpoint configurations and models that rollouts have left behind; snapshots, datasets, archives and code
    that no registered model refers to; refused batches; interrupted uploads. What any registered model was made from
    stays, so that each of them can be made again: to delete it too, delete the model from the registry first. After an
    interruption, run it again to continue.
    """
    if not dry_run:
        require_yes_with_json(yes=yes, as_json=as_json)
    if not target.is_provisioned():
        raise target.make_absence_error()
    model_packages.require_group(target)
    with Progress(err=as_json).stage("look") as stage:
        found = garbage.collect_garbage(target, keep, older_than)
        stage.result = _format_summary(found.items)
    if not as_json:
        _show(found)
    deleted: list[Item] = []
    if found.items and not dry_run:
        if not yes and not click.confirm(f"Delete {_format_summary(found.items)}?"):
            raise DeclinedError()
        with Progress(err=as_json).stage("delete") as stage:
            # Collect again: what was registered or deployed before the answer is needed now.
            wanted = {(item.kind, item.name, item.upload) for item in found.items}
            again = garbage.collect_garbage(target, keep, older_than).items
            still = [item for item in again if (item.kind, item.name, item.upload) in wanted]
            _delete(target, still, deleted, stage)
            stage.result = _format_summary(deleted)
    if as_json:
        write_json(
            {
                "stack": target.stack,
                "dry_run": dry_run,
                "items": [item.dump() for item in found.items],
                "bytes": sum(item.size for item in found.items),
                "kept": [each.dump() for each in found.kept],
                "deleted": [item.name for item in deleted],
            }
        )
    elif deleted and any(item.keys and not item.upload for item in deleted):
        days = target.environment.retention_days
        say(f"deleted objects are kept as old versions for {days} more days (retention_days) and cost until then")


def _show(found: Inventory) -> None:
    for line in found.kept:
        if line.kind == PREFIX:
            say(f"  kept: {line.text}")
    if not found.items:
        young = sum(line.reason is Reason.TOO_YOUNG for line in found.kept)
        more = f"; {young} items are younger than --older-than, which can be lowered to delete them" if young else ""
        say(f"nothing to delete{more}")
        return
    rows = [(item.kind, item.name, format_size(item.size), format_time(item.since), item.why) for item in found.items]
    print_table([("what", "name", "size", "since", "why"), *rows])
    say(f"  {_format_summary(found.items)}")


def _format_summary(items: list[Item]) -> str:
    if not items:
        return "nothing"
    size = sum(item.size for item in items)
    return f"{len(items)} item{'' if len(items) == 1 else 's'}, {format_size(size)}"


def _delete(target: Target, items: list[Item], deleted: list[Item], stage: Stage) -> None:
    """Delete one item after the other; ``deleted`` holds those that are done, also after an interruption."""
    live = garbage.find_live_config(target)
    for number, item in enumerate(items, 1):
        interrupts.raise_if_interrupted()
        stage.note(f"{number} of {len(items)}: {item.kind} {item.name}")
        if item.kind in (CONFIG, MODEL) and garbage.find_live_config(target) != live:
            raise CliError(
                f"endpoint {target.names.endpoint}",
                f"was deployed in the meantime; {len(deleted)} items were deleted",
                fix="run this again",
            )
        garbage.delete_item(target, item)
        deleted.append(item)
