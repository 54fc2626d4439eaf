"""Clients of one AWS account, or of the local cloud, in one region, and explanations of their errors.

Nothing here sets environment variables of this process, as :func:`cli.stack.connection.use_environment` does for the
local cloud, so stacks of several accounts can be queried at the same time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from cli.console.errors import CliError
from cli.stack import connection
from millrace.errors import DataError
from queries.client import make_client

#: Concurrent queries of one account: AWS limits their rate, and this machine has few cores.
AT_ONCE = 8
#: Timeouts in seconds for connecting and for a response: one slow account must not delay all others.
_CONNECT, _READ = 5, 20
#: AWS error codes for expired credentials, invalid credentials and missing permissions.
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_INVALID = {"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "AuthFailure"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}


@dataclass
class Account:
    """An AWS account, or the local cloud, with its clients, which are created once and shared by threads.

    Attributes:
        region: The region of all clients.
        profile: The AWS profile named in the stack file; None uses the default credentials.
        local: The folder of the local cloud's AWS configuration and its endpoint URL; None for an AWS account.
        scale: Seconds of the cloud's time per real second; None if unknown.
    """

    region: str
    profile: str | None = None
    local: tuple[Path, str] | None = None
    scale: float | None = 1.0
    _clients: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service; create it on first use.

        Args:
            service: Its name in boto3, e.g. `sagemaker`.

        Raises:
            botocore.exceptions.BotoCoreError: When the profile does not exist.
        """
        # Creating a client is not thread-safe; using one is.
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: str) -> Any:
        # A proxy cannot reach this machine's loopback address.
        local: dict[str, Any] = {"endpoint_url": self.local[1], "proxies": {}} if self.local else {}
        return make_client(
            service,
            self.region,
            session=self._session(),
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            max_pool_connections=AT_ONCE,
            **local,
        )

    def _session(self) -> Any:
        import boto3
        import botocore.session

        if "session" not in self._clients:
            if self.local is None:
                self._clients["session"] = boto3.session.Session(profile_name=self.profile)
            else:
                quiet = botocore.session.Session()
                # The user's own files and profile do not concern the local cloud, and may be invalid.
                for name in ("config", "credentials"):
                    quiet.set_config_variable(f"{name}_file", str(self.local[0] / name))
                quiet.set_config_variable("profile", "default")
                self._clients["session"] = boto3.session.Session(botocore_session=quiet)
        return self._clients["session"]


class Accounts:
    """A cache of the accounts that a command queries."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._known: dict[tuple[str, str, str | None], Account] = {}
        self._fresh: set[tuple[str, str, str | None]] = set()

    def expire(self) -> None:
        """Check every account again on its next use: the local cloud may have stopped or changed its port."""
        self._fresh.clear()

    def get(self, environment: str, region: str, profile: str | None) -> Account:
        """Return the account of an environment.

        Args:
            environment: The environment's name.
            region: The region of the clients.
            profile: The AWS profile, which the local cloud ignores; None uses the default credentials.

        Raises:
            CliError: When the local cloud is needed and is not running, or when it would be mistaken for an account.
        """
        is_local = environment == connection.LOCAL or connection.is_account_emulated()
        key = (connection.LOCAL if is_local else "", region, None if is_local else profile)
        if key not in self._fresh:
            found = self._local(region) if is_local else self._other(environment, region, profile)
            known = self._known.get(key)
            # Keep the known account if nothing has changed, because clients take a while to create.
            if known is None or (known.local, known.scale) != (found.local, found.scale):
                self._known[key] = found
            self._fresh.add(key)
        return self._known[key]

    def _local(self, region: str) -> Account:
        from local import client

        try:
            if is_endpoint_set_by_user():
                running = connection.find_cloud_of_shell(self._state)
                return Account(region, scale=running.scale if running else None)
            running = connection.require_local_cloud(self._state)
        except client.LocalCloudError as error:
            raise CliError(str(error)) from error
        return Account(region, None, (self._state.resolve() / "aws", running.endpoint_url), running.scale)

    def _other(self, environment: str, region: str, profile: str | None) -> Account:
        connection.use_environment(environment, self._state)
        return Account(region, profile)


def is_endpoint_set_by_user() -> bool:
    """Return True if AWS_ENDPOINT_URL is set and the user has not named a state folder, which takes precedence."""
    context = click.get_current_context()
    source = context.get_parameter_source("state")
    named = source in (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)
    return bool(os.environ.get("AWS_ENDPOINT_URL")) and not named


def try_query(question: Callable[[], Any], unknown: dict[str, str], fact: str) -> Any:
    """Return the result of ``question``; if AWS fails, or a document cannot be read, store why and return None.

    Args:
        question: Queries AWS, without arguments.
        unknown: Receives the reason of a failure, by the name of the fact.
        fact: The name of the fact that is queried.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return question()
    except (ClientError, BotoCoreError) as error:
        unknown[fact] = explain_error(error)
        return None
    except DataError as error:
        unknown[fact] = str(error)
        return None


def _explain_endpoint_variable() -> str:
    """Return advice on AWS_ENDPOINT_URL to append to a connection error; empty if the variable is not set."""
    if not os.environ.get("AWS_ENDPOINT_URL"):
        return ""
    return '; requests go to AWS_ENDPOINT_URL: run eval "$(millrace local env)" again, or unset it'


def explain_error(error: Exception, profile: str | None = None) -> str:
    """Return one line that explains why a query of an account failed and how to fix it."""
    from botocore import exceptions as aws

    if isinstance(error, CliError):
        return str(error)
    which = f"profile {profile}" if profile else "this shell"
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError | aws.CredentialRetrievalError):
        return f"no credentials: {which} has none; set AWS_PROFILE, or aws:profile in the stack's file"
    if isinstance(error, aws.ProfileNotFound):
        return f"no credentials: {error}; correct AWS_PROFILE, or aws:profile in the stack's file"
    if isinstance(error, aws.TokenRetrievalError | aws.SSOError | aws.UnauthorizedSSOTokenError):
        return f"credentials have expired: {error}; run `aws sso login`"
    if isinstance(error, aws.EndpointConnectionError | aws.ConnectionError | aws.HTTPClientError):
        return f"no answer: {error}{_explain_endpoint_variable()}"
    if not isinstance(error, aws.ClientError):
        return str(error)
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code in _EXPIRED:
        return f"credentials have expired: those of {which}; sign in again"
    if code in _INVALID:
        return f"credentials are not accepted: those of {which}: {message}"
    if code in _DENIED or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 403:
        return f"access denied: {error.operation_name}: {message}"
    return f"{error.operation_name}: {code}: {message}"
