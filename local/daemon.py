"""The daemon process that runs the cloud, started with ``python -m local``.

It controls the order of start and stop. A lock on ``daemon.lock`` ensures one daemon per state folder; ``daemon.json``
is written once all services answer and removed when the daemon stops.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from local.client import REFUSED, TAKEN, exclude_loopback_from_proxy, write_config
from local.core.clock import Clock
from local.core.context import Cloud
from local.core.images import Images
from local.core.models import share_models
from local.core.server import create_server
from local.core.store import Store
from local.errors import LocalError
from local.files import make_private_folder, write_atomically
from local.gateway import Gateway
from local.services import operations
from local.services.cloudwatch import alarms
from local.services.eventbridge import rules
from local.services.moto.mount import MotoMount
from local.services.moto.snapshot import Snapshots
from local.services.scheduler import schedules

log = logging.getLogger("local.daemon")

VERSION = "1"

_LOG_LIMIT = 10_000_000

#: Seconds that background work may take to finish when the daemon stops.
_GRACE = 3.0

#: Seconds to wait for the previous port to become free.
_PORT_WAIT = 1.5

#: Seconds between checks for a stop request.
_LOOK = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a daemon until SIGTERM or SIGINT, which end the process with exit code 0.

    Args:
        arguments: The command line without the program's name; None for that of this process.

    Returns:
        :data:`TAKEN` if another daemon holds the state folder; :data:`REFUSED` if its state cannot be read.
    """
    options = _parser().parse_args(arguments)
    state: Path = options.state.resolve()
    # All files of the cloud are private to its user, including sockets and the output of jobs.
    os.umask(0o077)
    make_private_folder(state)
    with (state / "daemon.lock").open("a+") as lock:
        if not _hold(lock):
            print(f"{state}: {_holder(lock)} already serves this state folder.", file=sys.stderr)  # noqa: T201
            return TAKEN
        _log_to(state / "daemon.log")
        _forget_the_user()
        share_models()
        write_config(state)
        try:
            daemon = Daemon(state, options.port, Clock(options.scale), Images(dict(options.image)))
        except LocalError as error:
            log.error("did not start: %s", error)
            print(error, file=sys.stderr)  # noqa: T201
            return REFUSED
        return daemon.run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="AWS on this machine.")
    parser.add_argument("--state", type=Path, required=True, help="the folder that contains all of the cloud's state")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 selects a free one")
    parser.add_argument("--scale", type=float, default=1.0, help="seconds of the cloud's time per real second")
    parser.add_argument(
        "--image",
        type=_image,
        action="append",
        default=[],
        metavar="REPOSITORY=FOLDER",
        help="an unpacked container image: a folder with bin/serve or bin/train",
    )
    return parser


