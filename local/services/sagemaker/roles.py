"""Checks that a resource's role exists and belongs to this account."""

from __future__ import annotations

from botocore.exceptions import ClientError

from local.core.context import Call
from local.core.errors import validation_error
from local.core.identity import ACCOUNT


def require_account(arn: str) -> None:
    """Refuse a role of another account.

    Args:
        arn: The ARN of the role.

    Raises:
        AwsError: ``ValidationException``, in AWS's words.
    """
    if arn.split(":")[4] != ACCOUNT:
        raise validation_error(f"RoleArn: Cross-account pass role is not allowed: {arn} is not of account {ACCOUNT}.")


def require_role(call: Call, arn: str) -> None:
    """Refuse a role that does not exist or belongs to another account.

    Call it outside a transaction, because it sends a request to IAM.

    Args:
        call: The request that names the role.
        arn: The ARN of the role, with its path.

    Raises:
        AwsError: ``ValidationException``, in AWS's words.
    """
    require_account(arn)
    try:
        found = call.cloud.client("iam", "us-east-1").get_role(RoleName=arn.rpartition("/")[2])["Role"]["Arn"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        found = None
    # The ARN of a role contains its path: an ARN without the path names another role.
    if found != arn:
        raise validation_error(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        )
