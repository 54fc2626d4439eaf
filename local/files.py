"""Files that are written as a whole or not at all, and folders that only their owner may enter."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

#: What follows a service's name in the name of a saved state that could not be read; a time follows it.
UNREADABLE = ".pickle.unreadable-"


def write_atomically(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file as a whole or not at all; only its owner may read it.

    Args:
        path: The file; its folder must exist.
        data: The new content.
        sync: Whether the data have reached the disk before this returns.
    """
    # mkstemp creates the draft with mode 0600 and never follows a link that somebody else has put there.
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if sync:
        sync_file(path.parent)


def sync_file(path: Path) -> None:
    """Wait until a file, or the entries of a folder, have reached the disk.

    Args:
        path: The file or folder, which must exist.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter; if it exists, remove the access of all others."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
