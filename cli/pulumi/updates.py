"""Updates of a stack: `pulumi up`, the events that it reports, and what they add up to."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.console import interrupts
from cli.console.errors import CliError
from cli.pulumi import locks
from cli.pulumi.process import (
    LOCKED,
    Deployed,
    LockedError,
    Note,
    clean_lines,
    create_stack,
    describe_exit,
    export_state,
    make_environment,
    remove_markup,
    run_or_raise,
    run_pulumi,
)
from cli.stack import connection
from millrace.names import ROLLBACK_REPORT
from queries.rollbacks import Rollback

#: The input that is also the ID, for types of resources that cannot be created twice.
_IDS = {
    "aws:iam/role:Role": "name",
    "aws:kms/alias:Alias": "name",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:sagemaker/endpoint:Endpoint": "name",
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": "name",
    "aws:sagemaker/featureGroup:FeatureGroup": "featureGroupName",
    "aws:sagemaker/model:Model": "name",
    "aws:sagemaker/modelPackageGroup:ModelPackageGroup": "modelPackageGroupName",
    "aws:sagemaker/pipeline:Pipeline": "pipelineName",
    "aws:ssm/parameter:Parameter": "name",
}


@dataclass
class Update:
    """The result of an update.

    Attributes:
        changes: The number of steps, by kind of step.
        errors: Pulumi's diagnostics.
        trace: What the program wrote to standard error; after an unexpected exception this is all there is.
        done: URN → kind of step, of each resource whose step finished.
        failed: The URNs of those whose step failed.
        rollback: Why the endpoint does not run what was deployed, when SageMaker rolled the rollout back.
    """

    changes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    done: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    rollback: Rollback | None = None
    result: str = ""
    begun: int = 0

    @property
    def text(self) -> str:
        """The counts, e.g. `55 created`."""
        words = {
            "create": "created",
            "update": "updated",
            "same": "unchanged",
            "delete": "deleted",
            "replace": "replaced",
        }
        counted = Counter({words.get(kind, kind.replace("-", " ")): count for kind, count in self.changes.items()})
        return ", ".join(f"{count} {kind}" for kind, count in counted.items()) or "nothing to do"


class UpdateError(CliError):
    """An update that failed, possibly partway.

    Attributes:
        update: What it did before it failed.
    """

    def __init__(self, subject: str, found: str, update: Update) -> None:
        super().__init__(subject, found)
        self.update = update


def update_stack(
    target: Deployed,
    note: Note,
    *,
    create: bool = True,
    plan: Path | None = None,
    refresh: bool | None = None,
    patience: float = locks.PATIENCE,
    clears_stale: bool | None = None,
) -> Update:
    """Run `pulumi up` of the target's stack.

    Args:
        target: The stack.
        note: Called with each progress message.
        create: Whether to create the stack when it does not exist.
        plan: A saved plan, which the update may not exceed.
        refresh: Whether to refresh the state first; None does so for a local stack without a plan.
        patience: Seconds to wait for another update of the stack.
        clears_stale: Whether to clear the lock of an update that was killed; None does so for a local stack.

    Returns:
        What the update did.

    Raises:
        UpdateError: With Pulumi's own diagnostics, when the update fails.
        CliError: When it could not start.
    """
    options = ["--plan", str(plan.resolve())] if plan else []
    # A local cloud that was killed has lost its last seconds, which Pulumi's state does not reflect. A plan is bound to
    # the state as it was.
    if refresh if refresh is not None else target.is_local and plan is None:
        options.append("--refresh")
    deadline = time.monotonic() + patience

    def up() -> Update:
        locks.wait_for_lock(target, note, max(0.0, deadline - time.monotonic()), clears_stale=clears_stale)
        return _up(target, note, options, create=create)

    if not target.is_local:
        return up()
    with locks.hold_lock(target, note, deadline):
        while True:
            try:
                return up()
            except LockedError:
                # Another update began after the lock was checked.
                if time.monotonic() > deadline:
                    raise
                interrupts.sleep(0.2)


def _up(target: Deployed, note: Note, options: list[str], *, create: bool) -> Update:
    if create:
        create_stack(target)
    if target.is_local and "--plan" not in options:
        _adopt_pending_resources(target)
    return run_up(target.stack, options, note, connection.REPOSITORY, make_environment(target))


def run_up(stack: str, options: Sequence[str], note: Note, folder: Path, environment: Mapping[str, str]) -> Update:
    """Run `pulumi up` of the program in a folder.

    Args:
        stack: The stack's name.
        options: Further options of `pulumi up`.
        note: Called with each progress message.
        folder: The program's folder.
        environment: All environment variables of the Pulumi CLI.

    Returns:
        What the update did.

    Raises:
        UpdateError: With Pulumi's own diagnostics, when it fails.
        CliError: When another update of the stack is running.
    """
    update = Update()
    command = ["up", "--yes", "--skip-preview", "--json", "--stack", stack, *options]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "rollback.json"
        variables = {**environment, ROLLBACK_REPORT: str(report)}
        code, errors = run_pulumi(command, lambda line: read_event(line, update, note), folder, variables)
        if report.is_file():
            update.rollback = Rollback.load(report.read_text())
    if code != 0 or update.result not in ("", "succeeded"):
        said = "\n".join([*(update.errors or update.trace), *clean_lines(errors)]) or describe_exit(code)
        what = f"`pulumi up` of stack {stack}"
        raise (
            LockedError(what, f"failed:\n{said}") if LOCKED in said else UpdateError(what, f"failed:\n{said}", update)
        )
    return update


def read_event(line: str, update: Update, note: Note) -> None:
    """Add one event of `pulumi up --json` to the update.

    Args:
        line: A line of its standard output; one that is not JSON is an error message.
        update: The update, which is changed.
        note: Called with each step that begins.
    """
    try:
        event = json.loads(line)
    except ValueError:
        update.errors.append(line)
        return
    if not isinstance(event, dict):
        return
    if metadata := _get_metadata(event, "resourcePreEvent"):
        update.begun += 1
        if metadata["type"].startswith("aws:"):
            kind, name = metadata["type"].rpartition(":")[2], metadata["urn"].rpartition("::")[2]
            note(f"{update.begun} resources: {metadata['op']} {kind} {name}")
    elif metadata := _get_metadata(event, "resOutputsEvent"):
        # A replacement has several steps.
        update.done[metadata["urn"]] = "replace" if "replace" in metadata["op"] else metadata["op"]
        if metadata["type"] == "pulumi:pulumi:Stack":
            update.outputs = dict((metadata.get("new") or {}).get("outputs") or {})
    elif metadata := _get_metadata(event, "resOpFailedEvent"):
        update.failed.append(metadata["urn"])
    elif diagnostic := event.get("diagnosticEvent"):
        add_diagnostic(diagnostic, update)
    elif summary := event.get("summaryEvent"):
        update.changes = dict(summary.get("resourceChanges") or {})
        update.result = str(summary.get("result", ""))


def add_diagnostic(diagnostic: Mapping[str, Any], update: Update) -> None:
    """Add one of Pulumi's diagnostics to the update's errors, or to its trace.

    Args:
        diagnostic: The diagnostic, as an event or a preview has it; one that is neither kind of error is ignored.
        update: The update, which is changed.
    """
    where = str(diagnostic.get("urn", "")).rpartition("::")[2]
    message = remove_markup(diagnostic["message"])
    if diagnostic.get("severity") == "error":
        update.errors.append(f"{where}: {message.strip()}" if where else message.strip())
    elif diagnostic.get("severity") == "info#err":
        update.trace += clean_lines(message)


def _get_metadata(event: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return dict((event.get(kind) or {}).get("metadata") or {})


# -- leftovers of an interrupted update --------------------------------------------------------------------------------


def _adopt_pending_resources(target: Deployed) -> None:
    """Import what an interrupted update was creating; the refresh then finds out whether it exists.

    Otherwise it would be created again, which fails if it exists. On AWS a person must decide that.
    """
    found = export_state(target)
    deployment = found.get("deployment") or {}
    pending = deployment.pop("pending_operations", None) or []
    if not pending:
        return
    created = [{**each["resource"], "id": _id(each["resource"])} for each in pending if each["type"] == "creating"]
    known = {resource["urn"] for resource in deployment["resources"]}
    deployment["resources"] += [each for each in created if each["id"] and each["urn"] not in known]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(found, file)
        file.flush()
        run_or_raise(target, "stack", "import", "--stack", target.stack, "--file", file.name)


def _id(resource: Mapping[str, Any]) -> str:
    """Return the ID that the provider gives a resource; empty when creating it again does no harm."""
    inputs = resource.get("inputs") or {}
    kind = resource["type"]
    if kind == "aws:scheduler/schedule:Schedule":
        return f"{inputs.get('groupName', 'default')}/{inputs['name']}"
    return str(inputs.get(_IDS.get(kind, ""), ""))
