"""`millrace diff`: what a change would do, in the order in which a reviewer needs it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.commands.options import env_option
from cli.console.errors import CliError
from cli.console.output import say
from cli.console.progress import Progress
from cli.prices import Prices, prices_option
from cli.stack import connection, deployable
from cli.stack.target import STACKS, Target

if TYPE_CHECKING:
    from cli.diff.document import Context
    from cli.stack.deployable import Deployable

#: What `diff` ends with, besides 1 for what could not be done or was used wrongly.
SAME, CHANGED, DANGEROUS = 0, 2, 3

_FORMATS = ("markdown", "json", "text")


class _UsedWronglyError(click.UsageError):
    """Used wrongly is 1 here: 2 says that something changes."""

    exit_code = 1


class _Diff(click.Command):
    """Its usage errors are of the kind above."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _told_apart():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _told_apart():
            return super().invoke(ctx)


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        raise _UsedWronglyError(error.format_message(), error.ctx) from error


@click.command(cls=_Diff)
@click.argument("use_case", metavar="USE_CASE")
@env_option
@connection.state_option
@click.option("--preview", "given", metavar="FILE", help="The JSON of a preview made before; - reads standard input.")
@click.option("--base", metavar="REV", help="Compare with a git revision, without credentials and without the stack.")
@click.option("--refresh", is_flag=True, help="Look at first what is really there: shows what was changed by hand.")
@click.option("--save-plan", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for `deploy --plan`.")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Default: text on a terminal, else markdown.")
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there instead.")
@click.option(
    "--limit", type=click.IntRange(min=1000), default=65_536, show_default=True, help="Characters of the markdown."
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
    """What a change would do to data, traffic, model, permissions, alarms and cost.

    USE_CASE may be `platform`. Without --preview and --base it is `pulumi preview` of the stack as the program now
    stands.

    Exit codes: 0 nothing changes, 2 something does, 3 with danger, 1 it could not be told, or was used wrongly.
    """
    from cli.diff import document, markdown

    _agree(given=given, base=base, refresh=refresh, save_plan=save_plan)
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} contradict each other; give one of them")
    chosen = "json" if as_json else form or ("text" if output is None and sys.stdout.isatty() else "markdown")
    table = Prices.load(prices)
    target = deployable.of(use_case, environment, state)
    preview, context = _compared(target, table, given=given, base=base, refresh=refresh, save_plan=save_plan)
    found = document.of(preview, context)
    if chosen == "json":
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    elif chosen == "text":
        text = markdown.plain(found, colours=output is None and sys.stdout.isatty())
    else:
        text = markdown.comment(found, limit)
    _write(text, output, found)
    return {document.NOTHING: SAME, document.CHANGES: CHANGED}.get(found["verdict"], DANGEROUS)


def _agree(*, given: str | None, base: str | None, refresh: bool, save_plan: Path | None) -> None:
    if given is not None and base is not None:
        raise click.UsageError("--preview and --base contradict each other; give one of them")
    if refresh and save_plan is not None:
        raise click.UsageError("--refresh and --save-plan contradict each other: a plan is of the state as it is kept")
    for option, value in (("--refresh", refresh), ("--save-plan", save_plan)):
        if value and (given is not None or base is not None):
            other = "--preview" if given is not None else "--base"
            raise click.UsageError(f"{option} needs a preview of the stack itself; leave out {option} or {other}")


def _compared(
    target: Deployable, table: Prices, *, given: str | None, base: str | None, refresh: bool, save_plan: Path | None
) -> tuple[Any, Context]:
    """The preview, and what it does not say itself."""
    from cli.diff import lookups, preview
    from cli.diff.document import Context

    name, environment = deployable.name(target), target.environment
    said: dict[str, Any] = {
        "use_case": name,
        "environment": environment.name,
        "region": environment.region,
        "prices": table,
    }
    if given is not None:
        where = "standard input" if given == "-" else f"preview {given}"
        read = preview.read(_bytes(given), where)
        if read.stack not in ("", target.stack):
            raise CliError(f"{where} is of stack {read.stack}; expected {target.stack}: name the stack that it is of")
        return read, Context(source=f"From a preview of {target.stack} that was made before.", **said)
    if base is not None:
        found = _offline(target, base)
        context = Context(source=_between(found, base), use_cases=_declared(target, found), **said)
        return preview.of(found, f"comparison with {base}"), context
    connection.connect(environment.name, target.state)
    asked, notes = _asked(target, refresh=refresh, save_plan=save_plan)
    extras = lookups.of(target) if isinstance(target, Target) else {}
    read = preview.of(asked, f"preview of {target.stack}")
    if read.is_new:
        source = "The program as it stands; nothing is deployed that it could be compared with."
    else:
        source = "The program as it stands, against the deployed stack" + (", looked at anew." if refresh else ".")
    return read, Context(source=source, notes=notes, **said, **extras)


