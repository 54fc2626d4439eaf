"""The stock Pulumi CLI as a child: updates with their counts and diagnostics, and locks that the dead left behind."""

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
from cli.stack.target import configuration, profile_of
from millrace import Environment
from millrace.names import ROLLBACK_REPORT
from queries.rollbacks import Rollback

#: Told what is happening: a few words.
Note = Callable[[str], None]

#: How long an update of somebody else's is waited for, seconds.
PATIENCE = 900.0
_WAITING = "waiting for Pulumi to finish the step that it is in"
#: The input that is also the id, of the types of resource that cannot be created twice.
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
#: Pulumi marks colours in its messages so.
_COLOUR = re.compile(r"<\{%.*?%\}>")
#: Its words where another update holds the stack's lock.
_LOCKED = "currently locked by"
#: And where there is no such stack.
_NO_STACK = "no stack named"
#: And where nobody has said where states are kept.
_NO_BACKEND = "PULUMI_ACCESS_TOKEN must be set"


class _LockedError(CliError):
    """Pulumi refused, because the stack is being updated."""


class Deployed(Protocol):
    """A stack that can be deployed: of a use case, or the platform's."""

    @property
    def stack(self) -> str: ...

    @property
    def environment(self) -> Environment: ...

    @property
    def state(self) -> Path: ...

    @property
    def is_local(self) -> bool: ...


class NoStackError(CliError):
    """The backend knows no stack of that name."""


@dataclass
class Update:
    """What an update did.

    Attributes:
        changes: The counts, by kind of step.
        errors: Pulumi's diagnostics.
        trace: What the program wrote to standard error, which is all there is when it raised what it should not.
        done: URN → kind of step, of each resource that a step was finished for.
        failed: The URNs of those whose step failed.
        rollback: Why the endpoint does not run what was deployed, where SageMaker rolled the rollout back.
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
    """An update that failed, perhaps in the middle.

    Attributes:
        update: What it did until then.
    """

    def __init__(self, subject: str, found: str, update: Update) -> None:
        super().__init__(subject, found)
        self.update = update


def up(
    target: Deployed, note: Note, *, create: bool = True, plan: Path | None = None, refresh: bool | None = None
) -> Update:
    """`pulumi up` of the target's stack.

    Args:
        create: Make the stack when it is not there.
        plan: A saved plan, which the update may not exceed.
        refresh: Look at first what is there; None does so where a killed cloud may have lost something.

    Raises:
        UpdateError: With Pulumi's own diagnostics, when the update fails.
        CliError: When it could not begin.
    """
    options = ["--plan", str(plan.resolve())] if plan else []
    # A cloud that was killed has lost its last seconds, which Pulumi does not know. A plan is of a state as it was.
    if refresh if refresh is not None else target.is_local and plan is None:
        options.append("--refresh")
    if not target.is_local:
        return _up(target, note, options, create=create)
    deadline = time.monotonic() + PATIENCE
    with locks.alone(target, note, deadline):
        while True:
            try:
                return _up(target, note, options, create=create)
            except _LockedError:
                # Somebody else's began between our look and our update.
                if time.monotonic() > deadline:
                    raise
                interrupts.pause(0.2)


def _up(target: Deployed, note: Note, options: list[str], *, create: bool) -> Update:
    free(target, note)
    if create:
        make(target)
    if target.is_local and "--plan" not in options:
        _adopt(target)
    return updated(target.stack, options, note, connection.REPOSITORY, environment_of(target))


def make(target: Deployed) -> None:
    """Make the target's stack, empty, unless it is there."""
    _plain(target, "stack", "select", "--create", target.stack)


def updated(stack: str, options: Sequence[str], note: Note, folder: Path, environment: Mapping[str, str]) -> Update:
    """`pulumi up` of the program in a folder.

    Raises:
        UpdateError: With Pulumi's own diagnostics, when it fails.
    """
    update = Update()
    command = ["up", "--yes", "--skip-preview", "--json", "--stack", stack, *options]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "rollback.json"
        variables = {**environment, ROLLBACK_REPORT: str(report)}
        code, errors = run(command, lambda line: read_event(line, update, note), folder, variables)
        if report.is_file():
            update.rollback = Rollback.load(report.read_text())
    if code != 0 or update.result not in ("", "succeeded"):
        said = "\n".join([*(update.errors or update.trace), *_clean(errors)]) or _ending(code)
        what = f"`pulumi up` of stack {stack}"
        raise (
            _LockedError(what, f"failed:\n{said}") if _LOCKED in said else UpdateError(what, f"failed:\n{said}", update)
        )
    return update


