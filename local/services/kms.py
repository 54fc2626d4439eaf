"""Correction of moto's KMS: a key that is disabled or pending deletion cannot be used."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any


def install() -> None:
    """Patch moto's KMS to refuse operations with a disabled key or one that is pending deletion."""
    from moto.kms.models import KmsBackend

    for name in ("encrypt", "generate_data_key", "re_encrypt", "sign", "generate_mac"):
        setattr(KmsBackend, name, _by_a_key_that_works(getattr(KmsBackend, name)))
    KmsBackend.decrypt = _with_a_key_that_works(KmsBackend.decrypt)  # type: ignore[method-assign]


def _by_a_key_that_works(method: Callable[..., Any]) -> Callable[..., Any]:
    of_method = inspect.signature(method)

    @wraps(method)
    def called(self: Any, *args: Any, **params: Any) -> Any:
        given = of_method.bind(self, *args, **params).arguments
        _require_enabled(self, given.get("key_id") or given["destination_key_id"])
        return method(self, *args, **params)

    return called


def _with_a_key_that_works(decrypt: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(decrypt)
    def decrypted(self: Any, *args: Any, **params: Any) -> Any:
        found = decrypt(self, *args, **params)
        # Only the ciphertext identifies the key.
        _require_enabled(self, found[1])
        return found

    return decrypted


def _require_enabled(backend: Any, key_id: str) -> None:
    from moto.core.exceptions import JsonRESTError

    key = backend.keys.get(backend.any_id_to_key_id(key_id))
    if key is None:
        return
    if key.key_state == "Disabled":
        raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
    if key.key_state == "PendingDeletion":
        raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
