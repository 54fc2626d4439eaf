"""A stack's configuration without what only its owner can use: secrets, accounts, keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from cli.console.errors import CliError

#: How a stack encrypts its secrets; a throwaway one has its own way.
_OWNERS = ("secretsprovider", "encryptionsalt", "encryptedkey")
#: Of the provider's settings, those that say what is made and not in whose name.
_KEPT = frozenset({"aws:region", "aws:defaultTags"})


def disarm(path: Path) -> None:
    """Replace what stands in the file by what a throwaway stack can read; the rest stays as it is written.

    A secret becomes a text of its own ciphertext's hash: one that was set anew shows as changed, and none is told.

    Raises:
        CliError: When it is not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        document = yaml.load(path.read_text())
    except YAMLError as error:
        raise CliError(f"{path.name}", f"is not YAML: {error}") from error
    if not isinstance(document, MutableMapping):
        return
    for name in _OWNERS:
        document.pop(name, None)
    if isinstance(config := document.get("config"), MutableMapping):
        for name in [name for name in config if str(name).startswith("aws:") and name not in _KEPT]:
            del config[name]
        _open(config)
    with path.open("w") as file:
        yaml.dump(document, file)


def _open(values: Any) -> None:
    """Replace the secrets inside, wherever they stand."""
    places = list(values.items()) if isinstance(values, MutableMapping) else list(enumerate(values))
    for place, value in places:
        if isinstance(value, Mapping) and set(value) == {"secure"} and isinstance(value["secure"], str):
            values[place] = f"secret-{hashlib.sha256(value['secure'].encode()).hexdigest()[:12]}"
        elif isinstance(value, MutableMapping | list):
            _open(value)
