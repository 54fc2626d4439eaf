"""The connection of commands to AWS: to the account of the user's settings, or to the local cloud."""

from __future__ import annotations

import contextlib
import functools
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
from cli.console.output import NOTE, say
from engine import bootstrap, home
from local import client

REPOSITORY = Path(__file__).resolve().parents[2]
#: The environment that uses the local cloud instead of AWS.
LOCAL = "local"
#: The folder of the unpacked runtime image of jobs and endpoints, by the image name in stack files.
IMAGES = {"millrace": REPOSITORY / "training" / "image"}
#: The environment variable that, set to 1, makes the local cloud replace the account of every environment, to rehearse
#: a workflow on this machine. Nothing reaches AWS then.
STAND_IN = "MILLRACE_STAND_IN"
#: Seconds of the local cloud's time per real second: an hour takes a minute, so that nobody waits long for bakes of
#: five minutes and daily schedules.
SCALE = 60.0

#: The folder of the local cloud of this checkout.
DEFAULT_STATE = REPOSITORY / ".millrace"
#: Files that only a local cloud's folder contains, and entries that may exist in it before the cloud has run.
_STATE_FILES, _BEFORE = ("daemon.lock", "sagemaker.sqlite"), {"aws", "bundles", "port", "pulumi", "stacks"}

_Source = click.core.ParameterSource

Function = TypeVar("Function", bound=Callable[..., Any])


def state_option(function: Function) -> Function:
    """Add the option ``--state`` to a command that may use the local cloud.

    Args:
        function: The command, which takes ``state``.

    Returns:
        The command with the option.
    """
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="MILLRACE_STATE",
        callback=_check_state_path,
        default=DEFAULT_STATE,
        show_default="the checkout's .millrace",
        help="The local cloud's folder; also MILLRACE_STATE.",
    )(function)


def _check_state_path(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """Return the path of ``--state`` if a folder exists or can exist there.

    Raises:
        click.BadParameter: When the path cannot be accessed.
    """
    try:
        # A missing folder may be created later.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            value.stat()
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}; expected a folder", ctx, param) from error
    return value


def ensure_local_cloud(
    state: Path, *, scale: float | None = None, port: int = 0, images: Mapping[str, Path] | None = None
) -> client.Running:
    """Return the local cloud of a state folder; start it if it is not running.

    Args:
        state: The local cloud's folder.
        scale: Seconds of its time per real second; None keeps that of the running cloud, else uses the default.
        port: The port it listens on; 0 keeps that of the running cloud, else uses a free port.
        images: Additional images that it can run; None keeps those of the running cloud, else adds none.

    Raises:
        CliError: When the folder cannot be created, or is held by a process that does not answer.
    """
    running = _find_or_start(state, scale, port, images)
    warn_of_unreadable_state(state)
    return running


def _find_or_start(state: Path, scale: float | None, port: int, images: Mapping[str, Path] | None) -> client.Running:
    running = client.find_daemon(state)
    if running is None:
        _refuse_hung(state)
        if state.is_dir() and not is_state_folder(state):
            raise CliError(
                f"{state}",
                "is not empty, and is not the folder of a local cloud: a reset would delete what is in it",
                fix="name an empty or a new folder with --state",
            )
        try:
            return client.start(state, port=port, scale=scale or SCALE, images={**IMAGES, **(images or {})})
        except OSError as error:
            raise CliError(
                f"the local cloud's folder {state}",
                f"cannot be created or written to: {error.filename}: {error.strerror}",
                fix="name another one with --state",
            ) from error
    asked = {**IMAGES, **images} if images else dict(_list_images(running))
    if (scale or running.scale) != running.scale or (port or running.port) != running.port or images:
        # This raises an error that names the differences and the fix.
        return client.start(state, port=port, scale=scale or running.scale, images=asked)
    return running


@functools.cache
def warn_of_unreadable_state(state: Path) -> None:
    """Print on standard error, once, which services of the local cloud started empty: their files were unreadable.

    Args:
        state: The local cloud's folder.
    """
    for service, paths in client.list_unreadable_state(state).items():
        say(
            f"{NOTE} the saved state of {service} could not be read at a start of the local cloud, and {service} "
            f"started empty; what was saved is kept in {', '.join(map(str, paths))}; with the cloud stopped, restore "
            f"{state / 'moto' / service}.pickle from a copy, or delete the kept file to accept the loss",
            err=True,
        )


def require_local_cloud(state: Path) -> client.Running:
    """Return the running local cloud.

    Args:
        state: The local cloud's folder.

    Raises:
        CliError: When it is not running, with possible fixes.
    """
    running = client.find_daemon(state)
    if running is None:
        _refuse_hung(state)
        raise CliError(
            f"the local cloud of {state}",
            "is not running",
            fix=(
                "start it with `millrace up` (the whole loop) or `millrace local start` (the cloud "
                "alone), or name another environment with --env (also `eval` of `millrace local env`)"
            ),
        )
    warn_of_unreadable_state(state)
    return running


