"""A stack's configuration file without what only its owner can use: secrets, accounts, keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from cli.console.errors import CliError

#: Settings of a stack's encryption; a throwaway stack has its own.
_OWNERS = ("secretsprovider", "encryptionsalt", "encryptedkey")
#: Provider settings that are kept: they affect the resources, not the credentials.
_KEPT = frozenset({"aws:region", "aws:defaultTags"})


def remove_owner_settings(path: Path) -> None:
    """Remove from a stack's file what a throwaway stack cannot use; the rest stays as it is written.

    A secret is replaced by a text with a hash of its ciphertext: a secret that was set again shows as changed, and none
    is revealed.

    Raises:
        CliError: The file is not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        document = yaml.load(path.read_text())
    except YAMLError as error:
        raise CliError(path.name, f"is not YAML: {error}") from error
    if not isinstance(document, MutableMapping):
        return
    for name in _OWNERS:
        document.pop(name, None)
    if isinstance(config := document.get("config"), MutableMapping):
        for name in [name for name in config if str(name).startswith("aws:") and name not in _KEPT]:
            del config[name]
        _replace_secrets(config)
    with path.open("w") as file:
        yaml.dump(document, file)


def _replace_secrets(values: Any) -> None:
    """Replace the secrets in a configuration value, at every depth."""
    places = list(values.items()) if isinstance(values, MutableMapping) else list(enumerate(values))
    for place, value in places:
        if isinstance(value, Mapping) and set(value) == {"secure"} and isinstance(value["secure"], str):
            values[place] = f"secret-{hashlib.sha256(value['secure'].encode()).hexdigest()[:12]}"
        elif isinstance(value, MutableMapping | list):
            _replace_secrets(value)
