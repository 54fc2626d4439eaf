"""The path of the provider's socket: in the state folder, or in a private folder where that path would be too long."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

#: The longest path of a socket is 103 bytes on macOS and 107 on Linux; beside it lie those of its clients.
_LONGEST = 80

_NAME = "provider.sock"
_PREFIX = "millrace-"


def make_socket_path(state: Path) -> Path:
    """Return where the provider's socket may be made; nobody else can enter the folder."""
    path = state / _NAME
    if len(str(path).encode()) > _LONGEST:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX)) / _NAME
    path.unlink(missing_ok=True)
    return path


def remove_socket(path: Path) -> None:
    """Remove a socket, and the folder that was made for it."""
    path.unlink(missing_ok=True)
    if path.parent.name.startswith(_PREFIX):
        with contextlib.suppress(OSError):
            # A client of it may still be there; the folder is empty and private all the same.
            path.parent.rmdir()
