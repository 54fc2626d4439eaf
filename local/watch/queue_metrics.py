"""CloudWatch metrics of SQS queues: how many messages they hold, once a minute of the cloud's time.

Only of queues that an alarm watches, such as dead-letter queues: nobody else would read them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.watch import metrics

if TYPE_CHECKING:
    from local.cloud.context import Cloud

log = logging.getLogger(__name__)

NAMESPACE = "AWS/SQS"

#: By the name of the metric, the queue's attribute that it shows.
_ATTRIBUTES = {
    "ApproximateNumberOfMessagesVisible": "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible": "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed": "ApproximateNumberOfMessagesDelayed",
}

_EVERY = 60.0
#: The least real seconds between two puts.
_LEAST = 1.0


class QueueMetrics:
    """When the next put is due."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._due = 0.0

    def publish(self, alarms: Sequence[tuple[str, Any]]) -> None:
        """Put the metrics of every queue that one of the alarms, given with their regions, watches, if it is time."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + max(_LEAST, self._cloud.clock.real(_EVERY))
        watched = set()
        for region, alarm in alarms:
            for source in metrics.sources(alarm):
                namespace, name, dimensions = metrics.source_key(source)
                if namespace == NAMESPACE and name in _ATTRIBUTES and [key for key, _ in dimensions] == ["QueueName"]:
                    watched.add((region, dimensions[0][1]))
        for region, queue in sorted(watched):
            self._put(region, queue)

    def _put(self, region: str, queue: str) -> None:
        sqs = self._cloud.client("sqs", region)
        try:
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            known = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_ATTRIBUTES.values()))["Attributes"]
            dimensions = [{"Name": "QueueName", "Value": queue}]
            self._cloud.client("cloudwatch", region).put_metric_data(
                Namespace=NAMESPACE,
                MetricData=[
                    {"MetricName": name, "Dimensions": dimensions, "Value": float(known[attribute]), "Unit": "Count"}
                    for name, attribute in _ATTRIBUTES.items()
                ],
            )
        except (ClientError, BotoCoreError) as error:
            # A queue that is not there has no metrics.
            log.info("no metrics of the queue %s in %s: %s", queue, region, error)
