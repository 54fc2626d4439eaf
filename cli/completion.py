"""`millrace completion`: completion for bash, zsh and fish; and what may stand where.

Use cases and environments are read from the names of folders and files alone: a key press waits for them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from cli.cloud import REPOSITORY
from cli.errors import CliError

_STACKS = REPOSITORY / "stacks"
#: Where each shell's own settings are, by the variable that may move them.
_MARK = "# completion of millrace"


# -- values ------------------------------------------------------------------------------------------------------------


def use_cases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The use cases that begin so."""
    return [name for name in _use_cases() if name.startswith(incomplete)]


def environments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The environments that begin so: of the use case that is already there, or of all."""
    names = _use_cases()
    given = _given(ctx, names)
    found = set()
    for file in _STACKS.glob("Pulumi.*.yaml"):
        stack = file.name[len("Pulumi.") : -len(".yaml")]
        # The longest name: `a-b-local` is the stack of `a-b` where there is one.
        owner = max((name for name in names if stack.startswith(f"{name}-")), key=len, default="platform")
        if stack.startswith(f"{owner}-") and given in (None, owner):
            found.add(stack.removeprefix(f"{owner}-"))
    return sorted(name for name in found if name.startswith(incomplete))


def versions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The versions that are registered, newest first; none where nobody answers at once."""
    from botocore.exceptions import BotoCoreError, ClientError

    from cli import cloud, fleet
    from cli.fleet import served
    from cli.fleet.accounts import Accounts
    from millrace import MillraceError

    use_case = _given(ctx, _use_cases())
    environment, state = ctx.params.get("environment") or cloud.LOCAL, ctx.params.get("state")
    if not use_case:
        return []
    try:
        stack = fleet.stacks_of(state or cloud.REPOSITORY / ".millrace", use_case, environment)[0]
        if stack.target is None:
            return []
        with ctx:
            account = Accounts(stack.target.state).of(environment, stack.target.environment.region, stack.profile)
        listed = served.packages(account.client("sagemaker"), stack.name)
    except (MillraceError, BotoCoreError, ClientError):
        # A key press is no place for an error; the command says it.
        return []
    return [text for each in listed if (text := str(each["ModelPackageVersion"])).startswith(incomplete)]


def _given(ctx: click.Context, names: list[str]) -> str | None:
    """The use case that is already there; where an option still lacks its value, click has not told it apart."""
    found = ctx.params.get("use_case") or next((word for word in ctx.args if word in names), None)
    return str(found) if found else None


def _use_cases() -> list[str]:
    return sorted(path.parent.name.replace("_", "-") for path in _STACKS.glob("*/__init__.py"))


# -- the command -------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Write it where the shell looks, once; without, it is printed.")
def completion(shell: str, install: bool) -> None:
    """Completion for bash, zsh and fish.

    For this shell alone: eval "$(millrace completion bash)".
    """
    text = script(shell)
    if not install:
        click.echo(text, nl=False)
        return
    for path in _install(shell, text):
        click.echo(f"wrote {path}")
    click.echo(f"it works in every new {shell}")


def script(shell: str) -> str:
    """What a shell must read."""
    from click.shell_completion import get_completion_class

    from cli.main import millrace

    found = get_completion_class(shell)
    assert found is not None
    return found(millrace, {}, "millrace", "_MILLRACE_COMPLETE").source().strip() + "\n"


def _install(shell: str, text: str) -> list[Path]:
    """The files that were written."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "fish":
        return _written(config / "fish" / "completions" / "millrace.fish", text)
    file = data / "millrace" / f"completion.{shell}"
    settings = home / ".bashrc" if shell == "bash" else Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
    # What zsh's own completion needs must have been read before.
    ready = "autoload -Uz compinit; (( $+functions[compdef] )) || compinit\n" if shell == "zsh" else ""
    written = _written(file, ready + text)
    line = f'[ -r "{file}" ] && . "{file}"  {_MARK}\n'
    before = _read(settings)
    if line in before:
        return written
    kept = [each for each in before.splitlines(keepends=True) if _MARK not in each]
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    # A settings file may be a link into a folder of the user's own.
    return [*written, *_written(settings.resolve(), "".join([*kept, line]))]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(
            f"{path} cannot be read: {error}; add the output of `millrace completion` to it yourself"
        ) from error


def _written(path: Path, text: str) -> list[Path]:
    """Whole or not at all: a shell that starts meanwhile reads the old file or the new one."""
    new = path.with_name(f".{path.name}.millrace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text)
        if path.exists():
            shutil.copymode(path, new)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise CliError(f"{path} cannot be written: {error.strerror}; nothing was changed there") from error
    return [path]
