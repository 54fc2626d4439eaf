"""`millrace workflows`: delivery by GitHub Actions or GitLab, and those of its steps that are not other commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.commands.options import env_option, parse_pairs
from cli.console.output import json_option, print_table, say, write_json
from cli.delivery import rendering
from cli.stack import connection

if TYPE_CHECKING:
    from cli.stack.stack_files import StackFile

Function = TypeVar("Function", bound=Callable[..., Any])


@click.group()
def workflows() -> None:
    """Write the workflows of GitHub Actions or GitLab for this repository.

    A preview of every stack that a pull request affects, as one comment each; deployment of what was merged, by a plan
    that was shown and approved; a check for drift every night; review stacks. Accounts are reached by roles (OIDC),
    never by keys, and a pull request from a fork reaches none.
    """


def _add_rendering_options(function: Function) -> Function:
    """Add the options that both hosts have."""
    options = [
        click.option("--output", type=click.Path(file_okay=False, path_type=Path),
                     help="The folder; default: where the host expects them."),
        click.option("--env", "environments", multiple=True, help="In the order of promotion; default: all."),
        click.option("--use-case", "use_cases", multiple=True, help="Default: all."),
        click.option("--role-arn", "roles", metavar="ENV=ARN", multiple=True, callback=parse_pairs,
                     help="The role that deploys to an environment, or `review=ARN`; default: a CI variable."),
        click.option("--preview-role-arn", "preview_roles", metavar="ENV=ARN", multiple=True, callback=parse_pairs,
                     help="The role that previews, which only needs to read; default: a CI variable."),
        click.option("--backend", help="Pulumi's state, e.g. s3://BUCKET; default: a CI variable."),
        click.option("--branch", default="main", show_default=True, help="The branch that is deployed."),
        click.option("--label", default="review-stack", show_default=True, help="The label that requests a stack."),
        click.option("--review-from", metavar="ENV", help="The environment that review stacks copy; default: first."),
        click.option("--expires", default="72h", show_default=True, help="The lifetime of a review stack."),
        click.option("--force", is_flag=True, help="Overwrite files that were edited by hand or are not ours."),
        click.option("--check", is_flag=True, help="Write nothing; exit code 1 if a file is out of date."),
        click.option("--dry-run", is_flag=True, help="Write nothing; show what would change."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@workflows.command()
@_add_rendering_options
@click.option("--pin", "pins", metavar="ACTION=DIGEST", multiple=True, callback=parse_pairs,
              help="The commit of an action, instead of the one in templates/ci/pins.toml.")  # fmt: skip
@click.option("--runner", default="ubuntu-24.04", show_default=True, help="The runner of the jobs.")
@click.option("--session", type=click.IntRange(900, 43_200), default=3600, show_default=True,
              help="Seconds for which a job assumes its role, which must allow that long.")  # fmt: skip
def github(**given: Any) -> None:
    """Write the workflows of GitHub Actions into .github/workflows."""
    _write(rendering.render_github, given)


@workflows.command()
@_add_rendering_options
@click.option("--image", default="python:3.11-bookworm", show_default=True, help="The image of the jobs.")
@click.option("--automatic", metavar="ENV", multiple=True, help="Deploy without manual approval; default: none.")
def gitlab(**given: Any) -> None:
    """Write .gitlab-ci.yml for GitLab."""
    _write(rendering.render_gitlab, given)


def _write(render: Callable[[rendering.Wanted], dict[Path, str]], given: dict[str, Any]) -> None:
    output, how = given.pop("output"), {name: given.pop(name) for name in ("force", "check", "dry_run")}
    wanted = rendering.Wanted(command=_command(), **given)
    files = render(wanted)
    rendering.write_files(files, output, **how)


def _command() -> str:
    """Return the command as it was typed, without options that only decide what to do with the result."""
    import shlex

    context = click.get_current_context()
    words = ["millrace", "workflows", str(context.info_name)]
    for param in context.command.params:
        source = context.get_parameter_source(str(param.name))
        if source is not click.core.ParameterSource.COMMANDLINE:
            continue
        if param.name in ("output", "force", "check", "dry_run"):
            continue
        value = context.params[str(param.name)]
        values = [f"{key}={text}" for key, text in value.items()] if isinstance(value, dict) else value
        for each in values if param.multiple else [values]:
            words += [param.opts[0], str(each)]
    return shlex.join(words)


# -- steps of the workflows --------------------------------------------------------------------------------------------


@workflows.command()
@click.option("--changed-since", metavar="COMMIT", help="Only those affected by changes since then.")
@click.option("--env", "environments", multiple=True, help="In the order of promotion; default: all.")
@click.option("--use-case", "use_cases", multiple=True, help="Default: all.")
@click.option("--without-platform", is_flag=True, help="Leave out what the use cases of an environment share.")
@click.option("--outputs", is_flag=True, help="Print the lists as step outputs.")
@json_option
def stacks(
    changed_since: str | None,
    environments: tuple[str, ...],
    use_cases: tuple[str, ...],
    without_platform: bool,
    outputs: bool,
    as_json: bool,
) -> None:
    """List the stacks that a change affects.

    A change of a use case's folder or of a stack's configuration affects its own stacks; a change of what every stack
    is made of affects all of them. An empty commit, or one that is not in this clone, selects every stack.

    With --outputs, of an environment such as dev: `dev`, split into `dev_platform` (what its use cases share, which is
    deployed first) and `dev_use_cases`; and `all_stacks`.
    """
    from cli.stack import stack_files

    if outputs and as_json:
        raise click.UsageError("--outputs and --json contradict each other; give one of them")
    known = stack_files.list_stack_files(environments, use_cases)
    found = [each for each in known if not (without_platform and each.is_platform)]
    why = ""
    if changed_since is not None:
        found, why = stack_files.find_affected_stacks(found, changed_since)
    if why:
        say(f"all stacks: {why}", err=True)
    if as_json:
        write_json([each.document for each in found])
    elif outputs:
        order = list(environments) or list(dict.fromkeys(each.environment for each in known))
        # These names are unique: an environment's name has no underscore.
        for environment in order:
            there = [each for each in found if each.environment == environment]
            say(_output(environment, there))
            say(_output(f"{environment}_platform", [each for each in there if each.is_platform]))
            say(_output(f"{environment}_use_cases", [each for each in there if not each.is_platform]))
        say(_output("all_stacks", found))
    else:
        print_table((each.stack, each.region) for each in found)
        if not found:
            say("no stack is affected")


def _output(name: str, stacks: Iterable[StackFile]) -> str:
    return f"{name}={json.dumps([each.document for each in stacks], separators=(',', ':'))}"


@workflows.command()
@click.argument("use_case", metavar="USE_CASE")
@env_option
@connection.state_option
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Target folder.")
def saved(use_case: str, environment: str, state: Path, output: Path) -> None:
    """Fetch the plan that was saved for exactly these files.

    Writes plan.json, over an existing one; nothing where no preview of a branch of this repository saved a plan for the
    git tree that is checked out, or where the plan has become stale. The description of the plan is not fetched with
    it: `millrace diff` makes it again from what is checked out.
    """
    from cli.delivery import plan_store
    from cli.stack import deployable

    target = deployable.load_deployable(use_case, environment, state)
    plan = plan_store.fetch_plan(target.stack)
    if plan is None:
        say(f"no plan was saved for {target.stack} and these files")
        return
    connection.use_environment(environment, state)
    if reason := plan_store.explain_stale(target, plan):
        say(f"the plan that was saved for {target.stack} and these files can no longer be deployed: {reason}")
        return
    output.mkdir(parents=True, exist_ok=True)
    (output / plan_store.FILE).write_bytes(plan)
    say(f"fetched the plan that was saved for {target.stack} and these files")


@workflows.command()
@click.argument("stack")
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def keep(stack: str, plan: Path) -> None:
    """Save a plan for exactly these files, in GitLab's package registry.

    On GitHub a step of the workflow uploads it as an artifact.
    """
    from cli.delivery import plan_store

    plan_store.store_plan(stack, plan.read_bytes())
    say(f"saved the plan for {stack} and these files")
