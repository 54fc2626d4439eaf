"""S3 buckets, and their settings as separate resources; settings inside a bucket are not supported."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_key, is_same_policy
from local.provider.errors import ApiError, ProviderError
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import boolean_property
from local.provider.values import Values


class S3(Resource):
    """The base of S3's types, whose tags are one set that is read and written as a whole."""

    service = "s3"

    def name_tagged(self, known: Values) -> dict[str, str]:
        """Return the members that name the tagged bucket or object."""
        return {"Bucket": known["bucket"]}

    def add_tags(self, context: Context, known: Values, tags: dict[str, str]) -> None:
        """Set these tags and keep the others."""
        self._put_tags(context, known, {**self.show_tags(context, known), **tags})

    def remove_tags(self, context: Context, known: Values, names: list[str]) -> None:
        """Remove the tags of these names and keep the others."""
        left = {name: value for name, value in self.show_tags(context, known).items() if name not in names}
        assert self.tagging is not None
        if left:
            self._put_tags(context, known, left)
        else:
            self.call(context, self.tagging.remove, self.name_tagged(known))

    def show_tags(self, context: Context, known: Values) -> dict[str, str]:
        """Return the tags, empty if there is no tag set."""
        assert self.tagging is not None
        try:
            answer = self.call(context, self.tagging.show, self.name_tagged(known))
        except ApiError as error:
            if error.code == "NoSuchTagSet":
                return {}
            raise
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def _put_tags(self, context: Context, known: Values, tags: dict[str, str]) -> None:
        assert self.tagging is not None
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.call(context, self.tagging.add, {**self.name_tagged(known), "Tagging": {"TagSet": tag_set}})


class Bucket(S3):
    """``aws:s3/bucket:Bucket``: a bucket with objects is only deleted with ``forceDestroy``."""

    token = "aws:s3/bucket:Bucket"
    create_by, delete_by = "CreateBucket", "DeleteBucket"
    id = "{bucket}"
    members = {"objectLockEnabled": "ObjectLockEnabledForBucket"}
    only = frozenset({"bucket", "objectLockEnabled"})
    own = {"forceDestroy": boolean_property(unread=True)}
    auto_name = ("bucket", AutoName(63, lowercase=True))
    replaces = frozenset({"bucket", "objectLockEnabled"})
    defaults = {"forceDestroy": False}
    unread = frozenset({"objectLockEnabled"})
    outputs = {"arn": "", "bucketDomainName": "", "bucketRegion": "", "bucketRegionalDomainName": ""}
    tagging = Tagging("PutBucketTagging", "DeleteBucketTagging", "GetBucketTagging", "Bucket", by="bucket")

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:  # noqa: ARG002
        """Create the bucket in the request's region.

        Raises:
            ProviderError: If the bucket exists.
        """
        bucket = {"Bucket": inputs["bucket"]}
        try:
            self.call(context, "HeadBucket", bucket)
        except ApiError as error:
            if not self.is_not_found(error):
                raise
        else:
            raise ProviderError(
                "s3 CreateBucket", f"failed: BucketAlreadyExists: bucket {inputs['bucket']!r} exists", fix="import it"
            )
        params = self.build_params(context, self.create_by, inputs)
        if context.region != "us-east-1":
            params["CreateBucketConfiguration"] = {"LocationConstraint": context.region}
        self.call(context, self.create_by, params)
        return {}

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the API's description of the bucket."""
        return {"Bucket": known["bucket"], **self.call(context, "HeadBucket", {"Bucket": known["bucket"]})}

    def compute_outputs(self, context: Context, known: Values, root: dict[str, Any]) -> Values:
        """Return the outputs that are not inputs, including the domain names."""
        name, region = known["bucket"], root.get("BucketRegion") or context.region
        return {
            "arn": f"arn:aws:s3:::{name}",
            "bucketDomainName": f"{name}.s3.amazonaws.com",
            "bucketRegion": region,
            "bucketRegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
        }

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Do nothing: a change of ``forceDestroy`` needs no call."""

    def delete(self, context: Context, known: Values) -> None:
        """Delete the bucket, with its objects if ``forceDestroy`` is set; it is no error if it no longer exists."""

        def remove() -> None:
            if known.get("forceDestroy"):
                delete_objects(context, known["bucket"], "")
            self.call(context, self.delete_by, {"Bucket": known["bucket"]})

        self.ignore_not_found(remove)


def delete_objects(context: Context, bucket: str, key: str) -> None:
    """Delete all versions of one object, or of every object when ``key`` is empty.

    Args:
        context: The context of the engine's request.
        bucket: The name of the bucket.
        key: The object's whole key, not a prefix.

    Raises:
        ProviderError: If S3 did not delete a version; the message has the first failure.
        ApiError: If a request failed, e.g. because the bucket does not exist.
    """
    while True:
        page = context.call("s3", "ListObjectVersions", {"Bucket": bucket, "Prefix": key})
        versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        doomed = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions if key in ("", v["Key"])]
        if not doomed:
            return
        answer = context.call("s3", "DeleteObjects", {"Bucket": bucket, "Delete": {"Objects": doomed, "Quiet": True}})
        if answer.get("Errors"):
            first = answer["Errors"][0]
            raise ProviderError(
                "s3 DeleteObjects", f"failed: {first['Code']}: {first['Key']} in {bucket}: {first['Message']}"
            )


class BucketSetting(S3):
    """One setting of a bucket, put and deleted as a whole."""

    id = "{bucket}"
    omit = frozenset({"contentMd5", "checksumAlgorithm", "expectedBucketOwner"})
    replaces = frozenset({"bucket"})


class BucketVersioning(BucketSetting):
    """``aws:s3/bucketVersioning:BucketVersioning``: a delete suspends versioning."""

    token = "aws:s3/bucketVersioning:BucketVersioning"
    create_by = update_by = "PutBucketVersioning"
    required = frozenset({"versioningConfiguration.status"})
    unread = frozenset({"mfa"})
    members = {"mfa": "MFA"}

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the versioning configuration, or None if it was never set."""
        found = self.call(context, "GetBucketVersioning", {"Bucket": known["bucket"]})
        return {"VersioningConfiguration": found} if found.get("Status") else None

    def delete(self, context: Context, known: Values) -> None:
        """Suspend versioning; it is no error if the bucket no longer exists."""
        suspended = {"Bucket": known["bucket"], "VersioningConfiguration": {"Status": "Suspended"}}
        self.ignore_not_found(lambda: self.call(context, "PutBucketVersioning", suspended))


