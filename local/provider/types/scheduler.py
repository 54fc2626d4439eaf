"""EventBridge Scheduler: schedules and schedule groups."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from local.provider.api import Context
from local.provider.naming import AutoName
from local.provider.resources import Resource, Wait
from local.provider.schema import Tagging
from local.provider.values import Values


class Schedule(Resource):
    """``aws:scheduler/schedule:Schedule``: an update sends every property, so omitted ones get their defaults again."""

    token = "aws:scheduler/schedule:Schedule"
    service = "scheduler"
    create_by, read_by, update_by, delete_by = "CreateSchedule", "GetSchedule", "UpdateSchedule", "DeleteSchedule"
    id = "{groupName}/{name}"
    members = {
        "target.eventbridgeParameters": "EventBridgeParameters",
        "target.sagemakerPipelineParameters": "SageMakerPipelineParameters",
        "target.sagemakerPipelineParameters.pipelineParameters": "PipelineParameterList",
        "target.sqsParameters": "SqsParameters",
    }
    omit = frozenset(
        {
            "clientToken",
            "target.ecsParameters",
            "target.eventBridgePutEventsV2Parameters",
            "target.eventBridgePutRawEventsParameters",
        }
    )
    outputs = {"arn": "Arn"}
    auto_name = ("name", AutoName(255))
    name_prefix = True
    replaces = frozenset({"name", "groupName"})
    defaults = {
        "groupName": "default",
        "scheduleExpressionTimezone": "UTC",
        "state": "ENABLED",
        "target.retryPolicy.maximumEventAgeInSeconds": 86400,
        "target.retryPolicy.maximumRetryAttempts": 185,
    }
    computed = frozenset({"actionAfterCompletion", "target.retryPolicy"})
    unread = frozenset({"actionAfterCompletion"})
    unordered = frozenset({"target.sagemakerPipelineParameters.pipelineParameters"})


class ScheduleGroup(Resource):
    """``aws:scheduler/scheduleGroup:ScheduleGroup``."""

    token = "aws:scheduler/scheduleGroup:ScheduleGroup"
    service = "scheduler"
    create_by, read_by, delete_by = "CreateScheduleGroup", "GetScheduleGroup", "DeleteScheduleGroup"
    omit = frozenset({"clientToken"})
    outputs = {
        "arn": "Arn",
        "creationDate": "CreationDate",
        "lastModificationDate": "LastModificationDate",
        "state": "State",
    }
    auto_name = ("name", AutoName(255))
    name_prefix = True
    replaces = frozenset({"name"})
    tagging = Tagging("TagResource", "UntagResource", "ListTagsForResource", "ResourceArn")
    waits = Wait("State", "ACTIVE", (), seconds=300.0)

    def delete(self, context: Context, known: Values) -> None:
        """Delete the group and wait until it no longer exists."""
        if self.read(context, known) is not None:
            super().delete(context, known)
            self.await_deleted(context, known, 300.0)


TYPES = (Schedule, ScheduleGroup)
