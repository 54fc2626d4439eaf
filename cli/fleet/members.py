"""The members of the fleet: the stacks that have a stack file in this checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import stacks
from cli.console.errors import CliError
from cli.fleet.document import SilentStack
from cli.stack.target import STACKS, Target, get_profile, read_configuration
from millrace import Environment, MillraceError
from millrace.config_files import find_config_files, make_file_name
from millrace.names import PLATFORM


@dataclass(frozen=True)
class Stack:
    """A stack that has a stack file; ``target`` is None if the file or the declaration cannot be read."""

    name: str
    use_case: str
    environment: str
    target: Target | None = None
    profile: str | None = None
    problem: str = ""

    @classmethod
    def load(cls, name: str, state: Path) -> Stack:
        """Load a stack by its name.

        Args:
            name: The stack's name, `<use case>-<environment>`.
            state: The local cloud's folder.

        Returns:
            The stack; if its file or declaration is invalid, without ``target`` and with ``problem`` set.
        """
        use_case, _, environment = name.rpartition("-")
        try:
            values = read_configuration(name)
            found = Environment.from_stack(name, values.get("millrace:environment"), values.get("aws:region"))
            use_case, environment = name.removesuffix(f"-{found.name}"), found.name
            target = Target(stacks.load(use_case), found, state)
        except MillraceError as error:
            return cls(name, use_case, environment, problem=str(error))
        return cls(name, use_case, environment, target, get_profile(values))

    def make_silent_document(self, reason: str) -> SilentStack:
        """Return the document of this stack for the case that it could not be queried.

        Args:
            reason: Why, for people.
        """
        return {
            "stack": self.name,
            "use_case": self.use_case,
            "environment": self.environment,
            "region": self.target.environment.region if self.target else None,
            "reason": reason,
        }


def list_stacks(state: Path, use_case: str | None = None, environment: str | None = None) -> list[Stack]:
    """Return the stacks that have a stack file, sorted by name.

    Args:
        state: The local cloud's folder.
        use_case: The name of the only use case to list; None for all.
        environment: The name of the only environment to list; None for all.

    Raises:
        CliError: When no stack matches.
        DeclarationError: When the use case does not exist or its declaration is invalid.
    """
    names = list_stack_names()
    if use_case is not None:
        stacks.load(use_case)
        # Names of other use cases may start the same way; the filter below uses the use case read from each file.
        names = [name for name in names if name.startswith(f"{use_case}-")]
    found = [Stack.load(name, state) for name in names if not name.startswith(f"{PLATFORM}-")]
    chosen = [
        stack for stack in found if use_case in (None, stack.use_case) and environment in (None, stack.environment)
    ]
    if not chosen:
        wanted = "-".join([use_case or "<use case>", environment or "<environment>"])
        known = ", ".join(stack.name for stack in found) or "none"
        raise CliError(
            f"stack {wanted!r}",
            "does not exist",
            expected=f"{STACKS / make_file_name(wanted)}",
            fix=f"choose one of: {known}",
        )
    return chosen


def list_stack_names() -> list[str]:
    """Return the names of all stacks that have a file in this checkout, sorted."""
    return sorted(find_config_files(STACKS))
