"""Services of moto that its other services import but this cloud hardly ever uses: they are loaded at their first use.

SSM imports EC2, and Application Auto Scaling imports ECS, each for a single operation; together they take 100 MB.
"""

from __future__ import annotations

import importlib
import operator
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

#: Module → the attribute that other services import from it.
_DEFERRED = {"moto.ec2": "ec2_backends", "moto.ecs": "ecs_backends"}


def defer_imports() -> None:
    """Put a placeholder in place of each service that has not been imported yet."""
    for name, attribute in _DEFERRED.items():
        if name not in sys.modules:
            sys.modules[name] = _Placeholder(name, attribute)


class _Placeholder(ModuleType):
    """A module with nothing but the backends of its service; its submodules can be imported."""

    def __init__(self, name: str, attribute: str) -> None:
        super().__init__(name)
        spec = find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        self.__path__ = list(spec.submodule_search_locations)
        setattr(self, attribute, _Backends(name, attribute))


class _Module:
    """A module, in a pickle: the one that is imported where the pickle is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self._name,)


class _Backends:
    """The backends of a service by account and region; it is pickled as moto's own."""

    def __init__(self, module: str, attribute: str) -> None:
        self._module, self._attribute = module, attribute

    def __getitem__(self, account: str) -> _Regions:
        return _Regions(self, account)

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.call, (operator.attrgetter(self._attribute), _Module(self._module))

    def load(self) -> Any:
        """Return moto's own backends."""
        if isinstance(sys.modules.get(self._module), _Placeholder):
            del sys.modules[self._module]
        return getattr(importlib.import_module(self._module), self._attribute)


class _Regions:
    """The backends of an account."""

    def __init__(self, backends: _Backends, account: str) -> None:
        self._backends, self._account = backends, account

    def __getitem__(self, region: str) -> _Backend:
        return _Backend(self, region)

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.getitem, (self._backends, self._account)

    def load(self) -> Any:
        """Return moto's own backends of the account."""
        return self._backends.load()[self._account]


class _Backend:
    """The backend of one account and region, loaded when one of its attributes is used."""

    def __init__(self, regions: _Regions, region: str) -> None:
        self._regions, self._region = regions, region

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._regions.load()[self._region], name)

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.getitem, (self._regions, self._region)
