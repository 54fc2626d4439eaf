"""A hook of the site's build: every decision under `adr/` stands in the navigation, in its order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

SECTION = "Decisions"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the section of the decisions; its pages' titles are their own first lines."""
    decisions = sorted(path.name for path in (Path(config.docs_dir) / "adr").glob("*.md"))
    for entry in config.nav or []:
        if SECTION in entry:
            entry[SECTION] = [f"adr/{name}" for name in decisions]
    return config
