"""The use cases: a package each, with the declaration and, beside it, functions of its data, features and model."""

from __future__ import annotations

import importlib
import pkgutil

from millrace import DeclarationError, UseCase


def load(name: str) -> UseCase:
    """The declaration of a use case.

    Args:
        name: As declared, e.g. `churn-eu` for the package `stacks/churn_eu`.

    Raises:
        DeclarationError: When there is none of that name, or it declares another one.
    """
    package = name.replace("-", "_")
    known = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    if package not in known:
        have = ", ".join(each.replace("_", "-") for each in known) or "none"
        raise DeclarationError(f"use case {name!r}", [f"there is no package stacks/{package}; there are: {have}"])
    found = getattr(importlib.import_module(f"{__name__}.{package}"), "USE_CASE", None)
    if not isinstance(found, UseCase):
        raise DeclarationError(f"use case {name!r}", [f"stacks/{package}/__init__.py has no USE_CASE = UseCase(…)"])
    if found.name != name:
        raise DeclarationError(
            f"use case {name!r}", [f"stacks/{package} declares name={found.name!r}; make name and folder agree"]
        )
    return found
