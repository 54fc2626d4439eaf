"""The event bus: events of this cloud as EventBridge envelopes, stored until they are delivered.

It defines the envelope and two queues of documents in the store: events that no rule has processed yet, and
deliveries to one target each. An event that is emitted within a store transaction becomes part of it, and the queues
survive a restart of the daemon. EventBridge's rules empty both queues.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from local.core.clock import Clock
from local.core.identity import ACCOUNT
from local.core.store import Store

Event = dict[str, Any]

#: The store's kinds of the two queues.
EVENTS = "event"
DELIVERIES = "delivery"

DEFAULT_BUS = "default"


def format_timestamp(seconds: float) -> str:
    """Return a time in the form of envelopes, e.g. ``2026-11-02T09:00:00Z``.

    Args:
        seconds: Seconds since the epoch; fractions are cut off.
    """
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class EventBus:
    """A queue of events from all parts of the cloud.

    Attributes:
        wake: Set when something was queued.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.wake = threading.Event()

    def emit(
        self,
        *,
        detail_type: str,
        resources: Sequence[str],
        detail: Mapping[str, Any],
        region: str,
        source: str = "aws.sagemaker",
    ) -> None:
        """Queue one event of an AWS service on the default bus and return at once.

        Args:
            detail_type: The kind of event, e.g. ``SageMaker Training Job State Change``.
            resources: The ARNs of the resources that the event is about.
            detail: The content: JSON values only, named as in the service's documentation.
            region: The region of the resources.
            source: The service, as its events name it.
        """
        self._queue(create_event(source, detail_type, resources, detail, region, self._clock.now()), DEFAULT_BUS)

    def publish(self, entries: Sequence[Mapping[str, Any]], region: str) -> None:
        """Queue the accepted entries of a client's ``PutEvents``.

        Args:
            entries: The entries, each spelled as in the request and with the ``EventId`` of the response.
            region: The region of the request.
        """
        for entry in entries:
            time = entry.get("Time")
            event = create_event(
                entry["Source"],
                entry["DetailType"],
                entry.get("Resources", []),
                json.loads(entry["Detail"]),
                region,
                self._clock.now() if time is None else _seconds(time),
                entry.get("EventId"),
            )
            bus = str(entry.get("EventBusName") or DEFAULT_BUS).rpartition("/")[2]
            self._queue(event, bus)

    def deliver(
        self,
        *,
        region: str,
        sender: str,
        target: Mapping[str, Any],
        payload: Any,
        principal: str = "events.amazonaws.com",
        subject: str | None = None,
    ) -> None:
        """Queue one delivery.

        Args:
            region: The region of the sender.
            sender: ARN of the rule, schedule or alarm that it comes from.
            target: The target as ``PutTargets`` and ``CreateSchedule`` spell it.
            payload: The event, or for a schedule or alarm the text of the message.
            principal: The service that assumes the target's role or that the target's policy must allow.
            subject: The subject of a message to an SNS topic.
        """
        name = str(uuid.uuid4())
        now = self._clock.now()
        document = {
            "id": name,
            "region": region,
            "sender": sender,
            "principal": principal,
            "target": dict(target),
            "payload": payload,
            "subject": subject,
            "attempts": 0,
            "created": now,
            "due": now,
        }
        self._store.put(DELIVERIES, region, name, document)
        self.wake.set()

    def _queue(self, event: Event, bus: str) -> None:
        self._store.put(EVENTS, event["region"], event["id"], {"event": event, "bus": bus})
        self.wake.set()


def create_event(
    source: str,
    detail_type: str,
    resources: Sequence[str],
    detail: Mapping[str, Any],
    region: str,
    time: float,
    name: str | None = None,
) -> Event:
    """Return EventBridge's envelope of one event.

    Args:
        source: The sender, ``aws.<service>`` or a name that the client chose.
        detail_type: The kind of event.
        resources: The ARNs of the resources that the event is about.
        detail: The content, of JSON values only.
        region: The region of the event.
        time: The time of the event, in seconds since the epoch.
        name: The id of the event; None for a new one.
    """
    return {
        "version": "0",
        "id": name or str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": format_timestamp(time),
        "region": region,
        "resources": list(resources),
        "detail": dict(detail),
    }


def _seconds(time: Any) -> float:
    return time.timestamp() if isinstance(time, dt.datetime) else float(time)
