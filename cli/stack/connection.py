"""Which AWS the commands speak to: the account of the user's own settings, or the cloud on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from cli.console.errors import CliError
from engine import bootstrap, home
from local import client

REPOSITORY = Path(__file__).resolve().parents[2]
#: The environment whose AWS is this machine.
LOCAL = "local"
#: The unpacked runtime image of jobs and endpoints, under the name that stacks give it.
IMAGES = {"millrace": REPOSITORY / "training" / "image"}
#: The variable that says, when it is 1, that the local cloud is meant to stand in for the account of every environment:
#: what a workflow would do there can be rehearsed here. Nothing reaches AWS then.
STAND_IN = "MILLRACE_STAND_IN"
#: An hour of the cloud takes a minute: bakes of five minutes and daily schedules can be waited for.
SCALE = 60.0

#: What only a local cloud's folder holds, and what may lie there before a cloud has run.
_STATE_FILES, _BEFORE = ("daemon.lock", "sagemaker.sqlite"), {"aws", "bundles", "pulumi", "stacks"}

_Source = click.core.ParameterSource

Function = TypeVar("Function", bound=Callable[..., Any])


def state_option(function: Function) -> Function:
    """The option ``--state`` of everything that may speak to the local cloud."""
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="MILLRACE_STATE",
        callback=_possible,
        default=REPOSITORY / ".millrace",
        show_default="the checkout's .millrace",
        help="The local cloud's folder; also MILLRACE_STATE.",
    )(function)


def _possible(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """A path that a folder may have, whether there is one or not."""
    try:
        # What is not there yet may be made.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            value.stat()
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}; expected a folder", ctx, param) from error
    return value


def ensure(
    state: Path, *, scale: float | None = None, port: int = 0, images: Mapping[str, Path] | None = None
) -> client.Running:
    """The local cloud of this folder, started when it is not running.

    Args:
        scale: Seconds of its time in one real second; None takes the running one's, or the default.
        port: Where it listens; 0 takes the running one's, or a free one.
        images: What it can run besides the product's own image; None takes the running one's, or nothing.

    Raises:
        CliError: When the folder cannot be made, or is held by a process that does not answer.
    """
    running = client.status(state)
    if running is None:
        _not_hung(state)
        try:
            return client.start(state, port=port, scale=scale or SCALE, images={**IMAGES, **(images or {})})
        except OSError as error:
            raise CliError(
                f"the local cloud's folder {state}",
                f"cannot be created or written to: {error.filename}: {error.strerror}",
                fix="name another one with --state",
            ) from error
    asked = {**IMAGES, **images} if images else dict(_folders(running))
    if (scale or running.scale) != running.scale or (port or running.port) != running.port or images:
        # Says what differs and what to do.
        return client.start(state, port=port, scale=scale or running.scale, images=asked)
    return running


def require(state: Path) -> client.Running:
    """The local cloud that runs.

    Raises:
        CliError: When it does not, with the ways out.
    """
    running = client.status(state)
    if running is None:
        _not_hung(state)
        raise CliError(
            f"the local cloud of {state}",
            "is not running",
            fix=(
                "start it with `millrace up` (the whole loop) or `millrace local start` (the cloud "
                "alone), or name another environment with --env (also `eval` of `millrace local env`)"
            ),
        )
    return running


def explain_hung(state: Path, pid: int) -> CliError:
    """Return the error of a process that has the folder and does not answer."""
    return CliError(
        f"process {pid}",
        f"holds {state} but does not answer",
        fix=f"`millrace local stop`, then `kill -9 {pid}` if that fails",
    )


def _not_hung(state: Path) -> None:
    if pid := client.hung(state):
        raise explain_hung(state, pid)


def is_state(folder: Path) -> bool:
    """Whether a folder is a local cloud's and nothing else: what may be deleted."""
    found = {path.name for path in folder.iterdir()}
    return bool(found.intersection(_STATE_FILES)) or found <= _BEFORE


def connect(environment: str, state: Path) -> None:
    """From here on boto3, and every child of this process, use the AWS of this environment.

    A command is a process of its own, so its environment variables are the one place that all of them read. A state
    folder that the user names goes first, then an endpoint that the user has set.

    Raises:
        CliError: When the local cloud does not run, or would be taken for an account.
    """
    if environment != LOCAL and not stands_in():
        _not_this_machine(environment)
    elif _is_named("state") or not _has_endpoint(environment):
        use(require(state), state)


def stands_in() -> bool:
    """Whether the local cloud is meant where an account would be.

    Raises:
        CliError: When the variable says neither yes nor no.
    """
    value = os.environ.get(STAND_IN, "")
    if value not in ("", "0", "1"):
        raise CliError(
            f"{STAND_IN}={value!r}",
            "is not known",
            expected="1 (the local cloud emulates every account)",
            fix="correct or unset it",
        )
    return value == "1"


def _has_endpoint(environment: str) -> bool:
    """Whether the user has set where AWS is; a stand-in is only ever on this machine."""
    address = os.environ.get("AWS_ENDPOINT_URL", "")
    return bool(address) and (environment == LOCAL or _is_loopback(urlsplit(address).hostname or ""))


def _is_named(option: str) -> bool:
    """Whether the user gave an option of this command, in whichever way."""
    source = click.get_current_context().get_parameter_source(option)
    return source in (_Source.COMMANDLINE, _Source.ENVIRONMENT)


def _not_this_machine(environment: str) -> None:
    for name in sorted(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")):
        address = os.environ[name]
        if _is_loopback(urlsplit(address).hostname or ""):
            raise CliError(
                f"{name}",
                f"is the local cloud's, {address}, and environment {environment!r} is not local",
                fix=(
                    f"unset it and all that `millrace local env` has set, or use a new shell; {STAND_IN}=1 "
                    "lets the local cloud emulate the account"
                ),
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def use(running: client.Running, state: Path) -> None:
    """From here on this local cloud is AWS."""
    for name in client.OVERRULED:
        os.environ.pop(name, None)
    os.environ.update(variables(running, state))


def variables(running: client.Running, state: Path) -> dict[str, str]:
    """The environment variables for boto3, the AWS CLI and Pulumi."""
    return {**client.environment(running, state), **home.prepare(state), "PATH": path()}


def path() -> str:
    """``PATH`` with the Pulumi CLI and this Python first, each once."""
    first = [str(_engine_folder()), str(Path(sys.executable).parent)]
    others = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder not in first]
    return os.pathsep.join([*first, *others])


def _engine_folder() -> Path:
    """Where the Pulumi CLI is, or will be once `millrace up` has made it available."""
    folder = bootstrap.version_folder()
    if not (folder / "pulumi").exists() and (found := shutil.which("pulumi")):
        return Path(found).parent
    return folder


def _folders(running: client.Running) -> list[tuple[str, Path]]:
    return [(name, Path(folder)) for name, folder in running.images.items()]
