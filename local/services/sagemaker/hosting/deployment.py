"""Guardrails of an endpoint's update: build the new fleet, shift traffic in steps, watch alarms, finish or roll back.

All at once, canary, linear and rolling deployments are lists of steps, which one runner executes.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError
from local.services.sagemaker.hosting.fleet import Fleet

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: Real seconds between two checks of the alarms.
POLL = 0.5
#: A variant of the new fleet has failed if no server is ready and one was restarted this often.
RESTARTS = 3


class RollBackError(LocalError):
    """A deployment that must be rolled back; the message is the endpoint's FailureReason."""


class GoingDownError(LocalError):
    """An interruption by the local cloud's shutdown; the next start finishes the work or rolls it back."""


@dataclass(frozen=True)
class Step:
    """One step of a deployment.

    Attributes:
        servers: The number of the new fleet's servers by variant, before traffic moves.
        share: The new fleet's share of the traffic, 0 to 1.
        capacity: The part of the new fleet that takes traffic, as messages name it.
        active: The number of servers that take that share.
        bake: Seconds of the local cloud's time to watch the alarms before the next step.
        interval: The parameter that sets ``bake``.
        retire: Whether an equal part of the old fleet ends after the bake.
    """

    servers: dict[str, int]
    share: float
    capacity: str
    active: int
    bake: float
    interval: str
    retire: bool = False


