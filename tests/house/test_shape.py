"""The shape of the product's modules: short files, short functions, and no imports of private names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("cli", "components", "engine", "local", "millrace", "queries", "training")
SOURCES = [path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.py"))]
LONGEST_FILE, LONGEST_FUNCTION = 450, 60


def test_sources_of_every_package_are_found() -> None:
    assert len(SOURCES) > 300
    assert {path.relative_to(REPOSITORY).parts[0] for path in SOURCES} == set(FOLDERS)


def find_private_imports(tree: ast.AST) -> Iterator[str]:
    """Yield names that begin with an underscore and are imported from another module of the product."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FOLDERS:
            yield from (f"{node.module}.{each.name}" for each in node.names if each.name.startswith("_"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_a_module_is_short_and_imports_no_private_names(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= LONGEST_FILE
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {each.name: (each.end_lineno or 0) - each.lineno + 1 for each in functions}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION} == {}
    assert list(find_private_imports(tree)) == []


def test_the_cli_package_has_at_most_twenty_entries() -> None:
    entries = [path.name for path in (REPOSITORY / "cli").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 20, sorted(entries)
