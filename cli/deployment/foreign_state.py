"""The check for a stack whose AWS resources exist although Pulumi's backend has no state of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from cli.console.errors import CliError
from cli.deployment import saved_plan
from cli.stack.deployable import Deployable
from cli.stack.target import Target
from millrace.inventory import PIPELINE_KINDS
from queries.client import is_not_found


def require_no_foreign_resources(target: Deployable) -> None:
    """Raise if resources of the stack exist but Pulumi has none: another backend has its state.

    The stack can be changed only with that backend.

    Args:
        target: The stack, of which Pulumi's backend has no resources.

    Raises:
        CliError: With the existing resources, and the backend that was read.
    """
    if there := ", ".join(_find_existing(target)):
        raise CliError(
            f"stack {target.stack}",
            (
                f"has no resources in the state of this backend ({saved_plan.describe_backend()}), but AWS has: "
                f"{there}; nothing was changed"
            ),
            fix=(
                "log in to the backend that has the stack (`pulumi login`, or PULUMI_BACKEND_URL) and "
                "run this again; if none has it, delete these resources by hand"
            ),
        )


def _find_existing(target: Deployable) -> Iterator[str]:
    """Yield the AWS resources of this stack that only its Pulumi state can manage; ignore rollout leftovers."""
    names = target.names
    if isinstance(target, Target):
        sagemaker, group = target.sagemaker, names.model_package_group
        if _exists(sagemaker.describe_endpoint, EndpointName=names.endpoint):
            yield f"endpoint {names.endpoint}"
        for pipeline in (target.names.pipeline(kind) for kind in PIPELINE_KINDS):
            if _exists(sagemaker.describe_pipeline, PipelineName=pipeline):
                yield f"pipeline {pipeline}"
        if _exists(sagemaker.describe_model_package_group, ModelPackageGroupName=group):
            yield f"model package group {group}"
    if not names.shared_lake and _exists(target.client("s3").head_bucket, Bucket=names.lake):
        yield f"bucket {names.lake}"


def _exists(ask: Callable[..., Any], **what: str) -> bool:
    try:
        ask(**what)
    except ClientError as error:
        if is_not_found(error):
            return False
        raise
    return True
