"""What a command says to type next: with the environment, or it would be tried on the wrong stack."""

from __future__ import annotations

from cli.target import Target


def named(target: Target) -> str:
    """A use case as an argument of the commands: `flights`, or `flights --env prod`."""
    return target.use_case.name + ("" if target.is_local else f" --env {target.environment.name}")
