"""The target of a command: one use case in one environment, configured by its stack file, and its AWS clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

import stacks
from cli.console.errors import CliError
from cli.stack import connection
from millrace import DeclarationError, Environment, UseCase
from millrace.config_files import find_config_files, make_file_name
from millrace.inventory import make_job_variables
from millrace.names import CLOCK_KEY, Names
from queries.client import make_client

STACKS = connection.REPOSITORY / "stacks"


@dataclass(frozen=True)
class Target:
    """One use case in one environment."""

    use_case: UseCase
    environment: Environment
    state: Path
    clients: Callable[[str], Any] | None = None
    """Returns the client of a service, if several accounts are queried at once; None uses this process's settings."""

    @classmethod
    def load(cls, use_case: str, environment: str, state: Path) -> Target:
        """Load a target by the names of its use case and its environment.

        Args:
            use_case: The use case's name.
            environment: The environment's name.
            state: The local cloud's folder.

        Returns:
            The target, whose clients use this process's settings.

        Raises:
            CliError: The use case or the stack's file does not exist, or the file cannot be read.
            DeclarationError: The declaration or the stack's configuration is not valid.
        """
        try:
            declared = stacks.load(use_case)
        except DeclarationError as error:
            package = use_case.replace("-", "_")
            if package.replace("_", "-") in stacks.list_use_cases():
                raise
            raise CliError(
                f"{error}",
                fix=(
                    "if its folder was deleted and its stack still exists, restore the folder to destroy "
                    f"the stack: `git log --oneline -- stacks/{package}`"
                ),
            ) from error
        stack = f"{declared.name}-{environment}"
        return cls(declared, Environment.from_stack(stack, *_read_environment(stack)), state)

    @classmethod
    def load_stack(cls, stack: str, state: Path) -> Target:
        """Load a target by the name of its stack, `<use case>-<environment>`.

        Args:
            stack: The stack's name.
            state: The local cloud's folder.

        Returns:
            The target, whose clients use this process's settings.

        Raises:
            CliError: The stack's file does not exist or cannot be read.
            DeclarationError: The use case does not exist, or it or the stack's configuration is not valid.
        """
        environment = Environment.from_stack(stack, *_read_environment(stack))
        return cls(stacks.load(stack.removesuffix(f"-{environment.name}")), environment, state)

    @property
    def stack(self) -> str:
        """The stack's name."""
        return f"{self.use_case.name}-{self.environment.name}"

    @property
    def is_local(self) -> bool:
        """True if the target is in the local cloud."""
        return self.environment.name == connection.LOCAL

    @cached_property
    def names(self) -> Names:
        """The names of the stack's resources; asks AWS for the account's number."""
        account = self.client("sts").get_caller_identity()["Account"]
        return self.environment.make_names(self.use_case.name, account)

    @cached_property
    def sagemaker(self) -> Any:
        """The SageMaker client."""
        return self.client("sagemaker")

    @property
    def clock(self) -> str | None:
        """The S3 URI of the data clock; None if data time is the wall clock."""
        return self.names.uri(CLOCK_KEY) if self.environment.replay_from is not None else None

    def read_data_time(self) -> datetime:
        """Return the time of the data clock; the current time if the environment has no data clock.

        Raises:
            CliError: When the data clock does not exist.
        """
        if self.clock is None:
            return datetime.now(UTC)
        s3 = self.client("s3")
        try:
            body = s3.get_object(Bucket=self.names.lake, Key=self.names.key(CLOCK_KEY))["Body"].read()
        except (s3.exceptions.NoSuchBucket, s3.exceptions.NoSuchKey) as error:
            raise self.make_absence_error() from error
        return datetime.fromisoformat(json.loads(body)["now"])

    def is_provisioned(self) -> bool:
        """Return True if the bucket of the data lake exists, on which the other resources depend."""
        try:
            self.client("s3").head_bucket(Bucket=self.names.lake)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
                return False
            raise
        return True

    def make_absence_error(self) -> CliError:
        """Return the error for a stack that is not provisioned, for example after `pulumi destroy`."""
        return CliError(f"stack {self.stack}", "is not provisioned", fix=f"run `{self.up_command}`")

    @property
    def up_command(self) -> str:
        """The command that provisions the stack."""
        return f"millrace up {self.use_case.name}" if self.is_local else f"millrace up --stack {self.stack}"

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service in the environment's region.

        Args:
            service: Its name in boto3, e.g. `sagemaker`.
        """
        if self.clients is not None:
            return self.clients(service)
        profile = None if self.is_local else self.profile
        return make_client(service, self.environment.region, profile=profile)

    @cached_property
    def profile(self) -> str | None:
        """The AWS profile named in the stack file; None if it names none."""
        return get_profile(read_configuration(self.stack))

    def make_job_variables(self) -> dict[str, str]:
        """Return the environment variables that every step of the bundle reads."""
        return {**make_job_variables(self.environment, self.names), "AWS_REGION": self.environment.region}


def _read_environment(stack: str) -> tuple[Any, str | None]:
    """Return the environment and the region from a stack file, unvalidated."""
    values = read_configuration(stack)
    return values.get("millrace:environment"), values.get("aws:region")


def get_profile(values: Mapping[str, Any]) -> str | None:
    """Return the AWS profile in a stack's configuration; None if it names none.

    Args:
        values: What :func:`read_configuration` returned.
    """
    profile = values.get("aws:profile")
    return str(profile) if profile else None


def read_configuration(stack: str) -> dict[str, Any]:
    """Return the mapping under `config` in a stack file; empty if it has none.

    Args:
        stack: The stack's name.

    Raises:
        CliError: When the file does not exist or cannot be read.
    """
    import yaml

    path = STACKS / make_file_name(stack)
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        known = ", ".join(find_config_files(STACKS)) or "none"
        raise CliError(
            f"stack {stack!r}", "does not exist", expected=f"{path}", fix=f"choose one of: {known}"
        ) from error
    except yaml.YAMLError as error:
        raise CliError(f"{path}", f"is not YAML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path}", f"cannot be read: {error}") from error
    config = document.get("config") if isinstance(document, dict) else None
    return config if isinstance(config, dict) else {}
