"""The access keys that the cloud accepts, and their owners.

Four kinds exist: the user's, from the state folder's credentials file; one for each of the cloud's own parts and
containers, created when they start and revoked when they end; those of IAM users; those of STS's sessions.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local.core.identity import ACCOUNT, PARTITION
from local.credentials import Credentials, credentials_file, ensure_credentials, generate_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

#: The identity that `sts get-caller-identity` returns to the user of the cloud.
USER_ARN = f"arn:{PARTITION}:iam::{ACCOUNT}:user/millrace"
#: The member of a request's WSGI environment that is True if one of the cloud's own parts has signed the request.
OWN = "millrace.own"
_CREDENTIAL = re.compile(r"\bCredential=([^/,\s]+)/")


@dataclass(frozen=True)
class Key:
    """An access key that is accepted.

    Attributes:
        arn: The ARN of its owner; None if moto determines it.
        token: The session token of a temporary key.
    """

    secret: str = field(repr=False)
    arn: str | None = None
    token: str | None = field(default=None, repr=False)


class KeyRing:
    """The access keys of one cloud.

    Args:
        state: The state folder, whose credentials file holds the user's key. It is read again when it changes.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._user = ensure_credentials(state)
        self._stamp = self._file_stamp()
        self._issued: dict[str, Key] = {}
        self._own: set[str] = set()
        #: Finds keys that IAM and STS issued; set once these services are available.
        self.find_elsewhere: Callable[[str], Key | None] = lambda _access_key_id: None

    @property
    def user(self) -> Credentials:
        """The user's current access key."""
        with self._lock:
            stamp = self._file_stamp()
            if stamp != self._stamp:
                self._user, self._stamp = ensure_credentials(self._state), self._file_stamp()
            return self._user

    def find(self, access_key_id: str) -> Key | None:
        """Return the key with this id, or None if it is unknown.

        Args:
            access_key_id: The id, as requests name it.
        """
        if access_key_id == self.user.access_key_id:
            return Key(self.user.secret_access_key, USER_ARN)
        with self._lock:
            issued = self._issued.get(access_key_id)
        return issued or self.find_elsewhere(access_key_id)

    def issue(self, name: str, *, own: bool = False) -> Credentials:
        """Return a new access key; it lives in memory only.

        Args:
            name: The name of its owner, a part of the cloud or a container.
            own: Whether its requests are the cloud's own; they may do what only AWS itself may.
        """
        made = generate_credentials()
        arn = f"arn:{PARTITION}:sts::{ACCOUNT}:assumed-role/local/{name}"
        with self._lock:
            self._issued[made.access_key_id] = Key(made.secret_access_key, arn)
            if own:
                self._own.add(made.access_key_id)
        return made

    def is_own(self, authorization: str) -> bool:
        """Return True if the header of a signed request has the key of one of the cloud's own parts.

        Args:
            authorization: The ``Authorization`` header of a verified request; empty if it has none.
        """
        credential = _CREDENTIAL.search(authorization)
        return credential is not None and credential[1] in self._own

    def revoke(self, credentials: Credentials) -> None:
        """Stop accepting an issued key.

        Args:
            credentials: The key that :meth:`issue` returned.
        """
        with self._lock:
            self._issued.pop(credentials.access_key_id, None)

    def _file_stamp(self) -> tuple[int, int] | None:
        try:
            found = credentials_file(self._state).stat()
        except OSError:
            # The file was deleted while the cloud runs: keep the known key.
            return self._stamp if hasattr(self, "_stamp") else None
        return found.st_mtime_ns, found.st_ino
