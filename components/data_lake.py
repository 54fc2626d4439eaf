"""The bucket that holds everything a use case reads and writes, and the key that encrypts it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from millrace.errors import InvalidValueError


@dataclass
class DataLakeArgs:
    """Inputs of :class:`DataLake`.

    Attributes:
        bucket_name: Known before the bucket exists, so that jobs, alarms and previews can name it.
        account: The account that owns the key.
        retention_days: How long replaced and deleted object versions are kept, days.
        force_destroy: Whether destroying the stack may delete a bucket that holds data.
        tells_of_objects: Whether EventBridge is told of new objects, which may start a training.
    """

    bucket_name: str
    account: str
    retention_days: int = 365
    force_destroy: bool = False
    tells_of_objects: bool = False

    def __post_init__(self) -> None:
        if not 3 <= len(self.bucket_name) <= 63:
            raise InvalidValueError(
                f"DataLake: bucket_name={self.bucket_name!r}",
                f"has {len(self.bucket_name)} characters",
                expected="3 to 63",
                fix="shorten the use case's or the environment's name",
            )


@dataclass(frozen=True)
class Lake:
    """A lake as its users see it, whichever stack created it.

    Attributes:
        bucket_name: The bucket's name.
        bucket_arn: The bucket's ARN.
        key_arn: The ARN of the key that encrypts it.
        made_by: Resources that must exist first; empty where another stack created the lake.
    """

    bucket_name: pulumi.Input[str]
    bucket_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    made_by: Sequence[pulumi.Resource] = ()


class DataLake(pulumi.ComponentResource):
    """A private, versioned bucket encrypted with its own KMS key; plain HTTP is refused.

    Creates: Key, Alias, Bucket, BucketOwnershipControls, BucketPublicAccessBlock, BucketVersioning,
    BucketServerSideEncryptionConfiguration, BucketLifecycleConfiguration, BucketPolicy, and a BucketNotification where
    EventBridge is told of objects. The bucket and the key are
    protected unless `force_destroy`: they hold the data of models.
    """

    bucket_name: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    lake: Lake

    def __init__(self, name: str, args: DataLakeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:DataLake", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        kept = pulumi.ResourceOptions(parent=self, protect=not args.force_destroy)

        key = aws.kms.Key(
            f"{name}-key",
            description=f"Encrypts the lake {args.bucket_name}",
            enable_key_rotation=True,
            deletion_window_in_days=7 if args.force_destroy else 30,
            opts=kept,
        )
        aws.kms.Alias(f"{name}-key-alias", name=f"alias/{args.bucket_name}", target_key_id=key.key_id, opts=child)
        bucket = aws.s3.Bucket(f"{name}-bucket", bucket=args.bucket_name, force_destroy=args.force_destroy, opts=kept)
        aws.s3.BucketOwnershipControls(
            f"{name}-ownership", bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
        )
        blocked = aws.s3.BucketPublicAccessBlock(
            f"{name}-public-access",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        versioning = aws.s3.BucketVersioning(
            f"{name}-versioning", bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=child
        )
        by_default: aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgsDict = {
            "sse_algorithm": "aws:kms",
            "kms_master_key_id": key.arn,
        }
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.id,
            rules=[{"apply_server_side_encryption_by_default": by_default, "bucket_key_enabled": True}],
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.id,
            rules=[_make_expiry(args.retention_days)],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versioning]),
        )
        aws.s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.id,
            policy=bucket.arn.apply(_tls_only),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[blocked]),
        )

        if args.tells_of_objects:
            aws.s3.BucketNotification(f"{name}-events", bucket=bucket.id, eventbridge=True, opts=child)

        self.bucket_name = bucket.id
        self.bucket_arn = bucket.arn
        self.key_arn = key.arn
        self.lake = Lake(bucket.id, bucket.arn, key.arn, [self])
        self.register_outputs({"bucketName": bucket.id, "bucketArn": bucket.arn, "keyArn": key.arn})


def _make_expiry(retention_days: int) -> aws.s3.BucketLifecycleConfigurationRuleArgsDict:
    return {
        "id": "expire-replaced-versions",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "noncurrent_version_expiration": {"noncurrent_days": retention_days},
        "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
    }


def _tls_only(bucket_arn: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "DenyPlainHttp",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [bucket_arn, f"{bucket_arn}/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        },
        sort_keys=True,
    )
