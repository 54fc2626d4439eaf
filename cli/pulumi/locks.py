"""Who updates a stack now: our own lock of a local stack, and Pulumi's, which the dead leave behind."""

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


class Locked(Protocol):
    """A stack, and the folder of the local cloud that it is in."""

    @property
    def stack(self) -> str: ...

    @property
    def state(self) -> Path: ...


@contextlib.contextmanager
def alone(target: Locked, note: Callable[[str], None], deadline: float) -> Iterator[None]:
    """One `millrace up` of a local stack at a time: what it does besides `pulumi up` no lock of Pulumi's guards."""
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
                    raise CliError(
                        f"stack {target.stack}",
                        "is being updated by another `millrace up`",
                        fix="run it again afterwards",
                    ) from error
                interrupts.pause(0.2)
        yield


def held(stack: str) -> list[dict[str, Any]]:
    """The locks of a stack in a backend of files; other backends look after their own."""
    url = urlparse(os.environ.get("PULUMI_BACKEND_URL", ""))
    if url.scheme != "file":
        return []
    folder = Path(unquote(url.path)) / ".pulumi" / "locks"
    found = []
    for path in folder.glob(f"*/*/{stack}/*.json"):
        # It may be given back while we look.
        with contextlib.suppress(FileNotFoundError):
            found.append(json.loads(path.read_text()))
    return found


def is_alive(lock: Mapping[str, Any]) -> bool:
    """Whether the process of a lock is there and is Pulumi: after a kill another one may have its number."""
    import psutil

    if lock["hostname"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(lock["pid"]))
        return "pulumi" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
