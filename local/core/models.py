"""botocore's models in this process: each is loaded once, without documentation, and its equal parts are kept once."""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import Any

import botocore.loaders
import botocore.session

#: Texts of models that only help pages show.
_DOCUMENTATION = frozenset({"documentation", "documentationUrl"})
#: The longest string of which equal ones are kept once, in characters.
_LONGEST = 64
#: The most members of a reference of which equal ones are kept once.
_MOST = 4


def share_models() -> None:
    """Let all sessions of this process share their models, loaded without documentation.

    moto has loaders of its own, which change what they have loaded; they share nothing.
    """
    botocore.loaders.Loader.FILE_LOADER_CLASS = _LeanFileLoader
    botocore.session.create_loader = _make_loader


@functools.cache
def _make_loader(search_path_string: str | None = None) -> Any:
    paths = search_path_string.split(os.pathsep) if search_path_string else []
    found = [os.path.expanduser(os.path.expandvars(path)) for path in paths]  # noqa: PTH111 - as botocore does
    return botocore.loaders.Loader(extra_search_paths=found, file_loader=_SharingFileLoader())


class _LeanFileLoader(botocore.loaders.JSONFileLoader):  # type: ignore[misc]
    """A loader of JSON files that leaves out documentation."""

    def _load_file(self, full_path: str, open_method: Any) -> Any:
        try:
            with open_method(full_path, "rb") as file:
                return json.loads(file.read().decode("utf-8"), object_pairs_hook=self._make_object)
        except FileNotFoundError:
            return None

    def _make_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {sys.intern(key): _make_lean_value(key, value) for key, value in pairs}


class _SharingFileLoader(_LeanFileLoader):
    """The same, with one instance of all equal references to a shape, such as `{"shape": "String"}`."""

    def _make_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = super()._make_object(pairs)
        if "shape" in made and len(made) <= _MOST and all(type(each) in (str, bool, int) for each in made.values()):
            return _share(*made.items())
        return made


class _Reference(dict[str, Any]):
    """A reference to a shape that stands for all equal ones and cannot be changed."""

    def _refuse(self, *_arguments: Any, **_more: Any) -> Any:
        raise TypeError("a reference of a model is shared and cannot be changed; copy it")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse


@functools.cache
def _share(*pairs: tuple[str, Any]) -> _Reference:
    return _Reference(pairs)


def _make_lean_value(key: str, value: Any) -> Any:
    if type(value) is not str:
        # A member of a structure may have one of these names, too; it is an object then.
        return value
    if key in _DOCUMENTATION:
        return ""
    return sys.intern(value) if len(value) <= _LONGEST else value
