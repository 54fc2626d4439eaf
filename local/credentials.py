"""The access key of a local cloud: random for every state folder, kept in AWS's shared credentials file.

The file has mode 0600, so only users who can read it can use the cloud. It is the only copy: the daemon reads it, and
every command passes it to its subprocesses in their environment.
"""

from __future__ import annotations

import configparser
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from local.errors import LocalError
from local.files import make_private_folder, write_atomically

#: Characters of a key id after its prefix, for 20 characters in total, as in AWS's ids.
_ID_LENGTH = 15
_ID_PREFIX = "LOCAL"
_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

_PROFILE = "default"


class CredentialsError(LocalError):
    """The credentials file of a state folder cannot be used."""


@dataclass(frozen=True)
class Credentials:
    """An access key: its id, which is public, and the secret that signs requests."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    def to_environment(self) -> dict[str, str]:
        """Return the environment variables that every AWS SDK reads."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}

    def to_boto3_arguments(self) -> dict[str, str]:
        """Return the arguments of boto3's sessions and clients."""
        return {"aws_access_key_id": self.access_key_id, "aws_secret_access_key": self.secret_access_key}


def generate_credentials() -> Credentials:
    """Return a new random access key."""
    characters = (secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    return Credentials(_ID_PREFIX + "".join(characters), secrets.token_urlsafe(30))


def credentials_file(state: Path) -> Path:
    """Return the path of a state folder's credentials file.

    Args:
        state: The state folder, which need not exist.
    """
    return state / "aws" / "credentials"


def read_credentials(state: Path) -> Credentials | None:
    """Return the access key of a state folder, or None when it has none yet.

    Raises:
        CredentialsError: The file cannot be read, or holds no access key.
    """
    path = credentials_file(state)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise CredentialsError(
            f"{path}", f"cannot be read: {error}", fix="`millrace local rotate` writes a new one"
        ) from error
    section = parser[_PROFILE] if parser.has_section(_PROFILE) else {}
    found = Credentials(section.get("aws_access_key_id", ""), section.get("aws_secret_access_key", ""))
    # Earlier versions wrote a fixed, publicly known key.
    if found.access_key_id == "local":
        return None
    if not (found.access_key_id.startswith(_ID_PREFIX) and found.secret_access_key):
        raise CredentialsError(
            f"{path}",
            "holds no access key of a local cloud",
            expected=f"aws_access_key_id={_ID_PREFIX}… and aws_secret_access_key under [{_PROFILE}]",
            fix="`millrace local rotate` writes a new one",
        )
    return found


def ensure_credentials(state: Path) -> Credentials:
    """Return the access key of a state folder, made on first use.

    Args:
        state: The state folder, which is created if it does not exist.

    Raises:
        CredentialsError: The file cannot be read, or holds no access key.
    """
    return read_credentials(state) or rotate_credentials(state)


def rotate_credentials(state: Path) -> Credentials:
    """Write a new access key of a state folder; a running daemon accepts only the new one from now on.

    Args:
        state: The state folder, which is created if it does not exist.

    Returns:
        The new access key.
    """
    made, path = generate_credentials(), credentials_file(state)
    make_private_folder(path.parent)
    text = f"[{_PROFILE}]\naws_access_key_id = {made.access_key_id}\naws_secret_access_key = {made.secret_access_key}\n"
    write_atomically(path, text.encode())
    return made
