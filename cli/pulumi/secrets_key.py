"""The key of a stack's secrets, in a checkout whose stack file lacks it.

Pulumi writes the key into the stack's file when it creates the stack, for people to commit. If a workflow created the
stack, or nobody committed the file, each checkout would create its own key, and a plan made in one could not be read
in another. The stack's state has the key, too: it is useless without the passphrase or the right to use the KMS key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.pulumi import process
from cli.stack.deployable import Deployable
from cli.stack.target import STACKS
from millrace.config_files import make_file_name

#: The key's fields in a stack's file → their names in the state, by the kind of secrets provider in the state.
_WORDS = {
    "passphrase": {"encryptionsalt": "salt"},
    "cloud": {"secretsprovider": "url", "encryptedkey": "encryptedkey"},
}


def restore_key(target: Deployable) -> None:
    """Write the key into the stack's file if the file lacks it and the state has it.

    Args:
        target: The stack, whose file must exist.

    Raises:
        CliError: When the state cannot be read.
    """
    import yaml

    path = STACKS / make_file_name(target.stack)
    # Read before Pulumi runs, which may write a new key into the file.
    text = path.read_text()
    document: Mapping[str, Any] = yaml.safe_load(text)
    if any(word in document for words in _WORDS.values() for word in words):
        return
    try:
        deployment = process.export_state(target).get("deployment") or {}
    except process.NoStackError:
        return
    provider = deployment.get("secrets_providers") or {}
    told = provider.get("state") or {}
    words = {word: told[part] for word, part in _WORDS.get(provider.get("type", ""), {}).items() if told.get(part)}
    # Without fields, the backend itself keeps the key.
    if words:
        lines = "".join(f"{word}: {value}\n" for word, value in words.items())
        path.write_text(f"{text.rstrip()}\n{lines}")
