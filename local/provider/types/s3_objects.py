"""S3 objects."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlencode

from local.provider.api import Context
from local.provider.documents import is_same_key
from local.provider.naming import AutoName
from local.provider.schema import Tagging
from local.provider.shapes import Kind, Property, boolean_property, string_property
from local.provider.types.s3 import S3, delete_objects
from local.provider.values import Values


class BucketObjectv2(S3):
    """``aws:s3/bucketObjectv2:BucketObjectv2``: content from a text, Base64 or an asset; a change uploads it again."""

    token = "aws:s3/bucketObjectv2:BucketObjectv2"
    create_by, read_by = "PutObject", "HeadObject"
    id = "{bucket}/{key}"
    members = {"websiteRedirect": "WebsiteRedirectLocation", "kmsKeyId": "SSEKMSKeyId"}
    only = frozenset(
        {
            "bucket",
            "bucketKeyEnabled",
            "cacheControl",
            "contentDisposition",
            "contentEncoding",
            "contentLanguage",
            "contentType",
            "key",
            "kmsKeyId",
            "metadata",
            "objectLockLegalHoldStatus",
            "objectLockMode",
            "objectLockRetainUntilDate",
            "serverSideEncryption",
            "storageClass",
            "websiteRedirect",
        }
    )
    own = {
        "content": string_property(unread=True),
        "contentBase64": string_property(unread=True),
        "forceDestroy": boolean_property(unread=True),
        "source": Property(Kind.ASSET, unread=True),
        "sourceHash": string_property(unread=True),
    }
    outputs = {
        "arn": "",
        "etag": "",
        "versionId": "VersionId",
        "checksumCrc32": "ChecksumCRC32",
        "checksumSha256": "ChecksumSHA256",
    }
    auto_name = ("key", AutoName(1024, digits=0))
    replaces = frozenset({"bucket", "key"})
    defaults = {"forceDestroy": False}
    computed = frozenset({"bucketKeyEnabled", "contentType", "kmsKeyId", "serverSideEncryption", "storageClass"})
    unread = frozenset({"storageClass", "bucketKeyEnabled"})
    volatile = frozenset({"versionId", "etag"})
    conflicts = (("source", "content", "contentBase64"),)
    same = {"kmsKeyId": is_same_key}
    tagging = Tagging("PutObjectTagging", "DeleteObjectTagging", "GetObjectTagging", "Key", by="key")

    def name_tagged(self, known: Values) -> dict[str, str]:
        """Return the members that name the tagged object."""
        return {"Bucket": known["bucket"], "Key": known["key"]}

    def parse_id(self, id: str) -> Values:
        """Return the bucket and the key that an id or an ``s3://`` URL holds."""
        bucket, _, key = id.removeprefix("s3://").partition("/")
        return super().parse_id(f"{bucket}/{key}")

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:
        """Upload the content with its tags."""
        content = {"Body": self._content(context, inputs), "Tagging": urlencode(tags)}
        self.call(context, self.create_by, {**self.build_params(context, self.create_by, inputs), **content})
        return {}

    def _content(self, context: Context, inputs: Values) -> bytes:
        if "source" in inputs:
            return inputs["source"].read(context.directory)  # type: ignore[no-any-return]
        if "contentBase64" in inputs:
            return base64.b64decode(inputs["contentBase64"])
        return str(inputs.get("content", "")).encode()

    def compute_outputs(self, context: Context, known: Values, root: dict[str, Any]) -> Values:
        """Return the outputs that are not inputs, including the ARN and the ETag without quotes."""
        found = super().compute_outputs(context, known, root)
        return {**found, "arn": f"arn:aws:s3:::{known['bucket']}/{known['key']}", "etag": root["ETag"].strip('"')}

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Upload the object again, unless only tags or ``forceDestroy`` changed."""
        if changed - {"tags", "tagsAll", "forceDestroy"}:
            self.create(context, known, known["tagsAll"])

    def complete(self, context: Context, known: Values, tags: dict[str, str]) -> None:
        """Do nothing: an object is uploaded with its tags."""

    def delete(self, context: Context, known: Values) -> None:
        """Delete all versions of the object; it is no error if it no longer exists."""
        self.ignore_not_found(lambda: delete_objects(context, known["bucket"], known["key"]))


TYPES = (BucketObjectv2,)
