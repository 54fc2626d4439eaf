"""`millrace approve` and `millrace reject`: a person's decision about a registered model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from cli.aws import endpoints, gates, model_packages, pipelines, questions
from cli.aws.endpoints import Endpoint
from cli.aws.model_packages import Package
from cli.commands import choices
from cli.commands.options import check_reason, require_yes_with_json, with_target
from cli.console.errors import CliError, DeclinedError
from cli.console.output import format_time, json_option, print_table, say, write_json
from cli.deployment import expected_changes, rollout
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.documents import Verdict
from queries.packages import APPROVED, PENDING, REJECTED


def _add_decision_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments and options that both commands have."""
    function = json_option(function)
    function = click.option("--deploy", is_flag=True, help="Deploy afterwards, and wait until it serves.")(function)
    function = click.option(
        "--retraining", is_flag=True, help="Answer the question whether to train (retraining.review)."
    )(function)
    function = click.option("--reason", default="", help="The reason; it is stored with the model.")(function)
    function = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(function)
    function = click.argument(
        "version", type=click.IntRange(min=1), required=False, shell_complete=choices.complete_versions
    )(function)
    return with_target(function)


@click.command()
@_add_decision_options
def approve(
    target: Target, version: int | None, yes: bool, reason: str, deploy: bool, retraining: bool, as_json: bool
) -> None:
    """Let a registered model serve from the next deployment on.

    VERSION is the newest one that waits for approval, unless it is given. A model that fails a gate is approved only
    with a --reason, and one that is older than an approved one not at all: that is `millrace rollback`.
    """
    require_yes_with_json(yes=yes, as_json=as_json)
    check_reason(reason)
    if retraining:
        _answer(target, version, train=True, yes=yes, reason=reason, deploy=deploy, as_json=as_json)
        return
    package = _find_package(target, version)
    if package.approval == APPROVED:
        raise CliError(
            f"version {package.version} of {target.names.model_package_group}",
            f"is already approved{f', since {package.change}' if package.changed else ''}",
            fix=f"to let it serve: {_deployment(target)}",
        )
    if because := model_packages.find_obstacle(target, package):
        raise CliError(
            f"version {package.version} of {target.names.model_package_group}",
            f"cannot serve: {because}",
            fix=f"train again: millrace retrain {render_arguments(target)}",
        )
    endpoint = endpoints.read_endpoint(target)
    _require_newer(target, package)
    _require_reason(target, package, reason)
    warning = ""
    if endpoint and endpoint.version and endpoint.version > package.version:
        warning = f"version {endpoint.version} serves and is newer: the next deployment rolls back to this one"
    others = (
        expected_changes.find_other_changes(target, quiet=as_json)
        if deploy and _changes_serving(endpoint, package)
        else None
    )
    _decide(target, package, APPROVED, others, yes=yes, reason=reason, warning=warning, quiet=as_json)
    _done(target, package, APPROVED, others, reason=reason, deploy=deploy, as_json=as_json)