def _bytes(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(given).read_bytes()
    except FileNotFoundError as error:
        raise CliError(f"preview {given}: there is no such file; make it with `pulumi preview --json`") from error
    except OSError as error:
        raise CliError(f"preview {given}: {error.strerror}; expected a file that can be read") from error


# -- making a preview --------------------------------------------------------------------------------------------------


def _asked(target: Deployable, *, refresh: bool, save_plan: Path | None) -> tuple[Mapping[str, Any], list[str]]:
    """`pulumi preview` of the stack, or of a stack that is to be."""
    from cli.deployment import endpoint_guard, foreign_state, saved_plan
    from cli.pulumi import updates

    with Progress(err=True).stage("preview") as stage:
        try:
            found: Mapping[str, Any] = (
                saved_plan.save(target, save_plan, stage.note)
                if save_plan
                else updates.preview(target, stage.note, refresh=refresh)
            )
            return found, []
        except updates.NoStackError:
            # What stands would be told to be new.
            foreign_state.refuse(target)
            stage.note("the stack was never made: the program runs beside it")
            found = _unmade(target)
        except CliError as error:
            # Pulumi's own advice would be to take the endpoint's protection away.
            if isinstance(target, Target) and endpoint_guard.loses_endpoint(target):
                raise CliError(endpoint_guard.endpoint_stays(target)) from error
            raise
    notes = ["No plan was saved: there is no stack yet that it could be of."] if save_plan else []
    return found, notes


def _unmade(target: Deployable) -> Mapping[str, Any]:
    """A preview of a stack that nobody has made: in a backend of its own, gone afterwards."""
    import yaml

    from cli.pulumi import updates

    with tempfile.TemporaryDirectory(prefix="millrace-diff-") as name:
        folder = Path(name)
        config = folder / f"Pulumi.{target.stack}.yaml"
        values = yaml.safe_load((STACKS / config.name).read_text())
        # Its secrets are of the backend's own key.
        kept = {key: each for key, each in values.items() if key == "config"}
        config.write_text(yaml.safe_dump(kept, allow_unicode=True))
        project = yaml.safe_load((connection.REPOSITORY / "Pulumi.yaml").read_text())["name"]
        environment = {
            **os.environ,
            "PATH": connection.path(),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_BACKEND_URL": _backend(folder, project, target.stack),
            "PULUMI_CONFIG_PASSPHRASE": "unmade",
        }
        environment.setdefault("AWS_REGION", target.environment.region)
        return updates.previewed(target.stack, ["--config-file", str(config)], connection.REPOSITORY, environment)


def _backend(folder: Path, project: str, stack: str) -> str:
    """A backend with an empty stack; `pulumi stack init` would write a key into the stack's own file."""
    stacks = folder / "backend" / ".pulumi" / "stacks" / project
    stacks.mkdir(parents=True)
    (folder / "backend" / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    checkpoint = {"stack": f"organization/{project}/{stack}", "latest": {}}
    (stacks / f"{stack}.json").write_text(json.dumps({"version": 3, "checkpoint": checkpoint}))
    return (folder / "backend").as_uri()


def _offline(target: Deployable, base: str) -> Mapping[str, Any]:
    """Two revisions compared, without credentials."""
    from cli.base import comparison

    found: Mapping[str, Any] = comparison.compare(target, base, Progress(err=True))
    return found


def _declared(target: Deployable, found: Mapping[str, Any]) -> Any:
    """The declarations of both sides."""
    from cli.diff import revisions

    compared = found.get("compared")
    return revisions.use_cases(target, compared or {}) if isinstance(target, Target) else (None, None)


def _between(found: Mapping[str, Any], base: str) -> str:
    """What was compared with what, as the comparison says it."""
    compared = found.get("compared")
    if not isinstance(compared, Mapping):
        return f"What is declared, against {base}; the deployed stack may differ from it."
    sides = []
    for side in ("base", "head"):
        part = compared.get(side) or {}
        commit = str(part.get("commit") or "")[:10]
        sides.append(f"{part.get('revision')}" + (f" ({commit})" if commit else ""))
    said = f"What is declared in {sides[1]}, against {sides[0]}; the deployed stack may differ from it."
    if not (compared.get("base") or {}).get("found"):
        said += " The base has no such stack, so all of it counts as new; whether it is deployed was not asked."
    return said


# -- writing -----------------------------------------------------------------------------------------------------------


def _write(text: str, output: Path | None, found: Mapping[str, Any]) -> None:
    if output is None:
        print(text, end="", flush=True)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"--output {output}: {error.strerror}; expected a file that can be written") from error
    say(f"{found['stack']}: {found['verdict']}, written to {output}", err=True)
