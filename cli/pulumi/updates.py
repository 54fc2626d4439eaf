"""The Pulumi CLI as a subprocess: updates and previews, their events and diagnostics, and stale locks."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cli.console import children, interrupts
from cli.console.errors import CliError
from cli.pulumi import locks
from cli.stack import connection
from cli.stack.target import get_profile, read_configuration
from millrace import Environment
from millrace.config_files import make_file_name
from millrace.names import ROLLBACK_REPORT
from queries.rollbacks import Rollback

#: Called with each progress message: a few words.
Note = Callable[[str], None]

#: How long to wait for another update of the stack, seconds.
PATIENCE = 900.0
_WAITING = "waiting for Pulumi to finish the step that it is in"
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
#: Pulumi's markup of colours in its messages.
_COLOUR = re.compile(r"<\{%.*?%\}>")
#: Its message when another update holds the stack's lock.
_LOCKED = "currently locked by"
#: Its message when the stack does not exist.
_NO_STACK = "no stack named"
#: Its message when no backend is set.
_NO_BACKEND = "PULUMI_ACCESS_TOKEN must be set"


class _LockedError(CliError):
    """Pulumi refused, because another update of the stack is running."""


class Deployed(Protocol):
    """A stack that can be deployed: a use case's or the platform's."""

    @property
    def stack(self) -> str:
        """The stack's name."""
        ...

    @property
    def environment(self) -> Environment:
        """The environment that the stack is deployed to."""
        ...

    @property
    def state(self) -> Path:
        """The folder of the local cloud."""
        ...

    @property
    def is_local(self) -> bool:
        """True if the stack is deployed to the local cloud."""
        ...


class NoStackError(CliError):
    """The backend has no stack of that name."""


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
    target: Deployed, note: Note, *, create: bool = True, plan: Path | None = None, refresh: bool | None = None
) -> Update:
    """Run `pulumi up` of the target's stack.

    Args:
        target: The stack.
        note: Called with each progress message.
        create: Whether to create the stack when it does not exist.
        plan: A saved plan, which the update may not exceed.
        refresh: Whether to refresh the state first; None does so for a local stack without a plan.

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
    if not target.is_local:
        return _up(target, note, options, create=create)
    deadline = time.monotonic() + PATIENCE
    with locks.hold_lock(target, note, deadline):
        while True:
            try:
                return _up(target, note, options, create=create)
            except _LockedError:
                # Another update began after the lock was checked.
                if time.monotonic() > deadline:
                    raise
                interrupts.sleep(0.2)


def _up(target: Deployed, note: Note, options: list[str], *, create: bool) -> Update:
    wait_for_lock(target, note)
    if create:
        create_stack(target)
    if target.is_local and "--plan" not in options:
        _adopt_pending_resources(target)
    return run_up(target.stack, options, note, connection.REPOSITORY, make_environment(target))


def create_stack(target: Deployed) -> None:
    """Create the target's stack, empty, unless it exists.

    Args:
        target: The stack.
    """
    _run_or_raise(target, "stack", "select", "--create", target.stack)


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
        said = "\n".join([*(update.errors or update.trace), *_clean(errors)]) or _ending(code)
        what = f"`pulumi up` of stack {stack}"
        raise (
            _LockedError(what, f"failed:\n{said}") if _LOCKED in said else UpdateError(what, f"failed:\n{said}", update)
        )
    return update


def preview_stack(target: Deployed, note: Note, *, refresh: bool = False, draft: Path | None = None) -> dict[str, Any]:
    """Return the document of `pulumi preview --json` of the target's stack.

    Args:
        target: The stack.
        note: Called with each progress message.
        refresh: Whether to refresh the state first.
        draft: Where to write Pulumi's own plan, from which a saved plan is made.

    Raises:
        NoStackError: When the stack was never created.
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    options = [*(["--save-plan", str(draft.resolve())] if draft else []), *(["--refresh"] if refresh else [])]
    note("running the program")
    return run_preview(target.stack, options, connection.REPOSITORY, make_environment(target))


