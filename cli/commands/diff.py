"""`millrace diff`: what a change would do, in the order in which a reviewer needs it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.commands.options import env_option
from cli.console.errors import CliError
from cli.console.output import say
from cli.console.progress import Progress
from cli.prices import Prices, prices_option
from cli.stack import connection, deployable
from cli.stack.target import Target

if TYPE_CHECKING:
    from cli.stack.deployable import Deployable

#: The exit codes of `diff`, other than 1 for a failure or wrong usage.
SAME, CHANGED, RISKY = 0, 2, 3

_FORMATS = ("markdown", "json", "text")


class _UsedWronglyError(click.UsageError):
    """A usage error with exit code 1, because 2 means that something changes."""

    exit_code = 1


class _Diff(click.Command):
    """The command, whose usage errors have exit code 1."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _map_usage_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _map_usage_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def _map_usage_errors() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        raise _UsedWronglyError(error.format_message(), error.ctx) from error


@click.command(cls=_Diff)
@click.argument("use_case", metavar="USE_CASE")
@env_option
@connection.state_option
@click.option("--preview", "given", metavar="FILE", help="The JSON of an earlier preview; - reads standard input.")
@click.option("--base", metavar="REV", help="Compare with a git revision, without credentials and without the stack.")
@click.option("--refresh", is_flag=True, help="Refresh the state first, to show changes made by hand.")
@click.option("--save-plan", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for `deploy --plan`.")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Default: text on a terminal, else markdown.")
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead.")
@click.option(
    "--limit", type=click.IntRange(min=1000), default=65_536, show_default=True, help="Maximum length of the Markdown."
)
@prices_option
def diff(
    use_case: str,
    environment: str,
    state: Path,
    given: str | None,
    base: str | None,
    refresh: bool,
    save_plan: Path | None,
    form: str | None,
    as_json: bool,
    output: Path | None,
    limit: int,
    prices: Path | None,
) -> int:
    """Show what a change would do to data, traffic, model, permissions, alarms and cost.

    USE_CASE may be `platform`. Without --preview and --base it is `pulumi preview` of the stack with the program as it
    is now.

    Exit codes: 0 nothing changes, 2 something changes, 3 something changes with a risk, 1 a failure or wrong usage.
    """
    from cli.diff import document, markdown

    _check_options(given=given, base=base, refresh=refresh, save_plan=save_plan)
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} contradict each other; give one of them")
    chosen = "json" if as_json else form or ("text" if output is None and sys.stdout.isatty() else "markdown")
    table = Prices.load(prices)
    target = deployable.load_deployable(use_case, environment, state)
    found = _compared(target, table, given=given, base=base, refresh=refresh, save_plan=save_plan)
    if chosen == "json":
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    elif chosen == "text":
        text = markdown.render_plain(found, colours=output is None and sys.stdout.isatty())
    else:
        text = markdown.render_comment(found, limit)
    _write(text, output, found)
    return {document.NOTHING: SAME, document.CHANGES: CHANGED}.get(found["verdict"], RISKY)


def _check_options(*, given: str | None, base: str | None, refresh: bool, save_plan: Path | None) -> None:
    if given is not None and base is not None:
        raise click.UsageError("--preview and --base contradict each other; give one of them")
    if refresh and save_plan is not None:
        raise click.UsageError("--refresh and --save-plan contradict each other: a plan is made from the stored state")
    for option, value in (("--refresh", refresh), ("--save-plan", save_plan)):
        if value and (given is not None or base is not None):
            other = "--preview" if given is not None else "--base"
            raise click.UsageError(f"{option} needs a preview of the stack itself; leave out {option} or {other}")


