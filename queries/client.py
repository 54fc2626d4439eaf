"""The factory of boto3 clients with one retry policy, and a test for errors that mean a missing resource."""

from __future__ import annotations

import os
import threading
from typing import Any

from millrace.errors import InvalidValueError

#: Attempts of one request: throttling and connection errors are retried with exponential back-off, the rest is not.
ATTEMPTS = 4
#: Seconds for connecting and for an answer, where the caller does not ask for less.
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 70.0

#: AWS's services have no common code for "does not exist"; some have a sentence instead.
_NOT_FOUND_CODES = frozenset(
    {"ResourceNotFound", "ResourceNotFoundException", "NoSuchBucket", "NoSuchKey", "NotFoundException", "404"}
)
_NOT_FOUND_TEXTS = ("does not exist", "Could not find", "could not be found", "NonExistentQueue")

#: The variables from which a session takes its credentials and settings, in addition to the profile.
_VARIABLES = (
    "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)  # fmt: skip
_thread = threading.local()


def make_client(
    service: str,
    region: str | None = None,
    *,
    profile: str | None = None,
    session: Any = None,
    attempts: int = ATTEMPTS,
    connect_timeout: float = CONNECT_TIMEOUT,
    read_timeout: float = READ_TIMEOUT,
    **options: Any,
) -> Any:
    """Make a boto3 client.

    Args:
        service: AWS's name of the service, such as ``sagemaker``.
        region: Where to ask; None takes the region of the user's settings.
        profile: The user's profile; None takes the user's default credentials.
        session: A boto3 session to use instead; ``profile`` is ignored then.
        attempts: Attempts of one request, including the first one.
        connect_timeout: Seconds.
        read_timeout: Seconds.
        options: ``endpoint_url``, and more settings of ``botocore.config.Config`` such as ``max_pool_connections``.

    Returns:
        A new client; clients of one thread share the session of their profile.

    Raises:
        botocore.exceptions.BotoCoreError: There is no such profile, or no region.
        InvalidValueError: The address of AWS is malformed.
    """
    # A preview that calls no hook does not pay for the import.
    from botocore.config import Config

    endpoint_url = options.pop("endpoint_url", None)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        **options,
    )
    made = session or _get_session(profile)
    try:
        return made.client(service, region_name=region, endpoint_url=endpoint_url, config=config)
    except ValueError as error:
        # botocore names the endpoint and not where it comes from.
        raise InvalidValueError(
            f"AWS's endpoint for {service}",
            f"is invalid: {error}",
            fix="correct or unset AWS_ENDPOINT_URL, and endpoint_url in AWS's configuration file",
        ) from error


def is_not_found(error: Exception) -> bool:
    """Tell whether AWS refused a request because what it names does not exist.

    Args:
        error: The exception that a client raised.

    Returns:
        True if AWS answered so; False for any other exception, also one without an answer of AWS.
    """
    response = getattr(error, "response", None) or {"Error": {}}
    code, message = response["Error"].get("Code", ""), response["Error"].get("Message", "")
    return code in _NOT_FOUND_CODES or any(text in f"{code} {message}" for text in _NOT_FOUND_TEXTS)


def _get_session(profile: str | None) -> Any:
    """Return this thread's session: sessions must not be shared between threads, and take some time to make."""
    import boto3

    key = (profile, *(os.environ.get(name) for name in _VARIABLES))
    known: dict[tuple[str | None, ...], Any] = _thread.__dict__.setdefault("sessions", {})
    if key not in known:
        known[key] = boto3.session.Session(profile_name=profile)
    return known[key]
