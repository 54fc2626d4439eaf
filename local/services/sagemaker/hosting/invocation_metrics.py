"""CloudWatch metrics of invocations, summed in memory and published once a second."""

from __future__ import annotations

import datetime as dt
import logging
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

NAMESPACE = "AWS/SageMaker"
#: Seconds between two publications.
INTERVAL = 1.0
#: The maximum latencies published for one interval: of more, a random sample, large enough for any percentile.
SAMPLE = 50

_Dimensions = tuple[tuple[str, str], ...]


@dataclass
class _Sums:
    """The counts and latencies of one variant in one interval."""

    invocations: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    model_errors: int = 0
    model_latency: list[float] = field(default_factory=list)
    overhead_latency: list[float] = field(default_factory=list)

    def data(self, dimensions: _Dimensions, now: dt.datetime) -> list[dict[str, Any]]:
        common = {"Dimensions": [{"Name": name, "Value": value} for name, value in dimensions], "Timestamp": now}
        counts = {
            "Invocations": self.invocations,
            "Invocation4XXErrors": self.errors_4xx,
            "Invocation5XXErrors": self.errors_5xx,
            "InvocationModelErrors": self.model_errors,
        }
        data = [
            {
                **common,
                "MetricName": name,
                "Unit": "None",
                # 1 or 0 for each request: the average is the rate.
                "StatisticValues": {
                    "SampleCount": float(self.invocations),
                    "Sum": float(count),
                    "Minimum": float(count == self.invocations),
                    "Maximum": float(count > 0),
                },
            }
            for name, count in counts.items()
        ]
        for name, values in (("ModelLatency", self.model_latency), ("OverheadLatency", self.overhead_latency)):
            if values:
                sample = values if len(values) <= SAMPLE else random.sample(values, SAMPLE)
                data.append({**common, "MetricName": name, "Unit": "Microseconds", "Values": sample})
        return data


class InvocationMetrics:
    """The invocation counters of all endpoints of one local cloud; ``cloud.get_part(InvocationMetrics)``."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, _Dimensions], _Sums] = {}
        cloud.spawn("invocation-metrics", self._run)

    def count_request(
        self,
        *,
        region: str,
        endpoint: str,
        variant: str,
        config: str | None,
        status: int,
        model_latency: float | None,
        overhead: float,
    ) -> None:
        """Count one request.

        Args:
            region: The region of the endpoint.
            endpoint: The endpoint's name.
            variant: The variant's name.
            config: The endpoint configuration during a deployment, to count both fleets separately; else None.
            status: The model's HTTP status; 0 if it did not answer, 503 if no server was ready.
            model_latency: Seconds that the model took; None if it was not called.
            overhead: Seconds that the rest took.
        """
        base = (("EndpointName", endpoint), ("VariantName", variant))
        every = [base] if config is None else [base, (*base, ("EndpointConfigName", config))]
        with self._lock:
            for dimensions in every:
                sums = self._sums.setdefault((region, dimensions), _Sums())
                sums.invocations += 1
                sums.errors_4xx += 400 <= status < 500
                sums.errors_5xx += status >= 500 or status == 0
                sums.model_errors += not 200 <= status < 300
                sums.overhead_latency.append(overhead * 1e6)
                if model_latency is not None:
                    sums.model_latency.append(model_latency * 1e6)

    def flush(self) -> None:
        """Publish the counters and reset them."""
        with self._lock:
            sums, self._sums = self._sums, {}
        now = dt.datetime.now(dt.UTC)
        regions: dict[str, list[dict[str, Any]]] = {}
        for (region, dimensions), one in sums.items():
            regions.setdefault(region, []).extend(one.data(dimensions, now))
        for region, data in regions.items():
            try:
                for start in range(0, len(data), 500):
                    self._cloud.client("cloudwatch", region).put_metric_data(
                        Namespace=NAMESPACE, MetricData=data[start : start + 500]
                    )
            except (ClientError, BotoCoreError) as error:
                log.warning("%d metrics of invocations in %s lost: %s", len(data), region, error)

    def _run(self) -> None:
        while not self._cloud.stopping.wait(INTERVAL):
            self.flush()
