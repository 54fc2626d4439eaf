"""Suppression of a composite alarm's actions while another alarm, its suppressor, is in ALARM.

A change of state waits for the suppressor to go into ALARM, for the wait period at most. Once the suppressor has left
ALARM, the extension period passes, and the actions that were held back run. A change that is taken back meanwhile runs
none. What is held back survives a restart.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict, cast

from local.core.context import Cloud
from local.services.cloudwatch.evaluation import ALARM

#: The kind under which the store keeps the changes whose actions are held back.
_HELD = "alarm-actions-held"
_BY_ALARM, _BY_WAIT, _BY_EXTENSION = "Alarm", "WaitPeriod", "ExtensionPeriod"


class Held(TypedDict):
    """A change of state whose actions are held back.

    Attributes:
        arn: The composite alarm.
        region: Its region.
        incarnation: What distinguishes it from a later alarm of its name.
        before: The state before the first change that was held back.
        state: The present state, as announced.
        by: What holds it back, as CloudWatch names it.
        until: The real time at which a period ends; 0 while the suppressor is in ALARM.
    """

    arn: str
    region: str
    incarnation: str
    before: str
    state: dict[str, Any]
    by: str
    until: float


class Suppression:
    """The changes of composite alarms whose actions are held back."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._held: dict[str, Held] = {known["arn"]: cast("Held", known) for known in cloud.store.list(_HELD)}

    def hold(self, region: str, alarm: Any, before: str, state: Mapping[str, Any], *, has_actions: bool) -> bool:
        """Hold the actions of a change of state back, where the alarm has a suppressor.

        Args:
            region: The alarm's region.
            alarm: The alarm.
            before: The state that it had.
            state: The state that it has now.
            has_actions: Whether it has actions for that state.

        Returns:
            True if they are held back, or the change takes one back that is; False if they run now.
        """
        if not getattr(alarm, "actions_suppressor", None):
            return False
        known = self._held.get(alarm.alarm_arn)
        if known is not None and known["incarnation"] == alarm.incarnation:
            before = known["before"]
            if before == state["value"]:
                self._drop(known, alarm)
                return True
            if known["by"] != _BY_WAIT:
                self._keep({**known, "state": dict(state)}, alarm)
                return True
        elif not has_actions:
            return False
        until = time.time() + self._cloud.clock.to_real_seconds(float(alarm.actions_suppressor_wait_period))
        self._keep(
            {
                "arn": alarm.alarm_arn,
                "region": region,
                "incarnation": alarm.incarnation,
                "before": before,
                "state": dict(state),
                "by": _BY_WAIT,
                "until": until,
            },
            alarm,
        )
        return True

    def release(self, alarms: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any, str, dict[str, Any]]]:
        """Yield the changes whose actions are no longer held back: region, alarm, state before, state.

        Args:
            alarms: Every alarm with its region.
        """
        if not self._held:
            return
        by_arn = {alarm.alarm_arn: alarm for _, alarm in alarms}
        states = {(region, alarm.name): alarm.state_value for region, alarm in alarms}
        for known in list(self._held.values()):
            alarm = by_arn.get(known["arn"])
            if alarm is None or alarm.incarnation != known["incarnation"]:
                self._drop(known, alarm)
                continue
            suppressor = getattr(alarm, "actions_suppressor", None) or ""
            suppressing = states.get((known["region"], suppressor.rpartition(":alarm:")[2])) == ALARM
            if suppressing:
                if known["by"] != _BY_ALARM:
                    self._keep({**known, "by": _BY_ALARM, "until": 0.0}, alarm)
            elif suppressor and known["by"] == _BY_ALARM:
                seconds = self._cloud.clock.to_real_seconds(float(alarm.actions_suppressor_extension_period))
                self._keep({**known, "by": _BY_EXTENSION, "until": time.time() + seconds}, alarm)
            elif time.time() >= known["until"]:
                self._drop(known, alarm)
                yield known["region"], alarm, known["before"], known["state"]

    def _keep(self, known: Held, alarm: Any) -> None:
        self._held[known["arn"]] = known
        self._cloud.store.put(_HELD, known["region"], known["arn"], dict(known))
        alarm.actions_suppressed_by = known["by"]
        alarm.actions_suppressed_reason = f"Actions suppressed by {known['by']}: {alarm.actions_suppressor}"

    def _drop(self, known: Held, alarm: Any) -> None:
        del self._held[known["arn"]]
        self._cloud.store.delete(_HELD, known["region"], known["arn"])
        if alarm is not None:
            alarm.actions_suppressed_by = alarm.actions_suppressed_reason = None
