"""The command `millrace`: its subcommands, the display of errors, and the exit codes.

Exit codes: 0 done, 1 failed (one clear line explains why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TextIO

import click

from cli.console import interrupts
from cli.console.output import ERROR_MARK
from cli.examples import add_examples

#: Each command's module and its line in the help. Modules are imported when their command is run, so that the help
#: imports neither boto3 nor the vocabulary.
COMMANDS = {
    "new": ("cli.commands.new", "Create a use case: from data to a declaration that trains and serves."),
    "up": ("cli.commands.up", "Bring up a use case: cloud, infrastructure, model, endpoint, monitor."),
    "diff": ("cli.commands.diff", "Show what a change would do to data, traffic, model, permissions, alarms and cost."),
    "deploy": ("cli.commands.deploy", "Deploy a stack: the current program, or exactly a saved plan."),
    "status": ("cli.commands.status", "Show what serves, how good it is, and what needs attention."),
    "watch": ("cli.commands.watch", "Show the status live."),
    "report": (
        "cli.commands.report",
        "Write a page about a use case for decision-makers: quality, drift, history, cost.",
    ),
    "retrain": ("cli.commands.retrain", "Train a challenger and report whether it is better."),
    "run": ("cli.commands.run", "Run a pipeline and show its steps."),
    "approve": ("cli.commands.approval", "Let a registered model serve from the next deployment on."),
    "reject": ("cli.commands.approval", "Keep a model from serving, or take one back."),
    "rollback": ("cli.commands.rollback", "Serve the previous model again, or a named version."),
    "alarms": ("cli.commands.alarms", "Show a stack's alarms, and keep some from notifying for a time."),
    "pause": ("cli.commands.pause", "Stop schedules and triggers until they are resumed."),
    "resume": ("cli.commands.pause", "Let schedules and triggers run again."),
    "invoke": ("cli.commands.invoke", "Ask the endpoint for a prediction."),
    "logs": ("cli.commands.logs", "Print the log of a job, a pipeline's step or an endpoint."),
    "replay": ("cli.commands.replay", "Send past events to the endpoint as if they happened now."),
    "gc": ("cli.commands.gc", "Delete what is no longer needed by any model that may serve."),
    "destroy": ("cli.commands.destroy", "Destroy a stack in the right order, keeping what must be kept."),
    "prices": ("cli.commands.prices", "Keep the prices that previews and the status use up to date."),
    "upgrade": ("cli.commands.upgrade", "Rewrite declarations whose fields were renamed or retired."),
    "workflows": ("cli.commands.workflows", "Write the workflows of GitHub Actions or GitLab for this repository."),
    "review": ("cli.commands.review", "Manage a pull request's own stack, which expires."),
    "completion": ("cli.commands.completion", "Print or install completion for bash, zsh and fish."),
    "local": ("cli.commands.local", "Manage AWS on this machine: start, stop, look, reset."),
}

INTERRUPTED = 130


class Group(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command; None where the name is unknown."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        add_examples(command, f"millrace {cmd_name}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write each command with its line of help, without importing the command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Show the full traceback of an error.")
@click.version_option(package_name="millrace")
def millrace(verbose: bool) -> None:
    """One typed declaration, the whole MLOps loop: on AWS, and on this machine.

    Start with `millrace up`. What changes infrastructure is `pulumi`; these commands do the rest.
    """
    del verbose  # read by _run(), which must know it when a command ends in an error


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end the process with its exit code.

    Args:
        arguments: The command line without the program's name; None for that of this process.

    Raises:
        SystemExit: Always, with the exit code.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command; from now on, signals act like Ctrl-C.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    # Every signal ends the command in the same way: its children end before this process does.
    interrupts.install_handlers()
    warnings.showwarning = _warn
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        # An interrupt inside `exec` leaves a mark by which `python -m` ends as if killed; the next `exec` removes it.
        exec("")
        return INTERRUPTED


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning about a declaration as one line for its author; any other as Python shows it."""
    if category.__name__ == "DeclarationWarning":
        click.secho("warning: ", fg="yellow", bold=True, nl=False, err=True)
        place = f"{_short(filename)}:{lineno}" if lineno else _short(filename)
        click.echo(f"{place}: {message}", err=True)
    else:
        (file or sys.stderr).write(warnings.formatwarning(message, category, filename, lineno, line))


def _short(filename: str) -> str:
    """Return the path of a file of this checkout relative to its root; of any other as it is."""
    path, root = Path(filename), Path(__file__).resolve().parents[1]
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else filename


def _run(arguments: list[str]) -> int:
    try:
        result = millrace.main(arguments, prog_name="millrace", standalone_mode=False)
        # Flush here, where a closed pipe can still be caught.
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        # Click raises Abort both for an interrupt and for a question that nobody answered.
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        return _failed("no answer was given: answer y or n, or pass --yes")
    except BrokenPipeError:
        # The reader has closed the pipe; Python would try to flush once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        verbose = "--verbose" in arguments[:1]
        from cli.console.errors import map_error
        from millrace.errors import MillraceError

        clear = map_error(error)
        if not isinstance(clear, MillraceError):
            raise
        if verbose:
            traceback.print_exc()
        return _failed(str(clear))
    return result if isinstance(result, int) else 0


def _failed(text: str) -> int:
    click.secho(ERROR_MARK, fg="red", bold=True, nl=False, err=True)
    click.echo(text, err=True)
    return 1


if __name__ == "__main__":
    main()
