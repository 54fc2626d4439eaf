"""Helper that the tests of the pages share; each is its own module, so that several workers can run them."""

from __future__ import annotations

import logging
from pathlib import Path

from tests.docs import runner

DOCS = Path(__file__).resolve().parents[2] / "docs"


def follow(name: str, folder: Path) -> None:
    """Follow a page of the documentation in a fresh clone under ``folder``; log each skipped block."""
    with runner.clone(folder) as checkout:
        ran = runner.run_page(DOCS / f"{name}.md", checkout)
    for block in ran.skipped:
        logging.getLogger(__name__).warning("%s: skipped, %s", block.place, block.reason)