def preview(target: Deployed, note: Note, *, refresh: bool = False, draft: Path | None = None) -> dict[str, Any]:
    """The document of `pulumi preview --json` of the target's stack.

    Args:
        refresh: Look at first what is there.
        draft: Where to write Pulumi's own plan; a saved plan is made of it.

    Raises:
        NoStackError: When the stack was never made.
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    options = [*(["--save-plan", str(draft.resolve())] if draft else []), *(["--refresh"] if refresh else [])]
    note("the program runs")
    return previewed(target.stack, options, connection.REPOSITORY, environment_of(target))


def previewed(stack: str, options: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The document of `pulumi preview --json` of the program in a folder, with what stays as it is.

    Raises:
        NoStackError: When the stack was never made.
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    lines: list[str] = []
    command = ["preview", "--json", "--show-sames", "--stack", stack, *options]
    code, errors = run(command, lines.append, folder, environment)
    text = "\n".join(lines)
    try:
        document = json.loads(text)
    except ValueError:
        document = {}
    if code == 0 and document:
        return dict(document)
    found = Update()
    for each in document.get("diagnostics") or []:
        _note(each, found)
    said = [*(found.errors or found.trace), *_clean(errors), *([] if document else _clean(text))]
    raise _failure(f"`pulumi preview` of stack {stack} failed", "\n".join(said) or _ending(code))


def state(target: Deployed) -> dict[str, Any]:
    """The target's stack as Pulumi knows it: the document of `pulumi stack export`.

    Raises:
        NoStackError: When the stack was never made.
    """
    lines: list[str] = []
    _plain(target, "stack", "export", "--stack", target.stack, on_line=lines.append)
    return dict(json.loads("\n".join(lines)))


def version(target: Deployed) -> str:
    """The version of the Pulumi CLI that would be used, e.g. `v3.200.0`."""
    lines: list[str] = []
    _plain(target, "version", on_line=lines.append)
    return "".join(lines).strip()


def _failure(what: str, said: str) -> CliError:
    kind = _LockedError if _LOCKED in said else NoStackError if _NO_STACK in said else CliError
    if _NO_BACKEND in said:
        said += "\nno backend is set; say where states are kept: `pulumi login s3://<bucket>`, or PULUMI_BACKEND_URL"
    return kind(f"{what}:\n{said}")


def _ending(code: int) -> str:
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def _plain(target: Deployed, *arguments: str, on_line: children.Line = lambda _: None) -> None:
    code, errors = _run(target, list(arguments), on_line)
    if code != 0:
        raise _failure(f"`pulumi {' '.join(arguments)}` failed", "\n".join(_clean(errors)))


def _run(target: Deployed, arguments: list[str], on_line: children.Line) -> tuple[int, str]:
    return run(arguments, on_line, connection.REPOSITORY, environment_of(target))


def environment_of(target: Deployed) -> dict[str, str]:
    """What the Pulumi CLI runs in: this process's environment, with the stack's region and profile."""
    environment = {**os.environ, "PATH": connection.path(), "PULUMI_SKIP_UPDATE_CHECK": "1"}
    # AWS's own settings say nothing of the region that the stack's configuration names.
    environment.setdefault("AWS_REGION", target.environment.region)
    if not target.is_local and not connection.stands_in() and (profile := profile_of(configuration(target.stack))):
        # The provider goes by it; so must what the program itself asks AWS.
        environment["AWS_PROFILE"] = profile
    return environment


def run(
    arguments: Sequence[str], on_line: children.Line, folder: Path, environment: Mapping[str, str]
) -> tuple[int, str]:
    """Run the Pulumi CLI to its end: its exit code, and what it wrote to standard error."""
    command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
    return children.run(command, on_line, folder=folder, environment=environment, waiting=_WAITING)


def read_event(line: str, update: Update, note: Note) -> None:
    """One event of `pulumi up --json`."""
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
        # A replacement is made in several steps.
        update.done[metadata["urn"]] = "replace" if "replace" in metadata["op"] else metadata["op"]
        if metadata["type"] == "pulumi:pulumi:Stack":
            update.outputs = dict((metadata.get("new") or {}).get("outputs") or {})
    elif metadata := _metadata(event, "resOpFailedEvent"):
        update.failed.append(metadata["urn"])
    elif diagnostic := event.get("diagnosticEvent"):
        _note(diagnostic, update)
    elif summary := event.get("summaryEvent"):
        update.changes = dict(summary.get("resourceChanges") or {})
        update.result = str(summary.get("result", ""))


def _note(diagnostic: Mapping[str, Any], update: Update) -> None:
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
    """Preview a stack that does not exist yet: in an empty backend of its own, which is deleted afterwards."""
    import yaml

    with tempfile.TemporaryDirectory(prefix="millrace-diff-") as name:
        folder = Path(name)
        config = folder / f"Pulumi.{target.stack}.yaml"
        values = yaml.safe_load((connection.REPOSITORY / "stacks" / config.name).read_text())
        # Its secrets are of the backend's own key.
        kept = {key: each for key, each in values.items() if key == "config"}
        config.write_text(yaml.safe_dump(kept, allow_unicode=True))
        project = yaml.safe_load((connection.REPOSITORY / "Pulumi.yaml").read_text())["name"]
        environment = {
            **os.environ,
            "PATH": connection.path(),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_BACKEND_URL": _make_empty_backend(folder, project, target.stack),
            "PULUMI_CONFIG_PASSPHRASE": "unmade",
        }
        environment.setdefault("AWS_REGION", target.environment.region)
        return previewed(target.stack, ["--config-file", str(config)], connection.REPOSITORY, environment)


def _make_empty_backend(folder: Path, project: str, stack: str) -> str:
    """A backend with an empty stack; `pulumi stack init` would write a key into the stack's own file."""
    stacks = folder / "backend" / ".pulumi" / "stacks" / project
    stacks.mkdir(parents=True)
    (folder / "backend" / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    checkpoint = {"stack": f"organization/{project}/{stack}", "latest": {}}
    (stacks / f"{stack}.json").write_text(json.dumps({"version": 3, "checkpoint": checkpoint}))
    return (folder / "backend").as_uri()


# -- what a broken-off update left behind ------------------------------------------------------------------------------


def _adopt(target: Deployed) -> None:
    """Take what was being created when an update was broken off for created: the refresh then finds out.

    Otherwise it would be created once more and refused, because it exists. On AWS that is for a person to decide.
    """
    found = state(target)
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
        _plain(target, "stack", "import", "--stack", target.stack, "--file", file.name)


def _id(resource: Mapping[str, Any]) -> str:
    """The id that the provider gives a resource; empty where creating it again does no harm."""
    inputs = resource.get("inputs") or {}
    kind = resource["type"]
    if kind == "aws:scheduler/schedule:Schedule":
        return f"{inputs.get('groupName', 'default')}/{inputs['name']}"
    return str(inputs.get(_IDS.get(kind, ""), ""))


def free(target: Deployed, note: Note) -> None:
    """Clear the lock of an update that was killed; wait for one that runs, and not for ever."""
    deadline = time.monotonic() + PATIENCE
    while holder := next((lock for lock in locks.held(target.stack) if locks.is_alive(lock)), None):
        who = f"process {holder['pid']} on {holder['hostname']}"
        note(f"waiting for {who}, which updates the stack")
        if time.monotonic() > deadline:
            raise CliError(
                f"stack {target.stack}",
                f"is being updated by {who}",
                fix=f"wait until it is done, or stop it and run `pulumi cancel --stack {target.stack}`",
            )
        interrupts.pause(0.2)
    if not locks.held(target.stack):
        return
    if not target.is_local:
        raise CliError(
            f"stack {target.stack}",
            "is locked by an update that was killed",
            fix=f"when nobody else updates it, run `pulumi cancel --stack {target.stack}`",
        )
    _plain(target, "cancel", "--yes", "--stack", target.stack)
