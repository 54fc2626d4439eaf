"""SNS: topics, topic policies, subscriptions."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

import json
from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_json, is_same_key, is_same_policy
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import boolean_property, convert_to_api, find_value, integer_property, string_property
from local.provider.values import Values


class Topic(Resource):
    """``aws:sns/topic:Topic``: attributes are set one by one."""

    token = "aws:sns/topic:Topic"
    service = "sns"
    create_by, read_by, delete_by = "CreateTopic", "GetTopicAttributes", "DeleteTopic"
    id = "{arn}"
    only = frozenset({"name"})
    own = {
        "contentBasedDeduplication": boolean_property("Attributes.ContentBasedDeduplication", text=True),
        "deliveryPolicy": string_property("Attributes.DeliveryPolicy"),
        "displayName": string_property("Attributes.DisplayName"),
        "fifoTopic": boolean_property("Attributes.FifoTopic", text=True),
        "kmsMasterKeyId": string_property("Attributes.KmsMasterKeyId"),
        "policy": string_property("Attributes.Policy"),
        "signatureVersion": integer_property("Attributes.SignatureVersion", text=True, minimum=1, maximum=2),
        "tracingConfig": string_property("Attributes.TracingConfig", enum=("Active", "PassThrough")),
    }
    created = {"arn": "TopicArn"}
    identity = {"TopicArn": "arn"}
    outputs = {"arn": "Attributes.TopicArn", "owner": "Attributes.Owner"}
    auto_name = ("name", AutoName(80, fifo="fifoTopic"))
    name_prefix = True
    replaces = frozenset({"name", "fifoTopic"})
    defaults = {"contentBasedDeduplication": False, "fifoTopic": False}
    computed = frozenset({"policy", "signatureVersion", "tracingConfig"})
    unread = frozenset({"tracingConfig", "signatureVersion"})
    same = {"policy": is_same_policy, "deliveryPolicy": is_same_json, "kmsMasterKeyId": is_same_key}
    tagging = Tagging("TagResource", "UntagResource", "ListTagsForResource", "ResourceArn")

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:
        """Create the topic; properties that are False are not sent."""
        # The API accepts FifoTopic only for a FIFO topic.
        return super().create(context, {k: v for k, v in inputs.items() if v is not False}, tags)

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the topic's attributes and name, or None."""
        found = super().describe(context, known)
        return None if found is None else {**found, "Name": known["arn"].rsplit(":", 1)[-1]}

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Set the changed attributes one by one."""
        _set_attributes(self, context, "SetTopicAttributes", {"TopicArn": known["arn"]}, known, changed)


def _set_attributes(
    resource: Resource, context: Context, operation: str, thing: dict[str, str], known: Values, changed: frozenset[str]
) -> None:
    """Set the changed attributes one by one; one that the program no longer has is emptied."""
    for name in sorted(changed):
        kind = resource.properties.get(name)
        if kind is not None and kind.member[:1] == ("Attributes",):
            value = find_value(convert_to_api({name: kind}, known), kind.member)
            resource.call(context, operation, {**thing, "AttributeName": kind.member[1], "AttributeValue": value or ""})


class TopicPolicy(Resource):
    """``aws:sns/topicPolicy:TopicPolicy``: a delete restores the default policy."""

    token = "aws:sns/topicPolicy:TopicPolicy"
    service = "sns"
    id = "{arn}"
    own = {
        "arn": string_property("TopicArn", required=True, replaces=True),
        "policy": string_property("Attributes.Policy", required=True, same=is_same_policy),
    }
    outputs = {"owner": "Attributes.Owner"}

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:  # noqa: ARG002
        """Set the topic's policy."""
        self._put(context, inputs["arn"], inputs["policy"])
        return {}

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the topic's attributes."""
        return self.call(context, "GetTopicAttributes", {"TopicArn": known["arn"]})

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:  # noqa: ARG002
        """Set the topic's policy."""
        self._put(context, known["arn"], known["policy"])

    def delete(self, context: Context, known: Values) -> None:
        """Restore the default policy; it is no error if the topic no longer exists."""
        owner = known["arn"].split(":")[4]
        actions = ["GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic"]
        actions += ["Subscribe", "ListSubscriptionsByTopic", "Publish"]
        statement = {
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [f"SNS:{action}" for action in actions],
            "Resource": known["arn"],
            "Condition": {"StringEquals": {"AWS:SourceOwner": owner}},
        }
        policy = json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})
        self.ignore_not_found(lambda: self._put(context, known["arn"], policy))

    def _put(self, context: Context, arn: str, policy: str) -> None:
        attribute = {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": policy}
        self.call(context, "SetTopicAttributes", attribute)


class TopicSubscription(Resource):
    """``aws:sns/topicSubscription:TopicSubscription``."""

    token = "aws:sns/topicSubscription:TopicSubscription"
    service = "sns"
    create_by, read_by, delete_by = "Subscribe", "GetSubscriptionAttributes", "Unsubscribe"
    id = "{arn}"
    members = {"topic": "TopicArn"}
    only = frozenset({"topic", "protocol", "endpoint"})
    places = {"topic": "Attributes.TopicArn", "protocol": "Attributes.Protocol", "endpoint": "Attributes.Endpoint"}
    own = {
        "confirmationTimeoutInMinutes": integer_property(unread=True),
        "deliveryPolicy": string_property("Attributes.DeliveryPolicy"),
        "endpointAutoConfirms": boolean_property(unread=True),
        "filterPolicy": string_property("Attributes.FilterPolicy"),
        "filterPolicyScope": string_property("Attributes.FilterPolicyScope", enum=("MessageAttributes", "MessageBody")),
        "rawMessageDelivery": boolean_property("Attributes.RawMessageDelivery", text=True),
        "redrivePolicy": string_property("Attributes.RedrivePolicy"),
        "subscriptionRoleArn": string_property("Attributes.SubscriptionRoleArn"),
    }
    created = {"arn": "SubscriptionArn"}
    identity = {"SubscriptionArn": "arn"}
    outputs = {"arn": "Attributes.SubscriptionArn", "ownerId": "Attributes.Owner"} | {
        "pendingConfirmation": "",
        "confirmationWasAuthenticated": "",
    }
    replaces = frozenset({"topic", "protocol", "endpoint"})
    required = frozenset({"endpoint"})
    defaults = {"confirmationTimeoutInMinutes": 1, "endpointAutoConfirms": False, "rawMessageDelivery": False}
    computed = frozenset({"filterPolicyScope"})
    requires = {"filterPolicyScope": "filterPolicy"}
    same = {"filterPolicy": is_same_json, "redrivePolicy": is_same_json, "deliveryPolicy": is_same_json}

    def build_params(self, context: Context, operation: str, values: Values) -> dict[str, Any]:
        """Return the parameters for an operation; a subscribe always asks for the ARN."""
        params = super().build_params(context, operation, values)
        return {**params, "ReturnSubscriptionArn": True} if operation == "Subscribe" else params

    def compute_outputs(self, context: Context, known: Values, root: dict[str, Any]) -> Values:
        """Return the outputs that are not inputs, including the status of the confirmation."""
        attributes = root["Attributes"]
        return {
            **super().compute_outputs(context, known, root),
            "pendingConfirmation": attributes.get("PendingConfirmation") == "true",
            "confirmationWasAuthenticated": attributes.get("ConfirmationWasAuthenticated") == "true",
        }

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Set the changed attributes one by one."""
        thing = {"SubscriptionArn": known["arn"]}
        _set_attributes(self, context, "SetSubscriptionAttributes", thing, known, changed)


TYPES = (Topic, TopicPolicy, TopicSubscription)
