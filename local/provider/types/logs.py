"""CloudWatch Logs: log groups and metric filters."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_key
from local.provider.errors import ProviderError
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


class LogMetricFilter(Resource):
    """``aws:cloudwatch/logMetricFilter:LogMetricFilter``: a put replaces the filter of the same name."""

    token = "aws:cloudwatch/logMetricFilter:LogMetricFilter"
    service = "logs"
    create_by = update_by = "PutMetricFilter"
    delete_by = "DeleteMetricFilter"
    members = {
        "name": "filterName",
        "pattern": "filterPattern",
        "metricTransformation": "metricTransformations[0]",
        "metricTransformation.name": "metricName",
        "metricTransformation.namespace": "metricNamespace",
        "metricTransformation.value": "metricValue",
    }
    omit = frozenset({"fieldSelectionCriteria", "emitSystemFieldDimensions"})
    auto_name = ("name", AutoName(512))
    replaces = frozenset({"name", "logGroupName"})
    defaults = {"metricTransformation.unit": "None"}
    computed = frozenset({"applyOnTransformedLogs"})
    unread = frozenset({"applyOnTransformedLogs"})

    def list_id_names(self) -> list[str]:
        """Return the names of the properties in the id, and of the group that the filter is of."""
        return ["name", "logGroupName"]

    def parse_id(self, id: str) -> Values:
        """Return the properties in an import id, ``<log group>:<name>``.

        Raises:
            ProviderError: If the id does not have this form.
        """
        group, colon, name = id.rpartition(":")
        if not colon:
            raise ProviderError(f"{self.token}: id {id!r}", "cannot be parsed", fix="import it as <log group>:<name>")
        return {"logGroupName": group, "name": name}

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the filter from the list of its group's filters, or None."""
        asked: dict[str, Any] = {"logGroupName": known["logGroupName"], "filterNamePrefix": known["name"]}
        while True:
            page = self.call(context, "DescribeMetricFilters", asked)
            for each in page.get("metricFilters", ()):
                if each["filterName"] == known["name"]:
                    return dict(each)
            if not page.get("nextToken"):
                return None
            asked["nextToken"] = page["nextToken"]


TYPES = (LogGroup, LogMetricFilter)
