"""What is used from outside its folder says what it takes, returns and raises.

A docstring is in Google's form: `Args` names every parameter; `Returns` may be left out where the first sentence
begins with "Return" or "Yield"; `Raises` names every exception that the function itself raises. A method that
implements another's is described there, an operation of the local cloud by `local.core.context.Handler`, and a
command by its options.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from .sources import REPOSITORY, list_modules

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A module of the product.

    Attributes:
        folder: The package it is in, relative to the repository.
    """

    path: Path
    tree: ast.Module

    @property
    def folder(self) -> Path:
        return self.path.parent


def list_paths() -> list[Path]:
    paths = [path.relative_to(REPOSITORY) for path in list_modules()]
    return [path for path in paths if "tests" not in path.parts]


@cache
def read_modules() -> dict[Path, Module]:
    """Return the modules of the product by path; not at import, which every worker does."""
    return {path: Module(path, ast.parse((REPOSITORY / path).read_text())) for path in list_paths()}


@cache
def find_uses() -> dict[str, set[Path]]:
    """Return the folders in which each name is imported or taken from a module or an object."""
    uses: dict[str, set[Path]] = defaultdict(set)
    for module in read_modules().values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute):
                uses[node.attr].add(module.folder)
            elif isinstance(node, ast.ImportFrom):
                for each in node.names:
                    uses[each.name].add(module.folder)
    return uses


@cache
def find_bases() -> dict[str, list[tuple[set[str], list[str]]]]:
    """Return the names of methods and of bases for each class name."""
    found: dict[str, list[tuple[set[str], list[str]]]] = defaultdict(list)
    for module in read_modules().values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                methods = {each.name for each in node.body if isinstance(each, Function)}
                found[node.name].append(
                    (methods, [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases])
                )
    return found


def is_inherited(bases: list[ast.expr] | list[str], method: str) -> bool:
    """Return whether a base describes the method; of a base that is not ours, only gRPC's servicers do."""
    names = [base if isinstance(base, str) else ast.unparse(base).split("[")[0].split(".")[-1] for base in bases]
    return any(
        name.endswith("Servicer")
        or any(method in methods or is_inherited(above, method) for methods, above in find_bases()[name])
        for name in names
        if name in find_bases() or name.endswith("Servicer")
    )


def list_functions(module: Module) -> Iterator[tuple[str, Function]]:
    """Yield the qualified name and the function for all that is public in a module."""

    def search(node: ast.Module | ast.ClassDef, above: str) -> Iterator[tuple[str, Function]]:
        for each in node.body:
            if isinstance(each, ast.ClassDef) and not each.name.startswith("_"):
                yield from search(each, f"{above}{each.name}.")
            elif isinstance(each, Function) and not each.name.startswith("_"):
                if not find_uses()[each.name] - {module.folder}:
                    continue
                decorators = " ".join(ast.unparse(decorator) for decorator in each.decorator_list)
                if re.search(r"\.(command|group|callback)\(|\.(command|group)\b|overload|setter", decorators):
                    continue
                if isinstance(node, ast.ClassDef) and is_inherited(node.bases, each.name):
                    continue
                yield f"{above}{each.name}", each

    return search(module.tree, "")


def list_parameters(function: Function) -> list[str]:
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    every += [each for each in (args.vararg, args.kwarg) if each]
    names = [each.arg for each in every if each.arg not in ("self", "cls")]
    return [] if names == ["call", "params"] else names


def list_caught(handlers: list[ast.ExceptHandler]) -> set[str]:
    """Return the names of the exception classes that handlers catch, with the built-in ones below them."""
    caught = [handler.type for handler in handlers if handler.type is not None]
    names = {ast.unparse(each).split(".")[-1] for kind in caught for each in getattr(kind, "elts", [kind])}
    classes = tuple(each for name in names if isinstance(each := getattr(builtins, name, None), type))
    below = {name for name, each in vars(builtins).items() if isinstance(each, type) and issubclass(each, classes)}
    return names | (below if classes else set())


def list_raised(function: Function) -> set[str]:
    """Return the names of the exception classes that leave a function by its own `raise`, outside nested functions."""

    def search(nodes: Iterable[ast.AST], caught: set[str]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, Function | ast.Lambda | ast.ClassDef):
                continue
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = ast.unparse(node.exc.func).split(".")[-1]
                if name[0].isupper() and name not in caught | {"AssertionError"}:
                    yield name
            if isinstance(node, ast.Try):
                yield from search(node.body, caught | list_caught(node.handlers))
                yield from search([*node.handlers, *node.orelse, *node.finalbody], caught)
            else:
                yield from search(ast.iter_child_nodes(node), caught)

    return set(search(function.body, set()))


def split_sections(docstring: str) -> dict[str, str]:
    """Return the text of each section of a docstring by its title; the first has an empty one."""
    parts = re.split(r"^(Args|Returns|Yields|Raises|Attributes|Example|Examples|Note):\n", docstring, flags=re.M)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def find_undocumented(function: Function) -> list[str]:
    """Return what the docstring of a function leaves out."""
    sections = split_sections(ast.get_docstring(function) or "")
    args, raised = sections.get("Args", ""), sections.get("Raises", "")
    missing = [
        f"Args: {name}"
        for name in list_parameters(function)
        if not re.search(rf"^ +\*{{0,2}}{name}(?: \(.*\))?: \S", args, re.M)
    ]
    is_property = any("property" in ast.unparse(each) for each in function.decorator_list)
    nothing = function.returns is None or ast.unparse(function.returns) in ("None", "NoReturn", "Never")
    if not (
        is_property or nothing or re.match(r"(Return|Yield)s? ", sections[""]) or {"Returns", "Yields"} & set(sections)
    ):
        missing.append("Returns")
    return missing + [
        f"Raises: {name}" for name in sorted(list_raised(function)) if not re.search(rf"^ +{name}: \S", raised, re.M)
    ]


@pytest.mark.parametrize("path", list_paths(), ids=Path.as_posix)
def test_what_is_used_elsewhere_is_documented(path: Path) -> None:
    module = read_modules()[path]
    found = {name: missing for name, function in list_functions(module) if (missing := find_undocumented(function))}
    assert found == {}


def parse_function(text: str) -> Function:
    function = ast.parse(text).body[0]
    assert isinstance(function, Function)
    return function


def test_what_a_docstring_leaves_out_is_found() -> None:
    bare = parse_function('def f(a, *, b, **c) -> int:\n    """Compute."""\n    if a:\n        raise ValueError(b)\n')
    assert find_undocumented(bare) == ["Args: a", "Args: b", "Args: c", "Returns", "Raises: ValueError"]
    whole = parse_function(
        """
def f(a) -> int:
    '''Return it.

    Args:
        a: The first.

    Raises:
        ValueError: It is odd.
    '''
    raise ValueError(a)
""".strip()
    )
    assert find_undocumented(whole) == []


def test_an_exception_that_stays_inside_is_not_named() -> None:
    inside = """
def f() -> None:
    "Do."
    try:
        raise FileExistsError(1)
    except OSError as error:
        raise KeyError(1) from error
""".strip()
    assert list_raised(parse_function(inside)) == {"KeyError"}


def test_enough_is_checked() -> None:
    assert sum(1 for module in read_modules().values() for _ in list_functions(module)) > 500
