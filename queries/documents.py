"""Documents in S3, validated against their models."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from millrace.documents import Document
from queries.client import is_not_found

Model = TypeVar("Model", bound=Document)


def find_document(s3: Any, uri: str, model: type[Model]) -> Model | None:
    """Read a document.

    Args:
        s3: A boto3 client.
        uri: `s3://bucket/key`.
        model: The class of the document.

    Returns:
        The document; None where the object does not exist.

    Raises:
        DataError: The object is not such a document.
    """
    url = urlsplit(uri)
    try:
        body = s3.get_object(Bucket=url.netloc, Key=url.path.lstrip("/"))["Body"].read()
    except ClientError as error:
        if is_not_found(error):
            return None
        raise
    return model.load(body, uri)


def has_object(s3: Any, uri: str) -> bool:
    """Return whether an object exists, also where a role may list only a folder of the bucket.

    There, S3 refuses to read an object that does not exist instead of saying so.

    Args:
        s3: A boto3 client.
        uri: `s3://bucket/key`.
    """
    url = urlsplit(uri)
    key = url.path.lstrip("/")
    found = s3.list_objects_v2(Bucket=url.netloc, Prefix=key, MaxKeys=1).get("Contents", [])
    return any(each["Key"] == key for each in found)