class BucketPolicy(BucketSetting):
    """``aws:s3/bucketPolicy:BucketPolicy``."""

    token = "aws:s3/bucketPolicy:BucketPolicy"
    create_by = update_by = "PutBucketPolicy"
    read_by, delete_by = "GetBucketPolicy", "DeleteBucketPolicy"
    omit = BucketSetting.omit | {"confirmRemoveSelfBucketAccess"}
    same = {"policy": is_same_policy}


class BucketPublicAccessBlock(BucketSetting):
    """``aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock``."""

    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    create_by = update_by = "PutPublicAccessBlock"
    read_by, delete_by = "GetPublicAccessBlock", "DeletePublicAccessBlock"
    members = {
        name[0].lower() + name[1:]: f"PublicAccessBlockConfiguration.{name}"
        for name in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    }
    own = {"skipDestroy": boolean_property(unread=True)}
    defaults = dict.fromkeys(members, False)

    def delete(self, context: Context, known: Values) -> None:
        """Delete the setting, unless ``skipDestroy`` is set."""
        if not known.get("skipDestroy"):
            super().delete(context, known)


class BucketServerSideEncryptionConfiguration(BucketSetting):
    """``aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration``."""

    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    create_by = update_by = "PutBucketEncryption"
    read_by, delete_by = "GetBucketEncryption", "DeleteBucketEncryption"
    members = {
        "rules": "ServerSideEncryptionConfiguration.Rules",
        "rules.blockedEncryptionTypes": "BlockedEncryptionTypes.EncryptionType",
    }
    computed = frozenset(
        {
            "rules.bucketKeyEnabled",
            "rules.blockedEncryptionTypes",
            "rules.applyServerSideEncryptionByDefault.kmsMasterKeyId",
        }
    )
    unordered = frozenset({"rules"})
    same = {"rules.applyServerSideEncryptionByDefault.kmsMasterKeyId": is_same_key}


class BucketLifecycleConfiguration(BucketSetting):
    """``aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration``."""

    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    create_by = update_by = "PutBucketLifecycleConfiguration"
    read_by, delete_by = "GetBucketLifecycleConfiguration", "DeleteBucketLifecycle"
    members = {"rules": "LifecycleConfiguration.Rules", "rules.filter.and.tags": "Tags{Key:Value}"}
    places = {"rules": "Rules"}
    required = frozenset({"rules", "rules.id"})
    computed = frozenset({"transitionDefaultMinimumObjectSize", "rules.prefix"})
    unordered = frozenset({"rules.transitions", "rules.noncurrentVersionTransitions"})


class BucketOwnershipControls(BucketSetting):
    """``aws:s3/bucketOwnershipControls:BucketOwnershipControls``."""

    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    create_by = update_by = "PutBucketOwnershipControls"
    read_by, delete_by = "GetBucketOwnershipControls", "DeleteBucketOwnershipControls"
    members = {"rule": "OwnershipControls.Rules[0]"}


class BucketNotification(BucketSetting):
    """``aws:s3/bucketNotification:BucketNotification``: whether a bucket tells EventBridge of its objects."""

    token = "aws:s3/bucketNotification:BucketNotification"
    create_by = update_by = "PutBucketNotificationConfiguration"
    omit = BucketSetting.omit | {"notificationConfiguration", "skipDestinationValidation"}
    own = {"eventbridge": boolean_property("EventBridge")}
    defaults = {"eventbridge": False}

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:  # noqa: ARG002
        """Put the configuration."""
        self._put(context, inputs["bucket"], told=inputs.get("eventbridge", False))
        return {}

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return whether EventBridge is told, or None if nobody is."""
        found = self.call(context, "GetBucketNotificationConfiguration", {"Bucket": known["bucket"]})
        return {"EventBridge": True} if "EventBridgeConfiguration" in found else None

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:  # noqa: ARG002
        """Put the configuration again."""
        self._put(context, known["bucket"], told=known.get("eventbridge", False))

    def delete(self, context: Context, known: Values) -> None:
        """Put an empty configuration; it is no error if the bucket no longer exists."""
        self.ignore_not_found(lambda: self._put(context, known["bucket"], told=False))

    def _put(self, context: Context, bucket: str, *, told: bool) -> dict[str, Any]:
        params = {"Bucket": bucket, "NotificationConfiguration": {"EventBridgeConfiguration": {}} if told else {}}
        return self.call(context, self.create_by, params)


TYPES = (
    Bucket,
    BucketVersioning,
    BucketPolicy,
    BucketPublicAccessBlock,
    BucketServerSideEncryptionConfiguration,
    BucketLifecycleConfiguration,
    BucketOwnershipControls,
    BucketNotification,
)
