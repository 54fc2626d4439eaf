"""Whom to ask: the clients of one account, or of the cloud on this machine, in one region; what their errors mean.

Unlike `cloud.connect` nothing of it goes through this process's environment variables, so that stacks of several
accounts can be asked at once.
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
from queries.client import make_client

#: Questions to one account at a time: AWS rations them, and this machine has few cores.
AT_ONCE = 8
#: Seconds that an answer may take: one slow account must not hold up all others.
_CONNECT, _READ = 5, 20
#: Codes of AWS for what credentials are refused with.
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_INVALID = {"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "AuthFailure"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}


@dataclass
class Account:
    """Clients, each made once and shared by threads.

    Attributes:
        region: Where it is asked.
        profile: The user's own, as the stack's file says; None takes the user's own settings.
        local: The folder of the local cloud's settings and its address; None where it is an account.
        scale: Seconds of the cloud's time in a second; None where the cloud does not say.
    """

    region: str
    profile: str | None = None
    local: tuple[Path, str] | None = None
    scale: float | None = 1.0
    _clients: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str) -> Any:
        """A boto3 client.

        Raises:
            botocore.exceptions.BotoCoreError: When there is no such profile.
        """
        # Making one is not safe in several threads; using one is.
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: str) -> Any:
        # A proxy of the user's has no way to this machine's loopback.
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
                # The user's own files and profile say nothing of this machine's cloud, and may be broken.
                for name in ("config", "credentials"):
                    quiet.set_config_variable(f"{name}_file", str(self.local[0] / name))
                quiet.set_config_variable("profile", "default")
                self._clients["session"] = boto3.session.Session(botocore_session=quiet)
        return self._clients["session"]


class Accounts:
    """The accounts of a command, each once."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._known: dict[tuple[str, str, str | None], Account] = {}
        self._fresh: set[tuple[str, str, str | None]] = set()

    def look_again(self) -> None:
        """From here on the local cloud is looked for anew: it may have stopped, or moved to another port."""
        self._fresh.clear()

    def of(self, environment: str, region: str, profile: str | None) -> Account:
        """The account of an environment.

        Raises:
            CliError: When it is this machine's cloud and that does not run, or would be taken for an account.
        """
        is_local = environment == connection.LOCAL or connection.stands_in()
        key = (connection.LOCAL if is_local else "", region, None if is_local else profile)
        if key not in self._fresh:
            found = self._local(region) if is_local else self._other(environment, region, profile)
            known = self._known.get(key)
            # Clients take a while to make.
            if known is None or (known.local, known.scale) != (found.local, found.scale):
                self._known[key] = found
            self._fresh.add(key)
        return self._known[key]

    def _local(self, region: str) -> Account:
        from local import client

        try:
            if is_set_by_the_user():
                running = client.status(self._state)
                return Account(region, scale=running.scale if running else None)
            running = connection.require(self._state)
        except client.LocalCloudError as error:
            raise CliError(str(error)) from error
        return Account(region, None, (self._state.resolve() / "aws", running.endpoint_url), running.scale)

    def _other(self, environment: str, region: str, profile: str | None) -> Account:
        connection.connect(environment, self._state)
        return Account(region, profile)


def is_set_by_the_user() -> bool:
    """Whether this shell's settings name an endpoint, and no state folder was named before it."""
    context = click.get_current_context()
    source = context.get_parameter_source("state")
    named = source in (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)
    return bool(os.environ.get("AWS_ENDPOINT_URL")) and not named


def tried(question: Callable[[], Any], unknown: dict[str, str], fact: str) -> Any:
    """The answer; where it is refused or there is none, None, and why under ``unknown[fact]``."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return question()
    except (ClientError, BotoCoreError) as error:
        unknown[fact] = reason(error)
        return None


def _hint() -> str:
    """What to do where this shell says who should have answered."""
    if not os.environ.get("AWS_ENDPOINT_URL"):
        return ""
    return '; AWS_ENDPOINT_URL says whom to ask: eval "$(millrace local env)" once more, or unset it'


def reason(error: Exception, profile: str | None = None) -> str:
    """Why an account does not answer, and what to do, in one line."""
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
        return f"no answer: {error}{_hint()}"
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