def run_preview(stack: str, options: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the document of `pulumi preview --json` of the program in a folder, including unchanged resources.

    Args:
        stack: The stack's name.
        options: Further options of `pulumi preview`.
        folder: The program's folder.
        environment: All environment variables of the Pulumi CLI.

    Raises:
        NoStackError: When the stack was never created.
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    lines: list[str] = []
    command = ["preview", "--json", "--show-sames", "--stack", stack, *options]
    code, errors = run_pulumi(command, lines.append, folder, environment)
    text = "\n".join(lines)
    try:
        document = json.loads(text)
    except ValueError:
        document = {}
    if code == 0 and document:
        return dict(document)
    found = Update()
    for each in document.get("diagnostics") or []:
        _add_diagnostic(each, found)
    said = [*(found.errors or found.trace), *_clean(errors), *([] if document else _clean(text))]
    raise _failure(f"`pulumi preview` of stack {stack} failed", "\n".join(said) or _ending(code))


def export_state(target: Deployed) -> dict[str, Any]:
    """Return the state of the target's stack: the document of `pulumi stack export`.

    Args:
        target: The stack.

    Raises:
        NoStackError: When the stack was never created.
    """
    lines: list[str] = []
    _run_or_raise(target, "stack", "export", "--stack", target.stack, on_line=lines.append)
    return dict(json.loads("\n".join(lines)))


def find_version(target: Deployed) -> str:
    """Return the version of the Pulumi CLI that is used, e.g. `v3.200.0`.

    Args:
        target: A stack, with whose region and profile the Pulumi CLI runs.
    """
    lines: list[str] = []
    _run_or_raise(target, "version", on_line=lines.append)
    return "".join(lines).strip()


def _failure(what: str, said: str) -> CliError:
    kind = _LockedError if _LOCKED in said else NoStackError if _NO_STACK in said else CliError
    if _NO_BACKEND in said:
        said += "\nno backend is set; choose one with `pulumi login s3://<bucket>` or PULUMI_BACKEND_URL"
    return kind(f"{what}:\n{said}")


def _ending(code: int) -> str:
    return f"it was terminated by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def _run_or_raise(target: Deployed, *arguments: str, on_line: children.Line = lambda _: None) -> None:
    code, errors = _run(target, list(arguments), on_line)
    if code != 0:
        raise _failure(f"`pulumi {' '.join(arguments)}` failed", "\n".join(_clean(errors)))


def _run(target: Deployed, arguments: list[str], on_line: children.Line) -> tuple[int, str]:
    return run_pulumi(arguments, on_line, connection.REPOSITORY, make_environment(target))


def make_environment(target: Deployed) -> dict[str, str]:
    """Return the environment of the Pulumi CLI: this process's own, with the stack's region and profile."""
    environment = {**os.environ, "PATH": connection.make_search_path(), "PULUMI_SKIP_UPDATE_CHECK": "1"}
    # AWS's own settings do not have the region that the stack's configuration names.
    environment.setdefault("AWS_REGION", target.environment.region)
    if (
        not target.is_local
        and not connection.is_account_emulated()
        and (profile := get_profile(read_configuration(target.stack)))
    ):
        # The provider uses this profile; the program's own requests to AWS must use it, too.
        environment["AWS_PROFILE"] = profile
    return environment


def run_pulumi(
    arguments: Sequence[str], on_line: children.Line, folder: Path, environment: Mapping[str, str]
) -> tuple[int, str]:
    """Run the Pulumi CLI.

    Args:
        arguments: The subcommand and its options.
        on_line: Called with each line of its standard output.
        folder: Its working directory.
        environment: All of its environment variables.

    Returns:
        Its exit code, negative after a signal, and what it wrote to standard error.
    """
    command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
    return children.run_child(command, on_line, folder=folder, environment=environment, waiting=_WAITING)


def read_event(line: str, update: Update, note: Note) -> None:
    """Add one event of `pulumi up --json` to the update."""
    try:
        event = json.loads(line)
    except ValueError:
        update.errors.append(line)
        return
    if not isinstance(event, dict):
        return
    if metadata := _metadata(event, "resourcePreEvent"):
        update.begun += 1
        if metadata["type"].startswith("aws:"):
            kind, name = metadata["type"].rpartition(":")[2], metadata["urn"].rpartition("::")[2]
            note(f"{update.begun} resources: {metadata['op']} {kind} {name}")
    elif metadata := _metadata(event, "resOutputsEvent"):
        # A replacement has several steps.
        update.done[metadata["urn"]] = "replace" if "replace" in metadata["op"] else metadata["op"]
        if metadata["type"] == "pulumi:pulumi:Stack":
            update.outputs = dict((metadata.get("new") or {}).get("outputs") or {})
    elif metadata := _metadata(event, "resOpFailedEvent"):
        update.failed.append(metadata["urn"])
    elif diagnostic := event.get("diagnosticEvent"):
        _add_diagnostic(diagnostic, update)
    elif summary := event.get("summaryEvent"):
        update.changes = dict(summary.get("resourceChanges") or {})
        update.result = str(summary.get("result", ""))


def _add_diagnostic(diagnostic: Mapping[str, Any], update: Update) -> None:
    where = str(diagnostic.get("urn", "")).rpartition("::")[2]
    message = _COLOUR.sub("", diagnostic["message"])
    if diagnostic.get("severity") == "error":
        update.errors.append(f"{where}: {message.strip()}" if where else message.strip())
    elif diagnostic.get("severity") == "info#err":
        update.trace += _clean(message)


def _metadata(event: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return dict((event.get(kind) or {}).get("metadata") or {})


def _clean(text: str) -> list[str]:
    return [line for line in _COLOUR.sub("", text).splitlines() if line.strip()]


# -- a stack that does not exist yet -----------------------------------------------------------------------------------


def preview_new_stack(target: Deployed) -> dict[str, Any]:
    """Preview a stack that does not exist yet: in an empty backend of its own, which is deleted afterwards.

    Args:
        target: The stack, whose file must exist.

    Returns:
        The document of `pulumi preview --json`.
    """
    import yaml

    with tempfile.TemporaryDirectory(prefix="millrace-diff-") as name:
        folder = Path(name)
        config = folder / make_file_name(target.stack)
        values = yaml.safe_load((connection.REPOSITORY / "stacks" / config.name).read_text())
        # Without the file's key: secrets are encrypted with the temporary backend's own.
        kept = {key: each for key, each in values.items() if key == "config"}
        config.write_text(yaml.safe_dump(kept, allow_unicode=True))
        project = yaml.safe_load((connection.REPOSITORY / "Pulumi.yaml").read_text())["name"]
        environment = {
            **os.environ,
            "PATH": connection.make_search_path(),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_BACKEND_URL": _make_empty_backend(folder, project, target.stack),
            "PULUMI_CONFIG_PASSPHRASE": "unmade",
        }
        environment.setdefault("AWS_REGION", target.environment.region)
        return run_preview(target.stack, ["--config-file", str(config)], connection.REPOSITORY, environment)


def _make_empty_backend(folder: Path, project: str, stack: str) -> str:
    """Create a backend with an empty stack and return its URL.

    `pulumi stack init` would write a key into the stack's own file.
    """
    stacks = folder / "backend" / ".pulumi" / "stacks" / project
    stacks.mkdir(parents=True)
    (folder / "backend" / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    checkpoint = {"stack": f"organization/{project}/{stack}", "latest": {}}
    (stacks / f"{stack}.json").write_text(json.dumps({"version": 3, "checkpoint": checkpoint}))
    return (folder / "backend").as_uri()


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
        _run_or_raise(target, "stack", "import", "--stack", target.stack, "--file", file.name)


def _id(resource: Mapping[str, Any]) -> str:
    """Return the ID that the provider gives a resource; empty when creating it again does no harm."""
    inputs = resource.get("inputs") or {}
    kind = resource["type"]
    if kind == "aws:scheduler/schedule:Schedule":
        return f"{inputs.get('groupName', 'default')}/{inputs['name']}"
    return str(inputs.get(_IDS.get(kind, ""), ""))


def wait_for_lock(target: Deployed, note: Note) -> None:
    """Wait for a running update of the stack, up to a limit, and clear the lock of one that was killed."""
    deadline = time.monotonic() + PATIENCE
    while holder := next((lock for lock in locks.list_locks(target.stack) if locks.is_alive(lock)), None):
        who = f"process {holder['pid']} on {holder['hostname']}"
        note(f"waiting for {who}, which updates the stack")
        if time.monotonic() > deadline:
            raise CliError(
                f"stack {target.stack}",
                f"is being updated by {who}",
                fix=f"wait until it is done, or stop it and run `pulumi cancel --stack {target.stack}`",
            )
        interrupts.sleep(0.2)
    if not locks.list_locks(target.stack):
        return
    if not target.is_local:
        raise CliError(
            f"stack {target.stack}",
            "is locked by an update that was killed",
            fix=f"if nobody else is updating it, run `pulumi cancel --stack {target.stack}`",
        )
    _run_or_raise(target, "cancel", "--yes", "--stack", target.stack)
