"""What the pages' tests have in common: each is a module of its own, so that several workers can share them."""

from __future__ import annotations

import warnings
from pathlib import Path

from tests.docs import runner

DOCS = Path(__file__).resolve().parents[2] / "docs"


def follow(name: str, folder: Path) -> None:
    """Follow a page of the documentation in a fresh clone under ``folder``; say what had to be left out, and why."""
    with runner.clone(folder) as checkout:
        ran = runner.run(DOCS / f"{name}.md", checkout)
    for block in ran.skipped:
        warnings.warn(f"{block.place}: skipped, {block.reason}", UserWarning, stacklevel=2)
