"""No deployment ends serving unless that is meant: the program leaves an endpoint out that has no approved model."""

from __future__ import annotations

from cli.aws import endpoints, model_packages
from cli.stack.deployable import named
from cli.stack.target import Target
from queries.packages import APPROVED


def loses_endpoint(target: Target) -> bool:
    """Whether there is an endpoint and nothing that it may serve: the program would leave it out."""
    return model_packages.newest(target, APPROVED) is None and endpoints.find(target) is not None


def endpoint_stays(target: Target) -> str:
    """Why it is not deployed, and what to do."""
    endpoint, newest, name = endpoints.find(target), model_packages.newest(target), named(target)
    if newest is None and not target.names.shared_lake:
        # Without its group, nothing can be trained either. What it says of a shared lake is not of this stack.
        model_packages.require_group(target)
    version = f", which serves version {endpoint.version}," if endpoint and endpoint.version else ""
    approve = f"`millrace approve {name} {newest.version}`" if newest else f"train one, `millrace retrain {name}`"
    return (
        f"this would delete endpoint {target.names.endpoint}{version} because no model of "
        f"{target.names.model_package_group} is approved{'' if newest else ' (it has none)'}; nothing was changed. "
        f"Approve a version first: {approve}; or say that it shall go: `millrace deploy {name} --remove-endpoint`"
    )
