"""The names of stacks' configuration files, `Pulumi.<stack>.yaml`, in the folder `stacks/`."""

from __future__ import annotations

from pathlib import Path

_BEFORE, _AFTER = "Pulumi.", ".yaml"


def make_file_name(stack: str) -> str:
    """Return the name of a stack's configuration file.

    Args:
        stack: The stack's name, or a pattern of names such as `*-prod`.
    """
    return f"{_BEFORE}{stack}{_AFTER}"


def parse_file_name(name: str) -> str | None:
    """Return the stack that a configuration file is of; None for any other file.

    Args:
        name: The file's name, without its folder.
    """
    stack = name.removeprefix(_BEFORE).removesuffix(_AFTER)
    return stack if stack and name == make_file_name(stack) else None


def find_config_files(folder: Path, stacks: str = "*") -> dict[str, Path]:
    """Return the configuration files of a folder by stack, in the order of their names.

    Args:
        folder: The folder.
        stacks: A pattern of the stacks' names, such as `*-prod`.
    """
    return {
        stack: path
        for path in sorted(folder.glob(make_file_name(stacks)))
        if (stack := parse_file_name(path.name)) is not None
    }
