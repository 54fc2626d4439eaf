"""`millrace replay`: send past events to the endpoint as if they happened now."""

from __future__ import annotations

import click

from cli.aws import bundle_steps
from cli.commands.options import with_target
from cli.console.output import say
from cli.stack.deployable import render_arguments
from cli.stack.target import Target


@click.command()
@with_target
@click.option("--since", required=True, help="ISO time of the first event, e.g. 2013-04-01T00:00:00Z.")
@click.option("--until", required=True, help="ISO time; the data clock is set to it afterwards.")
@click.option("--step-hours", type=float, help="Data time per step, in hours (0.001 to 744, default 24).")
@click.option("--batch", type=int, help="Rows per request (default 500).")
@click.option("--endpoint", help="An endpoint other than the use case's own.")
def replay(
    target: Target, since: str, until: str, step_hours: float | None, batch: int | None, endpoint: str | None
) -> None:
    """Send past events to the endpoint as if they happened now.

    In an environment that replays, data time moves forward with the events and never back; the monitor then has data to
    look at.
    """
    options = {"--step-hours": step_hours, "--batch": batch, "--endpoint": endpoint}
    more = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    bundle_steps.replay_events(target, since, until, say, more)
    name = render_arguments(target)
    if target.use_case.tables:
        say(f"next: millrace run {name} --pipeline features   updates the endpoint's look-ups to the new data time")
    say(f"next: millrace run {name} --pipeline monitor    then: millrace status {name}")
