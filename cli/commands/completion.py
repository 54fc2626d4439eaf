"""`millrace completion`: completion for bash, zsh and fish."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cli.console.errors import CliError
from millrace.files import write_atomically

#: Marks the line of a shell's settings file that loads the completion.
_MARK = "# completion of millrace"


# -- the command -------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Install it for the shell; the default is to print it.")
def completion(shell: str, install: bool) -> None:
    """Print or install completion for bash, zsh and fish.

    For this shell alone: eval "$(millrace completion bash)".
    """
    text = render_script(shell, click.get_current_context().find_root().command)
    if not install:
        click.echo(text, nl=False)
        return
    for path in _install(shell, text):
        click.echo(f"wrote {path}")
    click.echo(f"it works in every new {shell}")


def render_script(shell: str, millrace: click.Command) -> str:
    """Return the completion script of a shell."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    return found(millrace, {}, "millrace", "_MILLRACE_COMPLETE").source().strip() + "\n"


def _install(shell: str, text: str) -> list[Path]:
    """Write the completion where the shell looks for it; return the files that were written."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "fish":
        return _write(config / "fish" / "completions" / "millrace.fish", text)
    file = data / "millrace" / f"completion.{shell}"
    settings = home / ".bashrc" if shell == "bash" else Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
    # zsh's compinit must have run before the script.
    ready = "autoload -Uz compinit; (( $+functions[compdef] )) || compinit\n" if shell == "zsh" else ""
    written = _write(file, ready + text)
    line = f'[ -r "{file}" ] && . "{file}"  {_MARK}\n'
    before = _read(settings)
    if line in before:
        return written
    kept = [each for each in before.splitlines(keepends=True) if _MARK not in each]
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    return [*written, *_write(settings, "".join([*kept, line]))]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(
            f"{path}", f"cannot be read: {error}", fix="add the output of `millrace completion` to it yourself"
        ) from error


def _write(path: Path, text: str) -> list[Path]:
    """Write a file whole or not at all: a shell that starts meanwhile reads the old file or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise CliError(f"{path}", f"cannot be written: {error.strerror}; nothing was changed there") from error
    return [path]
