"""API calls, and the context in which a resource makes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
from botocore import xform_name
from botocore.config import Config

from local.provider.errors import ProviderError, convert_api_errors
from local.provider.shapes import load_service_model, select_known_params

_POLL_FIRST, _POLL_LAST = 0.02, 1.0


class Api:
    """The API at one endpoint: a client per service and region, created on first use and shared by all threads.

    Args:
        credentials: The access key that signs requests, as boto3's arguments.
    """

    def __init__(self, endpoint_url: str, credentials: Mapping[str, str]) -> None:
        self.endpoint_url = endpoint_url
        self._credentials = dict(credentials)
        self._session = boto3.session.Session()
        self._lock = threading.Lock()
        self._client = lru_cache(maxsize=None)(self._new_client)

    def _new_client(self, service: str, region: str) -> Any:
        # Sessions are not safe to build clients from in several threads; clients are safe to use in several.
        with self._lock:
            return self._session.client(
                service,
                region_name=region,
                endpoint_url=self.endpoint_url,
                config=Config(max_pool_connections=32, s3={"addressing_style": "path"}, parameter_validation=True),
                **self._credentials,
            )

    def call(self, service: str, region: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Call an operation.

        Args:
            service: The service's name in botocore.
            region: The region of the request.
            operation: The operation's name, e.g. ``CreateModel``.
            params: The parameters by member name.

        Returns:
            The members of the response, without ``ResponseMetadata``.

        Raises:
            ApiError: If the API returned an error.
        """
        with convert_api_errors(service, operation):
            answer = getattr(self._client(service, region), xform_name(operation))(**params)
        answer.pop("ResponseMetadata", None)
        return dict(answer)


@dataclass
class Context:
    """The context of one request of the engine: region, default tags, cancellation and timeout.

    Attributes:
        directory: The base folder for relative paths of assets.
        timeout: The user's limit in seconds; 0 for the resource's own limit.
    """

    api: Api
    region: str
    directory: Path
    default_tags: dict[str, str] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    timeout: float = 0.0

    def call(self, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Call an operation in this request's region.

        Args:
            service: The service's name in botocore.
            operation: The operation's name, e.g. ``CreateModel``.
            params: The parameters by member name.

        Returns:
            The members of the response, without ``ResponseMetadata``.

        Raises:
            ApiError: If the API returned an error.
        """
        return self.api.call(service, self.region, operation, params)

    def filter_accepted(self, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of ``params`` that the operation accepts.

        Args:
            service: The service's name in botocore.
            operation: The operation's name, e.g. ``CreateModel``.
            params: Parameters by member name; those inside nested structures are selected, too.
        """
        shape = load_service_model(service).operation_model(operation).input_shape
        return select_known_params(params, shape) if shape is not None else {}

    def wait(self, what: str, done: Callable[[], bool], seconds: float) -> None:
        """Poll until ``done``.

        Args:
            what: What is waited for, as an error shows it, e.g. ``endpoint search being deleted``.
            done: Returns True to end the wait; its exceptions are not caught.
            seconds: The longest wait, unless the user has set a limit.

        Raises:
            ProviderError: If the time limit was reached, or the engine cancelled.
        """
        limit = self.timeout or seconds
        deadline, pause = time.monotonic() + limit, _POLL_FIRST
        while not done():
            if time.monotonic() > deadline:
                raise ProviderError(f"{what}:", f"not reached within {limit:.0f} s")
            if self.cancelled.wait(pause):
                raise ProviderError(f"{what}:", "cancelled while waiting")
            pause = min(pause * 1.5, _POLL_LAST)
