"""`millrace review`: a pull request's own stack, which is destroyed with it or when it expires."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.console import children, interrupts
from cli.console.durations import Duration
from cli.console.errors import CliError, DeclinedError
from cli.console.output import DONE, ERROR_MARK, FAILED, NOTE, format_time, json_option, print_table, say, write_json
from cli.stack import connection, review_stack
from cli.stack.review_stack import Record
from cli.stack.target import STACKS
from millrace.config_files import find_config_files
from millrace.environment import REVIEW
from millrace.files import write_atomically

Function = TypeVar("Function", bound=Callable[..., Any])

_WAITING = "waiting for the current operation to stop"


@click.group()
def review() -> None:
    """Manage a pull request's own stack, which expires.

    It is called `<use case>-pr-<number>`, is like the stack of another environment but as small as possible, and can be
    destroyed with all its data.
    """


def _pull_request(function: Function) -> Function:
    return click.option("--pr", "pull_request", type=click.IntRange(1, 999_999_999), required=True, help="PR number.")(
        function
    )


def _source(function: Function) -> Function:
    """Add the options ``--from``, the environment to copy, and ``--state``."""
    function = connection.state_option(function)
    return click.option(
        "--from", "source", default="dev", show_default=True, metavar="ENV", help="The environment that it copies."
    )(function)


@review.command()
@click.argument("use_case")
@_pull_request
@_source
@click.option(
    "--expires", default="72h", show_default=True, type=Duration(review_stack.LONGEST), help="Its lifetime from now."
)
@click.option("--up", is_flag=True, help="Also bring it up: the whole loop, as `millrace up` does.")
@json_option
def create(
    use_case: str, pull_request: int, source: str, state: Path, expires: timedelta, up: bool, as_json: bool
) -> None:
    """Make the stack of a pull request, or give it a new expiry.

    Writes `stacks/Pulumi.<use case>-pr-<number>.yaml`, and the record by which `expire` finds the stack. Run it again
    after a push to take over what was changed in the environment that the stack is like.
    """
    if source == connection.LOCAL:
        raise click.UsageError("--from local: a local stack cannot be reviewed by others; name an environment on AWS")
    connection.use_environment(f"{REVIEW}{pull_request}", state)
    record, text = review_stack.derive(use_case, pull_request, source, expires)
    known, _ = review_stack.list_records(source)
    if before := [each for each in known if each.stack == record.stack]:
        record = dataclasses.replace(record, created=before[0].created)
    # Save the record before anything else, so that no stack can exist without one.
    record.save()
    write_atomically(record.path, text)
    if not as_json:
        like = f"like {record.use_case}-{source}, with one instance"
        say(f"{DONE} stack {record.stack}: {like}, until {format_time(record.expires)}")
    if up:
        _run(["up", "--stack", record.stack, "--yes", *_pass_state_option(state)], quiet=as_json)
    if as_json:
        write_json(_document(record))
    elif not up:
        say(f"  bring it up: millrace up --stack {record.stack}")
        say(f"  destroy it: millrace review destroy {record.use_case} --pr {pull_request}")


@review.command("list")
@_source
@json_option
def list_(source: str, state: Path, as_json: bool) -> None:
    """List the review stacks and when they expire."""
    connection.use_environment(source, state)
    found, broken = review_stack.list_records(source)
    unknown = _unrecorded(found)
    for problem in broken:
        say(f"{NOTE} {problem}", err=True)
    if as_json:
        write_json([*map(_document, found), *({"stack": stack, "recorded": False} for stack in unknown)])
        return
    print_table(
        (each.stack, f"pull request {each.pull_request}", f"since {format_time(each.created)}", _until(each))
        for each in found
    )
    for stack in unknown:
        say(f"  {stack}  has a file but no record: it never expires; `millrace review create` writes one")
    if not found and not unknown:
        say(f"no review stack like {source} exists")


@review.command()
@click.argument("use_case", required=False)
@_pull_request
@_source
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def destroy(use_case: str | None, pull_request: int, source: str, state: Path, yes: bool) -> None:
    """Take down the stacks of a pull request, with all their data.

    Of all use cases, or of USE_CASE alone.
    """
    connection.use_environment(source, state)
    known, _ = review_stack.list_records(source)
    found = [each for each in known if each.pull_request == pull_request and use_case in (None, each.use_case)]
    if not found:
        of = f" of use case {use_case}" if use_case else ""
        say(f"no review stack of pull request {pull_request}{of} is recorded: nothing to destroy")
        environment = f"{REVIEW}{pull_request}"
        for stack in _unrecorded(known):
            name = stack.removesuffix(f"-{environment}")
            if name != stack and use_case in (None, name):
                say(
                    f"  {stack} has a file: destroy it with `millrace destroy {name} --env {environment}`, then delete "
                    f"{review_stack.get_stack_path(stack)}"
                )
        return
    _ask(found, yes)
    _each(found, state, lambda _: True)


@review.command()
@_source
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def expire(source: str, state: Path, yes: bool) -> None:
    """Take down every review stack that has expired.

    One that cannot be taken down does not stop the others; it is named at the end, with exit code 1.
    """
    connection.use_environment(source, state)
    found, broken = review_stack.list_records(source)
    over = [each for each in found if each.is_expired]
    if not over and not broken:
        say(f"none of {len(found)} review stacks has expired" if found else "no review stack exists")
        return
    if over:
        _ask(over, yes)
    _each(over, state, lambda record: record.is_expired, broken)


def _ask(found: Sequence[Record], yes: bool) -> None:
    names = ", ".join(each.stack for each in found)
    if not yes and not click.confirm(f"Destroy {names}, with all their data?"):
        raise DeclinedError("destroyed")


def _each(found: Sequence[Record], state: Path, is_meant: Callable[[Record], bool], broken: Sequence[str] = ()) -> None:
    """Take down one stack after the other, and report at the end those that failed.

    ``is_meant`` decides by a stack's record when its turn comes: taking down those before it takes time, and it may
    have been renewed meanwhile.
    """
    failed = []
    for problem in broken:
        say(f"{FAILED} {problem}", err=True)
    for record in found:
        interrupts.raise_if_interrupted()
        try:
            say(_destroy_if_meant(record, state, is_meant))
        except CliError as error:
            failed.append(record.stack)
            say(f"{FAILED} {record.stack}: {error}", err=True)
    if failed:
        raise CliError(
            f"{len(failed)} of {len(found)} review stacks",
            f"could not be destroyed: {', '.join(failed)}",
            fix="see the errors above; the next `millrace review expire` tries again",
        )
    if broken:
        raise CliError(
            f"{len(broken)} records", "cannot be read, so the expiry of their stacks is unknown", fix="see above"
        )


def _destroy_if_meant(record: Record, state: Path, is_meant: Callable[[Record], bool]) -> str:
    """Take a stack down if its present record still asks for it; return a line about the result."""
    now = record.reload()
    if now is None:
        return f"{NOTE} {record.stack} no longer has a record: somebody else has destroyed it in the meantime"
    if not is_meant(now):
        return f"{NOTE} {record.stack} is kept: it was renewed in the meantime, {_until(now)}"
    return _take_down(now, state)


def _take_down(record: Record, state: Path) -> str:
    """Destroy a stack, then delete its record and its file; return a line about the result.

    After an interruption it can be run again.
    """
    record.restore()
    _run(["destroy", record.use_case, "--env", record.environment, "--yes", *_pass_state_option(state)])
    if not record.delete():
        return f"{NOTE} {record.stack} is destroyed, but its record was renewed in the meantime: bring it up again"
    record.path.unlink(missing_ok=True)
    return f"{DONE} {record.stack} is destroyed"


def _run(arguments: Sequence[str], *, quiet: bool = False) -> None:
    """Run another millrace command in its own process, so that the settings it changes end with it."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    code, errors = children.run_child(
        command,
        lambda line: say(f"  {line}", err=quiet),
        folder=connection.REPOSITORY,
        environment=os.environ,
        waiting=_WAITING,
    )
    if code != 0:
        said = errors.strip().removeprefix(ERROR_MARK)
        raise CliError(said or f"`millrace {' '.join(arguments)}` ended with exit code {code}")


def _pass_state_option(state: Path) -> list[str]:
    """Return the option ``--state`` for another millrace command, where the user gave it."""
    source = click.get_current_context().get_parameter_source("state")
    return [] if source is click.core.ParameterSource.DEFAULT else ["--state", str(state)]


def _unrecorded(found: Sequence[Record]) -> list[str]:
    """Return the stacks that have a file here but no record."""
    known = {each.stack for each in found}
    return sorted(
        name
        for name in find_config_files(STACKS, f"*-{REVIEW}*")
        if name not in known and name.rpartition("-")[2].isdigit()
    )


def _until(record: Record) -> str:
    if record.is_expired:
        return f"expired {format_time(record.expires)}"
    left = record.expires - datetime.now(UTC)
    hours = int(left.total_seconds() // 3600)
    return f"until {format_time(record.expires)} ({hours} h)"


def _document(record: Record) -> dict[str, Any]:
    """Return a review stack as a document for JSON output."""
    return {
        "stack": record.stack,
        "recorded": True,
        "use_case": record.use_case,
        "pull_request": record.pull_request,
        "from": record.source,
        "region": record.place.region,
        "created": record.created,
        "expires": record.expires,
        "expired": record.is_expired,
    }
