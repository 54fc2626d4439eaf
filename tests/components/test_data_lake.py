"""DataLake: one private, encrypted, versioned bucket, and the arguments that are refused."""

from __future__ import annotations

import inspect

import pulumi_aws as aws
import pytest

from components.data_lake import DataLake, DataLakeArgs
from tests.components import mocked

BUCKET = "b-lake-123456789012"


def lake(**changes: object) -> dict[str, mocked.Registered]:
    """Return the resources of a lake called `l`."""
    args = DataLakeArgs(BUCKET, mocked.ACCOUNT, **changes)  # type: ignore[arg-type]
    return mocked.run(lambda: DataLake("l", args))


def test_children_and_outputs() -> None:
    found = lake()
    parent = "DataLake:l"
    assert mocked.tree(found) == {
        ("l", "DataLake", None),
        ("l-key", "Key", parent),
        ("l-key-alias", "Alias", parent),
        ("l-bucket", "Bucket", parent),
        ("l-ownership", "BucketOwnershipControls", parent),
        ("l-public-access", "BucketPublicAccessBlock", parent),
        ("l-versioning", "BucketVersioning", parent),
        ("l-encryption", "BucketServerSideEncryptionConfiguration", parent),
        ("l-lifecycle", "BucketLifecycleConfiguration", parent),
        ("l-policy", "BucketPolicy", parent),
    }
    assert found[parent].outputs == {
        "bucketName": "id-of-l-bucket",
        "bucketArn": "arn:of:Bucket:l-bucket",
        "keyArn": "arn:of:Key:l-key",
    }


def test_the_bucket_has_no_inline_settings() -> None:
    assert lake()["l-bucket"].inputs == {"bucket": BUCKET, "forceDestroy": False}


def test_every_setting_applies_to_the_bucket() -> None:
    of_bucket = [each for each in lake().values() if each.type.startswith("aws:s3/bucket") and each.name != "l-bucket"]
    assert len(of_bucket) == 6
    assert {each.inputs["bucket"] for each in of_bucket} == {"id-of-l-bucket"}


def test_objects_are_encrypted_with_a_rotated_symmetric_key() -> None:
    found = lake()
    (rule,) = found["l-encryption"].inputs["rules"]
    assert rule == {
        "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "arn:of:Key:l-key"},
        "bucketKeyEnabled": True,
    }
    key = found["l-key"].inputs
    assert key["enableKeyRotation"] is True
    assert key["deletionWindowInDays"] == 30
    assert "customerMasterKeySpec" not in key
    assert found["l-key-alias"].inputs == {"name": f"alias/{BUCKET}", "targetKeyId": "id-of-l-key"}


def test_nothing_is_public_and_acls_are_off() -> None:
    found = lake()
    blocked = found["l-public-access"].inputs
    flags = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    assert [blocked[flag] for flag in flags] == [True] * 4
    assert found["l-ownership"].inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}


def test_plain_http_is_refused_for_the_bucket_and_all_its_objects() -> None:
    (statement,) = mocked.document(lake(), "l-policy", "policy")["Statement"]
    assert statement == {
        "Sid": "DenyPlainHttp",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:of:Bucket:l-bucket", "arn:of:Bucket:l-bucket/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_replaced_versions_are_kept_as_long_as_asked() -> None:
    found = lake(retention_days=90)
    assert found["l-versioning"].inputs["versioningConfiguration"] == {"status": "Enabled"}
    (rule,) = found["l-lifecycle"].inputs["rules"]
    assert rule["status"] == "Enabled"
    assert rule["noncurrentVersionExpiration"] == {"noncurrentDays": 90}
    assert rule["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert "expiration" not in rule
    assert "l-versioning" in found["l-lifecycle"].dependencies
    assert "l-public-access" in found["l-policy"].dependencies


@pytest.mark.parametrize("force", [True, False])
def test_bucket_and_key_are_protected_unless_force_destroy(force: bool) -> None:
    found = lake(force_destroy=force)
    assert found["l-bucket"].inputs["forceDestroy"] is force
    assert found["l-bucket"].options == found["l-key"].options == {"protect": not force}
    assert found["l-key"].inputs["deletionWindowInDays"] == (7 if force else 30)


@pytest.mark.parametrize("length", [2, 64])
def test_a_bucket_name_of_invalid_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=rf"bucket_name='b+' has {length} characters; expected 3 to 63: shorten"):
        DataLakeArgs("b" * length, mocked.ACCOUNT)


def test_no_deprecated_resource_types_are_used() -> None:
    # The provider deprecates inline settings and the V2 names.
    parameters = inspect.signature(aws.s3.Bucket._internal_init).parameters
    assert "policy" in parameters
    assert not [each.type for each in lake().values() if "V2" in each.type]
