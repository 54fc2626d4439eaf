"""What opens a stack's secrets, in a checkout whose stack file does not say it.

Pulumi writes it into the stack's file when it makes the stack, for people to commit. Where a workflow made the stack,
or nobody did, each checkout would make up its own, and a plan of one could not be read in another. The stack's state
has it too: it is public without the passphrase, or without the right to use the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.pulumi import updates
from cli.stack.deployable import Deployable
from cli.stack.target import STACKS

#: What a stack's file says of it, by the kind that the state names: each with its place in the state.
_WORDS = {
    "passphrase": {"encryptionsalt": "salt"},
    "cloud": {"secretsprovider": "url", "encryptedkey": "encryptedkey"},
}


def restore(target: Deployable) -> None:
    """Write it into the stack's file, where the file lacks it and the state has it.

    Raises:
        CliError: When the state cannot be read.
    """
    import yaml

    path = STACKS / f"Pulumi.{target.stack}.yaml"
    # Before Pulumi has looked at it, which may write a new one.
    text = path.read_text()
    document: Mapping[str, Any] = yaml.safe_load(text)
    if any(word in document for words in _WORDS.values() for word in words):
        return
    try:
        deployment = updates.state(target).get("deployment") or {}
    except updates.NoStackError:
        return
    provider = deployment.get("secrets_providers") or {}
    told = provider.get("state") or {}
    words = {word: told[part] for word, part in _WORDS.get(provider.get("type", ""), {}).items() if told.get(part)}
    # Without words the backend itself keeps it.
    if words:
        lines = "".join(f"{word}: {value}\n" for word, value in words.items())
        path.write_text(f"{text.rstrip()}\n{lines}")
