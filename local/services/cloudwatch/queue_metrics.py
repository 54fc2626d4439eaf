"""CloudWatch metrics of SQS queues: the number of their messages, once a minute of the cloud's time.

They are put only for queues that an alarm watches, such as dead-letter queues: nothing else would read them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.services.cloudwatch import metrics, mounted

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

NAMESPACE = "AWS/SQS"

#: The metrics, in the order of :func:`local.services.cloudwatch.mounted.count_messages`.
_NAMES = (
    "ApproximateNumberOfMessagesVisible",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
#: Metrics in one PutMetricData request, those of 300 queues; CloudWatch allows 1,000.
_AT_ONCE = 900

_EVERY = 60.0
#: The minimum between two puts, real seconds.
_LEAST = 1.0


class QueueMetrics:
    """The publisher of the metrics, which keeps when the next put is due."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._due = 0.0

    def publish(self, alarms: Sequence[tuple[str, Any]]) -> None:
        """Put the metrics of every queue that one of the alarms watches, if the next put is due.

        Args:
            alarms: Alarms with their regions.
        """
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + max(_LEAST, self._cloud.clock.to_real_seconds(_EVERY))
        watched: dict[str, set[str]] = {}
        for region, alarm in alarms:
            for source in metrics.list_sources(alarm):
                namespace, name, dimensions = metrics.make_source_key(source)
                if namespace == NAMESPACE and name in _NAMES and [key for key, _ in dimensions] == ["QueueName"]:
                    watched.setdefault(region, set()).add(dimensions[0][1])
        for region, queues in watched.items():
            # A queue that does not exist has no metrics.
            data = [datum for queue in sorted(queues) for datum in _data(region, queue)]
            for first in range(0, len(data), _AT_ONCE):
                self._put(region, data[first : first + _AT_ONCE])

    def _put(self, region: str, data: list[dict[str, Any]]) -> None:
        try:
            self._cloud.client("cloudwatch", region).put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (ClientError, BotoCoreError) as error:
            log.warning("the metrics of the queues in %s could not be put: %s", region, error)


def _data(region: str, queue: str) -> list[dict[str, Any]]:
    dimensions = [{"Name": "QueueName", "Value": queue}]
    return [
        {"MetricName": name, "Dimensions": dimensions, "Value": float(count), "Unit": "Count"}
        for name, count in zip(_NAMES, mounted.count_messages(region, queue) or (), strict=False)
    ]
