"""A local cloud in which `millrace up flights --no-observe` was run: made once, and copied by several tests."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from local import client

from .stand import Stand


def copy_state(factory: pytest.TempPathFactory, checkout: Path) -> None:
    """Copy the state of the prepared cloud into a checkout that has none yet; the first caller prepares it.

    Args:
        factory: pytest's, for the folder that all workers share.
        checkout: A copy of this repository; its code and its stack's file must be unchanged.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "prepared"
    with (base / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "prepared.done").exists():
            _prepare(folder)
            (base / "prepared.done").touch()
    # Each copy gets a port of its own.
    shutil.copytree(folder / ".millrace", checkout / ".millrace", symlinks=True, ignore=shutil.ignore_patterns("port"))


def _prepare(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    stand = Stand(folder, 60.0)
    stand.start()
    try:
        stand.millrace("up", "flights", "--no-observe", timeout=500)
    finally:
        client.stop(stand.state)
