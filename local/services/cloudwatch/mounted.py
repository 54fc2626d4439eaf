"""Corrections of moto's CloudWatch, and direct reads of its state in this process.

Alarms are checked several times a second, so they are read here; everything that changes something goes through the
API. A new alarm has no data yet, a changed one keeps its state, and composite alarms exist; alarms and metric data that
AWS would refuse are refused; metric data are looked up by metric, with percentiles and metric math.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from local.core.identity import ACCOUNT
from local.core.keys import OWN
from local.services.cloudwatch import definitions, metrics
from local.services.cloudwatch.evaluation import RefusedError, UnsupportedError, list_watched_alarms


@functools.cache
def install_corrections() -> None:
    """Patch moto's CloudWatch with the corrections, once in a process."""
    from moto.cloudwatch.models import CloudWatchBackend
    from moto.cloudwatch.responses import CloudWatchResponse

    for owner, name, change in (
        (CloudWatchBackend, "put_metric_alarm", _keeping_state),
        (CloudWatchBackend, "delete_alarms", _keeping_children),
        (CloudWatchResponse, "put_metric_data", _checking_data),
    ):
        setattr(owner, name, change(getattr(owner, name)))
    for owner, name, answer in (
        (CloudWatchResponse, "describe_alarms", _describe_alarms),
        (CloudWatchResponse, "list_metrics", _list_metrics),
        (CloudWatchResponse, "get_metric_data", _get_metric_data),
        (CloudWatchResponse, "get_metric_statistics", _get_metric_statistics),
        (CloudWatchResponse, "put_composite_alarm", _put_composite_alarm),
    ):
        setattr(owner, name, answer)


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Convert errors about metric data to moto's exceptions, which become CloudWatch's answers."""
    from moto.cloudwatch.exceptions import CloudWatchException, ValidationError

    try:
        yield
    except UnsupportedError as error:
        raise ValidationError(f"{error}: not available in the local cloud.") from error
    except RefusedError as error:
        raise CloudWatchException(error.code, str(error)) from error


def _checking_data(put: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(put)
    def put_metric_data(self: Any) -> Any:
        namespace = self._get_param("Namespace")
        with _refusing():
            if self._get_param("EntityMetricData"):
                raise UnsupportedError("EntityMetricData")
            ours = namespace.startswith("AWS/") and _is_own_request()
            definitions.check_data(namespace, self._get_param("MetricData", []), ours=ours)
        return put(self)

    return put_metric_data


def _is_own_request() -> bool:
    """Return True if the request was signed by one of the cloud's own parts."""
    import flask

    return bool(flask.request.environ[OWN])


def _describe_alarms(self: Any) -> Any:
    """Answer DescribeAlarms by all its conditions at once; moto applies only one of them."""
    from moto.core.responses import ActionResult

    params = self._get_params()
    names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix") or ""
    state, action = params.get("StateValue"), params.get("ActionPrefix") or ""
    found = [
        alarm
        for alarm in self.cloudwatch_backend.describe_alarms()
        if (not names or alarm.name in names)
        and alarm.name.startswith(prefix)
        and (not state or alarm.state_value == state)
        and (not action or any(each.startswith(action) for each in alarm.alarm_actions))
    ]
    for alarm in found:
        alarm.state_transitioned_timestamp = _find_transition(alarm)
    return ActionResult(
        {
            "MetricAlarms": [alarm for alarm in found if alarm.rule is None],
            "CompositeAlarms": [alarm for alarm in found if alarm.rule is not None],
        }
    )


def _find_transition(alarm: Any) -> Any:
    """Return the time since which the alarm has its present state; moto knows only when it was last set."""
    since = alarm.state_updated_timestamp
    for _, _, _, value, updated in reversed(alarm.history):
        if value != alarm.state_value:
            break
        since = updated
    return since


def _list_metrics(self: Any) -> Any:
    from moto.core.responses import ActionResult

    params, backend = self._get_params(), self.cloudwatch_backend
    asked = params.get("MetricName"), params.get("Namespace"), params.get("Dimensions") or []
    with _refusing():
        if given := [name for name in ("IncludeLinkedAccounts", "OwningAccount") if params.get(name)]:
            raise UnsupportedError(" and ".join(given))
        if params.get("NextToken"):
            # moto continues with the results found for the first page.
            token, found = backend.list_metrics(params["NextToken"], *asked)
        else:
            recent = params.get("RecentlyActive") is not None
            token, found = backend._get_paginated(metrics.list_metrics(backend, *asked, recent=recent))
    return ActionResult({"Metrics": found, "NextToken": token})


