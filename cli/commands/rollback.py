"""`millrace rollback`: serve the previous model again, or a named version.

The registry decides what serves, so that a rollback is a decision there and a deployment: versions newer than the one
to return to are rejected, and the stack is deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from cli.aws import endpoints, gates, model_packages
from cli.aws.endpoints import Endpoint
from cli.aws.model_packages import Package
from cli.commands import choices
from cli.commands.options import check_reason, require_yes_with_json, with_target
from cli.console.errors import CliError, DeclinedError
from cli.console.output import format_duration, format_time, json_option, print_table, say, write_json
from cli.deployment import expected_changes, rollout
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.environment import ApprovalMode
from queries.endpoints import IN_PROGRESS
from queries.packages import APPROVED, REJECTED


@dataclass(frozen=True)
class Plan:
    """A planned rollback."""

    endpoint: Endpoint
    serving: Package | None
    """The package that serves; None where it was deleted from the registry."""
    to: Package
    rejected: tuple[Package, ...]
    """The approved packages newer than ``to``, newest first: in this order what should serve only gets older."""

    @property
    def approves(self) -> bool:
        """True where the rollback must approve ``to`` again."""
        return self.to.approval != APPROVED

    @property
    def is_done(self) -> bool:
        """True where ``to`` serves already, e.g. because an earlier run was interrupted when all was done."""
        return self.to.arn == self.endpoint.package and self.endpoint.status == "InService"


@click.command()
@with_target
@click.option(
    "--to",
    type=click.IntRange(min=1),
    shell_complete=choices.complete_versions,
    help="Default: the approved version before the one that serves.",
)
@click.option("--reason", default="", help="The reason; it is stored with the rejected models.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--no-deploy", is_flag=True, help="Change only the registry; the next deployment applies it.")
@json_option
def rollback(target: Target, to: int | None, reason: str, yes: bool, no_deploy: bool, as_json: bool) -> None:
    """Serve the previous model again, or a named version.

    The version that serves, and every approved one newer than the one to return to, is rejected; then the stack is
    deployed, and the command ends when the endpoint serves. A version named with --to is approved again if it was
    rejected. When the deployment fails, the registry is put back as it was. After an interruption, run it again to
    continue; when all is done it reports so, and only --to goes further back.
    """
    require_yes_with_json(yes=yes, as_json=as_json)
    check_reason(reason)
    plan = _plan(target, to)
    if plan.is_done:
        _nothing(target, plan, as_json=as_json)
        return
    # Whoever is on call must know what else a deployment from this checkout would change.
    others = [] if no_deploy else expected_changes.find_other_changes(target, quiet=as_json)
    if not as_json:
        _show(target, plan, others, deploy=not no_deploy)
    if not yes and not click.confirm(
        f"Roll back to version {plan.to.version}{expected_changes.format_other_changes(others)}?"
    ):
        raise DeclinedError()
    _require_as_planned(target, plan)
    written = _decide(target, plan, reason)
    endpoint = None
    if not no_deploy:
        endpoint = _deploy(target, plan, written, quiet=as_json)
    _done(target, plan, endpoint, others, as_json=as_json)


# -- what will be done -------------------------------------------------------------------------------------------------


def _plan(target: Target, to: int | None) -> Plan:
    """Return what the rollback will do.

    Raises:
        CliError: There is nothing to go back to; nothing was changed.
    """
    model_packages.require_group(target)
    endpoint = endpoints.read_endpoint(target)
    name = render_arguments(target)
    if endpoint is None:
        raise CliError("nothing", f"can be rolled back: {endpoints.explain_missing_endpoint(target)}")
    if endpoint.status in IN_PROGRESS:
        raise CliError(
            f"endpoint {endpoint.name}",
            f"is {endpoint.status}: a rollout is in progress, which its alarms may still roll back",
            fix=f"wait until `millrace status {name}` shows InService, then decide",
        )
    approved = model_packages.list_group_packages(target, APPROVED)
    served = model_packages.find_package(target, endpoint.package)
    if to is not None:
        chosen = model_packages.get_version(target, to)
    elif served and _is_rollback_target(target, served, approved):
        chosen = served
    else:
        chosen = _previous(target, endpoint, served, approved)
    newer = tuple(each for each in approved if _order(each) > _order(chosen))
    _check(target, endpoint, served, chosen, newer)
    return Plan(endpoint, served, chosen, newer)


def _order(package: Package) -> tuple[Any, int]:
    """Return the key by which approved packages are ordered: the newest by creation time serves."""
    return package.created, package.version


def _is_rollback_target(target: Target, served: Package, approved: list[Package]) -> bool:
    """Tell whether the version that serves is the last rollback's, and nothing has been decided since.

    Someone who repeats an interrupted rollback then wants no further step back.
    """
    if served.approval != APPROVED or any(_order(each) > _order(served) for each in approved):
        return False
    return any(
        each.rolled_back_to == served.version
        for each in model_packages.list_group_packages(target, REJECTED)
        if _order(each) > _order(served)
    )


def _previous(target: Target, endpoint: Endpoint, served: Package | None, approved: list[Package]) -> Package:
    """Return the newest approved package older than the one that serves."""
    if served is None and endpoint.version is None:
        raise CliError(f"endpoint {endpoint.name}", "serves a model without a version", fix="name one with --to")
    older = [
        each
        for each in approved
        if (_order(each) < _order(served) if served else each.version < (endpoint.version or 0))
    ]
    # An approved package newer than the one that serves was not deployed yet, so it is no rollback target.
    if older:
        return older[0]
    others = [
        each
        for each in model_packages.list_group_packages(target)
        if each.arn != endpoint.package and each.version < (endpoint.version or 0)
    ]
    have = ", ".join(f"{each.version} ({each.approval})" for each in others[:10])
    raise CliError(
        f"version {endpoint.version}",
        f"serves, and no older version {'is approved' if have else 'exists'}, so none can be rolled back to",
        fix=f"name one with --to: {have}" if have else "",
    )


def _check(
    target: Target, endpoint: Endpoint, served: Package | None, chosen: Package, newer: tuple[Package, ...]
) -> None:
    """Refuse a package that is no rollback target."""
    name = render_arguments(target)
    which = f"version {chosen.version} of {target.names.model_package_group}"
    if chosen.arn == endpoint.package and endpoint.status == "InService":
        if newer:
            raise CliError(
                which,
                f"already serves, and version {newer[0].version} is approved and newer",
                fix=f"to keep it from the next deployment: millrace reject {name} {newer[0].version}",
            )
        if chosen.approval != APPROVED:
            raise CliError(
                which,
                f"already serves, but is {chosen.approval}, so that the next deployment would replace it",
                fix=f"to keep it: millrace approve {name} {chosen.version}",
            )
        return
    if (served and _order(chosen) > _order(served)) or (not served and chosen.version > (endpoint.version or 0)):
        raise CliError(
            which,
            f"is newer than version {endpoint.version}, which serves",
            fix=f"to serve it: millrace approve {name} {chosen.version} --deploy",
        )
    if because := model_packages.find_obstacle(target, chosen):
        raise CliError(which, f"cannot serve: {because}", fix="name another one with --to")


def _require_as_planned(target: Target, plan: Plan) -> None:
    """Raise when somebody has decided or deployed before the question was answered."""
    endpoint = endpoints.read_endpoint(target)
    if endpoint is None or (endpoint.status, endpoint.package) != (plan.endpoint.status, plan.endpoint.package):
        now = f"is {endpoint.status} and serves version {endpoint.version}" if endpoint else "was deleted"
        raise CliError(
            f"endpoint {plan.endpoint.name}", f"{now} in the meantime; nothing was changed", fix="check, then decide"
        )
    known = {each.arn for each in (*plan.rejected, plan.to)}
    for each in model_packages.list_group_packages(target, APPROVED):
        if each.arn not in known and _order(each) > _order(plan.to):
            raise CliError(
                f"version {each.version} of {target.names.model_package_group}",
                f"was approved in the meantime, {each.change}, and would serve; nothing was changed",
                fix="check and decide again",
            )
    for each in (*plan.rejected, plan.to):
        model_packages.require_unchanged(target, each)


# -- doing it ----------------------------------------------------------------------------------------------------------


def _decide(target: Target, plan: Plan, reason: str) -> list[tuple[Package, Package]]:
    """Write the decisions; return each package before and after its decision.

    When one cannot be written, those before it are reverted.
    """
    written: list[tuple[Package, Package]] = []
    why = f"rolled back to version {plan.to.version}" + (f": {reason}" if reason else "")
    try:
        if plan.approves:
            again = f"serves again instead of version {plan.endpoint.version}" + (f": {reason}" if reason else "")
            written.append((plan.to, model_packages.set_approval(target, plan.to, APPROVED, again[:1024])))
        for each in plan.rejected:
            written.append(
                (each, model_packages.set_approval(target, each, REJECTED, why[:1024], rolled_back_to=plan.to.version))
            )
    except BaseException:
        _revert(target, written)
        raise
    return written


def _deploy(target: Target, plan: Plan, written: list[tuple[Package, Package]], *, quiet: bool) -> Endpoint:
    """Deploy; on failure, restore the registry if the old model still serves, else print how to continue."""
    try:
        return rollout.deploy_package(target, plan.to, quiet=quiet)
    except BaseException:
        now = endpoints.read_endpoint(target)
        if now and now.status == plan.endpoint.status and now.package == plan.endpoint.package:
            _revert(target, written)
        else:
            name = render_arguments(target)
            serves = f"is {now.status} with version {now.version}" if now else "was deleted"
            say(
                f"the registry keeps the decision, with version {plan.to.version} as the newest approved one, because "
                f"endpoint {target.names.endpoint} {serves}; when `millrace status {name}` shows InService, "
                f"`millrace deploy {name}` deploys that version",
                err=True,
            )
        raise


def _revert(target: Target, written: list[tuple[Package, Package]]) -> None:
    """Revert the decisions, the last one first; print how to revert by hand what cannot be reverted."""
    for before, after in reversed(written):
        try:
            model_packages.set_approval(
                target, after, before.approval, before.reason, rolled_back_to=before.rolled_back_to
            )
            say(f"reverted: version {before.version} is {before.approval} again", err=True)
        except Exception as error:  # noqa: BLE001 - the first failure is raised; this one is printed with its fix
            verb = "approve" if before.approval == APPROVED else "reject"
            say(
                f"version {before.version} could not be reverted to {before.approval} ({error}); do it by hand: "
                f"millrace {verb} {render_arguments(target)} {before.version}",
                err=True,
            )


# -- output ------------------------------------------------------------------------------------------------------------


def _show(target: Target, plan: Plan, others: list[str], *, deploy: bool) -> None:
    """Print both versions, what is rejected and how long the rollout takes."""
    say(f"endpoint {plan.endpoint.name}: version {plan.endpoint.version}, serving since {plan.endpoint.since_text}")
    say(f"roll back to version {plan.to.version}, {plan.to.approval}, registered {format_time(plan.to.created)}")
    metrics = dict.fromkeys([*(gate.metric for gate in target.use_case.gates), target.use_case.champion_metric])
    known = "unknown"
    rows = [("", f"version {plan.endpoint.version}", f"version {plan.to.version}")]
    for metric in (*metrics, "as_of"):
        old = plan.serving.metadata.get(metric, known) if plan.serving else "deleted"
        rows.append((metric, old, plan.to.metadata.get(metric, known)))
    print_table(rows)
    if plan.approves:
        say(f"  approved again: version {plan.to.version}" + (f", {plan.to.reason}" if plan.to.reason else ""))
    for short in gates.list_missed_gates(target.use_case, plan.to):
        say(f"  note: version {plan.to.version} does not meet its gates as they are now: {short}")
    for each in plan.rejected:
        say(f"  rejected: version {each.version}" + (", which serves" if each.arn == plan.endpoint.package else ""))
    expected_changes.print_changes(target, others)
    if deploy:
        kind = target.environment.rollout.traffic.value.replace("_", " ")
        bakes = format_duration(rollout.compute_duration(target).total_seconds())
        say(f"  rollout: {kind}, bakes for {bakes}, plus the time to start its fleet")


def _nothing(target: Target, plan: Plan, *, as_json: bool) -> None:
    """Report that the version serves already."""
    if as_json:
        _document(target, plan, plan.endpoint, [], f"millrace status {render_arguments(target)}")
        return
    say(
        f"version {plan.to.version} of {target.names.model_package_group} is already serving, since "
        f"{plan.endpoint.since_text}; nothing was changed"
    )
    say(f"to roll back further: millrace rollback {render_arguments(target)} --to <version>")


def _done(target: Target, plan: Plan, endpoint: Endpoint | None, others: list[str], *, as_json: bool) -> None:
    name = render_arguments(target)
    following = f"millrace status {name}" if endpoint else f"millrace deploy {name}"
    if as_json:
        _document(target, plan, endpoint, others, following)
        return
    if endpoint:
        say(f"endpoint {endpoint.name} serves version {plan.to.version} again")
        say(f"next: {following}")
        if target.environment.promotion.approval is ApprovalMode.AUTOMATIC:
            say(
                f"promotion is automatic: until you know why version {plan.endpoint.version} failed, keep training "
                f"from approving a similar model: millrace pause {render_arguments(target)} --only retraining"
            )
    else:
        say(f"version {plan.to.version} is the newest approved one; it serves after: {following}")


def _document(target: Target, plan: Plan, endpoint: Endpoint | None, others: list[str], following: str) -> None:
    write_json(
        {
            "stack": target.stack,
            "from": plan.endpoint.version,
            "to": plan.to.version,
            "approved": [plan.to.version] if plan.approves else [],
            "rejected": [each.version for each in plan.rejected],
            "others": others,
            "deployed": endpoint is not None,
            "since": endpoint.since if endpoint else None,
            "next": following,
        }
    )
