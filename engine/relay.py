"""The plugin that the Pulumi engine starts; it forwards the engine's connections to the provider in the daemon.

The engine connects by TCP only, but the provider listens on a Unix socket in a private folder, so that other users
cannot use it while no engine runs. The plugin is started by path and uses only the standard library:
`python -I -S relay.py <daemon.json>`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path

_BLOCK = 65536

#: Seconds between checks whether the engine and the cloud are still running, and checks after which the cloud is gone.
_LOOK, _LOOKS = 0.5, 2

#: Characters of a region's name that fit into a socket's address; all existing names are shorter.
_LONGEST = 24


def main(facts: Path) -> int:
    """Forward connections until the engine ends this process, or is gone itself.

    Args:
        facts: The path of the cloud's `daemon.json`, which names its process and the provider's socket.

    Returns:
        The exit status: 1 if the local cloud is not running, names no socket or stops, 0 when the engine is gone.
    """
    engine = os.getppid()
    running = _read_facts(facts)
    if running is None:
        sys.stderr.write("the local cloud is not running: start it with `millrace local start`\n")
        return 1
    target = running.get("provider_socket")
    if not isinstance(target, str):
        fix = "stop the local cloud with `millrace local stop`, then start it with `millrace local start`"
        sys.stderr.write(f"{facts} names no socket of the provider: {fix}\n")
        return 1
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    listening.settimeout(_LOOK)
    number = absent = 0
    # A killed engine ends nothing, and its plugin must not outlive it.
    while os.getppid() == engine:
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            # An engine would wait for ever for a cloud that is gone. A file that is being written is not gone.
            absent = 0 if _read_facts(facts) else absent + 1
            if absent > _LOOKS:
                return _tell_gone()
            continue
        connection.settimeout(None)
        number += 1
        try:
            joined = _connected(target, number)
        except OSError:
            return _tell_gone()
        _join(connection, joined)
    return 0


def _tell_gone() -> int:
    sys.stderr.write("the local cloud has stopped: start it with `millrace local start`, and run this again\n")
    return 1


def _read_facts(facts: Path) -> dict[str, object] | None:
    """Return the facts of the running daemon, or None.

    The process is checked because the file of facts remains after the daemon was killed.
    """
    try:
        found = json.loads(facts.read_text())
        os.kill(found["pid"], 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found)


def _connected(target: str, number: int) -> socket.socket:
    """Connect to the provider from a unique socket address.

    From the address the provider distinguishes one engine's connections, and learns the region of the engine's
    environment, which can differ from the provider's.
    """
    connection = socket.socket(socket.AF_UNIX)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    own = Path(target).with_name(f"c{os.getpid()}-{number}@{region[:_LONGEST].replace('/', '?')}")
    connection.bind(str(own))
    try:
        connection.connect(target)
    finally:
        own.unlink()
    return connection


def _join(one: socket.socket, other: socket.socket) -> None:
    for source, sink in ((one, other), (other, one)):
        threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while block := source.recv(_BLOCK):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One side was closed, so both are closed.
        source.close()
        sink.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
