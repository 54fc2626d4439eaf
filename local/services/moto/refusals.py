"""Translation of exceptions within moto to error responses of the service that was called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers.expat import ExpatError

from local.core import protocol
from local.core.errors import AwsError

_ABSENT = re.compile("NotFound|NoSuch|NonExist|NotExist")
_TOKENS = frozenset({"NextToken", "nextToken", "Marker"})
_XML = re.compile(r"_from_(body|xml)$")

#: Operations of S3 that moto mistakes for another one, which it would perform.
S3_ABSENT = frozenset(
    {
        "CreateBucketMetadataConfiguration", "CreateBucketMetadataTableConfiguration", "CreateSession",
        "DeleteBucketAnalyticsConfiguration", "DeleteBucketIntelligentTieringConfiguration",
        "DeleteBucketInventoryConfiguration", "DeleteBucketMetadataConfiguration",
        "DeleteBucketMetadataTableConfiguration", "DeleteBucketMetricsConfiguration", "DeleteObjectAnnotation",
        "GetBucketAbac", "GetBucketAnalyticsConfiguration", "GetBucketIntelligentTieringConfiguration",
        "GetBucketMetadataConfiguration", "GetBucketMetadataTableConfiguration", "GetBucketMetricsConfiguration",
        "GetBucketRequestPayment", "GetObjectAnnotation", "GetObjectRetention", "GetObjectTorrent",
        "ListObjectAnnotations", "PutBucketAbac", "PutBucketAnalyticsConfiguration",
        "PutBucketIntelligentTieringConfiguration", "PutBucketMetricsConfiguration", "PutBucketRequestPayment",
        "PutObjectAnnotation", "RenameObject", "SelectObjectContent",
        "UpdateBucketMetadataAnnotationTableConfiguration",
        "UpdateBucketMetadataInventoryTableConfiguration", "UpdateBucketMetadataJournalTableConfiguration",
        "UpdateObjectEncryption", "WriteGetObjectResponse",
    }
)  # fmt: skip


def make_error(model: str, invalid: str, operation: str, params: Mapping[str, Any], error: Exception) -> AwsError:
    """Return the error response for an exception within moto.

    Args:
        model: botocore's name of the service.
        invalid: The service's error code for an invalid parameter.
        operation: The operation's name.
        params: The request's parameters.
        error: The exception.
    """
    what = (
        f"{operation}: these parameters are not valid, or not available in the local cloud "
        f"({type(error).__name__}: {str(error)[:200]})."
    )
    if model == "s3":
        return _of_s3(what, error)
    codes = _codes(model, operation)
    if isinstance(error, KeyError) and error.args and str(error.args[0]) in set(_texts(params)):
        for code, status in codes.items():
            if _ABSENT.search(code):
                return AwsError(code, f"{error.args[0]} does not exist.", status)
    if _TOKENS & params.keys() and isinstance(error, ValueError | TypeError | KeyError):
        for code, status in codes.items():
            if "NextToken" in code:
                return AwsError(code, "The specified token is not valid.", status)
    return AwsError(invalid, what)


def _of_s3(what: str, error: Exception) -> AwsError:
    if isinstance(error, ExpatError) or _XML.search(_frame(error)):
        return AwsError(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    code = "InvalidArgument" if isinstance(error, ValueError) else "InvalidRequest"
    return AwsError(code, what)


def _codes(model: str, operation: str) -> dict[str, int]:
    """Return the error codes in the operation's model, with their HTTP statuses."""
    found = {}
    for shape in protocol.load_service_model(model).operation_model(operation).error_shapes:
        told = shape.metadata.get("error", {})
        found[str(told.get("code") or shape.name)] = int(told.get("httpStatusCode", 400))
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    else:
        yield str(value)


def _frame(error: Exception) -> str:
    """Return the innermost function of moto's S3 responses in the exception's traceback; empty if there is none."""
    name, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.endswith("moto/s3/responses.py"):
            name = code.co_name
        trace = trace.tb_next
    return name
