"""Corrections of moto's STS: a caller is the owner of the key that signed, and an assumed role must exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from local.core.identity import ACCOUNT, PARTITION
from local.core.keys import Key

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


def install(find: Callable[[str], Key | None]) -> None:
    """Patch GetCallerIdentity to name the owners of this cloud's own keys, and AssumeRole to require an existing role.

    Args:
        find: Returns the key with an id; None if there is none.
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
        # In a presigned URL the key's id is the first part of X-Amz-Credential; moto reads only the header.
        presigned = self.querystring.get("X-Amz-Credential")
        return str(presigned[0]).partition("/")[0] if presigned else from_header(self)

    BaseResponse.get_access_key = get_access_key  # type: ignore[method-assign]
    STSBackend.assume_role = _of_this_account(STSBackend.assume_role)  # type: ignore[method-assign]


def _of_this_account(assume: Callable[..., Any]) -> Callable[..., Any]:
    from moto.iam.models import iam_backends
    from moto.sts.exceptions import STSClientError, STSValidationError

    @wraps(assume)
    def assume_role(self: Any, *args: Any, **params: Any) -> Any:
        arn = params["role_arn"]
        if not _ROLE.fullmatch(arn):
            raise STSValidationError(f"{arn} is invalid")
        roles = iam_backends[ACCOUNT][PARTITION].roles.values()
        if arn not in [role.arn for role in roles]:
            raise STSClientError("AccessDenied", f"not authorized to perform: sts:AssumeRole on resource: {arn}")
        return assume(self, *args, **params)

    return assume_role
