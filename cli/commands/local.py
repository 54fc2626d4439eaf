"""`millrace local`: the cloud on this machine."""

from __future__ import annotations

import math
import shlex
import sys
import time
from pathlib import Path

import click

from cli.commands.options import parse_pairs
from cli.console import interrupts
from cli.console.errors import CliError, DeclinedError
from cli.console.output import format_duration, json_option, say, write_json
from cli.stack import connection
from local import client as daemon
from local.credentials import credentials_file, rotate_credentials

_LINES = 50
#: The range of --scale: 1 is real time, with 1,000,000 an hour takes four milliseconds.
_PACES = (1, 1_000_000)


def _number(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse NaN, which click accepts in every range."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is not in the range {}<=x<={}.".format(*_PACES), ctx, param)
    return value


def _images(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """Parse the images: repository name → folder."""
    images = {name: Path(folder).resolve() for name, folder in parse_pairs(ctx, param, values).items()}
    if own := connection.IMAGES.keys() & images.keys():
        raise click.BadParameter(f"{min(own)!r} is the product's own image", ctx, param)
    return images


@click.group()
def local() -> None:
    """Manage AWS on this machine: start, stop, look, reset.

    One process on the loopback interface with all its state in one folder. Nothing is sent anywhere.
    """


@local.command()
@connection.state_option
@click.option(
    "--scale",
    type=click.FloatRange(*_PACES),
    callback=_number,
    help="Seconds of the cloud's time per real second (default 60): an hour takes a minute, so that bakes, schedules "
    "and alarm periods, which AWS counts in minutes and hours, end within a short wait. Jobs and requests are not "
    "accelerated. 1 is real time.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port to listen on; default: a free one.")
@click.option(
    "--image",
    "images",
    multiple=True,
    callback=_images,
    metavar="REPOSITORY=FOLDER",
    help="An image of your own, unpacked: a folder with bin/serve for endpoints or bin/train for training jobs, found "
    "by the repository name in an image URI. May be repeated; pass it at every start.",
)
@json_option
def start(state: Path, scale: float | None, port: int, images: dict[str, Path], as_json: bool) -> None:
    """Start the cloud, or report that it runs."""
    for name, folder in images.items():
        if not (folder / "bin").is_dir():
            raise click.BadParameter(
                f"'{name}={folder}': folder {folder / 'bin'} with the executables does not exist", param_hint="--image"
            )
    _show(connection.ensure_local_cloud(state, scale=scale, port=port, images=images), state, as_json)


@local.command()
@connection.state_option
def stop(state: Path) -> None:
    """Stop the cloud; its state is kept."""
    stopped = daemon.stop(state)
    say(f"stopped; its state is kept in {state}" if stopped else f"the local cloud of {state} is not running")


@local.command()
@connection.state_option
@json_option
def status(state: Path, as_json: bool) -> None:
    """Show whether the cloud runs, where, and at what pace."""
    _show(daemon.find_daemon(state), state, as_json)


@local.command()
@connection.state_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def reset(state: Path, yes: bool) -> None:
    """Stop the cloud and delete everything in it."""
    if not state.exists():
        say(f"{state} does not exist: nothing to delete")
        return
    if not connection.is_state_folder(state):
        raise CliError(
            f"{state}", "is not the folder of a local cloud; nothing was deleted", fix="name the right one with --state"
        )
    size = sum(path.stat().st_size for path in state.rglob("*") if path.is_file() and not path.is_symlink())
    say(f"This stops the local cloud and deletes {state} ({size / 2**20:.0f} MiB):")
    say("buckets, models, endpoints, metrics, logs, and Pulumi's state of every local stack.")
    if not yes and not click.confirm("Delete it all?"):
        raise DeclinedError("deleted")
    daemon.reset(state)
    say("deleted")


@local.command()
@connection.state_option
@click.option(
    "--shell",
    type=click.Choice(["bash", "fish", "docker"]),
    default="bash",
    help="The syntax to print; bash also suits zsh. docker: a file for `docker run --network host --env-file`.",
)
def env(state: Path, shell: str) -> None:
    """Print the variables that make boto3, the AWS CLI and pulumi use the local cloud, its credentials included.

    Starts the cloud if it is not running. For bash: eval "$(millrace local env)"
    """
    was_running = daemon.find_daemon(state) is not None
    running = connection.ensure_local_cloud(state)
    if not was_running:
        say(f"started the local cloud of {state} at {running.endpoint_url}", err=True)
    if shell == "docker":
        for name, value in daemon.build_container_environment(running, state).items():
            say(f"{name}={value}")
        return
    for name in daemon.OVERRULED:
        say(f"unset {name};" if shell == "bash" else f"set -e {name};")
    for name, value in connection.make_variables(running, state).items():
        say(_exported(name, value, shell))


@local.command()
@connection.state_option
@json_option
def rotate(state: Path, as_json: bool) -> None:
    """Give the cloud a new access key; the old one is refused from now on.

    Running jobs and endpoints have their own keys and continue. Shells need `millrace local env` again.
    """
    made = rotate_credentials(state)
    if as_json:
        write_json({"access_key_id": made.access_key_id, "file": str(credentials_file(state))})
        return
    say(f"the local cloud of {state} has a new access key, {made.access_key_id}; the old one is refused from now on")
    say('in every shell that uses it: eval "$(millrace local env)"')


@local.command()
@connection.state_option
@click.option("--lines", type=click.IntRange(min=1), default=_LINES, show_default=True, help="Lines to print.")
@click.option("--follow", "-f", is_flag=True, help="Print new lines until Ctrl-C.")
def logs(state: Path, lines: int, follow: bool) -> None:
    """Print the cloud's own log; for jobs and endpoints see `millrace logs`."""
    path = state / "daemon.log"
    if not path.exists():
        raise CliError(
            f"{path}", f"does not exist: no cloud has run in {state}", fix="start one with `millrace local start`"
        )
    with path.open(errors="replace") as file:
        sys.stdout.writelines(file.readlines()[-lines:])
        while follow:
            sys.stdout.write(file.read())
            sys.stdout.flush()
            interrupts.sleep(0.2)


def _name(state: Path) -> str:
    """Return the option that names a folder of a local cloud; nothing for the default one."""
    return "" if state == connection.DEFAULT_STATE else f" --state {shlex.quote(str(state))}"


def _show(running: daemon.Running | None, state: Path, as_json: bool) -> None:
    if as_json:
        write_json(_facts(running, state))
    elif running is None and (pid := daemon.find_hung_process(state)):
        say(str(connection.explain_hung(state, pid)))
    elif running is None:
        say(f"the local cloud of {state} is not running; start it with `millrace local start{_name(state)}`")
    else:
        up = format_duration(time.time() - running.started)
        say(f"the local cloud runs at {running.endpoint_url} (pid {running.pid}, up {up})")
        say(f"  state  {state}")
        say(f"  scale  {running.scale:g}: an hour takes {format_duration(3600 / running.scale)}")
        say(f"  images {', '.join(sorted(running.images))}; others: millrace local start --image REPOSITORY=FOLDER")
        say(f'  shell  eval "$(millrace local env{_name(state)})"')
    if not as_json:
        connection.warn_of_unreadable_state(state)


def _facts(running: daemon.Running | None, state: Path) -> dict[str, object]:
    return {
        "running": running is not None,
        "state": str(state),
        # Also of a process that does not answer.
        "pid": running.pid if running else daemon.find_hung_process(state),
        "endpoint_url": running.endpoint_url if running else None,
        "port": running.port if running else None,
        "scale": running.scale if running else None,
        "images": dict(running.images) if running else {},
        # Files that could not be read at a start, by the service that started empty.
        "unreadable": {
            service: [str(path) for path in paths] for service, paths in daemon.list_unreadable_state(state).items()
        },
        "uptime_seconds": round(time.time() - running.started, 1) if running else None,
    }


def _exported(name: str, value: str, shell: str) -> str:
    if shell == "bash":
        return "export {}='{}'".format(name, value.replace("'", "'\\''"))
    values = value.split(":") if name == "PATH" else [value]
    quoted = ["'{}'".format(each.replace("\\", "\\\\").replace("'", "\\'")) for each in values]
    return f"set -gx {name} {' '.join(quoted)};"
