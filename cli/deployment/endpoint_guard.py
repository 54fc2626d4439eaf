"""The check that a deployment does not delete an endpoint unintentionally.

The program leaves the endpoint out when no package is approved.
"""

from __future__ import annotations

from cli.aws import endpoints, model_packages
from cli.console.errors import CliError
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from queries.packages import APPROVED


def would_lose_endpoint(target: Target) -> bool:
    """Return True if an endpoint exists but no package is approved: the program would leave the endpoint out.

    Args:
        target: The stack.
    """
    return model_packages.find_newest(target, APPROVED) is None and endpoints.read_endpoint(target) is not None


def make_removal_error(target: Target) -> CliError:
    """Return the error of a deployment that would delete the endpoint.

    Args:
        target: The stack.

    Raises:
        CliError: The stack's own model package group does not exist.
    """
    endpoint, newest, name = (
        endpoints.read_endpoint(target),
        model_packages.find_newest(target),
        render_arguments(target),
    )
    if newest is None and not target.names.shared_lake:
        # Without the group nothing can be trained. Not for a shared lake, where the error says nothing of this stack.
        model_packages.require_group(target)
    version = f", which serves version {endpoint.version}," if endpoint and endpoint.version else ""
    approve = f"`millrace approve {name} {newest.version}`" if newest else f"train one, `millrace retrain {name}`"
    return CliError(
        f"endpoint {target.names.endpoint}{version}",
        f"would be deleted, because no model of {target.names.model_package_group} is approved"
        f"{'' if newest else ' (it has none)'}; nothing was changed",
        fix=f"approve a version first: {approve}; or delete it on purpose: `millrace deploy {name} --remove-endpoint`",
    )
