"""Deployable stacks: a use case in an environment, or the platform that the use cases of an environment share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cli.stack import connection
from cli.stack.target import Target, get_profile, read_configuration
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
        """The stack's name."""
        return f"{PLATFORM}-{self.environment.name}"

    @property
    def is_local(self) -> bool:
        """True if the platform is in the local cloud."""
        return self.environment.name == connection.LOCAL

    @cached_property
    def names(self) -> Names:
        """The names of the platform's resources; the use cases share its data lake."""
        return Names(PLATFORM, self.environment.name, find_account(self), self.environment.region)

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service in the environment's region.

        Args:
            service: Its name in boto3, e.g. `sagemaker`.
        """
        profile = None if self.is_local else get_profile(read_configuration(self.stack))
        return make_client(service, self.environment.region, profile=profile)


Deployable = Target | Platform


def load_deployable(name: str, environment: str, state: Path) -> Deployable:
    """Load the stack of a use case, or of `platform`, in an environment.

    Args:
        name: The use case's name, or `platform`.
        environment: The environment's name.
        state: The local cloud's folder.

    Returns:
        The target of the use case, or the platform.

    Raises:
        MillraceError: When the stack does not exist, or its file does not describe this environment.
    """
    if name != PLATFORM:
        return Target.load(name, environment, state)
    stack = f"{PLATFORM}-{environment}"
    values = read_configuration(stack)
    found = Environment.from_stack(stack, values.get("millrace:environment"), values.get("aws:region"))
    return Platform(found, state)


def get_name(target: Deployable) -> str:
    """Return the name by which commands refer to a deployable: the use case's name, or `platform`.

    Args:
        target: The deployable.
    """
    return PLATFORM if isinstance(target, Platform) else target.use_case.name


def render_arguments(target: Deployable) -> str:
    """Return the arguments that name a deployable in a command: `flights`, `flights --env prod`.

    Args:
        target: The deployable.
    """
    return get_name(target) + render_environment_option(target.environment.name)


def render_environment_option(environment: str) -> str:
    """Return the option `--env` for a command, with a leading space; empty for the local environment.

    Args:
        environment: The environment's name.
    """
    return "" if environment == connection.LOCAL else f" --env {environment}"


def render_logs_command(target: Deployable, name: str) -> str:
    """Return the command that prints a log of the deployable's environment.

    Args:
        target: The deployable.
        name: The name of an endpoint or job, or `<pipeline>/<step>`.
    """
    return f"millrace logs {name}{render_environment_option(target.environment.name)}"


def find_account(target: Deployable) -> str:
    """Return the number of the AWS account in which the target is deployed.

    Args:
        target: The target; AWS is asked with its credentials.
    """
    return str(target.client("sts").get_caller_identity()["Account"])
