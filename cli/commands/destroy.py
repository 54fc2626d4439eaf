"""`millrace destroy`: take a stack down in the right order, and keep what must be kept.

Triggers stop first, then running executions; then Pulumi deletes the stack, and last what rollouts left behind. Where
the environment does not set `force_destroy`, its data stay: the lake, its key, the registry. Each step looks at what
still exists, so that the command can be run again after an interruption.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import ClientError

from cli.aws import endpoints, model_packages, pauses, pipelines
from cli.aws.parameters import delete_parameter
from cli.commands import choices
from cli.commands.options import env_option, require_yes_with_json
from cli.console import interrupts
from cli.console.errors import CliError, DeclinedError
from cli.console.output import format_duration, json_option, print_table, say, write_json
from cli.console.progress import Progress, Stage
from cli.deployment import foreign_state, garbage, platform_users, rollout
from cli.deployment.destruction import BUCKET, Done, Plan, holds_data, list_costs, list_kept, list_removal_commands
from cli.pulumi import stack_state
from cli.stack import connection, deployable
from cli.stack.deployable import Deployable, Platform, render_arguments
from cli.stack.target import Target
from millrace.inventory import PIPELINE_KINDS

#: Prefixes of the types of resources that hold data and models: kept unless the environment sets force_destroy. All of
#: the bucket's own settings stay with it: without them it would be readable over plain HTTP, or unencrypted.
_DATA = ("aws:s3/", "aws:kms/", "aws:sagemaker/modelPackageGroup:")
_GROUP = "aws:sagemaker/modelPackageGroup:ModelPackageGroup"
#: The longest wait until executions have stopped, seconds.
_PATIENCE = 1800.0
_REASON = "the stack is being destroyed"


@click.command()
@click.argument("use_case", metavar="USE_CASE", shell_complete=choices.complete_use_cases)
@env_option
@connection.state_option
@click.option("--keep-data", is_flag=True, help="Keep lake, key and registry, even if they may be deleted.")
@click.option("--delete-data", is_flag=True, help="Delete them even if protected; requires force_destroy.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def destroy(
    use_case: str, environment: str, state: Path, keep_data: bool, delete_data: bool, yes: bool, as_json: bool
) -> None:
    """Destroy a stack in the right order, keeping what must be kept.

    USE_CASE is a use case, or `platform` for what the use cases of an environment share: that goes last.

    Where the environment sets `force_destroy` (this machine's, and those of pull requests), everything is deleted.
    Elsewhere the lake, its key and the registry with its models stay, and the command prints how to remove them
    deliberately. A stack that does not exist is no error: exit code 0. One that exists and is unknown to Pulumi's
    backend is refused. After an interruption, run it again to continue.
    """
    if keep_data and delete_data:
        raise click.UsageError("--keep-data and --delete-data contradict each other; give one of them")
    require_yes_with_json(yes=yes, as_json=as_json)
    target = deployable.load_deployable(use_case, environment, state)
    connection.use_environment(environment, state)
    may = target.environment.force_destroy
    if delete_data and not may:
        raise _refuse_data(target)
    plan = _plan(target, delete_data=may and not keep_data)
    if isinstance(target, Platform) and plan.goes:
        platform_users.require_unused(target, _DATA, delete_data=plan.delete_data)
    if plan.is_empty:
        _nothing(target, plan, as_json=as_json)
        return
    guarded = [each for each in plan.goes if each.protect and each.type.startswith(_DATA)]
    if guarded and not delete_data:
        raise CliError(
            f"stack {target.stack}",
            (
                "was deployed without force_destroy, and its data are protected: "
                f"{', '.join(each.name for each in guarded)}; nothing was changed"
            ),
            fix="keep them with --keep-data, or delete them with --delete-data",
        )
    if not as_json:
        _show(target, plan)
    if not yes:
        _ask(target)
    done = _destroy(target, plan, as_json=as_json)
    _report(target, plan, done, as_json=as_json)


def _refuse_data(target: Deployable) -> CliError:
    """Return the error of --delete-data in an environment that keeps its data."""
    barred = "" if target.environment.is_ephemeral else ", which only `local` and `pr-…` may set"
    return CliError(
        f"environment {target.environment.name!r}",
        f"does not set force_destroy{barred}; --delete-data is refused, nothing was changed",
        fix=f"run `millrace destroy {render_arguments(target)}` without the option: it deletes the rest and prints "
        "how to delete "
        "the data on purpose",
    )


# -- what will be done -------------------------------------------------------------------------------------------------


def _plan(target: Deployable, *, delete_data: bool) -> Plan:
    found = stack_state.list_resources(target)
    plan = Plan(known=found is not None, delete_data=delete_data)
    every = found or []
    kept = [] if delete_data else [each for each in every if each.type.startswith(_DATA)]
    urns = stack_state.find_closure(every, kept)
    plan.goes = [each for each in every if each.is_real and each.urn not in urns]
    plan.stays = [each for each in every if each.is_real and each.urn in urns]
    plan.hollow = bool(every) and not (plan.goes or plan.stays)
    if not (plan.goes or plan.stays):
        foreign_state.require_no_foreign_resources(target)
    if isinstance(target, Target):
        plan.running = _running(target)
        plan.orphans = _orphans(target)
        plan.paused = pauses.read_pause(target, strict=False) is not None
    return plan


def _running(target: Target) -> list[tuple[str, str]]:
    return [
        (kind, each["PipelineExecutionArn"])
        for kind in PIPELINE_KINDS
        for each in pipelines.list_newest_executions(target, kind, 100)
        if each["PipelineExecutionStatus"] in ("Executing", "Stopping")
    ]


def _orphans(target: Target) -> list[garbage.Item]:
    """Return the stack's configurations and models that Pulumi retains: those of earlier rollouts, and the last."""
    configs, models = garbage.list_configs_and_models(target)
    why = "left over from a rollout"
    return [
        *(garbage.Item(garbage.CONFIG, each["EndpointConfigName"], each["CreationTime"], why) for each in configs),
        *(garbage.Item(garbage.MODEL, each["ModelName"], each["CreationTime"], why) for each in models),
    ]


def _show(target: Deployable, plan: Plan) -> None:
    where = "this machine" if target.is_local else f"account {target.names.account}, {target.names.region}"
    say(f"stack {target.stack} on {where}")
    counted = Counter(each.kind for each in plan.goes if not each.retained)
    if counted:
        say(f"  deletes: {', '.join(f'{count} {kind}' for kind, count in sorted(counted.items()))}")
    if plan.orphans:
        say(f"  deletes: {len(plan.orphans)} configurations and models left over from rollouts")
    for kind, execution in plan.running:
        say(f"  stops: {kind}, {execution}")
    if any(each.protect for each in plan.goes):
        say("  deletes although protected: " + ", ".join(sorted(each.name for each in plan.goes if each.protect)))
    if plan.stays:
        say("  keeps: " + ", ".join(f"{each.kind} {each.id}" for each in plan.stays if holds_data(each)))
    elif plan.delete_data:
        say("  deletes all its data: lake, key and registry")


def _ask(target: Deployable) -> None:
    if target.is_local:
        if not click.confirm(f"Destroy {target.stack}?"):
            raise DeclinedError()
        return
    said = click.prompt(f"To continue, type the stack's name, {target.stack}", default="", show_default=False)
    if said.strip() != target.stack:
        raise CliError(f"{said.strip()!r}", f"is not {target.stack!r}; nothing was changed")


# -- doing it ----------------------------------------------------------------------------------------------------------


def _destroy(target: Deployable, plan: Plan, *, as_json: bool) -> Done:
    done = Done()
    progress = Progress(err=as_json)
    if isinstance(target, Target):
        with progress.stage("triggers") as stage:
            stopped = pauses.pause_all(target, _REASON)
            stage.result = f"{stopped} stopped" if stopped else "none were enabled"
        with progress.stage("executions") as stage:
            _stop(target, done, stage)
    if plan.known and (plan.goes or not plan.stays):
        with progress.stage("destroy") as stage:
            _take_down(target, plan, done, stage)
    if isinstance(target, Target):
        with progress.stage("leftovers") as stage:
            _delete_leftovers(target, plan, done, stage)
    return done


def _stop(target: Target, done: Done, stage: Stage) -> None:
    """Stop running executions and wait for their end: a running job would write into what is deleted."""
    for kind, execution in _running(target):
        stage.note(f"stopping {kind}")
        try:
            target.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
            done.stopped += 1
        except ClientError as error:
            # It may have ended by itself, or be stopping already.
            if error.response["Error"]["Code"] not in ("ValidationException", "ConflictException", "ResourceNotFound"):
                raise
    deadline = time.monotonic() + _PATIENCE
    while running := _running(target):
        stage.note(f"{len(running)} stopping")
        if time.monotonic() > deadline:
            raise CliError(
                f"{running[0][1]}",
                f"did not stop within {format_duration(_PATIENCE)}; nothing was deleted",
                fix=f"see `millrace status {render_arguments(target)}`, then run this again",
            )
        interrupts.sleep(0.25 if target.is_local else 5.0)
    stage.result = f"{done.stopped} stopped" if done.stopped else "none were running"


def _take_down(target: Deployable, plan: Plan, done: Done, stage: Stage) -> None:
    if isinstance(target, Target):
        # An endpoint cannot be deleted while it is being changed.
        rollout.wait_until_settled(target, stage)
    stack_state.unprotect_resources(target, [each.urn for each in plan.goes if each.protect])
    if plan.delete_data:
        _empty_protected(target, plan, stage)
    hooked = any(each.hooked for each in (*plan.goes, *plan.stays))
    update = stack_state.destroy_stack(target, [each.urn for each in plan.stays], stage.note, run_program=hooked)
    retained = {each.urn for each in plan.goes if each.retained}
    done.deleted.update(each.kind for each in plan.goes if each.urn not in retained)
    stage.result = update.text
    if not (stack_state.list_resources(target) or []) and not plan.stays:
        stack_state.remove_stack(target)
        done.removed = True


def _empty_protected(target: Deployable, plan: Plan, stage: Stage) -> None:
    """Empty the model group and bucket that Pulumi would not, because they were deployed to be kept."""
    for each in plan.goes:
        if each.type == _GROUP and not each.hooked and isinstance(target, Target):
            for arn in model_packages.list_arns(target):
                interrupts.raise_if_interrupted()
                stage.note(f"model {arn.rpartition('/')[2]}")
                target.sagemaker.delete_model_package(ModelPackageName=arn)
        elif each.type == BUCKET and not each.inputs.get("forceDestroy"):
            # Use the resource's own name: the configuration may name another lake by now, which all use cases share.
            _empty_bucket(target, each.id, "", stage)


def _delete_leftovers(target: Target, plan: Plan, done: Done, stage: Stage) -> None:
    """Delete what Pulumi retained, which no rollback needs any more; configurations before the models they name."""
    if endpoint := endpoints.read_endpoint(target):
        raise CliError(
            f"endpoint {endpoint.name}",
            f"still exists, {endpoint.status}: it is not in Pulumi's state",
            fix="delete it by hand (aws sagemaker delete-endpoint), then run this again",
        )
    for item in _orphans(target):
        stage.note(f"{item.kind} {item.name}")
        interrupts.raise_if_interrupted()
        garbage.delete_item(target, item)
        done.deleted["EndpointConfiguration" if item.kind == garbage.CONFIG else "Model"] += 1
    if plan.delete_data and target.names.shared_lake and target.is_provisioned():
        done.deleted["object version"] += _empty_bucket(target, target.names.lake, f"{target.names.use_case}/", stage)
    if not delete_parameter(target, target.names.pause_parameter):
        stage.note("nothing was paused")
    for decided in (target.names.snooze_parameter, target.names.answer_parameter):
        delete_parameter(target, decided)
    stage.result = "nothing is left behind" if plan.delete_data else "data was kept"


def _empty_bucket(target: Deployable, bucket: str, prefix: str, stage: Stage) -> int:
    """Delete all versions of the objects under a prefix of a bucket; return their number."""
    s3, count = target.client("s3"), 0
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        batch = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        if batch:
            interrupts.raise_if_interrupted()
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            for error in answer.get("Errors", []):
                raise CliError(f"{error['Key']}", f"could not be deleted: {error.get('Message') or error['Code']}")
            count += len(batch)
            stage.note(f"{count} object versions")
    return count


# -- output ------------------------------------------------------------------------------------------------------------


def _nothing(target: Deployable, plan: Plan, *, as_json: bool) -> None:
    if plan.known and not plan.stays:
        # An earlier run was interrupted after the last resource, or a deployment before the first one.
        if plan.hollow:
            stack_state.destroy_stack(target, [], lambda _: None, run_program=False)
        stack_state.remove_stack(target)
    if as_json:
        _document(target, plan, Done(), [], [])
        return
    if plan.stays:
        say(f"stack {target.stack} is already destroyed, except for what is kept")
        _say_kept(target, plan)
    elif plan.hollow:
        say(f"stack {target.stack} had no resources; its empty state was removed")
    else:
        say(f"stack {target.stack} does not exist: it was never deployed or is already destroyed; nothing to do")


def _report(target: Deployable, plan: Plan, done: Done, *, as_json: bool) -> None:
    kept, cost = list_kept(target, plan), list_costs(target, plan)
    if as_json:
        _document(target, plan, done, kept, cost)
        return
    say(f"deleted: {', '.join(f'{count} {kind}' for kind, count in sorted(done.deleted.items())) or 'nothing'}")
    if plan.stays:
        _say_kept(target, plan)
    else:
        say(f"nothing of {target.stack} is left" + (", and it no longer costs anything" if not target.is_local else ""))
        if not target.is_local:
            say("  the key can still be recovered for 7 days, which is free of charge")
        else:
            again = "deploy platform --create" if isinstance(target, Platform) else f"up {render_arguments(target)}"
            say(f"next: millrace {again} starts again")


def _say_kept(target: Deployable, plan: Plan) -> None:
    say("kept")
    print_table((each["type"], each["name"]) for each in list_kept(target, plan))
    if cost := list_costs(target, plan):
        say("remaining costs")
        print_table((each["what"], each["usd"], each["how"]) for each in cost)
    say("to delete it permanently:")
    for line in list_removal_commands(target, plan):
        say(f"  {line}")


def _document(
    target: Deployable, plan: Plan, done: Done, kept: list[dict[str, str]], cost: list[dict[str, Any]]
) -> None:
    write_json(
        {
            "stack": target.stack,
            "deleted": dict(done.deleted),
            "stopped": done.stopped,
            "removed": done.removed,
            "kept": kept or list_kept(target, plan),
            "costs": cost or list_costs(target, plan),
            "next": list_removal_commands(target, plan) if plan.stays else [],
        }
    )
