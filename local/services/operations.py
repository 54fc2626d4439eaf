"""The services that are this cloud's own: one literal table of operations for each."""

from __future__ import annotations

import logging
from collections.abc import Callable

from local.core.context import Cloud, Handler
from local.services.codebuild import builds, projects
from local.services.sagemaker import model_package_groups, model_packages, models, names, tags
from local.services.sagemaker.feature_store import groups, records
from local.services.sagemaker.hosting import endpoint_configs, endpoints, host, invocations
from local.services.sagemaker.jobs import operations as jobs
from local.services.sagemaker.pipelines import operations as pipelines

log = logging.getLogger(__name__)

#: The tables of each service, by botocore's name for it.
_TABLES: dict[str, tuple[dict[str, Handler], ...]] = {
    "sagemaker": (
        models.OPERATIONS,
        endpoint_configs.OPERATIONS,
        endpoints.OPERATIONS,
        tags.OPERATIONS,
        model_package_groups.OPERATIONS,
        model_packages.OPERATIONS,
        jobs.OPERATIONS,
        pipelines.OPERATIONS,
        groups.OPERATIONS,
    ),
    "sagemaker-runtime": (invocations.OPERATIONS,),
    "sagemaker-featurestore-runtime": (records.OPERATIONS,),
    "codebuild": (projects.OPERATIONS, builds.OPERATIONS),
}
#: The functions that resume interrupted work, in the order of their calls.
_RECOVERIES: tuple[Callable[[Cloud], None], ...] = (
    host.recover,
    jobs.recover,
    pipelines.recover,
    groups.recover,
    builds.recover,
)


def list_operations() -> dict[str, dict[str, Handler]]:
    """Return the handlers by botocore's service name and operation name.

    Raises:
        ValueError: Two tables claim one operation.
    """
    tables: dict[str, dict[str, Handler]] = {}
    for service, parts in _TABLES.items():
        table = tables.setdefault(service, {})
        for part in parts:
            if twice := table.keys() & part.keys():
                raise ValueError(f"{service}: {', '.join(sorted(twice))} is answered by two tables")
            table |= part
    tables["sagemaker"] = {name: names.with_stored_names(handler) for name, handler in tables["sagemaker"].items()}
    return tables


def recover_all(cloud: Cloud) -> None:
    """Resume or settle all work that the last shutdown interrupted.

    Args:
        cloud: The cloud, which has just started; what cannot be resumed is logged.
    """
    for recover in _RECOVERIES:
        try:
            recover(cloud)
        except Exception:
            # The rest of the local cloud works without it.
            log.exception("%s: interrupted work could not be resumed", recover.__module__)
