"""EventBridge rules: delivery of an event to the targets of the rules that it matches.

One worker empties the queues of :mod:`local.core.event_bus`. A failed delivery is retried with growing pauses if a
retry may succeed and the target's retry policy allows it; otherwise it goes to the target's dead-letter queue, or is
logged as lost if the target has none. After a kill, the event in progress may be delivered twice, as on AWS.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.event_bus import DELIVERIES, EVENTS
from local.services.eventbridge import access, mounted, patterns, refusals, targets

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

_ATTEMPTS = 185
_AGE = 86400.0

#: Pauses between tries, in seconds of the cloud's time.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 600.0

#: The longest that the worker waits before it checks whether the cloud is stopping, real seconds.
_LOOK = 0.5


def start(cloud: Cloud) -> None:
    """Start the worker, which first delivers what an earlier daemon left in the queues.

    Args:
        cloud: The cloud whose queues of events and deliveries are emptied.
    """
    mounted.install_corrections()
    refusals.install_checks()
    cloud.spawn("rules", _work, cloud)


def _work(cloud: Cloud) -> None:
    due = 0.0
    while not cloud.stopping.is_set():
        woken = cloud.events.wake.wait(min(_LOOK, max(0.0, due - cloud.clock.now())))
        if not woken and cloud.clock.now() < due:
            continue
        cloud.events.wake.clear()
        for queued in cloud.store.list(EVENTS):
            try:
                route(cloud, queued["event"], queued["bus"])
            except Exception:
                # An event that causes an unexpected error must not stop the others or be retried forever.
                log.exception("lost: the event %s", queued["event"])
                cloud.store.delete(EVENTS, queued["event"]["region"], queued["event"]["id"])
        due = _deliver_due(cloud)


def route(cloud: Cloud, event: dict[str, Any], bus: str) -> None:
    """Turn a queued event into deliveries, one for each target of each rule that matches."""
    region = event["region"]
    with cloud.store.transaction():
        for rule in mounted.list_rules(region, bus):
            if not patterns.matches(rule.event_pattern.get_pattern(), event):
                continue
            for target in list(rule.targets):
                cloud.events.deliver(region=region, sender=rule.arn, target=target, payload=event)
        cloud.store.delete(EVENTS, region, event["id"])


def _deliver_due(cloud: Cloud) -> float:
    """Attempt every delivery that is due and return the time at which the next one is due."""
    next_due = float("inf")
    for delivery in cloud.store.list(DELIVERIES):
        if cloud.stopping.is_set():
            break
        ready = delivery["due"] <= cloud.clock.now()
        next_due = min(next_due, _try(cloud, delivery) if ready else delivery["due"])
    return next_due


def _try(cloud: Cloud, delivery: dict[str, Any]) -> float:
    """Attempt a delivery once; return when the next attempt is due, or infinity if there is none."""
    delivery["attempts"] += 1
    failure = None
    try:
        targets.send(cloud, delivery)
    except targets.DeliveryError as error:
        failure = error
    except BotoCoreError as error:
        failure = targets.DeliveryError("INTERNAL_ERROR", str(error), passing=True)
    except Exception as error:
        # A delivery that causes an unexpected error must not stop the others.
        log.exception("delivery from %s to %s", delivery["sender"], delivery["target"].get("Arn"))
        failure = targets.DeliveryError("INTERNAL_ERROR", f"A bug in the local cloud: {error!r}")
    if failure and failure.passing and not _exhausted(cloud, delivery):
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(delivery["attempts"] - 1, 20))
        delivery["due"] = cloud.clock.now() + cloud.clock.to_real_seconds(pause * random.uniform(0.5, 1.0))
        cloud.store.put(DELIVERIES, delivery["region"], delivery["id"], delivery)
        return float(delivery["due"])
    if failure:
        _give_up(cloud, delivery, failure)
    cloud.store.delete(DELIVERIES, delivery["region"], delivery["id"])
    return float("inf")


def _exhausted(cloud: Cloud, delivery: dict[str, Any]) -> bool:
    policy = delivery["target"].get("RetryPolicy", {})
    age = (cloud.clock.now() - delivery["created"]) * cloud.clock.scale
    return bool(
        delivery["attempts"] > policy.get("MaximumRetryAttempts", _ATTEMPTS)
        or age >= policy.get("MaximumEventAgeInSeconds", _AGE)
    )


def _give_up(cloud: Cloud, delivery: dict[str, Any], failure: targets.DeliveryError) -> None:
    sender, target = delivery["sender"], delivery["target"]
    where = target.get("DeadLetterConfig", {}).get("Arn")
    if not where:
        log.warning("lost: from %s to %s: %s: %s", sender, target["Arn"], failure.code, failure)
        return
    log.warning("undelivered, to %s: from %s to %s: %s: %s", where, sender, target["Arn"], failure.code, failure)
    try:
        targets.send_to_dead_letter_queue(cloud, delivery, failure)
    except (access.AccessError, targets.DeliveryError, ClientError, BotoCoreError) as error:
        log.error("lost: the dead-letter queue %s of %s takes nothing: %s", where, sender, error)
