"""The path of the provider's socket: in the state folder, or in a private folder where that path would be too long."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

#: Leaves room for the longer names of clients' sockets: a path has at most 103 bytes on macOS and 107 on Linux.
_LONGEST = 80

_NAME = "provider.sock"
_PREFIX = "millrace-"


def make_socket_path(state: Path) -> Path:
    """Return a path for the provider's socket, in a folder that only this user may enter."""
    path = state / _NAME
    if len(str(path).encode()) > _LONGEST:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX)) / _NAME
    path.unlink(missing_ok=True)
    return path


def remove_socket(path: Path) -> None:
    """Remove a socket, and the folder that was made for it.

    Args:
        path: The path that :func:`make_socket_path` returned; the socket need not exist.
    """
    path.unlink(missing_ok=True)
    if path.parent.name.startswith(_PREFIX):
        with contextlib.suppress(OSError):
            # The socket of a client may still exist; the folder stays private in any case.
            path.parent.rmdir()
