"""The use cases: one package each, with the declaration and the functions for its data, features and model."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from millrace import DeclarationError, UseCase
from millrace.config_files import make_file_name
from millrace.errors import Diagnosis, diagnose_source


def list_use_cases() -> list[str]:
    """Return the names of all use cases, from their folders."""
    packages = (module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    return sorted(package.replace("_", "-") for package in packages)


def load_environment_use_cases(environment: str) -> list[UseCase]:
    """Return the declarations of all use cases that have a stack in an environment.

    Args:
        environment: The environment's name, e.g. `prod`.

    Raises:
        DeclarationError: One of the declarations cannot be loaded.
    """
    folders = [Path(folder) for folder in __path__]
    return [
        load(name)
        for name in list_use_cases()
        if any((folder / make_file_name(f"{name}-{environment}")).is_file() for folder in folders)
    ]


def load(name: str) -> UseCase:
    """Import the declaration of a use case.

    Args:
        name: As declared, e.g. `churn-eu` for the package `stacks/churn_eu`.

    Returns:
        The package's `USE_CASE`.

    Raises:
        DeclarationError: The package does not exist, cannot be imported, or declares another name.
    """
    package = name.replace("-", "_")
    known = list_use_cases()
    if package.replace("_", "-") not in known:
        have = ", ".join(known) or "none"
        raise DeclarationError(
            f"use case {name!r}",
            [Diagnosis(f"package stacks/{package}", "does not exist", fix=f"choose one of: {have}")],
        )
    found = getattr(_imported(name, package), "USE_CASE", None)
    if not isinstance(found, UseCase):
        raise DeclarationError(
            f"use case {name!r}",
            [Diagnosis(f"stacks/{package}/__init__.py", "has no USE_CASE = UseCase(…)", fix="add it")],
        )
    if found.name != name:
        raise DeclarationError(
            f"use case {name!r}",
            [
                Diagnosis(
                    f"stacks/{package}",
                    f"declares name={found.name!r}",
                    fix="give the name and the folder the same name",
                )
            ],
        )
    return found


def _imported(name: str, package: str) -> ModuleType:
    where = f"use case {name!r}, stacks/{package}"
    try:
        return importlib.import_module(f"{__name__}.{package}")
    except DeclarationError as error:
        part = "" if error.where == f"use case {name!r}" else f"{error.where}: "
        raise DeclarationError(
            where, [replace(each, subject=part + each.subject) for each in error.problems]
        ) from error
    except (Exception, SystemExit) as error:
        # What ends the process would end the command as if it had succeeded.
        raise DeclarationError(where, [diagnose_source(error, *_place(error, package))]) from error


def _place(error: BaseException, package: str) -> tuple[str, int | None]:
    """Return the innermost file and line of the package in an error's traceback."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    for file, line in reversed(places):
        for folder in map(Path, __path__):
            if Path(file).is_relative_to(folder / package):
                return f"stacks/{Path(file).relative_to(folder).as_posix()}", line
    return f"stacks/{package}/__init__.py", None
