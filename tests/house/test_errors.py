"""The error classes of the product: each belongs to a tree and has a unique name."""

from __future__ import annotations

import ast
import builtins
import importlib
from collections import Counter
from pathlib import Path

import botocore.exceptions
import click.exceptions
import pytest

import millrace.errors
from cli.delivery.comment import CommentError
from engine.errors import EngineError
from local.errors import LocalError
from millrace.errors import MillraceError

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("millrace", "queries", "components", "training", "cli", "engine", "local")
#: The roots of the trees; click raises its own errors for a wrong call of a command.
ROOTS = (MillraceError, LocalError, EngineError, CommentError, click.ClickException)


def _find_errors() -> list[type[Exception]]:
    """Return every error class that a module of the product defines."""
    found: list[type[Exception]] = []
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            classes = [each.name for each in ast.parse(path.read_text()).body if isinstance(each, ast.ClassDef)]
            if not classes:
                continue
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
            module = importlib.import_module(name)
            defined = [getattr(module, each) for each in classes]
            found += [each for each in defined if issubclass(each, Exception) and not issubclass(each, Warning)]
    return found


ERRORS = _find_errors()


def test_many_errors_are_found() -> None:
    assert len(ERRORS) > 30
    assert {"CliError", "AwsError", "EngineError", "DataError"} <= {error.__name__ for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{error.__module__}.{error.__name__}")
def test_every_error_belongs_to_an_error_tree(error: type[Exception]) -> None:
    assert issubclass(error, ROOTS)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{error.__module__}.{error.__name__}")
def test_no_error_shares_its_name_with_a_library(error: type[Exception]) -> None:
    for library in (builtins, botocore.exceptions, click.exceptions):
        assert not hasattr(library, error.__name__), f"{library.__name__} has an error of this name"


def test_error_names_are_unique() -> None:
    twice = [name for name, count in Counter(error.__name__ for error in ERRORS).items() if count > 1]
    assert twice == []


def test_the_docstring_of_errors_draws_every_millrace_error() -> None:
    drawn = millrace.errors.__doc__ or ""
    missing = [
        error.__name__
        for error in ERRORS
        if issubclass(error, MillraceError) and not error.__name__.startswith("_") and error.__name__ not in drawn
    ]
    assert missing == []


@pytest.mark.parametrize("root", [MillraceError, LocalError, EngineError], ids=lambda root: root.__name__)
def test_an_error_message_is_rendered_from_its_fields(root: type[Exception]) -> None:
    def render(*found: str, **fields: str) -> str:
        return str(root("image 'x:latest'", *found, **fields))  # type: ignore[call-arg]

    assert render() == "image 'x:latest'"
    assert render("is a mutable tag") == "image 'x:latest' is a mutable tag"
    assert render("is a mutable tag", expected="a digest") == "image 'x:latest' is a mutable tag; expected a digest"
    assert render("is a mutable tag", fix="pin it") == "image 'x:latest' is a mutable tag; pin it"
    assert (
        render("is a tag", expected="a digest", fix="pin it") == "image 'x:latest' is a tag; expected a digest: pin it"
    )
    assert render("is:\n  - a tag\n", fix="pin it") == "image 'x:latest' is:\n  - a tag\npin it"


def test_an_error_keeps_its_fields() -> None:
    error = MillraceError("image 'x:latest'", "is a mutable tag", expected="a digest", fix="pin it")
    assert (error.subject, error.found, error.expected, error.fix) == (
        "image 'x:latest'",
        "is a mutable tag",
        "a digest",
        "pin it",
    )


def test_no_error_packs_two_fields_into_one_argument() -> None:
    """Check that no argument contains "; expected", which would hide a field."""
    joined = [
        f"{path.relative_to(REPOSITORY)}:{call.lineno}"
        for package in PACKAGES
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and _get_called_name(call.func) in {error.__name__ for error in ERRORS if issubclass(error, MillraceError)}
        and any("; expected " in ast.unparse(argument) for argument in call.args)
    ]
    assert joined == []


def _get_called_name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
