"""KMS: keys, aliases, key policies."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

import json
from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_key, is_same_policy
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import boolean_property, integer_property
from local.provider.values import Values


class Key(Resource):
    """``aws:kms/key:Key``: a delete schedules the key's deletion, as it does on AWS."""

    token = "aws:kms/key:Key"
    service = "kms"
    create_by, read_by = "CreateKey", "DescribeKey"
    answer = "KeyMetadata"
    id = "{keyId}"
    members = {"customerMasterKeySpec": "KeySpec"}
    omit = frozenset({"origin"})
    own = {
        "deletionWindowInDays": integer_property(minimum=7, maximum=30),
        "enableKeyRotation": boolean_property("KeyRotationEnabled"),
        "isEnabled": boolean_property("Enabled"),
        "rotationPeriodInDays": integer_property("RotationPeriodInDays", minimum=90, maximum=2560),
    }
    created = {"keyId": "KeyMetadata.KeyId", "arn": "KeyMetadata.Arn"}
    identity = {"KeyId": "keyId"}
    outputs = {"arn": "Arn", "keyId": "KeyId"}
    defaults = {
        "bypassPolicyLockoutSafetyCheck": False,
        "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "enableKeyRotation": False,
        "isEnabled": True,
        "keyUsage": "ENCRYPT_DECRYPT",
    }
    replaces = frozenset({"customKeyStoreId", "customerMasterKeySpec", "keyUsage", "multiRegion", "xksKeyId"})
    computed = frozenset({"description", "multiRegion", "policy", "rotationPeriodInDays"})
    unread = frozenset({"bypassPolicyLockoutSafetyCheck", "deletionWindowInDays"})
    requires = {"rotationPeriodInDays": "enableKeyRotation", "xksKeyId": "customKeyStoreId"}
    same = {"policy": is_same_policy}
    tagging = Tagging("TagResource", "UntagResource", "ListResourceTags", "KeyId", by="keyId")

    def complete(self, context: Context, known: Values, tags: dict[str, str]) -> None:
        """Enable rotation or disable the key if declared, then set tags."""
        changed = {"enableKeyRotation"} if known.get("enableKeyRotation") else set()
        if known.get("isEnabled") is False:
            changed.add("isEnabled")
        self.update(context, known, frozenset(changed))
        super().complete(context, known, tags)

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the key's description, rotation and policy; None if its deletion is scheduled."""
        found = super().describe(context, known)
        if found is None or found["KeyState"] in ("PendingDeletion", "PendingReplicaDeletion"):
            return None
        key = {"KeyId": known["keyId"]}
        found |= self.call(context, "GetKeyRotationStatus", key)
        found["Policy"] = self.call(context, "GetKeyPolicy", {**key, "PolicyName": "default"})["Policy"]
        return found

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Apply the changed properties, each with its own call."""
        key = {"KeyId": known["keyId"]}
        if "isEnabled" in changed and known["isEnabled"]:
            self.call(context, "EnableKey", key)
        if changed & {"enableKeyRotation", "rotationPeriodInDays"}:
            if known["enableKeyRotation"]:
                period = known.get("rotationPeriodInDays")
                self.call(context, "EnableKeyRotation", key | ({"RotationPeriodInDays": period} if period else {}))
            else:
                self.call(context, "DisableKeyRotation", key)
        if "description" in changed:
            self.call(context, "UpdateKeyDescription", {**key, "Description": known.get("description", "")})
        if "policy" in changed:
            self.call(context, "PutKeyPolicy", {**key, "PolicyName": "default", "Policy": known["policy"]})
        if "isEnabled" in changed and not known["isEnabled"]:
            self.call(context, "DisableKey", key)

    def delete(self, context: Context, known: Values) -> None:
        """Schedule the key's deletion, unless it is already scheduled."""
        if self.read(context, known) is not None:
            days = known.get("deletionWindowInDays", 30)
            self.call(context, "ScheduleKeyDeletion", {"KeyId": known["keyId"], "PendingWindowInDays": days})


class Alias(Resource):
    """``aws:kms/alias:Alias``."""

    token = "aws:kms/alias:Alias"
    service = "kms"
    create_by, update_by, delete_by = "CreateAlias", "UpdateAlias", "DeleteAlias"
    members = {"name": "AliasName"}
    outputs = {"arn": "AliasArn", "targetKeyArn": ""}
    auto_name = ("name", AutoName(238, prefix="alias/"))
    name_prefix = True
    replaces = frozenset({"name"})
    same = {"targetKeyId": is_same_key}

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the alias from the list of aliases, or None."""
        marker: dict[str, str] = {}
        while True:
            page = self.call(context, "ListAliases", marker)
            for alias in page["Aliases"]:
                if alias["AliasName"] == known["name"]:
                    return dict(alias)
            if not page.get("Truncated"):
                return None
            marker = {"Marker": page["NextMarker"]}

    def compute_outputs(self, context: Context, known: Values, root: dict[str, Any]) -> Values:
        """Return the outputs that are not inputs, including the ARN of the target key."""
        found = super().compute_outputs(context, known, root)
        target = self.call(context, "DescribeKey", {"KeyId": root["TargetKeyId"]})
        return {**found, "targetKeyArn": target["KeyMetadata"]["Arn"]}


class KeyPolicy(Resource):
    """``aws:kms/keyPolicy:KeyPolicy``: a delete restores the default policy."""

    token = "aws:kms/keyPolicy:KeyPolicy"
    service = "kms"
    create_by = update_by = "PutKeyPolicy"
    id = "{keyId}"
    omit = frozenset({"policyName"})
    replaces = frozenset({"keyId"})
    defaults = {"bypassPolicyLockoutSafetyCheck": False}
    unread = frozenset({"bypassPolicyLockoutSafetyCheck"})
    same = {"policy": is_same_policy, "keyId": is_same_key}

    def build_params(self, context: Context, operation: str, values: Values) -> dict[str, Any]:
        """Return the parameters for an operation, with ``default``, the only name of a key's policy."""
        return {**super().build_params(context, operation, values), "PolicyName": "default"}

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the key's id and policy."""
        key = {"KeyId": known["keyId"]}
        return {**key, **self.call(context, "GetKeyPolicy", {**key, "PolicyName": "default"})}

    def delete(self, context: Context, known: Values) -> None:
        """Restore the default policy, unless ``bypassPolicyLockoutSafetyCheck`` is set."""
        if known.get("bypassPolicyLockoutSafetyCheck"):
            return
        account = context.call("sts", "GetCallerIdentity", {})["Account"]
        everything = {
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
        document = {"Version": "2012-10-17", "Id": "key-default-1", "Statement": [everything]}
        policy = {"PolicyName": "default", "Policy": json.dumps(document)}
        self.ignore_not_found(lambda: self.call(context, "PutKeyPolicy", {"KeyId": known["keyId"], **policy}))


TYPES = (Key, Alias, KeyPolicy)
