"""The stock Pulumi CLI as a child: updates with their counts and diagnostics, and locks that the dead left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from cli import children, cloud, interrupts
from cli.errors import CliError
from cli.target import Target

#: Told what is happening: a few words.
Note = Callable[[str], None]

#: How long an update of somebody else's is waited for, seconds.
_PATIENCE = 900.0
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


class _LockedError(CliError):
    """Pulumi refused, because the stack is being updated."""


@dataclass
class Update:
    """What an update did."""

    changes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    result: str = ""
    begun: int = 0

    @property
    def text(self) -> str:
        """The counts, e.g. `55 created`."""
        words = {"create": "created", "update": "updated", "same": "unchanged", "delete": "deleted"}
        counted = Counter({words.get(kind, kind.replace("-", " ")): count for kind, count in self.changes.items()})
        return ", ".join(f"{count} {kind}" for kind, count in counted.items()) or "nothing to do"


def up(target: Target, note: Note) -> Update:
    """`pulumi up` of the target's stack, which is made when it is not there.

    Raises:
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    if not target.is_local:
        return _up(target, note)
    deadline = time.monotonic() + _PATIENCE
    with _alone(target, note, deadline):
        while True:
            try:
                return _up(target, note)
            except _LockedError:
                # Somebody else's began between our look and our update.
                if time.monotonic() > deadline:
                    raise
                interrupts.pause(0.2)


def _up(target: Target, note: Note) -> Update:
    _free(target, note)
    _plain(target, "stack", "select", "--create", target.stack)
    command = ["up", "--yes", "--skip-preview", "--json", "--stack", target.stack]
    if target.is_local:
        _adopt(target)
        # A cloud that was killed has lost its last seconds, which Pulumi does not know.
        command.append("--refresh")
    update = Update()
    code, errors = _run(target, command, lambda line: _read(line, update, note))
    if code != 0 or update.result not in ("", "succeeded"):
        said = "\n".join([*update.errors, *_clean(errors)]) or _ending(code)
        raise _failure(f"`pulumi up` of stack {target.stack} failed", said)
    return update


def _failure(what: str, said: str) -> CliError:
    return (_LockedError if _LOCKED in said else CliError)(f"{what}:\n{said}")


def _ending(code: int) -> str:
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def _plain(target: Target, *arguments: str, on_line: children.Line = lambda _: None) -> None:
    code, errors = _run(target, list(arguments), on_line)
    if code != 0:
        raise _failure(f"`pulumi {' '.join(arguments)}` failed", "\n".join(_clean(errors)))


def _run(target: Target, arguments: list[str], on_line: children.Line) -> tuple[int, str]:
    command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
    environment = {**os.environ, "PATH": cloud.path(), "PULUMI_SKIP_UPDATE_CHECK": "1"}
    # AWS's own settings say nothing of the region that the stack's configuration names.
    environment.setdefault("AWS_REGION", target.environment.region)
    return children.run(command, on_line, folder=cloud.REPOSITORY, environment=environment, waiting=_WAITING)


def _read(line: str, update: Update, note: Note) -> None:
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
        if metadata["type"] == "pulumi:pulumi:Stack":
            update.outputs = dict((metadata.get("new") or {}).get("outputs") or {})
    elif diagnostic := event.get("diagnosticEvent"):
        if diagnostic.get("severity") == "error":
            where = str(diagnostic.get("urn", "")).rpartition("::")[2]
            message = _COLOUR.sub("", diagnostic["message"]).strip()
            update.errors.append(f"{where}: {message}" if where else message)
    elif summary := event.get("summaryEvent"):
        update.changes = dict(summary.get("resourceChanges") or {})
        update.result = str(summary.get("result", ""))


def _metadata(event: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return dict((event.get(kind) or {}).get("metadata") or {})


def _clean(text: str) -> list[str]:
    return [line for line in _COLOUR.sub("", text).splitlines() if line.strip()]


# -- what a broken-off update left behind ------------------------------------------------------------------------------


def _adopt(target: Target) -> None:
    """Take what was being created when an update was broken off for created: the refresh then finds out.

    Otherwise it would be created once more and refused, because it exists. On AWS that is for a person to decide.
    """
    lines: list[str] = []
    _plain(target, "stack", "export", "--stack", target.stack, on_line=lines.append)
    state = json.loads("\n".join(lines))
    deployment = state.get("deployment") or {}
    pending = deployment.pop("pending_operations", None) or []
    if not pending:
        return
    created = [{**each["resource"], "id": _id(each["resource"])} for each in pending if each["type"] == "creating"]
    known = {resource["urn"] for resource in deployment["resources"]}
    deployment["resources"] += [each for each in created if each["id"] and each["urn"] not in known]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(state, file)
        file.flush()
        _plain(target, "stack", "import", "--stack", target.stack, "--file", file.name)


def _id(resource: Mapping[str, Any]) -> str:
    """The id that the provider gives a resource; empty where creating it again does no harm."""
    inputs = resource.get("inputs") or {}
    kind = resource["type"]
    if kind == "aws:scheduler/schedule:Schedule":
        return f"{inputs.get('groupName', 'default')}/{inputs['name']}"
    return str(inputs.get(_IDS.get(kind, ""), ""))


# -- locks -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(target: Target, note: Note, deadline: float) -> Iterator[None]:
    """One `millrace up` of a local stack at a time: what it does besides `pulumi up` no lock of Pulumi's guards."""
    path = target.state / "stacks" / f"{target.stack}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                note("waiting for another `millrace up`, which updates the stack")
                if time.monotonic() > deadline:
                    raise CliError(
                        f"stack {target.stack} is being updated by another `millrace up`; run it again afterwards"
                    ) from error
                interrupts.pause(0.2)
        yield


def _free(target: Target, note: Note) -> None:
    """Clear the lock of an update that was killed; wait for one that runs, and not for ever."""
    deadline = time.monotonic() + _PATIENCE
    while holder := next((lock for lock in _locks(target.stack) if _holds(lock)), None):
        who = f"process {holder['pid']} on {holder['hostname']}"
        note(f"waiting for {who}, which updates the stack")
        if time.monotonic() > deadline:
            raise CliError(
                f"stack {target.stack} is being updated by {who}; wait until it is done, "
                f"or stop it and run `pulumi cancel --stack {target.stack}`"
            )
        interrupts.pause(0.2)
    if not _locks(target.stack):
        return
    if not target.is_local:
        raise CliError(
            f"stack {target.stack} is locked by an update that was killed; "
            f"when nobody else updates it, run `pulumi cancel --stack {target.stack}`"
        )
    _plain(target, "cancel", "--yes", "--stack", target.stack)


def _locks(stack: str) -> list[dict[str, Any]]:
    """The locks of a stack in a backend of files; other backends look after their own."""
    url = urlparse(os.environ.get("PULUMI_BACKEND_URL", ""))
    if url.scheme != "file":
        return []
    folder = Path(unquote(url.path)) / ".pulumi" / "locks"
    found = []
    for path in folder.glob(f"*/*/{stack}/*.json"):
        # It may be given back while we look.
        with contextlib.suppress(FileNotFoundError):
            found.append(json.loads(path.read_text()))
    return found


def _holds(lock: Mapping[str, Any]) -> bool:
    """Whether the process of a lock is there and is Pulumi: after a kill another one may have its number."""
    import psutil

    if lock["hostname"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(lock["pid"]))
        return "pulumi" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
