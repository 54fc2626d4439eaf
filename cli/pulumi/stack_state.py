"""The state that Pulumi has of a stack: its resources, and the operations on them other than an update."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from cli.console import children
from cli.console.errors import CliError
from cli.pulumi import locks, process, updates
from cli.pulumi.process import Deployed
from cli.stack import connection
from engine import bootstrap

#: Called with each progress message: a few words.
Note = Callable[[str], None]


@dataclass(frozen=True)
class Resource:
    """A resource in Pulumi's state."""

    urn: str
    type: str
    id: str
    parent: str
    needs: tuple[str, ...]
    """The URNs of its dependencies."""
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    protect: bool
    retained: bool
    """True if Pulumi forgets it without deleting it."""
    hooked: bool
    """True if the program must run when it is deleted; Pulumi requires that even when it is kept."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Resource:
        """Return the resource of an entry in an exported deployment."""
        needs = [*document.get("dependencies", [])]
        needs += [urn for urns in (document.get("propertyDependencies") or {}).values() for urn in urns or []]
        return cls(
            document["urn"],
            document["type"],
            str(document.get("id", "")),
            document.get("parent", ""),
            tuple(dict.fromkeys(needs)),
            document.get("inputs") or {},
            document.get("outputs") or {},
            bool(document.get("protect")),
            bool(document.get("retainOnDelete")),
            any(kind.endswith("Delete") and names for kind, names in (document.get("resourceHooks") or {}).items()),
        )

    @property
    def name(self) -> str:
        """Its logical name."""
        return self.urn.rpartition("::")[2]

    @property
    def kind(self) -> str:
        """The last part of its type, e.g. `Bucket`."""
        return self.type.rpartition(":")[2]

    @property
    def is_real(self) -> bool:
        """True if it is a resource of AWS, rather than a component or a provider."""
        return self.type.startswith("aws:")


def list_resources(target: Deployed, note: Note = lambda _: None) -> list[Resource] | None:
    """Return the stack's resources in the order they were created; None when the stack does not exist.

    Args:
        target: The stack.
        note: Called with each progress message when the Pulumi CLI must be installed first.

    Raises:
        CliError: When Pulumi's backend cannot be read.
    """
    bootstrap.ensure_cli(note)
    try:
        deployment = process.export_state(target).get("deployment") or {}
    except process.NoStackError:
        return None
    return [Resource.from_document(each) for each in deployment.get("resources") or [] if not each.get("delete")]


def find_closure(found: Iterable[Resource], kept: Iterable[Resource]) -> set[str]:
    """Return the URNs of all that must stay with these resources: themselves, their dependencies and all parents.

    Args:
        found: All resources of the stack.
        kept: The resources that must stay.
    """
    known = {each.urn: each for each in found}
    urns: set[str] = set()
    waiting = deque(kept)
    while waiting:
        each = waiting.popleft()
        if each.urn in urns:
            continue
        urns.add(each.urn)
        waiting.extend(known[urn] for urn in (*each.needs, each.parent) if urn in known)
    return urns


def refresh_resources(target: Deployed, names: Sequence[str]) -> str | None:
    """Refresh Pulumi's state of the resources with these names.

    Args:
        target: The stack.
        names: The names in AWS, which are the resources' inputs `name`.

    Returns:
        Why that failed; None when it succeeded.
    """
    if shutil.which("pulumi", path=connection.make_search_path()) is None:
        return "the Pulumi CLI was not found"
    try:
        found = list_resources(target)
    except CliError as error:
        return str(error)
    urns = [each.urn for each in found or [] if each.is_real and each.inputs.get("name") in names]
    if not urns:
        return f"it does not contain any of {', '.join(names)}"
    command = ["refresh", "--yes", "--skip-preview", "--run-program=false", "--stack", target.stack]
    code, errors = _run(target, [*command, *_repeat_option("--target", urns)], lambda _: None)
    return None if code == 0 else _format_errors(errors, code)


def unprotect_resources(target: Deployed, urns: Sequence[str]) -> None:
    """Remove the protection of these resources, so that the next destroy can delete them.

    Args:
        target: The stack.
        urns: The URNs of the resources; with none, nothing is done.

    Raises:
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    if urns:
        _require(target, ["state", "unprotect", *urns, "--yes", "--stack", target.stack])


def destroy_stack(target: Deployed, kept: Iterable[str], note: Note, *, run_program: bool) -> updates.Update:
    """Run `pulumi destroy` for all resources except those that are kept.

    Args:
        target: The stack.
        kept: URNs of what stays; what they depend on stays too.
        note: Called with each progress message.
        run_program: Whether hooks of the program must be called before something is deleted.

    Returns:
        What it did, without the resources that it only refreshed.

    Raises:
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    command = ["destroy", "--yes", "--skip-preview", "--json", f"--run-program={str(run_program).lower()}"]
    command += ["--stack", target.stack, *_repeat_option("--exclude", sorted(kept))]
    if target.is_local:
        # A local cloud that was killed has lost its last seconds, which Pulumi's state does not reflect.
        command.append("--refresh")
    with _hold_stack(target, note):
        update = updates.Update()
        code, errors = _run(target, command, lambda line: updates.read_event(line, update, note))
    if code != 0 or update.result not in ("", "succeeded"):
        said = "\n".join(update.errors) or _format_errors(errors, code)
        raise CliError(f"`pulumi destroy` of stack {target.stack}", f"failed:\n{said}")
    # Resources that it only refreshed.
    update.changes.pop("same", None)
    return update


def remove_stack(target: Deployed) -> None:
    """Remove the stack, which must have no resources any more; keep its configuration.

    Args:
        target: The stack.

    Raises:
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    _require(target, ["stack", "rm", target.stack, "--yes", "--preserve-config"])


def _repeat_option(option: str, values: Iterable[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


def _require(target: Deployed, arguments: list[str]) -> None:
    code, errors = _run(target, arguments, lambda _: None)
    if code != 0:
        raise CliError(
            f"`pulumi {' '.join(arguments[:2])}` of stack {target.stack}", f"failed:\n{_format_errors(errors, code)}"
        )


@contextmanager
def _hold_stack(target: Deployed, note: Note) -> Iterator[None]:
    """Keep other updates of the stack out; clear the lock of a killed one where that is safe."""
    deadline = time.monotonic() + locks.PATIENCE
    with locks.hold_lock(target, note, deadline) if target.is_local else nullcontext():
        locks.wait_for_lock(target, note)
        yield


def _run(target: Deployed, arguments: list[str], on_line: children.Line) -> tuple[int, str]:
    return process.run_pulumi(arguments, on_line, connection.REPOSITORY, process.make_environment(target))


def _format_errors(errors: str, code: int) -> str:
    return "\n".join(line for line in errors.splitlines() if line.strip()) or f"it ended with exit code {code}"
