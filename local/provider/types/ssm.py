"""Systems Manager: parameters."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import string_property
from local.provider.values import Values


class Parameter(Resource):
    """``aws:ssm/parameter:Parameter``: its value is always a secret."""

    token = "aws:ssm/parameter:Parameter"
    service = "ssm"
    create_by, delete_by = "PutParameter", "DeleteParameter"
    omit = frozenset({"policies", "value"})
    own = {"value": string_property("Value"), "insecureValue": string_property()}
    places = {"insecureValue": "InsecureValue"}
    outputs = {"arn": "ARN", "version": "Version"}
    auto_name = ("name", AutoName(255))
    replaces = frozenset({"name", "dataType"})
    required = frozenset({"type"})
    computed = frozenset({"dataType", "keyId", "tier", "insecureValue", "value"})
    unread = frozenset({"overwrite", "allowedPattern", "description", "keyId", "tier"})
    volatile = frozenset({"version"})
    secret = frozenset({"value"})
    exactly_one = (("value", "insecureValue"),)

    tagging = Tagging("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource", "ResourceId", by="name")

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:
        """Create the parameter from ``value`` or ``insecureValue``."""
        return super().create(context, {**inputs, "value": self._value(inputs)}, tags)

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Put the parameter again, unless only tags or ``overwrite`` changed."""
        if changed - {"tags", "tagsAll", "overwrite"}:
            params = self.build_params(context, self.create_by, {**known, "value": self._value(known)})
            self.call(context, self.create_by, {**params, "Overwrite": known.get("overwrite") is not False})

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the parameter's value and description."""
        name = {"Name": known["name"]}
        found = self.call(context, "GetParameter", {**name, "WithDecryption": True})["Parameter"]
        filters = [{"Key": "Name", "Option": "Equals", "Values": [known["name"]]}]
        described = self.call(context, "DescribeParameters", {"ParameterFilters": filters})["Parameters"]
        if found["Type"] != "SecureString":
            found["InsecureValue"] = found["Value"]
        return {**(described[0] if described else {}), **found}

    def _tagged(self, known: Values) -> dict[str, str]:
        return {"ResourceType": "Parameter", **super()._tagged(known)}

    def _value(self, known: Values) -> Any:
        return known["value"] if "value" in known else known["insecureValue"]


TYPES = (Parameter,)