@click.command()
@_add_decision_options
def reject(
    target: Target, version: int | None, yes: bool, reason: str, deploy: bool, retraining: bool, as_json: bool
) -> None:
    """Keep a model from serving, or take one back.

    VERSION is the newest one that waits for approval, unless it is given. Rejecting the version that serves rolls
    back: the next deployment takes the newest one that is still approved. `millrace rollback` does both.

    With --retraining, it is the answer to the question whether to train; it is not asked again within the cooldown.
    """
    require_yes_with_json(yes=yes, as_json=as_json)
    check_reason(reason)
    if retraining:
        _answer(target, version, train=False, yes=yes, reason=reason, deploy=deploy, as_json=as_json)
        return
    package = _find_package(target, version)
    if package.approval == REJECTED:
        raise CliError(
            f"version {package.version} of {target.names.model_package_group}",
            f"is already rejected{f', since {package.change}' if package.changed else ''}",
        )
    endpoint = endpoints.read_endpoint(target)
    serves = endpoint is not None and endpoint.package == package.arn
    left = _left(target, package)
    warning = ""
    if serves:
        goes = "back" if left and (left.created, left.version) < (package.created, package.version) else "forward"
        warning = (
            f"the endpoint serves it: the next deployment rolls {goes} to version {left.version}"
            if left
            else "the endpoint serves it and no other version is approved: `millrace deploy` refuses to delete it"
        )
        if deploy and left is None:
            raise CliError(
                f"version {package.version}",
                "serves and no other version is approved, so deploying would delete the endpoint",
                fix=(
                    "approve another version first, leave out --deploy, or: millrace destroy "
                    f"{render_arguments(target)}"
                ),
            )
    others = (
        expected_changes.find_other_changes(target, quiet=as_json)
        if deploy and _changes_serving(endpoint, left)
        else None
    )
    _decide(target, package, REJECTED, others, yes=yes, reason=reason, warning=warning, quiet=as_json)
    _done(target, package, REJECTED, others, reason=reason, deploy=deploy, as_json=as_json)


def _answer(
    target: Target, version: int | None, *, train: bool, yes: bool, reason: str, deploy: bool, as_json: bool
) -> None:
    """Answer the question whether to train: start the training, or record that and why there is none."""
    if version is not None or deploy:
        raise click.UsageError("--retraining is about no version: leave VERSION and --deploy out")
    question = questions.require_question(target)
    if not train and not reason.strip():
        raise CliError("--reason", "is empty", expected="why nothing is trained", fix="say it in a sentence")
    if not as_json:
        say(f"asked on data as of {question.question}: {question.reason}")
    verb = "Train now" if train else "Decide not to train"
    if not yes and not click.confirm(f"{verb}?"):
        raise DeclinedError()
    if train:
        execution = pipelines.start_execution(target, "training", AsOf="now", Champion="approved", Trigger="manual")
        said = f"started {execution}; to follow it: millrace watch {render_arguments(target)}"
    else:
        answer, execution = questions.decline(target, question, reason.strip()), None
        said = f"nothing is trained, decided by {answer.by}: {answer.reason}"
    if as_json:
        write_json({"stack": target.stack, "asked": question.question, "train": train, "execution": execution})
    else:
        say(said)


def _left(target: Target, package: Package) -> Package | None:
    """Return the newest approved package other than this one; None without one."""
    others = [each for each in model_packages.list_arns(target, APPROVED) if each != package.arn]
    return model_packages.find_package(target, others[0]) if others else None


def _find_package(target: Target, version: int | None) -> Package:
    model_packages.require_group(target)
    if version is not None:
        return model_packages.get_version(target, version)
    package = model_packages.find_newest(target, PENDING)
    if package is None:
        newest = model_packages.find_newest(target)
        have = f"the newest, version {newest.version}, is {newest.approval}" if newest else "no model is registered"
        raise CliError(
            f"model package group {target.names.model_package_group}",
            f"has no model that waits for approval: {have}",
            fix=f"name a version, or train: millrace retrain {render_arguments(target)}",
        )
    return package


def _require_newer(target: Target, package: Package) -> None:
    """Raise when a newer package is approved: it would serve, so that approving this one would do nothing."""
    newest = model_packages.find_newest(target, APPROVED)
    if newest and (newest.created, newest.version) > (package.created, package.version):
        raise CliError(
            f"version {package.version}",
            (
                f"would not serve: version {newest.version} is approved and newer, and the newest "
                "approved version serves"
            ),
            fix=f"to roll back: millrace rollback {render_arguments(target)} --to {package.version}",
        )


