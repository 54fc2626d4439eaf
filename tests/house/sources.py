"""The modules of the product, as the tests of the house read them."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("cli", "components", "engine", "local", "millrace", "queries", "stacks", "training")


def list_modules() -> list[Path]:
    """Return the paths of all modules, the program first."""
    return [
        REPOSITORY / "__main__.py",
        *(path for name in PACKAGES for path in sorted((REPOSITORY / name).rglob("*.py"))),
    ]
