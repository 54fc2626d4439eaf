"""Checks that moto's EventBridge and Scheduler lack: of what AWS would refuse, or this cloud could never act on.

It is refused when it is put: events and targets of rules entry by entry, schedules as a whole. This module also answers
TestEventPattern, which moto lacks, and creates a schedule only once when the request is repeated.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from local.core.identity import ACCOUNT
from local.services.eventbridge import patterns, targets

#: The largest total size of the entries of one PutEvents request, bytes.
_LARGEST = 256 * 1024

#: Fields that an event must have to be tested against a pattern.
_ENVELOPE = ("id", "account", "source", "time", "region", "resources", "detail-type")


@functools.cache
def install_checks() -> None:
    """Patch moto's EventBridge and Scheduler with the checks, once in a process."""
    from moto.events.models import EventsBackend
    from moto.events.responses import EventsHandler
    from moto.scheduler.models import EventBridgeSchedulerBackend
    from moto.scheduler.responses import EventBridgeSchedulerResponse

    for owner, name, change in (
        (EventsBackend, "put_events", _checking_entries),
        (EventsHandler, "put_targets", _checking_targets),
        (EventBridgeSchedulerBackend, "create_schedule", _checking_schedule),
        (EventBridgeSchedulerBackend, "update_schedule", _checking_schedule),
        (EventBridgeSchedulerResponse, "create_schedule", _once),
    ):
        setattr(owner, name, change(getattr(owner, name)))
    EventsHandler.test_event_pattern = _test_event_pattern  # type: ignore[method-assign]


# -- events ----------------------------------------------------------------------------------------------------------


def _checking_entries(put: Callable[..., Any]) -> Callable[..., Any]:
    from moto.events.exceptions import ValidationException

    @functools.wraps(put)
    def put_events(self: Any, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if sum(map(_size, events)) > _LARGEST:
            raise ValidationException(
                f"Total size of the entries in the request is over the limit: it must be at most {_LARGEST} bytes."
            )
        refused = [_refusal(entry) for entry in events]
        taken = iter(put(self, [entry for entry, error in zip(events, refused, strict=True) if error is None]))
        return [next(taken) if error is None else error for error in refused]

    return put_events


def _size(entry: Mapping[str, Any]) -> int:
    """Return the size of an entry as EventBridge counts it, bytes."""
    texts = [entry.get(name) or "" for name in ("Source", "DetailType", "Detail")] + (entry.get("Resources") or [])
    return (14 if entry.get("Time") is not None else 0) + sum(len(text.encode()) for text in texts)


def _refusal(entry: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the error of an entry that moto does not detect itself; None if there is none."""
    if str(entry.get("Source") or "").startswith("aws."):
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
    if entry.get("Detail") and _object(entry["Detail"]) is None:
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    return None


def _object(text: str) -> dict[str, Any] | None:
    """Parse a JSON object; return None if the text is not one, also for NaN and infinity, which Python accepts."""

    def number(literal: str) -> float:
        value = float(literal)
        if not math.isfinite(value):
            raise ValueError(f"{literal} is not a number in JSON")
        return value

    try:
        value = json.loads(text, parse_constant=number, parse_float=number)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _test_event_pattern(self: Any) -> Any:
    from moto.events.exceptions import InvalidEventPatternException, ValidationException

    event = _object(self._get_param("Event"))
    if event is None:
        raise ValidationException("Parameter Event is not valid. Reason: it is not a JSON object.")
    if missing := [name for name in _ENVELOPE if name not in event]:
        raise ValidationException(f"Parameter Event is not valid. Reason: it lacks {', '.join(missing)}.")
    try:
        pattern = json.loads(self._get_param("EventPattern"))
        patterns.check(pattern)
    except patterns.PatternError as error:
        raise InvalidEventPatternException(reason=str(error)) from error
    except json.JSONDecodeError as error:
        raise InvalidEventPatternException(reason=f"Invalid JSON: {error}") from error
    return self._create_response({"Result": patterns.matches(pattern, event)})


# -- targets ---------------------------------------------------------------------------------------------------------


#: The most targets of one rule.
_TARGETS = 5


def _checking_targets(put: Callable[..., Any]) -> Callable[..., Any]:
    from moto.core.exceptions import JsonRESTError

    @functools.wraps(put)
    def put_targets(self: Any) -> Any:
        good, failed = [], []
        for target in self._get_param("Targets"):
            try:
                targets.check(target)
                good.append(target)
            except targets.DeliveryError as error:
                failed.append(
                    {"TargetId": target["Id"], "ErrorCode": "ValidationException", "ErrorMessage": str(error)}
                )
        rule = self.events_backend.describe_rule(self._get_param("Rule"), self._get_param("EventBusName"))
        ids = {each["Id"] for each in rule.targets} | {each["Id"] for each in good}
        if len(ids) > _TARGETS:
            raise JsonRESTError(
                "LimitExceededException",
                f"The requested resource exceeds the maximum number allowed: {_TARGETS} targets.",
            )
        self.events_backend.put_targets(self._get_param("Rule"), self._get_param("EventBusName"), good)
        return self._create_response({"FailedEntryCount": len(failed), "FailedEntries": failed})

    return put_targets


# -- schedules -------------------------------------------------------------------------------------------------------


def _checking_schedule(change: Callable[..., Any]) -> Callable[..., Any]:
    from moto.scheduler.exceptions import ValidationException

    @functools.wraps(change)
    def checked(self: Any, **params: Any) -> Any:
        self.get_schedule_group(params.get("group_name"))
        target = params["target"]
        try:
            targets.check(target)
        except targets.DeliveryError as error:
            raise ValidationException(str(error)) from error
        if not _is_role(target["RoleArn"]):
            raise ValidationException(
                "The execution role you provide must allow AWS EventBridge Scheduler to assume the role. "
                f"The role {target['RoleArn']} does not exist."
            )
        return change(self, **params)

    return checked


def _is_role(arn: str) -> bool:
    from moto.iam.models import iam_backends

    return any(role.arn == arn for role in list(iam_backends[ACCOUNT]["aws"].roles.values()))


def _once(create: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(create)
    def create_schedule(self: Any) -> Any:
        asked = json.loads(self.body)
        group = self.scheduler_backend.get_schedule_group(asked.get("GroupName"))
        name = self.uri.split("/")[-1]
        made = group.schedules.get(name)
        # The request is kept on the schedule, so that a snapshot includes it.
        if made is not None and asked.get("ClientToken") and getattr(made, "request", None) == asked:
            return json.dumps({"ScheduleArn": made.arn})
        answer = create(self)
        group.schedules[name].request = asked
        return answer

    return create_schedule
