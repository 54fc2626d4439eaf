"""A reference in a docstring or comment, such as ``:func:`f` ``, names something that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from .sources import PACKAGES, REPOSITORY, list_modules

SOURCES = list_modules()
_REFERENCE = re.compile(r":(?:func|class|meth|attr|data|exc|mod):`~?([^`]*)`")


def list_names(tree: ast.AST) -> set[str]:
    """Return the names that a module defines, assigns or imports, also those inside its classes and functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {each.asname or each.name for each in node.names}
    return names


@cache
def list_names_of_module(path: Path) -> set[str]:
    return list_names(ast.parse(path.read_text()))


def find_module(parts: list[str]) -> tuple[Path, list[str]] | None:
    """Return the file of the module that a dotted name begins with, and the rest of the name."""
    for length in range(len(parts), 0, -1):
        path = REPOSITORY.joinpath(*parts[:length])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file, parts[length:]
    return None


def exists(reference: str, own: set[str]) -> bool:
    """Return whether a reference names something of the module it is in, or of the one that it says in full."""
    parts = reference.split(".")
    if parts[0] in PACKAGES and (found := find_module(parts)):
        return set(found[1]) <= list_names_of_module(found[0])
    if parts[0] not in own:
        return False
    # What is behind a dot belongs to a class that another module may define.
    return len(parts) == 1 or any(parts[-1] in list_names_of_module(path) for path in SOURCES)


def find_dangling(text: str) -> list[tuple[int, str]]:
    """Return the line and the name of each reference to something that does not exist."""
    own = list_names(ast.parse(text))
    return [
        (text.count("\n", 0, found.start()) + 1, found[1])
        for found in _REFERENCE.finditer(text)
        if not exists(found[1], own)
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_reference_names_something_that_exists(path: Path) -> None:
    assert find_dangling(path.read_text()) == []


def test_dangling_references_are_found() -> None:
    text = '''"""See :func:`f`, :func:`gone`, :meth:`C.m`, :attr:`C.gone_too`, :class:`D.render`."""

from local.errors import LocalError as C

#: Like :class:`millrace.errors.DataError`, :mod:`millrace.errors`, :func:`millrace.errors.gone` and :mod:`millrace.no`.
def f():
    """Like :class:`C`."""
'''
    expected = ["gone", "C.m", "C.gone_too", "D.render", "millrace.errors.gone", "millrace.no"]
    assert [name for _, name in find_dangling(text)] == expected


def test_enough_is_checked() -> None:
    assert sum(len(_REFERENCE.findall(path.read_text())) for path in SOURCES) > 80
