"""Rollouts, in which a new model takes over an endpoint's traffic: the modes, their limits, stages and durations.

The declaration, the endpoint's component, the preview and the commands that wait for a rollout use these.
"""

from __future__ import annotations

import math
from enum import StrEnum

from pydantic import Field, model_validator

from millrace.errors import InvalidValueError
from millrace.part import Part

#: The range of a rollout's time limit, seconds: SageMaker's minimum, and what fits in the hour that the Pulumi provider
#: waits, because fleets take time to start.
SHORTEST, LONGEST = 600, 3300
#: Seconds that alarms may be watched after a step: SageMaker's own limit.
LONGEST_BAKE = 3600


class Traffic(StrEnum):
    """The way in which a new model takes over the endpoint's traffic."""

    ALL_AT_ONCE = "all_at_once"
    CANARY = "canary"
    LINEAR = "linear"


#: The share of capacity that one step may take, percent: SageMaker's limits.
STEP_PERCENT = {Traffic.CANARY: (1, 50), Traffic.LINEAR: (10, 50)}


class Rollout(Part):
    """The blue/green update of the endpoint."""

    traffic: Traffic = Traffic.ALL_AT_ONCE
    """Canary and linear need a second instance: the traffic of one instance cannot be split."""
    step_percent: int = Field(default=10, ge=1, le=50)
    """Share of capacity of a canary (1 to 50) or of each step of a linear rollout (10 to 50), percent."""
    bake_seconds: int = Field(default=300, ge=0, le=LONGEST_BAKE)
    """How long alarms are watched after each step, and again before the old fleet ends, seconds."""
    max_seconds: int = Field(default=3000, ge=SHORTEST, le=LONGEST)
    """Time after which an unfinished rollout is rolled back, seconds; the Pulumi provider waits at most an hour."""

    @model_validator(mode="after")
    def _fits_the_time_limit(self) -> Rollout:
        low, high = STEP_PERCENT.get(self.traffic, (1, 50))
        if not low <= self.step_percent <= high:
            raise InvalidValueError(
                f"step_percent={self.step_percent}",
                f"is too small for traffic '{self.traffic.value}'",
                expected=f"{low} to {high}",
                fix="take larger steps",
            )
        if self.bake_total >= self.max_seconds:
            raise InvalidValueError(
                (
                    f"bake_seconds={self.bake_seconds} after each of {len(self.stages)} step(s) and before "
                    "the old fleet ends"
                ),
                f"takes {self.bake_total} s",
                expected=f"less than max_seconds={self.max_seconds}",
                fix="shorten the bake or take larger steps",
            )
        return self

    @property
    def stages(self) -> list[float]:
        """The new model's share of the traffic after each step, percent."""
        if self.traffic is Traffic.CANARY:
            return [self.step_percent, 100]
        return list_linear_stages(self.step_percent) if self.traffic is Traffic.LINEAR else [100]

    @property
    def bake_total(self) -> int:
        """The sum of all waits, including that before the old fleet ends, seconds; fleets take time to start, too."""
        return (len(self.stages) + 1) * self.bake_seconds


def list_linear_stages(step_percent: float) -> list[float]:
    """Return the shares of a rollout in equal steps, percent; the last step takes what is left.

    Args:
        step_percent: The share of capacity that each step takes, percent; more than 0.
    """
    count = math.ceil(100 / step_percent - 1e-9)
    return [*(number * step_percent for number in range(1, count)), 100]
