"""The event bus: every event of this cloud becomes an EventBridge envelope and goes to the rules that match it."""

from __future__ import annotations

import datetime as dt
import queue
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.cloud.context import Cloud


class EventBus:
    """Takes events from anywhere in the cloud; a worker of :mod:`local.watch.rules` delivers them."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.pending: queue.Queue[dict[str, Any]] = queue.Queue()

    def emit(
        self,
        *,
        detail_type: str,
        resources: Sequence[str],
        detail: Mapping[str, Any],
        region: str,
        source: str = "aws.sagemaker",
    ) -> None:
        """Queue one event of an AWS service; returns at once."""
        self.pending.put(
            {
                "version": "0",
                "id": str(uuid.uuid4()),
                "detail-type": detail_type,
                "source": source,
                "account": "123456789012",
                "time": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "region": region,
                "resources": list(resources),
                "detail": dict(detail),
            }
        )
