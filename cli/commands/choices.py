"""Shell-completion callbacks: the use cases, environments and versions that an argument may have.

Use cases and environments are read from the names of folders and files alone: a key press waits for them.
"""

from __future__ import annotations

import click

from cli.stack.connection import REPOSITORY

_STACKS = REPOSITORY / "stacks"


def use_cases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The use cases that begin so."""
    return [name for name in _use_cases() if name.startswith(incomplete)]


def environments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The environments that begin so: of the use case that is already there, or of all."""
    names = _use_cases()
    given = _given(ctx, names)
    found = set()
    for file in _STACKS.glob("Pulumi.*.yaml"):
        stack = file.name[len("Pulumi.") : -len(".yaml")]
        # The longest name: `a-b-local` is the stack of `a-b` where there is one.
        owner = max((name for name in names if stack.startswith(f"{name}-")), key=len, default="platform")
        if stack.startswith(f"{owner}-") and given in (None, owner):
            found.add(stack.removeprefix(f"{owner}-"))
    return sorted(name for name in found if name.startswith(incomplete))


def versions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The versions that are registered, newest first; none where nobody answers at once."""
    from botocore.exceptions import BotoCoreError, ClientError

    from cli import fleet
    from cli.fleet import served
    from cli.fleet.accounts import Accounts
    from cli.stack import connection
    from millrace import MillraceError

    use_case = _given(ctx, _use_cases())
    environment, state = ctx.params.get("environment") or connection.LOCAL, ctx.params.get("state")
    if not use_case:
        return []
    try:
        stack = fleet.stacks_of(state or connection.REPOSITORY / ".millrace", use_case, environment)[0]
        if stack.target is None:
            return []
        with ctx:
            account = Accounts(stack.target.state).of(environment, stack.target.environment.region, stack.profile)
        listed = served.packages(account.client("sagemaker"), stack.name)
    except (MillraceError, BotoCoreError, ClientError):
        # A key press is no place for an error; the command says it.
        return []
    return [text for each in listed if (text := str(each["ModelPackageVersion"])).startswith(incomplete)]


def _given(ctx: click.Context, names: list[str]) -> str | None:
    """The use case that is already there; where an option still lacks its value, click has not told it apart."""
    found = ctx.params.get("use_case") or next((word for word in ctx.args if word in names), None)
    return str(found) if found else None


def _use_cases() -> list[str]:
    return sorted(path.parent.name.replace("_", "-") for path in _STACKS.glob("*/__init__.py"))
