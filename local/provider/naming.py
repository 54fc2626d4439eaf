"""Automatic names of resources by the rules of ``pulumi_aws``: ``<resource>-<7 hex digits>``."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from local.provider.errors import ProviderError


@dataclass(frozen=True)
class AutoName:
    """The rule for the automatic name of one property.

    Attributes:
        maximum: The longest allowed name; a longer one is an error and is not truncated.
        digits: The number of random hex digits that follow; 0 for the resource's name as it is.
        prefix: The start of the name, e.g. ``alias/``.
        lowercase: Convert the resource's name to lower case.
        fifo: The property that, when true, adds the suffix ``.fifo``.
    """

    maximum: int = 255
    digits: int = 7
    prefix: str = ""
    lowercase: bool = False
    fifo: str = ""


def make_unique_digits(digits: int, seed: bytes) -> str:
    """Return hex digits: random, or derived from the engine's seed, so that a repeated step makes the same name."""
    if not seed:
        return secrets.token_hex(digits)[:digits]
    return hashlib.sha256(seed).hexdigest()[:digits]


def make_name(rule: AutoName, resource: str, seed: bytes, suffix: str = "") -> str:
    """Return an automatic name for ``resource``.

    Raises:
        ProviderError: If it would be longer than the rule allows.
    """
    stem = rule.prefix + (resource.lower() if rule.lowercase else resource)
    name = f"{stem}-{make_unique_digits(rule.digits, seed)}{suffix}" if rule.digits else stem + suffix
    if len(name) > rule.maximum:
        raise ProviderError(
            f"the name generated from {resource!r}",
            f"has {len(name)} characters",
            expected=f"at most {rule.maximum}",
            fix="give the resource a shorter name, or this property a value",
        )
    return name