def _require_reason(target: Target, package: Package, reason: str) -> None:
    """Raise when no reason is given for a package that fails a gate, is undecided or was rejected."""
    if reason:
        return
    if package.approval == REJECTED:
        found = f"is {REJECTED}: {package.description}"
    elif package.metadata.get("verdict") == Verdict.UNDECIDED:
        found = f"cannot be told from the champion yet: {package.description}"
    elif short := gates.list_missed_gates(target.use_case, package):
        found = f"does not meet its gates: {'; '.join(short)}"
    else:
        return
    command = f"millrace approve {render_arguments(target)} {package.version} --reason …"
    raise CliError(f"version {package.version}", found, fix=f"to approve it anyway, give a reason: {command}")


def _changes_serving(endpoint: Endpoint | None, wanted: Package | None) -> bool:
    """Tell whether a deployment would change the version that serves."""
    return wanted is not None and (endpoint is None or endpoint.package != wanted.arn)


def _decide(
    target: Target,
    package: Package,
    approval: str,
    others: Sequence[str] | None,
    *,
    yes: bool,
    reason: str,
    warning: str,
    quiet: bool,
) -> None:
    """Show the package, ask for confirmation and write the decision.

    ``others`` are the other changes of the deployment that follows; None where none follows.
    """
    if not quiet:
        print_package(target, package)
        if warning:
            say(f"  note: {warning}")
        expected_changes.print_changes(target, others or ())
    verb = "Approve" if approval == APPROVED else "Reject"
    deploys = "" if others is None else f" and deploy{expected_changes.format_other_changes(others)}"
    if not yes and not click.confirm(f"{verb} version {package.version}{deploys}?"):
        raise DeclinedError()
    model_packages.set_approval(target, package, approval, reason)


def _done(
    target: Target,
    package: Package,
    approval: str,
    others: Sequence[str] | None,
    *,
    reason: str,
    deploy: bool,
    as_json: bool,
) -> None:
    """Report the decision, deploy it where that was asked for, and report what follows."""
    word = "approved" if approval == APPROVED else "rejected"
    # Only the registry decides what should serve; somebody may have approved a newer version meanwhile.
    wanted = model_packages.find_newest(target, APPROVED)
    endpoint = endpoints.read_endpoint(target)
    behind = _changes_serving(endpoint, wanted)
    if not as_json:
        say(f"{word} version {package.version}")
    if deploy and wanted and behind:
        endpoint = rollout.deploy_package(target, wanted, quiet=as_json)
        behind = False
    following = _following(target, package, wanted, endpoint, behind=behind)
    if as_json:
        write_json(
            {
                "stack": target.stack,
                "version": package.version,
                "was": package.approval,
                "approval": approval,
                "reason": reason,
                "others": list(others or ()),
                "deployed": endpoint.version if deploy and endpoint else None,
                "next": following,
            }
        )
    elif following:
        say(following)
    elif deploy:
        say(f"endpoint {target.names.endpoint} serves version {endpoint.version if endpoint else None}")


def _following(
    target: Target, package: Package, wanted: Package | None, endpoint: Endpoint | None, *, behind: bool
) -> str:
    if behind and wanted:
        return f"to let version {wanted.version} serve: {_deployment(target)}"
    if wanted is None and endpoint is not None and endpoint.package == package.arn:
        return (
            f"no version is approved: this one keeps serving until a deployment that may delete the endpoint "
            f"(`millrace deploy {render_arguments(target)} --remove-endpoint`); train a model (`millrace retrain "
            f"{render_arguments(target)}`) or approve another version"
        )
    return ""


def _deployment(target: Target) -> str:
    return f"millrace deploy {render_arguments(target)}"


def print_package(target: Target, package: Package) -> None:
    """Print a package for the person who decides about it."""
    say(
        f"{target.names.model_package_group} version {package.version}, {package.approval}, "
        f"{format_time(package.created)}"
    )
    print_table(gates.format_package_gates(target.use_case, package))
    facts = [("comparison", package.description), ("reason", package.reason)]
    facts += [(name, package.metadata.get(name, "")) for name in ("as_of", "snapshot", "code", "execution")]
    if package.changed:
        facts.append(("decided", package.change))
    print_table((name, text) for name, text in facts if text)
