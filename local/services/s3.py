"""Corrections of moto's S3: names, versions, conditions of policies, delete markers, and events of objects.

A request never leaves this machine, so it counts as encrypted in transit: a statement that denies plain HTTP denies
nothing here. A condition that cannot be evaluated here is taken as met, and logged.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from local.core.event_bus import EventBus
from local.core.identity import ACCOUNT
from local.regions import known_regions

log = logging.getLogger(__name__)

_FACTS = {"aws:SecureTransport": "true"}


def install(events: EventBus) -> None:
    """Patch moto's S3 with the corrections; call this once in a process.

    Args:
        events: The bus to which buckets that tell EventBridge send the events of their objects.
    """
    from moto.iam.access_control import IAMPolicy, PermissionResult
    from moto.s3 import notifications
    from moto.s3.models import FakeBucket, FakeDeleteMarker, S3Backend
    from moto.s3.responses import S3Response

    def get_permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        return IAMPolicy(json.dumps(select_applicable_statements(json.loads(self.policy)))).is_action_permitted(
            action, resource
        )

    FakeBucket.get_permission = get_permission  # type: ignore[method-assign]
    S3Backend.put_bucket_policy = _checking(S3Backend.put_bucket_policy)  # type: ignore[method-assign]
    S3Response._get_location_constraint = _known(S3Response._get_location_constraint)  # type: ignore[method-assign]
    S3Response._bucket_response_delete_keys = _deleting_keys(  # type: ignore[method-assign]
        S3Response._bucket_response_delete_keys
    )
    S3Backend.delete_object = _deleting(S3Backend.delete_object)  # type: ignore[method-assign]
    S3Backend.create_bucket = _named(S3Backend.create_bucket)  # type: ignore[method-assign]
    S3Backend.put_object = _short(S3Backend.put_object)  # type: ignore[method-assign]
    S3Response.get_bucket_notification = _showing_events(  # type: ignore[method-assign]
        S3Response.get_bucket_notification
    )
    notifications._send_event_bridge_message = _telling(events)
    # A delete marker has no body to dispose of, but moto calls this when it is its key's last version.
    FakeDeleteMarker.dispose = lambda _: None  # type: ignore[attr-defined]


#: What happened to an object, as moto names it → as EventBridge does; of the rest nothing is told here.
_CREATED = {
    "ObjectCreated:Put": "PutObject", "ObjectCreated:Post": "POST Object", "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
}  # fmt: skip


def _telling(events: EventBus) -> Callable[..., None]:
    """Return what sends the event of an object to the local bus, in place of moto's own."""

    def send(_account: str, bucket: Any, event_name: str, key: Any) -> None:
        reason = _CREATED.get(str(getattr(event_name, "value", event_name)).removeprefix("s3:"))
        # moto puts the object that an upload in parts makes, and would tell of it twice.
        if reason is None or (reason == "PutObject" and "-" in key.etag):
            return
        told = {"key": key.name, "size": key.size, "etag": key.etag.strip('"'), "sequencer": f"{time.time_ns():018X}"}
        if bucket.versioning_status:
            told["version-id"] = key.version_id
        events.emit(
            detail_type="Object Created",
            resources=[bucket.arn],
            detail={
                "version": "0",
                "bucket": {"name": bucket.name},
                "object": told,
                "request-id": uuid.uuid4().hex[:16].upper(),
                "requester": ACCOUNT,
                "source-ip-address": "127.0.0.1",
                "reason": reason,
            },
            region=bucket.region_name,
            source="aws.s3",
        )

    return send


