"""Locks on a stack: Millrace's own of a local stack, and Pulumi's, which killed processes leave behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

from cli.console import interrupts
from cli.console.errors import CliError
from cli.pulumi.process import Deployed, LockedError, Note, run_or_raise

#: How long to wait for another update of the stack, seconds.
PATIENCE = 900.0


class Locked(Protocol):
    """A stack, and the folder of the local cloud that it is in."""

    @property
    def stack(self) -> str:
        """The stack's name."""
        ...

    @property
    def state(self) -> Path:
        """The folder of the local cloud."""
        ...


@contextlib.contextmanager
def hold_lock(target: Locked, note: Callable[[str], None], deadline: float) -> Iterator[None]:
    """Hold Millrace's own lock of a local stack, so that only one `millrace up` runs at a time.

    Pulumi's lock protects only `pulumi up`, not the other work of `millrace up`.
    """
    path = target.state / "stacks" / f"{target.stack}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                note("waiting for another `millrace up`, which updates the stack")
                if time.monotonic() > deadline:
                    raise LockedError(
                        f"stack {target.stack}",
                        "is being updated by another `millrace up`",
                        fix="run it again afterwards",
                    ) from error
                interrupts.sleep(0.2)
        yield


def list_locks(stack: str) -> list[dict[str, Any]]:
    """Return Pulumi's locks of a stack in a file backend; none for others, which manage their locks themselves."""
    url = urlparse(os.environ.get("PULUMI_BACKEND_URL", ""))
    if url.scheme != "file":
        return []
    folder = Path(unquote(url.path)) / ".pulumi" / "locks"
    found = []
    for path in folder.glob(f"*/*/{stack}/*.json"):
        # The lock may be released between listing and reading.
        with contextlib.suppress(FileNotFoundError):
            found.append(json.loads(path.read_text()))
    return found


def is_alive(lock: Mapping[str, Any]) -> bool:
    """Return True if the process of a lock exists and is Pulumi: after a kill its number may be reused.

    A lock of another host counts as alive.

    Args:
        lock: A lock as :func:`list_locks` returns it.
    """
    import psutil

    if lock["hostname"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(lock["pid"]))
        return "pulumi" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_lock(
    target: Deployed, note: Note, patience: float = PATIENCE, *, clears_stale: bool | None = None
) -> None:
    """Wait for a running update of the stack, up to a limit, and clear the lock of one that was killed.

    Args:
        target: The stack.
        note: Called with each progress message.
        patience: The limit in seconds.
        clears_stale: Whether to clear the lock of an update that was killed, which its process's absence from this
            machine proves; None does so for a local stack.

    Raises:
        LockedError: When the update still runs after the limit.
        CliError: When the stack is locked by one that was killed, and its lock is not to be cleared.
    """
    deadline = time.monotonic() + patience
    while holder := next((lock for lock in list_locks(target.stack) if is_alive(lock)), None):
        who = f"process {holder['pid']} on {holder['hostname']}"
        note(f"waiting for {who}, which updates the stack")
        if time.monotonic() > deadline:
            raise LockedError(
                f"stack {target.stack}",
                f"is being updated by {who}",
                fix=f"wait until it is done, or stop it and run `pulumi cancel --stack {target.stack}`",
            )
        interrupts.sleep(0.2)
    if not list_locks(target.stack):
        return
    if not (target.is_local if clears_stale is None else clears_stale):
        raise CliError(
            f"stack {target.stack}",
            "is locked by an update that was killed",
            fix=f"if nobody else is updating it, run `pulumi cancel --stack {target.stack}`",
        )
    run_or_raise(target, "cancel", "--yes", "--stack", target.stack)