def find_cloud_of_shell(state: Path) -> client.Running | None:
    """Return the running local cloud of a folder if the shell's variables lead to it, else None.

    Args:
        state: The local cloud's folder.
    """
    running = client.find_daemon(state)
    if running is None or running.endpoint_url != os.environ.get("AWS_ENDPOINT_URL"):
        return None
    warn_of_unreadable_state(state)
    return running


def explain_hung(state: Path, pid: int) -> CliError:
    """Return the error about a process that holds the state folder and does not answer.

    Args:
        state: The local cloud's folder.
        pid: The ID of the process.
    """
    return CliError(
        f"process {pid}",
        f"holds {state} but does not answer",
        fix=f"`millrace local stop`, then `kill -9 {pid}` if that fails",
    )


def _refuse_hung(state: Path) -> None:
    if pid := client.find_hung_process(state):
        raise explain_hung(state, pid)


def is_state_folder(folder: Path) -> bool:
    """Return True if a folder belongs to a local cloud or holds only what one creates first, so it may be deleted.

    Args:
        folder: The folder, which must exist.
    """
    found = {path.name for path in folder.iterdir()}
    return bool(found.intersection(_STATE_FILES)) or found <= _BEFORE


def use_environment(environment: str, state: Path) -> None:
    """Make boto3 and all child processes use the AWS of this environment, through environment variables.

    A state folder named by the user takes precedence over an endpoint set by the user. For an account nothing is
    changed; it is only checked that no variable redirects it to this machine.

    Args:
        environment: The environment's name.
        state: The local cloud's folder; not used for an account.

    Raises:
        CliError: When the local cloud is not running, or would be mistaken for an account.
    """
    if environment != LOCAL and not is_account_emulated():
        _refuse_local_endpoint(environment)
    elif _is_named("state") or not _has_endpoint(environment):
        use_local_cloud(require_local_cloud(state), state)
    else:
        # Only for its warning; the shell may use the cloud of another folder, whatever is in this one.
        with contextlib.suppress(client.LocalCloudError):
            find_cloud_of_shell(state)


def is_account_emulated() -> bool:
    """Return True if the local cloud replaces the account of every environment, see :data:`STAND_IN`.

    Raises:
        CliError: When the variable is neither empty, 0 nor 1.
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
    """Return True if the user has set an endpoint; one that replaces an account counts only on this machine."""
    address = os.environ.get("AWS_ENDPOINT_URL", "")
    return bool(address) and (environment == LOCAL or _is_loopback(urlsplit(address).hostname or ""))


def _is_named(option: str) -> bool:
    """Return True if the user gave this option on the command line or by its environment variable."""
    source = click.get_current_context().get_parameter_source(option)
    return source in (_Source.COMMANDLINE, _Source.ENVIRONMENT)


def _refuse_local_endpoint(environment: str) -> None:
    for name in sorted(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")):
        address = os.environ[name]
        if _is_loopback(urlsplit(address).hostname or ""):
            raise CliError(
                name,
                f"points to the local cloud, {address}, but environment {environment!r} is not local",
                fix=(
                    f"unset it and everything `millrace local env` has set, or use a new shell; {STAND_IN}=1 "
                    "lets the local cloud emulate the account"
                ),
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def use_local_cloud(running: client.Running, state: Path) -> None:
    """Set this process's environment variables so that boto3 and child processes use this local cloud.

    Args:
        running: The running local cloud.
        state: Its folder.
    """
    for name in client.OVERRULED:
        os.environ.pop(name, None)
    os.environ.update(make_variables(running, state))


def make_variables(running: client.Running, state: Path) -> dict[str, str]:
    """Return the environment variables with which boto3, the AWS CLI and Pulumi use a local cloud.

    Args:
        running: The running local cloud.
        state: Its folder.
    """
    return {**client.build_environment(running, state), **home.prepare_home(state), "PATH": make_search_path()}


def make_search_path() -> str:
    """Return ``PATH`` with the folders of the Pulumi CLI and of this Python first, each once."""
    first = [str(_engine_folder()), str(Path(sys.executable).parent)]
    others = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder not in first]
    return os.pathsep.join([*first, *others])


def _engine_folder() -> Path:
    """Return the folder of the Pulumi CLI, or where `millrace up` will install it."""
    folder = bootstrap.version_folder()
    if not (folder / "pulumi").exists() and (found := shutil.which("pulumi")):
        return Path(found).parent
    return folder


def _list_images(running: client.Running) -> list[tuple[str, Path]]:
    return [(name, Path(folder)) for name, folder in running.images.items()]