def _showing_events(get: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap GetBucketNotificationConfiguration, whose answer in moto lacks that EventBridge is told."""
    from moto.core.responses import ActionResult

    @wraps(get)
    def get_bucket_notification(self: Any) -> Any:
        found = self.backend.get_bucket_notification_configuration(self.bucket_name)
        if found and found.event_bridge is not None and not (found.topic or found.queue or found.cloud_function):
            self.data["Action"] = "GetBucketNotificationConfiguration"
            return self.serialized(ActionResult({"EventBridgeConfiguration": {}}))
        return get(self)

    return get_bucket_notification


def _checking(put: Callable[..., Any]) -> Callable[..., Any]:
    from moto.s3.exceptions import S3ClientError

    @wraps(put)
    def put_bucket_policy(self: Any, bucket_name: str, policy: Any) -> Any:
        if problem := _problem(policy):
            raise S3ClientError("MalformedPolicy", problem)
        return put(self, bucket_name, policy)

    return put_bucket_policy


def _problem(policy: Any) -> str | None:
    """Return why a text is not a valid bucket policy; None if it is one."""
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        return "Policies must be valid JSON and the first byte must be '{'"
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        return "Missing required field Statement"
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            return "Invalid effect: expected Allow or Deny"
        for name in ("Principal", "Action", "Resource"):
            value = statement.get(name, statement.get(f"Not{name}"))
            each = value if isinstance(value, list) else [value]
            if not each or not all(isinstance(item, str | dict if name == "Principal" else str) for item in each):
                return f"Missing required field {name}"
    return None


def _known(read: Callable[..., Any]) -> Callable[..., Any]:
    from moto.s3.exceptions import S3ClientError

    @wraps(read)
    def location_constraint(self: Any) -> Any:
        found = read(self)
        if found and found not in known_regions() | {"EU"}:
            raise S3ClientError("InvalidLocationConstraint", "The specified location-constraint is not valid")
        return found

    return location_constraint


# -- names -------------------------------------------------------------------------------------------------------------

#: A bucket's name, apart from the rules that follow.
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
#: The longest key, bytes.
_LONGEST_KEY = 1024


def is_bucket_name(name: str) -> bool:
    """Return True if S3 accepts a name for a general purpose bucket."""
    return (
        _NAME.fullmatch(name) is not None
        and ".." not in name
        and _ADDRESS.fullmatch(name) is None
        and not name.startswith(_PREFIXES)
        and not name.endswith(_SUFFIXES)
    )


def _named(create: Callable[..., Any]) -> Callable[..., Any]:
    from moto.s3.exceptions import InvalidBucketName

    @wraps(create)
    def create_bucket(self: Any, bucket_name: str, *args: Any, **params: Any) -> Any:
        if not is_bucket_name(bucket_name):
            raise InvalidBucketName
        return create(self, bucket_name, *args, **params)

    return create_bucket


def _short(put: Callable[..., Any]) -> Callable[..., Any]:
    from moto.s3.exceptions import S3ClientError

    @wraps(put)
    def put_object(self: Any, bucket_name: str, key_name: str, *args: Any, **params: Any) -> Any:
        if len(key_name.encode()) > _LONGEST_KEY:
            raise S3ClientError("KeyTooLongError", "Your key is too long")
        return put(self, bucket_name, key_name, *args, **params)

    return put_object


# -- versions ----------------------------------------------------------------------------------------------------------

_VERSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_VERSION = ("InvalidArgument", "Invalid version id specified")


def _is_version(backend: Any, bucket_name: str, version: str | None) -> bool:
    """Return True if a version id is valid to delete; one that never existed is, and its deletion changes nothing."""
    if version in (None, "null"):
        return True
    return bool(backend.get_bucket(bucket_name).versioning_status and _VERSION.fullmatch(str(version)))


def _deleting(delete: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap DeleteObject so that only the named version is deleted.

    Where versioning is off or suspended, moto would delete the object whatever version is named.
    """
    from moto.s3.exceptions import S3ClientError

    @wraps(delete)
    def delete_object(
        self: Any, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
    ) -> Any:
        if not _is_version(self, bucket_name, version_id):
            raise S3ClientError(*_NO_VERSION)
        bucket = self.get_bucket(bucket_name)
        status = bucket.versioning_status
        if version_id is not None and status:
            # Only this version is deleted; in a bucket with suspended versioning the others stay, too.
            bucket.versioning_status = "Enabled"
        try:
            return delete(self, bucket_name, key_name, version_id=version_id, bypass=bypass)
        finally:
            bucket.versioning_status = status

    return delete_object


def _deleting_keys(delete: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap DeleteObjects so that the response reports each object with an invalid version id."""

    @wraps(delete)
    def delete_keys(self: Any, bucket_name: str, authenticated: bool = True) -> Any:
        tree = ElementTree.fromstring(self.body)
        wrong = []
        for each in tree.findall("{*}Object"):
            version = each.findtext("{*}VersionId")
            if not _is_version(self.backend, bucket_name, version):
                wrong.append((each.findtext("{*}Key") or "", version or ""))
                tree.remove(each)
        if not wrong:
            return delete(self, bucket_name, authenticated)
        code, message = _NO_VERSION
        said = "".join(
            f"<Error><Key>{escape(key)}</Key><VersionId>{escape(version)}</VersionId><Code>{code}</Code>"
            f"<Message>{message}</Message></Error>"
            for key, version in wrong
        )
        if tree.find("{*}Object") is None:
            return 200, {}, f'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{said}</DeleteResult>'
        # moto reads the names of elements without a prefix.
        space = tree.tag[1:].partition("}")[0] if tree.tag.startswith("{") else None
        self.body = ElementTree.tostring(tree, default_namespace=space)
        status, headers, body = delete(self, bucket_name, authenticated)
        text = body.decode() if isinstance(body, bytes) else str(body)
        return status, headers, text.replace("</DeleteResult>", f"{said}</DeleteResult>")

    return delete_keys


# -- policies ----------------------------------------------------------------------------------------------------------


def select_applicable_statements(policy: dict[str, Any]) -> dict[str, Any]:
    """Return the policy with only those statements whose conditions hold for a request on this machine."""
    statements = policy.get("Statement", [])
    if isinstance(statements, dict):
        statements = [statements]
    return {**policy, "Statement": [statement for statement in statements if _holds(statement.get("Condition", {}))]}


def _holds(condition: dict[str, dict[str, Any]]) -> bool:
    for operator, tests in condition.items():
        for key, wanted in tests.items():
            if operator == "Bool" and key in _FACTS:
                values = wanted if isinstance(wanted, list) else [wanted]
                if _FACTS[key] not in (str(value).lower() for value in values):
                    return False
            else:
                log.warning("bucket policy: the condition %s of %s is not judged here, taken as met", operator, key)
    return True
