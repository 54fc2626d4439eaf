"""KMS keys: find one by its alias."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from queries.client import is_not_found


def find_key(kms: Any, alias: str) -> str | None:
    """Return the ARN of the key that an alias names; None where the alias does not exist.

    Args:
        kms: A boto3 client.
        alias: `alias/…`.
    """
    try:
        return str(kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"])
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
