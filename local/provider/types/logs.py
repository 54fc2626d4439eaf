"""CloudWatch Logs: log groups."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_key
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import boolean_property, integer_property
from local.provider.values import Values


class LogGroup(Resource):
    """``aws:cloudwatch/logGroup:LogGroup``: retention 0 keeps logs for ever."""

    token = "aws:cloudwatch/logGroup:LogGroup"
    service = "logs"
    create_by, delete_by = "CreateLogGroup", "DeleteLogGroup"
    members = {"name": "logGroupName"}
    omit = frozenset({"deletionProtectionEnabled"})
    own = {
        "retentionInDays": integer_property("retentionInDays", computed=True),
        "skipDestroy": boolean_property(unread=True),
    }
    outputs = {"arn": ""}
    auto_name = ("name", AutoName(255))
    name_prefix = True
    replaces = frozenset({"name", "logGroupClass"})
    defaults = {"retentionInDays": 0, "skipDestroy": False}
    computed = frozenset({"logGroupClass"})
    unread = frozenset({"logGroupClass"})
    same = {"kmsKeyId": is_same_key}
    tagging = Tagging("TagResource", "UntagResource", "ListTagsForResource", "resourceArn")

    def complete(self, context: Context, known: Values, tags: dict[str, str]) -> None:
        """Set the retention and the tags."""
        if known.get("retentionInDays"):
            self.update(context, known, frozenset({"retentionInDays"}))
        super().complete(context, known, tags)

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the log group from the list of log groups, with retention 0 if it has none, or None."""
        prefix: dict[str, Any] = {"logGroupNamePrefix": known["name"]}
        while True:
            page = self.call(context, "DescribeLogGroups", prefix)
            for group in page["logGroups"]:
                if group["logGroupName"] == known["name"]:
                    return {"retentionInDays": 0, **group}
            if not page.get("nextToken"):
                return None
            prefix["nextToken"] = page["nextToken"]

    def compute_outputs(self, context: Context, known: Values, root: dict[str, Any]) -> Values:  # noqa: ARG002
        """Return the ARN without the suffix ``:*``."""
        return {"arn": root["arn"].removesuffix(":*")}

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Apply changed retention and key, each with its own call."""
        group = {"logGroupName": known["name"]}
        if "retentionInDays" in changed:
            if known["retentionInDays"]:
                self.call(context, "PutRetentionPolicy", {**group, "retentionInDays": known["retentionInDays"]})
            else:
                self.call(context, "DeleteRetentionPolicy", group)
        if "kmsKeyId" in changed:
            if known.get("kmsKeyId"):
                self.call(context, "AssociateKmsKey", {**group, "kmsKeyId": known["kmsKeyId"]})
            else:
                self.call(context, "DisassociateKmsKey", group)

    def delete(self, context: Context, known: Values) -> None:
        """Delete the log group, unless ``skipDestroy`` is set."""
        if not known.get("skipDestroy"):
            super().delete(context, known)


TYPES = (LogGroup,)