def _compared(
    target: Deployable, table: Prices, *, given: str | None, base: str | None, refresh: bool, save_plan: Path | None
) -> dict[str, Any]:
    """Return the whole difference as one document."""
    from cli.diff import document, lookups, preview
    from cli.diff.document import Context

    name, environment = deployable.get_name(target), target.environment
    said: dict[str, Any] = {
        "use_case": name,
        "environment": environment.name,
        "region": environment.region,
        "prices": table,
    }
    if given is not None:
        where = "standard input" if given == "-" else f"preview {given}"
        read = preview.read_preview(_bytes(given), where)
        if read.stack not in ("", target.stack):
            raise CliError(
                where,
                f"belongs to stack {read.stack}",
                expected=target.stack,
                fix="name the stack that it belongs to",
            )
        return document.make_document(read, Context(source=f"From an earlier preview of {target.stack}.", **said))
    if base is not None:
        found = _offline(target, base)
        context = Context(source=_between(found, base), use_cases=_declared(target, found), **said)
        return document.make_document(preview.parse_preview(found, f"comparison with {base}"), context)
    connection.use_environment(environment.name, target.state)

    def describe(asked: Mapping[str, Any], *notes: str) -> dict[str, Any]:
        extras = lookups.make_lookups(target) if isinstance(target, Target) else {}
        read = preview.parse_preview(asked, f"preview of {target.stack}")
        if read.is_new:
            source = "The current program; nothing is deployed to compare it with."
        else:
            source = "The current program, compared to the deployed stack" + (", after a refresh." if refresh else ".")
        return document.make_document(read, Context(source=source, notes=notes, **said, **extras))

    return _asked(target, describe, refresh=refresh, save_plan=save_plan)


def _bytes(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(given).read_bytes()
    except FileNotFoundError as error:
        raise CliError(f"preview {given}", "does not exist", fix="create it with `pulumi preview --json`") from error
    except OSError as error:
        raise CliError(
            f"preview {given}", f"cannot be read: {error.strerror}", expected="a file that can be read"
        ) from error


# -- making a preview --------------------------------------------------------------------------------------------------


def _asked(
    target: Deployable, describe: Callable[..., dict[str, Any]], *, refresh: bool, save_plan: Path | None
) -> dict[str, Any]:
    """Run `pulumi preview` of the stack, which need not exist yet, and return its description."""
    from cli.deployment import endpoint_guard, foreign_state, saved_plan
    from cli.pulumi import previews, process

    with Progress(err=True).stage("preview") as stage:
        try:
            if save_plan:
                return saved_plan.save_plan(target, save_plan, stage.note, describe)
            return describe(previews.preview_stack(target, stage.note, refresh=refresh))
        except process.NoStackError:
            # Existing resources would be reported as new.
            foreign_state.require_no_foreign_resources(target)
            stage.note("the stack does not exist: previewing it in a temporary backend")
            found = previews.preview_new_stack(target)
        except CliError as error:
            # Pulumi's own message advises to remove the endpoint's protection.
            if isinstance(target, Target) and endpoint_guard.would_lose_endpoint(target):
                raise endpoint_guard.make_removal_error(target) from error
            raise
    notes = ["No plan was saved, because the stack does not exist yet."] if save_plan else []
    return describe(found, *notes)


def _offline(target: Deployable, base: str) -> Mapping[str, Any]:
    """Compare two revisions, without credentials."""
    from cli.base import comparison

    found: Mapping[str, Any] = comparison.compare_revisions(target, base, Progress(err=True))
    return found


def _declared(target: Deployable, found: Mapping[str, Any]) -> Any:
    """Return the use case's declarations on both sides; (None, None) for the platform."""
    from cli.diff import revisions

    compared = found.get("compared")
    return revisions.read_use_cases(target, compared or {}) if isinstance(target, Target) else (None, None)


def _between(found: Mapping[str, Any], base: str) -> str:
    """Return a sentence about what was compared with what."""
    compared = found.get("compared")
    if not isinstance(compared, Mapping):
        return f"What is declared, compared with {base}; the deployed stack may differ from it."
    sides = []
    for side in ("base", "head"):
        part = compared.get(side) or {}
        commit = str(part.get("commit") or "")[:10]
        sides.append(f"{part.get('revision')}" + (f" ({commit})" if commit else ""))
    said = f"What is declared in {sides[1]}, compared with {sides[0]}; the deployed stack may differ from it."
    if not (compared.get("base") or {}).get("found"):
        said += " The base has no such stack, so all of it counts as new; whether it is deployed was not checked."
    return said


# -- writing -----------------------------------------------------------------------------------------------------------


def _write(text: str, output: Path | None, found: Mapping[str, Any]) -> None:
    if output is None:
        print(text, end="", flush=True)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(
            f"--output {output}", f"cannot be written: {error.strerror}", expected="a file that can be written"
        ) from error
    say(f"{found['stack']}: {found['verdict']}, written to {output}", err=True)
