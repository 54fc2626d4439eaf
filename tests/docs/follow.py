"""Helper that the tests of the pages share; each is its own module, so that several workers can run them."""

from __future__ import annotations

import warnings
from pathlib import Path

from tests.docs import runner

DOCS = Path(__file__).resolve().parents[2] / "docs"


def follow(name: str, folder: Path) -> None:
    """Follow a page of the documentation in a fresh clone under ``folder``; warn about each skipped block."""
    with runner.clone(folder) as checkout:
        ran = runner.run_page(DOCS / f"{name}.md", checkout)
    for block in ran.skipped:
        warnings.warn(f"{block.place}: skipped, {block.reason}", UserWarning, stacklevel=2)
