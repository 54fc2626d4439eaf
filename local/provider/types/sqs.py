"""SQS: queues and queue policies."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_json, is_same_key, is_same_policy
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import Property, boolean_property, convert_to_api, integer_property, string_property
from local.provider.values import Values


def _whole(attribute: str, minimum: int, maximum: int) -> Property:
    return integer_property(f"Attributes.{attribute}", text=True, minimum=minimum, maximum=maximum)


def _switch(attribute: str) -> Property:
    return boolean_property(f"Attributes.{attribute}", text=True)


class Queue(Resource):
    """``aws:sqs/queue:Queue``."""

    token = "aws:sqs/queue:Queue"
    service = "sqs"
    create_by, read_by, delete_by = "CreateQueue", "GetQueueAttributes", "DeleteQueue"
    id = "{url}"
    members = {"name": "QueueName"}
    only = frozenset({"name"})
    own = {
        "contentBasedDeduplication": _switch("ContentBasedDeduplication"),
        "deduplicationScope": string_property("Attributes.DeduplicationScope", enum=("messageGroup", "queue")),
        "delaySeconds": _whole("DelaySeconds", 0, 900),
        "fifoQueue": _switch("FifoQueue"),
        "fifoThroughputLimit": string_property(
            "Attributes.FifoThroughputLimit", enum=("perMessageGroupId", "perQueue")
        ),
        "kmsDataKeyReusePeriodSeconds": _whole("KmsDataKeyReusePeriodSeconds", 60, 86400),
        "kmsMasterKeyId": string_property("Attributes.KmsMasterKeyId"),
        "maxMessageSize": _whole("MaximumMessageSize", 1024, 1048576),
        "messageRetentionSeconds": _whole("MessageRetentionPeriod", 60, 1209600),
        "policy": string_property("Attributes.Policy"),
        "receiveWaitTimeSeconds": _whole("ReceiveMessageWaitTimeSeconds", 0, 20),
        "redriveAllowPolicy": string_property("Attributes.RedriveAllowPolicy"),
        "redrivePolicy": string_property("Attributes.RedrivePolicy"),
        "sqsManagedSseEnabled": _switch("SqsManagedSseEnabled"),
        "visibilityTimeoutSeconds": _whole("VisibilityTimeout", 0, 43200),
    }
    created = {"url": "QueueUrl"}
    identity = {"QueueUrl": "url"}
    outputs = {"arn": "Attributes.QueueArn"}
    auto_name = ("name", AutoName(80, fifo="fifoQueue"))
    name_prefix = True
    replaces = frozenset({"name", "fifoQueue"})
    defaults = {
        "contentBasedDeduplication": False,
        "delaySeconds": 0,
        "fifoQueue": False,
        "maxMessageSize": 262144,
        "messageRetentionSeconds": 345600,
        "receiveWaitTimeSeconds": 0,
        "visibilityTimeoutSeconds": 30,
    }
    computed = frozenset(
        {
            "deduplicationScope",
            "fifoThroughputLimit",
            "kmsDataKeyReusePeriodSeconds",
            "policy",
            "redriveAllowPolicy",
            "redrivePolicy",
            "sqsManagedSseEnabled",
        }
    )
    unread = frozenset({"kmsDataKeyReusePeriodSeconds", "sqsManagedSseEnabled"})
    conflicts = (("kmsMasterKeyId", "sqsManagedSseEnabled"),)
    same = {
        "policy": is_same_policy,
        "redrivePolicy": is_same_json,
        "redriveAllowPolicy": is_same_json,
        "kmsMasterKeyId": is_same_key,
    }
    tagging = Tagging("TagQueue", "UntagQueue", "ListQueueTags", "QueueUrl", by="url")

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:
        """Create the queue; properties that are False are not sent."""
        # The API accepts FifoQueue only for a FIFO queue.
        return super().create(context, {k: v for k, v in inputs.items() if v is not False}, tags)

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the queue's URL, name and attributes."""
        queue = {"QueueUrl": known["url"]}
        attributes = self.call(context, "GetQueueAttributes", {**queue, "AttributeNames": ["All"]})["Attributes"]
        return {**queue, "QueueName": known["url"].rsplit("/", 1)[-1], "Attributes": attributes}

    def compute_outputs(self, context: Context, known: Values, root: dict[str, Any]) -> Values:
        """Return the outputs that are not inputs, including the URL."""
        return {**super().compute_outputs(context, known, root), "url": root["QueueUrl"]}

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Set the changed attributes in one call; those that the program no longer has are emptied."""
        touched = {name: kind for name, kind in self.properties.items() if name in changed and len(kind.member) == 2}
        if touched:
            attributes = {kind.member[1]: "" for kind in touched.values()}
            attributes |= convert_to_api(touched, known).get("Attributes", {})
            self.call(context, "SetQueueAttributes", {"QueueUrl": known["url"], "Attributes": attributes})


class QueuePolicy(Resource):
    """``aws:sqs/queuePolicy:QueuePolicy``: a delete empties the policy."""

    token = "aws:sqs/queuePolicy:QueuePolicy"
    service = "sqs"
    id = "{queueUrl}"
    own = {
        "queueUrl": string_property("QueueUrl", required=True, replaces=True),
        "policy": string_property("Attributes.Policy", required=True, same=is_same_policy),
    }

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:  # noqa: ARG002
        """Set the queue's policy."""
        self._put(context, inputs["queueUrl"], inputs["policy"])
        return {}

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the queue's URL and policy, or None if it has no policy."""
        queue = {"QueueUrl": known["queueUrl"]}
        answer = self.call(context, "GetQueueAttributes", {**queue, "AttributeNames": ["Policy"]})
        return {**queue, **answer} if answer.get("Attributes", {}).get("Policy") else None

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:  # noqa: ARG002
        """Set the queue's policy."""
        self._put(context, known["queueUrl"], known["policy"])

    def delete(self, context: Context, known: Values) -> None:
        """Empty the queue's policy; it is no error if the queue no longer exists."""
        self.ignore_not_found(lambda: self._put(context, known["queueUrl"], ""))

    def _put(self, context: Context, url: str, policy: str) -> None:
        self.call(context, "SetQueueAttributes", {"QueueUrl": url, "Attributes": {"Policy": policy}})


TYPES = (Queue, QueuePolicy)
