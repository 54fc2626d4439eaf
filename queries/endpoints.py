"""Endpoints: their description, the model that they serve, and waiting until one is no longer being changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from queries.client import is_not_found

#: Values of EndpointStatus while SageMaker is changing the endpoint.
IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
IN_SERVICE = "InService"
#: Seconds that :func:`wait_until_settled` waits at most.
_LONGEST_WAIT = 3600.0


@dataclass(frozen=True)
class ServedModel:
    """The model behind an endpoint configuration, as far as its resources still exist."""

    config: Mapping[str, Any] | None
    """DescribeEndpointConfig's answer; None where the configuration does not exist."""
    name: str | None
    """The model's name; None without a configuration."""
    model: Mapping[str, Any] | None
    """DescribeModel's answer; None where the model does not exist."""

    @property
    def container(self) -> Mapping[str, Any]:
        """The model's first container; empty where the model does not exist."""
        return get_container(self.model or {})

    @property
    def package(self) -> str | None:
        """The ARN of the model package; None where the model was not created from one."""
        return self.container.get("ModelPackageName")


def find_endpoint(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """Return DescribeEndpoint's answer; None where the endpoint does not exist.

    Args:
        sagemaker: A boto3 client.
        name: The endpoint's name.
    """
    return _describe(sagemaker.describe_endpoint, EndpointName=name)


def find_served_model(sagemaker: Any, config: str) -> ServedModel:
    """Follow an endpoint configuration to its model.

    Args:
        sagemaker: A boto3 client.
        config: The name of the endpoint configuration.

    Returns:
        The model of the configuration's only variant; parts that were deleted are None.
    """
    described = find_endpoint_config(sagemaker, config)
    if described is None:
        return ServedModel(None, None, None)
    name = str(described["ProductionVariants"][0]["ModelName"])
    return ServedModel(described, name, find_model(sagemaker, name))


def find_endpoint_config(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """Return DescribeEndpointConfig's answer; None where the configuration does not exist.

    Args:
        sagemaker: A boto3 client.
        name: The configuration's name.
    """
    return _describe(sagemaker.describe_endpoint_config, EndpointConfigName=name)


def find_model(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """Return DescribeModel's answer; None where the model does not exist.

    Args:
        sagemaker: A boto3 client.
        name: The model's name.
    """
    return _describe(sagemaker.describe_model, ModelName=name)


def get_container(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first container of a model; empty where it has none.

    Args:
        model: DescribeModel's answer.
    """
    return model.get("PrimaryContainer") or next(iter(model.get("Containers", [])), {})


def get_deployment_time(endpoint: Mapping[str, Any], config: Mapping[str, Any]) -> datetime:
    """Return when the deployment of the configuration that serves began.

    Each deployment creates a configuration. LastModifiedTime cannot be used: a rollout that is in progress, or was
    rolled back, changes it, too.

    Args:
        endpoint: DescribeEndpoint's answer.
        config: DescribeEndpointConfig's answer for the configuration that serves.
    """
    began: datetime = max(endpoint["CreationTime"], config["CreationTime"])
    return began


def wait_until_settled(
    sagemaker: Any, name: str, pause: Callable[[], None], report: Callable[[str], None]
) -> dict[str, Any] | None:
    """Wait until SageMaker is not changing an endpoint, for an hour at most.

    Args:
        sagemaker: A boto3 client.
        name: The endpoint's name.
        pause: Called between two requests; it sleeps.
        report: Called with the status, each time that the endpoint is still being changed.

    Returns:
        DescribeEndpoint's last answer; None where the endpoint does not exist.
    """
    deadline = time.monotonic() + _LONGEST_WAIT
    while (found := find_endpoint(sagemaker, name)) and found["EndpointStatus"] in IN_PROGRESS:
        report(found["EndpointStatus"])
        if time.monotonic() > deadline:
            break
        pause()
    return found


def _describe(operation: Callable[..., Mapping[str, Any]], **names: str) -> dict[str, Any] | None:
    try:
        return dict(operation(**names))
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