def _image(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise argparse.ArgumentTypeError(f"'{text}': expected REPOSITORY=FOLDER")
    return name, Path(folder)


def _hold(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return True


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return f"the daemon with pid {lock.read().strip() or 'unknown'}"


def _forget_the_user() -> None:
    """Remove the user's AWS variables and bypass the user's proxy for the cloud's calls to itself."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(exclude_loopback_from_proxy(os.environ))
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)


def _log_to(path: Path) -> None:
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.rename(path.with_suffix(".log.1"))
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"
    )
    for chatty in ("botocore", "boto3", "urllib3", "waitress.queue", "werkzeug", "moto"):
        logging.getLogger(chatty).setLevel(logging.WARNING if chatty != "waitress.queue" else logging.ERROR)


class Daemon:
    """One run of the cloud."""

    def __init__(self, state: Path, port: int, clock: Clock, images: Images) -> None:
        self._state = state
        self._started = time.time()
        self._socket = _listening(state, port)
        self._port = self._socket.getsockname()[1]
        self._store = Store(state / "sagemaker.sqlite")
        self.cloud = Cloud(state, f"http://127.0.0.1:{self._port}", self._store, clock, images)
        self._moto = MotoMount(self.cloud.stopping, self.cloud.keys, self.cloud.events)
        self._snapshots = Snapshots(state, self._moto)
        self._provider: Any = None

    def run(self) -> int:
        """Start everything, wait for a signal, stop everything and exit the process.

        Returns:
            Never: the process exits with code 0.
        """
        asked: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            # The handler does nothing else: it may interrupt the thread that holds the event's lock.
            signal.signal(number, lambda number, _frame: asked.append(number))
        try:
            self._start()
        except Exception:
            log.exception("did not start")
            raise
        _write_json(self._state / "daemon.json", self._facts())
        log.info("up after %.2f s at %s", time.time() - self._started, self.cloud.endpoint_url)
        # Polled, because a signal that is delivered to another thread does not wake this one.
        while not asked and not self.cloud.stopping.wait(_LOOK):
            pass
        self.cloud.stopping.set()
        self._stop()
        # Skip the interpreter's shutdown, which threads of libraries could block.
        logging.shutdown()
        os._exit(0)

    def _facts(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "port": self._port,
            "endpoint_url": self.cloud.endpoint_url,
            "provider_socket": str(self._provider.socket) if self._provider else None,
            "scale": self.cloud.clock.scale,
            "images": {name: str(folder) for name, folder in self.cloud.images.folders.items()},
            "started": self._started,
        }

    def _start(self) -> None:
        self._snapshots.load()
        gateway = Gateway(self.cloud, self._moto, operations.list_operations())
        server = create_server(gateway, self._socket)
        self.cloud.spawn("http", server.run)
        self.cloud.spawn("snapshots", self._snapshots.save_regularly, self.cloud.stopping)
        operations.recover_all(self.cloud)
        for watcher in (rules, schedules, alarms):
            watcher.start(self.cloud)
        # Imported late: it loads Pulumi's protocol, which is not needed to start the cloud.
        from local.provider import server as provider

        credentials = self.cloud.keys.issue("pulumi")
        self._provider = provider.start(self.cloud.endpoint_url, credentials.to_boto3_arguments(), self._state)

    def _stop(self) -> None:
        """Stop background work first, while the cloud still answers it; then save the last snapshot."""
        log.info("stopping")
        (self._state / "daemon.json").unlink(missing_ok=True)
        deadline = time.monotonic() + _GRACE
        if self._provider is not None:
            _logged(self._provider.stop)
        for thread in threading.enumerate():
            if thread.daemon and thread.name != "http" and not thread.name.startswith("waitress"):
                thread.join(max(0.0, deadline - time.monotonic()))
        _end_children()
        # The lock is never released, so nothing changes from here on.
        self._moto.lock.acquire()
        _logged(self._snapshots.save)
        _logged(self._store.close)
        log.info("stopped")


def _listening(state: Path, port: int) -> socket.socket:
    """Return a listening socket on the given port.

    For port 0 the previous port is reused if possible, so that clients find the cloud again.
    """
    kept = state / "port"
    deadline = time.monotonic() + _PORT_WAIT
    while port == 0 and kept.exists() and time.monotonic() < deadline:
        # Connections to the previous daemon may hold the port a little longer; another process may keep it.
        with contextlib.suppress(OSError, ValueError, OverflowError):
            return socket.create_server(("127.0.0.1", int(kept.read_text())))
        time.sleep(0.1)
    listening = socket.create_server(("127.0.0.1", port))
    kept.write_text(f"{listening.getsockname()[1]}\n")
    return listening


def _logged(action: Callable[[], object]) -> None:
    """Run one step of the stop; log its failure so that the next steps still run."""
    try:
        action()
    except Exception:
        log.exception("while stopping")


def _end_children() -> None:
    """Kill the child processes that are still running."""
    import psutil

    left = psutil.Process().children(recursive=True)
    for child in left:
        log.warning("killing remaining process: pid %d, %s", child.pid, child.name())
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(left, timeout=1.0)


def _write_json(path: Path, facts: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(facts, indent=2) + "\n").encode())
