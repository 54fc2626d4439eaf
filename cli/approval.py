"""`millrace approve` and `millrace reject`: a person's decision about a registered model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cli import registry, serving
from cli.errors import CliError
from cli.output import moment, say, table
from cli.registry import APPROVED, PENDING, REJECTED, Package
from cli.target import Target, of_use_case

#: What the registry keeps of a reason.
_LONGEST = 1024


def _decision(function: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments that both commands have."""
    function = click.option("--reason", default="", help="Why; it is kept with the model.")(function)
    function = click.option("--yes", is_flag=True, help="Do not ask.")(function)
    function = click.argument("version", type=click.IntRange(min=1), required=False)(function)
    return of_use_case(function)


@click.command()
@_decision
def approve(target: Target, version: int | None, yes: bool, reason: str) -> None:
    """Let a registered model serve at the next `pulumi up`.

    VERSION is the newest one that waits for approval, unless it is given.
    """
    package = _chosen(target, version)
    if package.approval == APPROVED:
        raise CliError(f"version {package.version} of {target.names.model_package_group} is approved already")
    newest = registry.newest(target, APPROVED)
    if newest and newest.version > package.version:
        raise CliError(
            f"version {package.version} would not serve: version {newest.version} is approved and newer, and the "
            "newest approved one serves; to go back, reject that one: "
            f"millrace reject {target.use_case.name} {newest.version}"
        )
    _decide(target, package, APPROVED, yes, reason)
    say(f"approved version {package.version}; to let it serve: pulumi up --stack {target.stack}")


@click.command()
@_decision
def reject(target: Target, version: int | None, yes: bool, reason: str) -> None:
    """Keep a model from serving, or take one back.

    VERSION is the newest one that waits for approval, unless it is given. Rejecting the version that serves rolls
    back: the next `pulumi up` deploys the newest one that is still approved.
    """
    package = _chosen(target, version)
    if package.approval == REJECTED:
        raise CliError(f"version {package.version} of {target.names.model_package_group} is rejected already")
    endpoint = serving.find(target)
    _decide(target, package, REJECTED, yes, reason)
    say(f"rejected version {package.version}")
    if endpoint and endpoint.package == package.arn:
        left = registry.newest(target, APPROVED)
        goes_on = f"version {left.version} serves then" if left else "no version is approved: the endpoint goes then"
        say(f"it serves until: pulumi up --stack {target.stack} ({goes_on})")


def _chosen(target: Target, version: int | None) -> Package:
    if version is not None:
        return registry.of_version(target, version)
    package = registry.newest(target, PENDING)
    if package is None:
        newest = registry.newest(target)
        have = f"the newest, version {newest.version}, is {newest.approval}" if newest else "there is no model at all"
        raise CliError(
            f"no model of {target.names.model_package_group} waits for approval: {have}; "
            f"name a version, or train: millrace run {target.use_case.name}"
        )
    return package


def _decide(target: Target, package: Package, approval: str, yes: bool, reason: str) -> None:
    """Show, ask, write down."""
    if len(reason) > _LONGEST:
        raise CliError(f"--reason has {len(reason)} characters; the registry keeps at most {_LONGEST}: shorten it")
    show(target, package)
    verb = "Approve" if approval == APPROVED else "Reject"
    if not yes and not click.confirm(f"{verb} version {package.version}?"):
        raise CliError("nothing was changed")
    registry.decide(target, package, approval, reason)


def show(target: Target, package: Package) -> None:
    """A package for a person who decides about it."""
    say(f"{target.names.model_package_group} version {package.version}, {package.approval}, {moment(package.created)}")
    table(registry.rows_of_gates(target.use_case, package))
    facts = [("comparison", package.description), ("reason", package.reason)]
    facts += [(name, package.metadata.get(name, "")) for name in ("as_of", "snapshot", "code", "execution")]
    table((name, text) for name, text in facts if text)
