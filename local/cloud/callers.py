"""What STS says of who calls: the owner of the key that signed, where moto would name a user of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from local.cloud.identity import ACCOUNT
from local.cloud.keys import Key


def install(find: Callable[[str], Key | None]) -> None:
    """Make GetCallerIdentity name the owners of this cloud's own keys.

    Args:
        find: Gives the key of an id.
    """
    from moto.core.responses import BaseResponse
    from moto.sts.models import STSBackend

    method = STSBackend.get_caller_identity

    @wraps(method)
    def get_caller_identity(self: Any, access_key_id: str, region: str) -> tuple[str, str, str]:
        key = find(access_key_id)
        if key is None or key.arn is None:
            return method(self, access_key_id, region)
        return access_key_id, key.arn, ACCOUNT

    STSBackend.get_caller_identity = get_caller_identity  # type: ignore[method-assign]

    from_header = BaseResponse.get_access_key

    @wraps(from_header)
    def get_access_key(self: Any) -> str:
        # In a presigned URL it is the first part of what the signature is scoped to; moto reads the header alone.
        presigned = self.querystring.get("X-Amz-Credential")
        return str(presigned[0]).partition("/")[0] if presigned else from_header(self)

    BaseResponse.get_access_key = get_access_key  # type: ignore[method-assign]
