"""The provider's errors, and the conversion of API errors into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError


class ProviderError(LocalError):
    """A failure reported to the user of the engine."""


class UnknownTypeError(ProviderError):
    """A resource type or function that this provider does not have."""


class ApiError(ProviderError):
    """An error response of the API.

    Attributes:
        code: The API's error code, e.g. ``ValidationException``.
        message: The API's message.
    """

    def __init__(self, service: str, operation: str, code: str, message: str) -> None:
        super().__init__(f"{service} {operation}: {code}: {message}")
        self.code = code
        self.message = message


@contextmanager
def convert_api_errors(service: str, operation: str) -> Iterator[None]:
    """Turn botocore's exceptions into :class:`ApiError`."""
    try:
        yield
    except ClientError as error:
        detail = error.response.get("Error", {})
        code, message = str(detail.get("Code", "Unknown")), str(detail.get("Message", ""))
        raise ApiError(service, operation, code, message) from error
    except BotoCoreError as error:
        raise ApiError(service, operation, type(error).__name__, str(error)) from error


@dataclass(frozen=True)
class Failure:
    """An invalid property and the reason."""

    property: str
    reason: str
