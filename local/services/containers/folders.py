"""The folders of containers that have ended: the newest are kept for inspection."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path


def prune_folders(folders: Iterable[Path], running: Collection[Path], kept: int) -> None:
    """Remove the folders of what no longer runs, except the newest ones.

    Args:
        folders: The folders; one that another thread removes meanwhile is ignored.
        running: The folders of what runs.
        kept: How many are kept.
    """
    ages: list[tuple[float, Path]] = []
    for path in folders:
        try:
            if path not in running:
                ages.append((path.stat().st_mtime, path))
        except FileNotFoundError:
            # It was removed at the end of another one.
            continue
    for _, path in sorted(ages, reverse=True)[kept:]:
        shutil.rmtree(path, ignore_errors=True)
