"""Helper that the tests of the pages share; each is its own module, so that several workers can run them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from tests.docs import runner

DOCS = Path(__file__).resolve().parents[2] / "docs"


def follow(name: str, folder: Path, prepare: Callable[[Path], None] = lambda _: None) -> None:
    """Follow a page of the documentation in a fresh clone under ``folder``, prepared; log each skipped block."""
    with runner.clone(folder) as checkout:
        prepare(checkout)
        ran = runner.run_page(DOCS / f"{name}.md", checkout)
    for block in ran.skipped:
        logging.getLogger(__name__).warning("%s: skipped, %s", block.place, block.reason)
