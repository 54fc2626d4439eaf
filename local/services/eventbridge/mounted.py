"""Corrections of moto's EventBridge, and direct reads of its state in this process.

Rules are checked several times a second, so they are read here; everything that changes something goes through the
API. Patterns and schedule expressions that AWS would refuse are refused; events are delivered by this cloud's own
rules.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

from local.core.identity import ACCOUNT
from local.services.eventbridge import expressions, patterns


@functools.cache
def install_corrections() -> None:
    """Patch moto's EventBridge with the corrections, once in a process."""
    from moto.events.models import EventsBackend, Rule

    for owner, name, change in (
        (EventsBackend, "put_rule", _checking_rule),
        (Rule, "send_to_targets", _only_to_archives),
    ):
        setattr(owner, name, change(getattr(owner, name)))


def _checking_rule(put: Callable[..., Any]) -> Callable[..., Any]:
    from moto.events.exceptions import InvalidEventPatternException, ValidationException

    @functools.wraps(put)
    def put_rule(self: Any, *args: Any, **params: Any) -> Any:
        if params.get("scheduled_expression"):
            try:
                expressions.parse(params["scheduled_expression"])
            except expressions.ExpressionError as error:
                raise ValidationException(f"Parameter ScheduleExpression is not valid: {error}.") from error
        if params.get("event_pattern"):
            try:
                patterns.check(json.loads(params["event_pattern"]))
            except patterns.PatternError as error:
                raise InvalidEventPatternException(reason=str(error)) from error
            except json.JSONDecodeError as error:
                raise InvalidEventPatternException(reason=f"Invalid JSON: {error}") from error
        return put(self, *args, **params)

    return put_rule


def _only_to_archives(send: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(send)
    def send_to_targets(self: Any, original_event: Any, transform_input: bool = True) -> None:
        # The target for an archive, which moto creates itself, has an ARN with a region but without a resource.
        if any(target["Arn"].split(":")[2] == "events" and "/" not in target["Arn"] for target in self.targets):
            send(self, original_event, transform_input)

    return send_to_targets


def list_scheduled_rules() -> Iterator[tuple[str, Any]]:
    """Yield every enabled rule that has a schedule, with its region."""
    from moto.events.models import events_backends

    for region, backend in list(dict.items(events_backends[ACCOUNT])):
        for bus in list(backend.event_buses.values()):
            for rule in list(bus.rules.values()):
                if rule.scheduled_expression and rule.state != "DISABLED":
                    yield region, rule


def list_rules(region: str, bus: str) -> list[Any]:
    """Return the enabled rules of a bus that have an event pattern, except those of archives.

    Args:
        region: The region of the bus.
        bus: The name of the bus; one that does not exist has no rules.
    """
    from moto.events.models import events_backends

    found = events_backends[ACCOUNT][region].event_buses.get(bus)
    every = [] if found is None else list(found.rules.values())
    return [
        rule
        for rule in every
        if rule.state != "DISABLED" and rule.event_pattern.get_pattern() and not rule.name.startswith("Events-Archive-")
    ]
