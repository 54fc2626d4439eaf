"""botocore's models in this process: each is loaded once, and without the documentation that makes up most of it."""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import botocore.loaders

#: Texts of models that only help pages show.
_DOCUMENTATION = frozenset({"documentation", "documentationUrl"})
#: The longest string of which equal ones are kept once, in characters.
_SHARED = 64


class _LeanFileLoader(botocore.loaders.JSONFileLoader):  # type: ignore[misc]
    """A loader of JSON files that leaves out documentation."""

    def _load_file(self, full_path: str, open_method: Any) -> Any:
        try:
            with open_method(full_path, "rb") as file:
                return json.loads(file.read().decode("utf-8"), object_pairs_hook=_make_lean)
        except FileNotFoundError:
            return None


def share_models() -> None:
    """Let all sessions of this process share their models, loaded without documentation."""
    botocore.loaders.Loader.FILE_LOADER_CLASS = _LeanFileLoader
    botocore.loaders.create_loader = functools.cache(botocore.loaders.create_loader)


def _make_lean(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {sys.intern(key): _make_lean_value(key, value) for key, value in pairs}


def _make_lean_value(key: str, value: Any) -> Any:
    if type(value) is not str:
        # A member of a structure may have one of these names, too; it is an object then.
        return value
    if key in _DOCUMENTATION:
        return ""
    return sys.intern(value) if len(value) <= _SHARED else value
