"""Options such as `--role-arn ENV=ARN`, which may be repeated."""

from __future__ import annotations

import click


def pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Check `NAME=VALUE`, each name once: a callback of click's."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not (name and equals and text):
            raise click.BadParameter(f"{value!r}; expected {param.metavar}", ctx, param)
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice; give it once", ctx, param)
        found[name] = text
    return found
