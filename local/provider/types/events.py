"""EventBridge: rules and their targets."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_json
from local.provider.errors import ProviderError
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import boolean_property, convert_to_api, string_property
from local.provider.values import Values

_DEFAULT_BUS = "default"


class EventRule(Resource):
    """``aws:cloudwatch/eventRule:EventRule``: by pattern, by schedule or by both."""

    token = "aws:cloudwatch/eventRule:EventRule"
    service = "events"
    create_by = update_by = "PutRule"
    read_by, delete_by = "DescribeRule", "DeleteRule"
    own = {"forceDestroy": boolean_property(unread=True)}
    outputs = {"arn": "Arn"}
    auto_name = ("name", AutoName(64))
    name_prefix = True
    replaces = frozenset({"name", "eventBusName"})
    defaults = {"eventBusName": _DEFAULT_BUS, "forceDestroy": False}
    computed = frozenset({"state"})
    at_least_one = (("scheduleExpression", "eventPattern"),)
    same = {"eventPattern": is_same_json}
    tagging = Tagging("TagResource", "UntagResource", "ListTagsForResource", "ResourceARN")

    def build_id(self, known: Any) -> str:
        """Return the rule's name, after the name of its bus unless that is the default one."""
        bus = known.get("eventBusName", _DEFAULT_BUS)
        return str(known["name"]) if bus == _DEFAULT_BUS else f"{bus}/{known['name']}"

    def parse_id(self, id: str) -> Values:
        """Return the bus and the rule's name that an id holds."""
        bus, _, name = id.rpartition("/")
        return {"eventBusName": bus or _DEFAULT_BUS, "name": name}

    def delete(self, context: Context, known: Values) -> None:
        """Delete the rule, by force if ``forceDestroy`` is set; it is no error if it no longer exists."""
        rule = {"Name": known["name"], "EventBusName": known["eventBusName"], "Force": bool(known.get("forceDestroy"))}
        self.ignore_not_found(lambda: self.call(context, self.delete_by, rule))


class EventTarget(Resource):
    """``aws:cloudwatch/eventTarget:EventTarget``: where a rule sends its events."""

    token = "aws:cloudwatch/eventTarget:EventTarget"
    service = "events"
    create_by = "PutTargets"
    shape = "Targets"
    members = {
        "targetId": "Id",
        "batchTarget": "BatchParameters",
        "batchTarget.arraySize": "ArrayProperties.Size",
        "batchTarget.jobAttempts": "RetryStrategy.Attempts",
        "httpTarget": "HttpParameters",
        "inputTransformer.inputPaths": "InputPathsMap",
        "kinesisTarget": "KinesisParameters",
        "redshiftTarget": "RedshiftDataParameters",
        "redshiftTarget.secretsManagerArn": "SecretManagerArn",
        "runCommandTargets": "RunCommandParameters.RunCommandTargets",
        "sagemakerPipelineTarget": "SageMakerPipelineParameters",
        "sagemakerPipelineTarget.pipelineParameterLists": "PipelineParameterList",
        "sqsTarget": "SqsParameters",
    }
    omit = frozenset({"ecsParameters", "appSyncParameters", "redshiftTarget.sqls"})
    own = {
        "rule": string_property(required=True, pattern=None, minimum=1, maximum=64),
        "eventBusName": string_property(),
        "forceDestroy": boolean_property(unread=True),
    }
    auto_name = ("targetId", AutoName(255))
    replaces = frozenset({"rule", "eventBusName", "targetId"})
    defaults = {"eventBusName": _DEFAULT_BUS, "forceDestroy": False}
    unordered = frozenset({"sagemakerPipelineTarget.pipelineParameterLists"})
    conflicts = (("input", "inputPath", "inputTransformer"),)
    same = {"input": is_same_json}

    def build_id(self, known: Any) -> str:
        """Return ``<rule>-<target id>``, after the name of the bus unless that is the default one."""
        bus = known.get("eventBusName", _DEFAULT_BUS)
        ours = f"{known['rule']}-{known['targetId']}"
        return ours if bus == _DEFAULT_BUS else f"{bus}-{ours}"

    def list_id_names(self) -> list[str]:
        """Return the names of the properties in the id."""
        return ["rule", "targetId", "eventBusName"]

    def parse_id(self, id: str) -> Values:
        """Return the properties in an import id, ``[<bus>/]<rule>/<target id>``.

        Raises:
            ProviderError: If the id does not have this form.
        """
        bus, _, rest = id.partition("/") if id.count("/") == 2 else (_DEFAULT_BUS, "", id)
        rule, slash, target = rest.partition("/")
        if not slash:
            raise ProviderError(f"{self.token}: id {id!r}", "cannot be parsed", fix="import it as <rule>/<target id>")
        return {"eventBusName": bus, "rule": rule, "targetId": target}

    def create(self, context: Context, inputs: Values, tags: dict[str, str]) -> Values:  # noqa: ARG002
        """Add the target to its rule."""
        target = convert_to_api(self.properties, inputs)
        answer = self.call(context, "PutTargets", {**self._rule(inputs), "Targets": [target]})
        self._refuse(answer, "PutTargets")
        return {}

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:  # noqa: ARG002
        """Put the target with its new inputs."""
        self.create(context, known, {})

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the target from the list of its rule's targets, or None."""
        page = self._rule(known)
        while True:
            answer = self.call(context, "ListTargetsByRule", page)
            for target in answer["Targets"]:
                if target["Id"] == known["targetId"]:
                    return dict(target)
            if not answer.get("NextToken"):
                return None
            page["NextToken"] = answer["NextToken"]

    def delete(self, context: Context, known: Values) -> None:
        """Remove the target from its rule; it is no error if it no longer exists."""
        target = {**self._rule(known), "Ids": [known["targetId"]], "Force": bool(known.get("forceDestroy"))}
        self.ignore_not_found(lambda: self._refuse(self.call(context, "RemoveTargets", target), "RemoveTargets"))

    def _rule(self, known: Values) -> dict[str, Any]:
        return {"Rule": known["rule"], "EventBusName": known.get("eventBusName", _DEFAULT_BUS)}

    def _refuse(self, answer: dict[str, Any], operation: str) -> None:
        for entry in answer.get("FailedEntries", ()):
            raise ProviderError(f"events {operation}", f"failed: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}")


TYPES = (EventRule, EventTarget)
