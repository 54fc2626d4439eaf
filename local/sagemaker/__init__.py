"""SageMaker, its runtime and its feature store runtime: one literal table of operations per service."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from types import ModuleType

from local.cloud.context import Cloud, Handler
from local.sagemaker import names

log = logging.getLogger(__name__)

_MODULES = {
    "sagemaker": ("models", "endpoint_configs", "endpoints", "tags", "registry", "jobs", "pipelines", "feature_groups"),
    "sagemaker-runtime": ("invocations",),
    "sagemaker-featurestore-runtime": ("feature_records",),
}


@cache
def _load(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"local.sagemaker.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"local.sagemaker.{name}":
            raise
        log.warning("local.sagemaker.%s is not there", name)
        return None


def operations() -> dict[str, dict[str, Handler]]:
    """Handlers by botocore's service name and operation name.

    Raises:
        ValueError: When two modules claim one operation.
    """
    tables: dict[str, dict[str, Handler]] = {}
    for service, modules in _MODULES.items():
        table = tables.setdefault(service, {})
        for module in filter(None, map(_load, modules)):
            if twice := table.keys() & module.OPERATIONS.keys():
                raise ValueError(f"{module.__name__} claims {', '.join(sorted(twice))}, which another module answers")
            table |= module.OPERATIONS
    tables["sagemaker"] = {name: names.resolving(handler) for name, handler in tables["sagemaker"].items()}
    return tables


def recover_all(cloud: Cloud) -> None:
    """Make the work that a stop interrupted converge: each module its own, in the order of the tables."""
    for modules in _MODULES.values():
        for module in filter(None, map(_load, modules)):
            recover = getattr(module, "recover", None)
            if recover is None:
                continue
            try:
                recover(cloud)
            except Exception:
                # The rest of the cloud is of use without it.
                log.exception("%s: interrupted work could not be taken up again", module.__name__)
