"""Names of resources whose program gives none, by the rules of ``pulumi_aws``: ``<resource>-<7 hex digits>``."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from local.provider.errors import ProviderError


@dataclass(frozen=True)
class AutoName:
    """How one property is named.

    Attributes:
        maximum: The longest name that is made; a longer one is an error, not a cut.
        digits: How many random hex digits follow; 0 for the resource's name as it is.
        prefix: What the name starts with, e.g. ``alias/``.
        lowercase: The resource's name is lowered first.
        fifo: The property that, when true, adds the suffix ``.fifo``.
    """

    maximum: int = 255
    digits: int = 7
    prefix: str = ""
    lowercase: bool = False
    fifo: str = ""


def unique(digits: int, seed: bytes) -> str:
    """Random hex digits; the same for the same seed of the engine, so that a repeated step names the same thing."""
    if not seed:
        return secrets.token_hex(digits)[:digits]
    return hashlib.sha256(seed).hexdigest()[:digits]


def make_name(rule: AutoName, resource: str, seed: bytes, suffix: str = "") -> str:
    """The name of ``resource``.

    Raises:
        ProviderError: It would be longer than the rule allows.
    """
    stem = rule.prefix + (resource.lower() if rule.lowercase else resource)
    name = f"{stem}-{unique(rule.digits, seed)}{suffix}" if rule.digits else stem + suffix
    if len(name) > rule.maximum:
        raise ProviderError(
            f"the name generated from {resource!r}",
            f"has {len(name)} characters",
            expected=f"at most {rule.maximum}",
            fix="give the resource a shorter name, or this property a value",
        )
    return name
