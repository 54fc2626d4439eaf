"""Shell-completion callbacks: the use cases, environments and versions that an argument may have.

Use cases and environments are read from the names of folders and files alone, because the user waits after a key press.
"""

from __future__ import annotations

import click

from cli.stack.connection import REPOSITORY
from millrace.config_files import find_config_files

_STACKS = REPOSITORY / "stacks"


def complete_use_cases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the use cases that begin with the incomplete word."""
    return [name for name in _use_cases() if name.startswith(incomplete)]


def complete_environments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the environments that begin with the incomplete word: of the use case already typed, or of all."""
    names = _use_cases()
    given = _given(ctx, names)
    found = set()
    for stack in find_config_files(_STACKS):
        # The longest name wins: `a-b-local` is the stack of `a-b` where that use case exists.
        owner = max((name for name in names if stack.startswith(f"{name}-")), key=len, default="platform")
        if stack.startswith(f"{owner}-") and given in (None, owner):
            found.add(stack.removeprefix(f"{owner}-"))
    return sorted(name for name in found if name.startswith(incomplete))


def complete_versions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the registered versions that begin with the incomplete word, newest first; none on an error."""
    from botocore.exceptions import BotoCoreError, ClientError

    from cli.fleet import members, served
    from cli.fleet.accounts import Accounts
    from cli.stack import connection
    from millrace import MillraceError

    use_case = _given(ctx, _use_cases())
    environment, state = ctx.params.get("environment") or connection.LOCAL, ctx.params.get("state")
    if not use_case:
        return []
    try:
        stack = members.list_stacks(state or connection.REPOSITORY / ".millrace", use_case, environment)[0]
        if stack.target is None:
            return []
        with ctx:
            account = Accounts(stack.target.state).get(environment, stack.target.environment.region, stack.profile)
        listed = served.list_newest_packages(account.client("sagemaker"), stack.name)
    except (MillraceError, BotoCoreError, ClientError):
        # Completion shows no errors; the command itself reports them.
        return []
    return [text for each in listed if (text := str(each["ModelPackageVersion"])).startswith(incomplete)]


def complete_alarms(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the alarms that can be snoozed and begin with the incomplete word."""
    from millrace.watching import NEVER_SNOOZED, MonitorAlarm

    return [each.value for each in MonitorAlarm if each is not NEVER_SNOOZED and each.value.startswith(incomplete)]


def _given(ctx: click.Context, names: list[str]) -> str | None:
    """Return the use case that is already typed; None without one.

    While an option still lacks its value, click has not parsed the words, so they are searched for a use case.
    """
    found = ctx.params.get("use_case") or next((word for word in ctx.args if word in names), None)
    return str(found) if found else None


def _use_cases() -> list[str]:
    return sorted(path.parent.name.replace("_", "-") for path in _STACKS.glob("*/__init__.py"))