def compute_instances(size: dict[str, Any], total: int) -> int:
    """Return a ``CapacitySize`` in whole instances of ``total``, at least one."""
    value = int(size["Value"])
    return min(total, value if size["Type"] == "INSTANCE_COUNT" else max(1, total * value // 100))


def plan_steps(config: dict[str, Any], counts: dict[str, int]) -> list[Step]:
    """Return the steps of a ``DeploymentConfig`` for a new fleet of ``counts`` instances by variant."""
    total = sum(counts.values())
    if rolling := config.get("RollingUpdatePolicy"):
        return _plan_rolling_steps(rolling, counts)
    policy = config.get("BlueGreenUpdatePolicy", {})
    traffic = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
    result: list[Step] = []
    if traffic["Type"] == "CANARY":
        size = traffic["CanarySize"]
        part = compute_instances(size, total)
        result.append(
            _build_partial_step(
                counts, _compute_share(size, total), part, f"canary capacity of {part} instance(s)", traffic
            )
        )
    elif traffic["Type"] == "LINEAR":
        size = traffic["LinearStepSize"]
        step = _compute_share(size, total)
        for number in range(1, math.ceil(1 / step - 1e-9)):
            part = max(1, round(total * number * step))
            result.append(_build_partial_step(counts, number * step, part, f"{part} instance(s)", traffic))
    wait = policy.get("TerminationWaitInSeconds", 0)
    return [*result, Step(counts, 1.0, f"{total} instance(s)", total, wait, "TerminationWaitInSeconds")]


def _build_partial_step(
    counts: dict[str, int], share: float, part: int, capacity: str, traffic: dict[str, Any]
) -> Step:
    return Step(counts, share, capacity, part, traffic["WaitIntervalInSeconds"], "WaitIntervalInSeconds")


def _compute_share(size: dict[str, Any], total: int) -> float:
    """Return the share of traffic; a percentage is not rounded to instances, so that it works for one instance."""
    return min(1.0, int(size["Value"]) / (total if size["Type"] == "INSTANCE_COUNT" else 100))


def _plan_rolling_steps(policy: dict[str, Any], counts: dict[str, int]) -> list[Step]:
    ((variant, total),) = counts.items()
    batch = compute_instances(policy["MaximumBatchSize"], total)
    return [
        Step(
            {variant: done},
            done / total,
            f"{done} instance(s)",
            done,
            policy["WaitIntervalInSeconds"],
            "WaitIntervalInSeconds",
            retire=True,
        )
        for done in (min(total, start + batch) for start in range(0, total, batch))
    ]


def _format_unhealthy(variant: str, reason: str) -> str:
    return (
        f"The primary container for production variant {variant} did not pass the ping health check during the "
        f"deployment: {reason}. Please check CloudWatch logs for this endpoint."
    )


class Deployment:
    """The steps of one update, with their runner; only its caller may change the endpoint until it returns.

    Args:
        shift: Called with the share of traffic that the new fleet takes from now on.
        report: Called at each stage with status, message, share of traffic and number of servers that take it.
    """

    def __init__(
        self,
        cloud: Cloud,
        blue: Fleet,
        green: Fleet,
        config: dict[str, Any],
        *,
        shift: Callable[[float], None],
        report: Callable[[str, str, float, int], None],
    ) -> None:
        self._cloud = cloud
        self._blue = blue
        self._green = green
        self._shift = shift
        self._report = report
        alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        self._alarms: list[str] = [alarm["AlarmName"] for alarm in alarms]
        policy = config.get("RollingUpdatePolicy") or config.get("BlueGreenUpdatePolicy") or {}
        self._limit: float = policy.get("MaximumExecutionTimeoutInSeconds", math.inf)
        self._spent = 0.0
        self._blue_counts = {variant.name: len(variant.servers) for variant in blue.variants.values()}
        self._steps = plan_steps(config, {variant.name: variant.plan["Count"] for variant in green.variants.values()})

    def run(self) -> None:
        """Shift all traffic to the new fleet.

        Raises:
            RollBackError: The deployment failed; traffic stays as it is until :meth:`roll_back`.
            GoingDownError: The local cloud is shutting down.
        """
        self._check_alarms()
        for step in self._steps:
            self._build(step)
            self._report("ActivatingTraffic", f"Activating traffic on {step.capacity}.", step.share, step.active)
            self._shift(step.share)
            if step.bake:
                text = f"Baking for {step.bake} seconds ({step.interval}) with traffic enabled on {step.capacity}."
                self._report("Baking", text, step.share, step.active)
            self._bake(step.bake)
            if step.retire:
                left = {name: math.floor(n * (1 - step.share) + 1e-9) for name, n in self._blue_counts.items()}
                self._blue.resize(left)

    def roll_back(self) -> None:
        """Restore the old fleet's servers and shift all traffic to it.

        The new fleet keeps its servers.
        """
        if self._blue.count_servers() < sum(self._blue_counts.values()):
            self._restore_blue()
        self._shift(0.0)

    def _restore_blue(self) -> None:
        self._blue.resize(self._blue_counts)
        while not self._blue.wait_until_ready(POLL):
            if self._cloud.stopping.is_set():
                raise GoingDownError
            if self._blue.find_failure():
                log.warning("endpoint %s: old fleet: %s", self._blue.endpoint, self._blue.find_failure())
                return

    def _build(self, step: Step) -> None:
        new = sum(step.servers.values()) - self._green.count_servers()
        if new <= 0:
            return
        self._report("Creating", f"Launching {new} instance(s).", step.share if step.retire else 0.0, 0)
        self._green.resize(step.servers)
        while True:
            begun = time.monotonic()
            ready = self._green.wait_until_ready(POLL)
            self._spend(time.monotonic() - begun)
            if ready:
                return
            if reason := self._green.find_failure():
                raise RollBackError(reason)

    def _bake(self, seconds: float) -> None:
        clock = self._cloud.clock
        end = time.monotonic() + clock.to_real_seconds(seconds)
        while True:
            self._check_alarms()
            self._check_green()
            begun = time.monotonic()
            if begun >= end:
                break
            self._cloud.stopping.wait(min(POLL, end - begun))
            self._spend((time.monotonic() - begun) * clock.scale)
        # A bake can be shorter than the time to detect an unhealthy server.
        begun = time.monotonic()
        for variant in self._green.variants.values():
            for server in variant.list_ready_servers():
                if reason := server.check_health():
                    raise RollBackError(_format_unhealthy(variant.name, reason))
        self._spend(time.monotonic() - begun)

    def _spend(self, seconds: float) -> None:
        """Count seconds against MaximumExecutionTimeoutInSeconds.

        Building counts in real time, baking in the local cloud's.
        """
        if self._cloud.stopping.is_set():
            raise GoingDownError
        self._spent += seconds
        if self._spent > self._limit:
            raise RollBackError(
                f"The deployment took longer than {self._limit} seconds (MaximumExecutionTimeoutInSeconds)."
            )

    def _check_green(self) -> None:
        for variant in self._green.variants.values():
            if reason := self._green.find_failure():
                raise RollBackError(reason)
            if sick := next((server.sick for server in variant.servers if server.sick), None):
                raise RollBackError(_format_unhealthy(variant.name, sick))
            if not variant.list_ready_servers() and any(server.restarts >= RESTARTS for server in variant.servers):
                raise RollBackError(
                    f"The primary container for production variant {variant.name} ended {RESTARTS} times during the "
                    "deployment. Please check CloudWatch logs for this endpoint."
                )

    def _check_alarms(self) -> None:
        if not self._alarms:
            return
        client = self._cloud.client("cloudwatch", self._blue.region)
        try:
            answer = client.describe_alarms(AlarmNames=self._alarms, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        except (ClientError, BotoCoreError) as error:
            if self._cloud.stopping.is_set():
                raise GoingDownError from error
            raise RollBackError(f"The alarms {', '.join(self._alarms)} cannot be read: {error}") from error
        found = {
            alarm["AlarmName"]: alarm["StateValue"]
            for alarm in [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]
        }
        if missing := [name for name in self._alarms if name not in found]:
            raise RollBackError(f"Alarm(s) of AutoRollbackConfiguration not found: {', '.join(missing)}.")
        if firing := [name for name in self._alarms if found[name] == "ALARM"]:
            raise RollBackError(f"Alarm(s) in ALARM state during the deployment: {', '.join(firing)}.")
