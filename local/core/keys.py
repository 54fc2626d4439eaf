"""Who may call the cloud: every access key that it accepts, and whose it is.

There are four kinds: the user's, from the state folder's credentials file; one for each of the cloud's own parts and
containers, made when they start and gone when they end; those of IAM users; those of STS's sessions.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local.core.identity import ACCOUNT, PARTITION
from local.credentials import Credentials, credentials_file, ensure_credentials, generate_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

#: Whom `sts get-caller-identity` names to the user of the cloud.
USER_ARN = f"arn:{PARTITION}:iam::{ACCOUNT}:user/millrace"


@dataclass(frozen=True)
class Key:
    """An access key that is accepted.

    Attributes:
        arn: Who signs with it; None where moto knows better.
        token: The session token that goes with it, for temporary keys.
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
        #: Finds keys that IAM and STS gave out; set once they are there.
        self.find_elsewhere: Callable[[str], Key | None] = lambda _access_key_id: None

    @property
    def user(self) -> Credentials:
        """The user's access key as it is now."""
        with self._lock:
            stamp = self._file_stamp()
            if stamp != self._stamp:
                self._user, self._stamp = ensure_credentials(self._state), self._file_stamp()
            return self._user

    def find(self, access_key_id: str) -> Key | None:
        """Return the key with this id, or None when nobody has it."""
        if access_key_id == self.user.access_key_id:
            return Key(self.user.secret_access_key, USER_ARN)
        with self._lock:
            issued = self._issued.get(access_key_id)
        return issued or self.find_elsewhere(access_key_id)

    def issue(self, name: str) -> Credentials:
        """Return a new access key for a part of the cloud or a container; it lives in memory only."""
        made = generate_credentials()
        arn = f"arn:{PARTITION}:sts::{ACCOUNT}:assumed-role/local/{name}"
        with self._lock:
            self._issued[made.access_key_id] = Key(made.secret_access_key, arn)
        return made

    def revoke(self, credentials: Credentials) -> None:
        """Accept an issued key no longer."""
        with self._lock:
            self._issued.pop(credentials.access_key_id, None)

    def _file_stamp(self) -> tuple[int, int] | None:
        try:
            found = credentials_file(self._state).stat()
        except OSError:
            # Deleted under a running cloud: the key that it knows stays.
            return self._stamp if hasattr(self, "_stamp") else None
        return found.st_mtime_ns, found.st_ino
