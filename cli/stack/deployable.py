"""What can be deployed: a use case in an environment, or what the use cases of an environment share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cli.stack import connection
from cli.stack.target import Target, configuration, profile_of
from millrace import Environment
from millrace.names import PLATFORM, Names
from queries.client import make_client


@dataclass(frozen=True)
class Platform:
    """The shared platform of an environment."""

    environment: Environment
    state: Path

    @property
    def stack(self) -> str:
        return f"{PLATFORM}-{self.environment.name}"

    @property
    def is_local(self) -> bool:
        return self.environment.name == connection.LOCAL

    @cached_property
    def names(self) -> Names:
        """All computed names; the lake is its own, and the use cases'."""
        return Names(PLATFORM, self.environment.name, account(self), self.environment.region)

    def client(self, service: str) -> Any:
        """A boto3 client in the environment's region."""
        profile = None if self.is_local else profile_of(configuration(self.stack))
        return make_client(service, self.environment.region, profile=profile)


Deployable = Target | Platform


def of(name: str, environment: str, state: Path) -> Deployable:
    """By the name of a use case, or `platform`, and the environment's.

    Raises:
        MillraceError: When there is no such stack, or it cannot be what was meant.
    """
    if name != PLATFORM:
        return Target.of(name, environment, state)
    stack = f"{PLATFORM}-{environment}"
    values = configuration(stack)
    found = Environment.of_stack(stack, values.get("millrace:environment"), values.get("aws:region"))
    return Platform(found, state)


def name(target: Deployable) -> str:
    """What the commands call it."""
    return PLATFORM if isinstance(target, Platform) else target.use_case.name


def named(target: Deployable) -> str:
    """What stands behind a command to type: `flights`, `flights --env prod`, `platform --env prod`."""
    return name(target) + in_environment(target.environment.name)


def in_environment(environment: str) -> str:
    """What a command to type says of the environment; the local one goes without saying."""
    return "" if environment == connection.LOCAL else f" --env {environment}"


def account(target: Deployable) -> str:
    """The AWS account that it is deployed in."""
    return str(target.client("sts").get_caller_identity()["Account"])
