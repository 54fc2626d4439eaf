"""The table of resource types: every type of ``pulumi_aws`` that this provider has, by token."""

from __future__ import annotations

from local.provider.errors import UnknownTypeError
from local.provider.resources import Resource
from local.provider.types import (
    cloudwatch,
    codebuild,
    ecr,
    events,
    iam,
    kms,
    logs,
    s3,
    s3_objects,
    sagemaker,
    scaling,
    scheduler,
    sns,
    sqs,
    ssm,
)

_MODULES = (
    s3,
    s3_objects,
    kms,
    iam,
    sagemaker,
    cloudwatch,
    codebuild,
    logs,
    events,
    scheduler,
    sns,
    sqs,
    scaling,
    ssm,
    ecr,
)

TYPES: dict[str, Resource] = {kind.token: kind() for module in _MODULES for kind in module.TYPES}


def find_resource_type(token: str) -> Resource:
    """Return the resource type with this token.

    Args:
        token: The Pulumi type, e.g. ``aws:sagemaker/model:Model``.

    Raises:
        UnknownTypeError: If the provider does not have this type.
    """
    found = TYPES.get(token)
    if found is None:
        raise UnknownTypeError(
            token, "cannot be created on this machine", expected=f"one of {', '.join(sorted(TYPES))}"
        )
    return found
