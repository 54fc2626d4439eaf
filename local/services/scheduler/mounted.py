"""Corrections of moto's EventBridge Scheduler, and direct reads of its state in this process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from local.core.identity import ACCOUNT
from local.services.eventbridge import expressions


@functools.cache
def install_corrections() -> None:
    """Patch moto's scheduler with the corrections, once in a process."""
    from moto.scheduler.models import EventBridgeSchedulerBackend as Backend

    for name in ("create_schedule", "update_schedule"):
        setattr(Backend, name, _checking_schedule(getattr(Backend, name)))


def _checking_schedule(change: Callable[..., Any]) -> Callable[..., Any]:
    from moto.scheduler.exceptions import ValidationException

    @functools.wraps(change)
    def checked(self: Any, **params: Any) -> Any:
        try:
            expressions.parse(
                params["schedule_expression"], params.get("schedule_expression_timezone") or "UTC", once=True
            )
        except expressions.ExpressionError as error:
            raise ValidationException(f"Invalid Schedule Expression {error}.") from error
        window = params["flexible_time_window"]
        if (window.get("Mode") == "FLEXIBLE") is not ("MaximumWindowInMinutes" in window):
            raise ValidationException("MaximumWindowInMinutes belongs to FlexibleTimeWindow when its Mode is FLEXIBLE.")
        # An update replaces the whole schedule; what it leaves out gets the default again.
        return change(self, **{**params, "state": params.get("state") or "ENABLED"})

    return checked


def list_schedules() -> Iterator[tuple[str, Any]]:
    """Yield every enabled schedule, with its region."""
    from moto.scheduler.models import scheduler_backends

    for region, backend in list(dict.items(scheduler_backends[ACCOUNT])):
        for group in list(backend.schedule_groups.values()):
            for schedule in list(group.schedules.values()):
                if schedule.state == "ENABLED":
                    yield region, schedule
