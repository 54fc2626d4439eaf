"""The Pulumi CLI as a process: how it is run, what it is asked about a stack, and its errors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from cli.console import children
from cli.console.errors import CliError
from cli.stack import connection
from cli.stack.target import get_profile, read_configuration
from millrace import Environment

#: Called with each progress message: a few words.
Note = Callable[[str], None]

_WAITING = "waiting for Pulumi to finish the step that it is in"
#: Pulumi's markup of colours in its messages.
_COLOUR = re.compile(r"<\{%.*?%\}>")
#: Its message when another update holds the stack's lock.
LOCKED = "currently locked by"
#: Its message when the stack does not exist.
_NO_STACK = "no stack named"
#: Its message when no backend is set.
_NO_BACKEND = "PULUMI_ACCESS_TOKEN must be set"


class Deployed(Protocol):
    """A stack that can be deployed: a use case's or the platform's."""

    @property
    def stack(self) -> str:
        """The stack's name."""
        ...

    @property
    def environment(self) -> Environment:
        """The environment that the stack is deployed to."""
        ...

    @property
    def state(self) -> Path:
        """The folder of the local cloud."""
        ...

    @property
    def is_local(self) -> bool:
        """True if the stack is deployed to the local cloud."""
        ...


class LockedError(CliError):
    """Pulumi refused, because another update of the stack is running."""


class NoStackError(CliError):
    """The backend has no stack of that name."""


def make_environment(target: Deployed) -> dict[str, str]:
    """Return the environment of the Pulumi CLI: this process's own, with the stack's region and profile.

    Args:
        target: The stack.
    """
    environment = {**os.environ, "PATH": connection.make_search_path(), "PULUMI_SKIP_UPDATE_CHECK": "1"}
    # AWS's own settings do not have the region that the stack's configuration names.
    environment.setdefault("AWS_REGION", target.environment.region)
    if (
        not target.is_local
        and not connection.is_account_emulated()
        and (profile := get_profile(read_configuration(target.stack)))
    ):
        # The provider uses this profile; the program's own requests to AWS must use it, too.
        environment["AWS_PROFILE"] = profile
    return environment


def run_pulumi(
    arguments: Sequence[str], on_line: children.Line, folder: Path, environment: Mapping[str, str]
) -> tuple[int, str]:
    """Run the Pulumi CLI.

    Args:
        arguments: The subcommand and its options.
        on_line: Called with each line of its standard output.
        folder: Its working directory.
        environment: All of its environment variables.

    Returns:
        Its exit code, negative after a signal, and what it wrote to standard error.
    """
    command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
    return children.run_child(command, on_line, folder=folder, environment=environment, waiting=_WAITING)


def run_or_raise(target: Deployed, *arguments: str, on_line: children.Line = lambda _: None) -> None:
    """Run the Pulumi CLI for a stack, in the repository.

    Args:
        target: The stack, with whose region and profile it runs.
        arguments: The subcommand and its options.
        on_line: Called with each line of its standard output.

    Raises:
        LockedError: When another update of the stack is running.
        NoStackError: When the stack does not exist.
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    code, errors = run_pulumi(list(arguments), on_line, connection.REPOSITORY, make_environment(target))
    if code != 0:
        raise make_error(f"`pulumi {' '.join(arguments)}` failed", "\n".join(clean_lines(errors)))


def create_stack(target: Deployed) -> None:
    """Create the target's stack, empty, unless it exists.

    Args:
        target: The stack.
    """
    run_or_raise(target, "stack", "select", "--create", target.stack)


def export_state(target: Deployed) -> dict[str, Any]:
    """Return the state of the target's stack: the document of `pulumi stack export`.

    Args:
        target: The stack.

    Raises:
        NoStackError: When the stack was never created.
    """
    lines: list[str] = []
    run_or_raise(target, "stack", "export", "--stack", target.stack, on_line=lines.append)
    return dict(json.loads("\n".join(lines)))


def find_version(target: Deployed) -> str:
    """Return the version of the Pulumi CLI that is used, e.g. `v3.200.0`.

    Args:
        target: A stack, with whose region and profile the Pulumi CLI runs.
    """
    lines: list[str] = []
    run_or_raise(target, "version", on_line=lines.append)
    return "".join(lines).strip()


def make_error(what: str, said: str) -> CliError:
    """Return the error for a failure of the Pulumi CLI: a kind of its own for a lock and for a missing stack.

    Args:
        what: What failed.
        said: Pulumi's diagnostics.
    """
    kind = LockedError if LOCKED in said else NoStackError if _NO_STACK in said else CliError
    if _NO_BACKEND in said:
        said += "\nno backend is set; choose one with `pulumi login s3://<bucket>` or PULUMI_BACKEND_URL"
    return kind(f"{what}:\n{said}")


def describe_exit(code: int) -> str:
    """Return how a process ended, in words.

    Args:
        code: Its exit code, negative after a signal.
    """
    return f"it was terminated by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def remove_markup(text: str) -> str:
    """Return a message of Pulumi without its markup of colours.

    Args:
        text: The message.
    """
    return _COLOUR.sub("", text)


def clean_lines(text: str) -> list[str]:
    """Return the lines of a message of Pulumi that are not empty, without its markup of colours.

    Args:
        text: The message.
    """
    return [line for line in remove_markup(text).splitlines() if line.strip()]