def _get_metric_data(self: Any) -> Any:
    from moto.core.responses import ActionResult

    params = self._get_params()
    with _refusing():
        if params.get("NextToken"):
            raise RefusedError("InvalidParameterValue", "The value of the parameter NextToken is invalid.")
        results = metrics.get_metric_data(
            self.cloudwatch_backend,
            params.get("MetricDataQueries", []),
            start=params["StartTime"],
            end=params["EndTime"],
            ascending=params.get("ScanBy") == "TimestampAscending",
            **({"most": int(params["MaxDatapoints"])} if params.get("MaxDatapoints") else {}),
        )
    return ActionResult({"MetricDataResults": results})


def _get_metric_statistics(self: Any) -> Any:
    from moto.core.responses import ActionResult

    params = self._get_params()
    with _refusing():
        datapoints = metrics.get_statistics(
            self.cloudwatch_backend,
            params,
            params.get("Statistics") or [],
            params.get("ExtendedStatistics") or [],
            unit=params.get("Unit"),
            start=params["StartTime"],
            end=params["EndTime"],
            period=params["Period"],
        )
    return ActionResult({"Label": params["MetricName"], "Datapoints": datapoints})


def _put_composite_alarm(self: Any) -> Any:
    """Answer PutCompositeAlarm, which moto's responses lack although its alarms have rules."""
    from moto.cloudwatch.exceptions import ValidationError

    given = {attribute: self._get_param(name) for attribute, name in _SUPPRESSING.items()}
    backend, name = self.cloudwatch_backend, self._get_param("AlarmName")
    try:
        definitions.check_suppressor(name, given, backend.alarms.keys())
    except definitions.DefinitionError as error:
        raise ValidationError(f"Alarm {name}: {error}") from error
    answer = self.put_metric_alarm()
    for attribute, value in given.items():
        setattr(backend.alarms[name], attribute, value)
    return answer


#: Attributes of a composite alarm whose actions another alarm suppresses, and the parameters that set them.
_SUPPRESSING = {
    "actions_suppressor": "ActionsSuppressor",
    "actions_suppressor_wait_period": "ActionsSuppressorWaitPeriod",
    "actions_suppressor_extension_period": "ActionsSuppressorExtensionPeriod",
}
#: Attributes that an alarm keeps when it is put again; the last distinguishes it from a later alarm of its name.
_KEPT = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "history", "incarnation")


def _keeping_state(put: Callable[..., Any]) -> Callable[..., Any]:
    from moto.cloudwatch.exceptions import ValidationError

    @functools.wraps(put)
    def put_metric_alarm(self: Any, **params: Any) -> Any:
        before = self.alarms.get(params["name"])
        if before is not None and (before.rule is None) is not (params.get("rule") is None):
            kind = "metric" if before.rule is None else "composite"
            raise ValidationError(f"Alarm {params['name']}: a {kind} alarm of this name exists; delete it first.")
        try:
            definitions.check_alarm(params, self.alarms.keys())
        except definitions.DefinitionError as error:
            raise ValidationError(f"Alarm {params['name']}: {error}") from error
        alarm = put(self, **params)
        if before is None:
            alarm.state_value = "INSUFFICIENT_DATA"
            alarm.incarnation = str(uuid.uuid4())
        else:
            for member in _KEPT:
                setattr(alarm, member, getattr(before, member))
        return alarm

    return put_metric_alarm


def _keeping_children(delete: Callable[..., None]) -> Callable[..., None]:
    from moto.cloudwatch.exceptions import ValidationError

    @functools.wraps(delete)
    def delete_alarms(self: Any, alarm_names: list[str]) -> None:
        composite = [name for name in alarm_names if name in self.alarms and self.alarms[name].rule is not None]
        if len(composite) > 1:
            raise ValidationError(f"Only one composite alarm can be deleted at a time, not {', '.join(composite)}.")
        left = [each for each in self.alarms.values() if each.rule is not None and each.name not in alarm_names]
        for name in alarm_names:
            own = {name, self.alarms[name].alarm_arn} if name in self.alarms else set()
            if any(own & (list_watched_alarms(each.rule) | {getattr(each, "actions_suppressor", "")}) for each in left):
                raise ValidationError(f"Cannot delete {name} as there are composite alarm(s) depending on it")
        delete(self, alarm_names)

    return delete_alarms


def _each(backends: Any) -> Iterator[tuple[str, Any]]:
    yield from list(dict.items(backends[ACCOUNT]))


def list_alarms() -> Iterator[tuple[str, Any]]:
    """Yield every alarm, metric and composite, with its region."""
    from moto.cloudwatch.models import cloudwatch_backends

    for region, backend in _each(cloudwatch_backends):
        for alarm in list(backend.alarms.values()):
            yield region, alarm


def count_messages(region: str, queue: str) -> tuple[int, int, int] | None:
    """Return the number of visible, in-flight and delayed messages of a queue; None if it does not exist."""
    from moto.sqs.models import sqs_backends

    found = sqs_backends[ACCOUNT][region].queues.get(queue)
    if found is None:
        return None
    return (
        found.approximate_number_of_messages,
        found.approximate_number_of_messages_not_visible,
        found.approximate_number_of_messages_delayed,
    )
