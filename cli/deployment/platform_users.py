"""The users of an environment's platform: stacks whose files set `lake: shared`, and folders in its lake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.console.errors import CliError
from cli.pulumi import stack_state
from cli.stack.deployable import Platform, render_arguments, render_environment_option
from cli.stack.target import STACKS, read_configuration
from millrace import Environment
from millrace.config_files import find_config_files


@dataclass(frozen=True)
class _Stack:
    """Another stack of the environment, known by its file alone; its declaration is not read."""

    stack: str
    environment: Environment
    state: Path
    is_local: bool


def require_unused(platform: Platform, data: tuple[str, ...], *, delete_data: bool) -> None:
    """Raise if a use case still needs what would be destroyed.

    Args:
        platform: The platform that would be destroyed.
        data: Prefixes of the types of resources that are kept with the data.
        delete_data: Whether the lake is deleted, too.

    Raises:
        CliError: With the stacks that use it, or whose data are in its lake.
    """
    # When the data are kept, a stack that has only its data left (e.g. its registry) loses nothing.
    users = [
        each.stack
        for each in _sharing(platform)
        if any(
            resource.is_real and (delete_data or not resource.type.startswith(data))
            for resource in stack_state.list_resources(each) or []
        )
    ]
    if users:
        first = users[0].removesuffix(f"-{platform.environment.name}")
        raise CliError(
            platform.stack,
            f"is still used by {', '.join(users)} (lake: shared); nothing was changed",
            fix=(
                f"destroy those first, `millrace destroy {first}{render_environment_option(platform.environment.name)}`"
            ),
        )
    if delete_data and (folders := _folders(platform)):
        raise CliError(
            platform.names.lake,
            (f"still holds data of {', '.join(folders)}, whose stacks are not known here; nothing was changed"),
            fix=(
                "destroy them from the checkout that has them, or keep the data: `millrace destroy "
                f"{render_arguments(platform)} --keep-data`"
            ),
        )


def _sharing(platform: Platform) -> Iterator[_Stack]:
    """Yield the stacks of this environment whose files set `lake: shared`."""
    name = platform.environment.name
    for stack in find_config_files(STACKS, f"*-{name}"):
        environment = read_configuration(stack).get("millrace:environment")
        if stack == platform.stack or not isinstance(environment, dict):
            continue
        # The pattern for `dev` also matches files of `eu-dev`.
        if environment.get("name", name) == name and environment.get("lake") == "shared":
            yield _Stack(stack, platform.environment, platform.state, platform.is_local)


def _folders(platform: Platform) -> list[str]:
    """Return the folders of use cases in the lake that are not empty."""
    s3 = platform.client("s3")
    try:
        page = s3.list_objects_v2(Bucket=platform.names.lake, Delimiter="/")
    except s3.exceptions.NoSuchBucket:
        return []
    return [each["Prefix"].rstrip("/") for each in page.get("CommonPrefixes", [])]
