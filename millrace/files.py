"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Write a file as a whole or not at all, so that a reader sees the old content or the new one.

    An existing file keeps its mode, and a symbolic link stays one. A new file gets the mode of the user's umask.

    Args:
        path: The file; its folder must exist.
        content: The new content; text is written as UTF-8.
        private: Whether only the owner may read the file, whatever its mode was.

    Raises:
        OSError: The file cannot be written; nothing was changed.
    """
    target = path.resolve()
    # mkstemp never follows a link that somebody else has put there, and creates the draft with mode 0600.
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if not private:
            _set_mode(draft, target)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _set_mode(draft: Path, target: Path) -> None:
    """Give the draft the mode of the file that it replaces, or of a new file."""
    if target.exists():
        shutil.copymode(target, draft)
        return
    mask = os.umask(0)
    os.umask(mask)
    draft.chmod(0o666 & ~mask)
