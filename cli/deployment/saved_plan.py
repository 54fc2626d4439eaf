"""Saved plans: the changes that a preview promised, bound to the code, the state and the model that it was made of.

A plan is one file: Pulumi's own plan, which `pulumi up --plan FILE` also accepts, with an additional part, `millrace`.
Pulumi limits an update to the operations of its plan; because of the additional part, a plan that is out of date is
refused before anything is changed. Secrets in it are encrypted as in the stack's own state.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from cli.aws import model_packages, pauses
from cli.console.errors import CliError
from cli.console.output import format_time
from cli.pulumi import previews, process, secrets_key
from cli.stack import connection, deployable, stack_files
from cli.stack.checkout import Checkout
from cli.stack.deployable import Deployable, Platform
from cli.stack.target import STACKS, Target
from millrace.documents import Document
from millrace.files import write_atomically
from queries.packages import APPROVED, parse_version

#: The maximum age of a plan.
MAX_AGE = timedelta(days=7)

_PART, _FORMAT = "millrace", 3
#: The maximum number of differences that are listed by name.
_NAMED = 5
#: Parts of a resource's state that change when the resource itself does not: its place in the program, and the order
#: of its dependencies. A changed secret is noticed by its modification time, since its ciphertext always differs.
_PLACES = frozenset({"sourcePosition", "stackTrace"})
_DEPENDENCIES = frozenset({"dependencies", "propertyDependencies"})
#: The key by which Pulumi marks an object that is not plain: a secret, a file.
_SPECIAL = "4dabf18193072939515e22adb298388d"
#: Steps of a plan that change nothing, or that belong to a replacement, which is counted once.
_QUIET = frozenset({"same", "create-replacement", "delete-replaced"})


class StalePlanError(CliError):
    """A plan that no longer matches the code, the state or the model.

    Attributes:
        reasons: The differences, a sentence each.
    """

    def __init__(self, file: Path, reasons: list[str], again: str) -> None:
        found = ["is out of date; nothing was changed:", *(f"  - {reason}" for reason in reasons), ""]
        super().__init__(f"plan {file}", "\n".join(found), fix=f"make a new one and review it: {again}")
        self.reasons = reasons


class Facts(Document):
    """The facts that must be the same when the plan is deployed.

    Attributes:
        stack: The stack's name.
        account: The AWS account.
        region: The AWS region.
        commit: The checked-out commit.
        tree: The digest of all files that stacks are made of.
        files: Path → digest, for the files that this stack is made of.
        resources: URN → digest of the resource in the stack's state.
        approved_package: The ARN of the newest approved package.
        paused: The paused triggers.
    """

    stack: str
    account: str
    region: str
    commit: str
    tree: str
    files: dict[str, str]
    resources: dict[str, str]
    approved_package: str | None
    paused: list[str]


class Part(Facts):
    """Millrace's part of a plan, in addition to Pulumi's.

    Attributes:
        format: The version of this part's format.
        created: When the preview was made.
        risks: The risks, as `millrace diff` reports them.
        digest: The digest of the whole file without this field.
    """

    format: Literal[3]
    created: datetime
    risks: list[dict[str, Any]]
    digest: str


@dataclass(frozen=True)
class Plan:
    """A plan that may be deployed.

    Attributes:
        file: The path of the file.
        document: The whole file, parsed.
        part: Millrace's part of it.
    """

    file: Path
    document: Mapping[str, Any]
    part: Part

    @property
    def steps(self) -> dict[str, str]:
        """The operation on each resource, by URN, without those that stay as they are."""
        found = {}
        for urn, each in self.document["resourcePlans"].items():
            steps = each.get("steps") or []
            if "replace" in steps:
                found[urn] = "replace"
            elif kind := next((step for step in steps if step not in _QUIET), None):
                found[urn] = kind
        return found

    @property
    def changes(self) -> dict[str, int]:
        """The number of resources for each operation."""
        return dict(Counter(self.steps.values()))

    @property
    def risks(self) -> list[dict[str, Any]]:
        """The risks, as `millrace diff` reports them."""
        return self.part.risks


def save_plan(
    target: Deployable, file: Path, note: process.Note, describe: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Preview the stack and write the plan.

    Args:
        target: The stack.
        file: Where to write the plan.
        note: Called with each progress message.
        describe: Makes the document of `millrace diff` from that of `pulumi preview --json`.

    Returns:
        The document of `millrace diff`.

    Raises:
        NoStackError: When the stack was never created.
        CliError: When the preview fails, the folder is not a git checkout, or the file cannot
            be written.
    """
    file = file.resolve()
    if not file.parent.is_dir():
        raise CliError(f"plan {file}", f"cannot be written: folder {file.parent} does not exist", fix="create it first")
    # Otherwise this checkout would create its own key, and no other checkout could read the plan.
    secrets_key.restore_key(target)
    # Collected before the preview, so that a change in between makes the plan stale, never wrong.
    facts = _facts(target, file, note)
    with tempfile.TemporaryDirectory(prefix="millrace-plan-") as scratch:
        draft = Path(scratch) / "plan.json"
        asked = previews.preview_stack(target, note, draft=draft)
        planned = json.loads(draft.read_text())
    described = describe(asked)
    planned[_PART] = {
        **facts.dump(),
        "format": _FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "risks": described["risks"],
    }
    planned[_PART]["digest"] = _digest(planned)
    _write(file, planned)
    return described


def read_plan(target: Deployable, file: Path, note: process.Note, max_age: timedelta = MAX_AGE) -> Plan:
    """Return a plan that still matches the code, the state and the model.

    Args:
        target: The stack to deploy.
        file: The path of the plan.
        note: Called with each progress message.
        max_age: The maximum age of the plan.

    Raises:
        StalePlanError: With all differences.
        CliError: When the file is not a plan, or was edited or cut off.
        NoStackError: When the stack does not exist in Pulumi's backend.
    """
    plan = _parsed(file, target)
    then = plan.part
    again = _format_command(target, file)
    if then.stack != target.stack:
        reason = f"stack: made for {then.stack}, asked to deploy {target.stack}"
        raise StalePlanError(file, [reason], f"{again}, or deploy it to the stack it was made for")
    secrets_key.restore_key(target)
    reasons = list(_age(plan, max_age))
    reasons += _differences(then, _facts(target, file.resolve(), note))
    version, mine = plan.document["manifest"]["version"], process.find_version(target)
    if version != mine:
        reasons.append(f"Pulumi: made with {version}, this is {mine}")
    if reasons:
        raise StalePlanError(file, reasons, again)
    return plan


# -- what a plan is bound to -------------------------------------------------------------------------------------------


def _facts(target: Deployable, file: Path, note: process.Note) -> Facts:
    """Collect the facts that must be the same when the plan is deployed."""
    note("reading the code")
    checkout = Checkout.find(connection.REPOSITORY)
    tree, files = checkout.hash_content([*stack_files.SHARED, STACKS.name], without=file)
    note("reading the stack's state")
    resources = dict(_resources(target))
    region = target.environment.region
    stack = stack_files.StackFile(deployable.get_name(target), target.environment.name, target.stack, region)
    approved, paused = None, list[str]()
    if not isinstance(target, Platform):
        note("looking for the approved model")
        package = model_packages.find_newest(target, APPROVED)
        approved, paused = package.arn if package else None, _paused(target)
    return Facts(
        stack=target.stack,
        account=deployable.find_account(target),
        region=region,
        commit=checkout.resolve_commit("HEAD"),
        tree=tree,
        files={path: digest for path, digest in files.items() if stack.includes(path)},
        resources=resources,
        approved_package=approved,
        paused=paused,
    )


def _resources(target: Deployable) -> Iterator[tuple[str, str]]:
    """Yield each resource in the stack's state with its digest."""
    try:
        state = process.export_state(target)
    except process.NoStackError as error:
        raise make_missing_stack_error(target) from error
    for resource in (state.get("deployment") or {}).get("resources") or []:
        gone = f" ({resource.get('id')}, to be deleted)" if resource.get("delete") else ""
        record = {
            name: _sorted(value) if name in _DEPENDENCIES else _drop_volatile_fields(value)
            for name, value in resource.items()
            if name not in _PLACES
        }
        yield resource["urn"] + gone, _hash(record)[:16]


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _sorted(each) for name, each in value.items()}
    return sorted(value) if isinstance(value, list) else value


def _drop_volatile_fields(value: Any) -> Any:
    """Drop the fields that differ between runs: ciphertexts, and the paths of files whose content is known."""
    if isinstance(value, Mapping):
        passing = {"ciphertext", "path"} if "hash" in value else {"ciphertext"}
        kept = value.items() if _SPECIAL not in value else [each for each in value.items() if each[0] not in passing]
        return {name: _drop_volatile_fields(each) for name, each in kept}
    return [_drop_volatile_fields(each) for each in value] if isinstance(value, list) else value


def make_missing_stack_error(target: Deployable) -> process.NoStackError:
    """Return the error for a stack that does not exist in Pulumi's backend.

    Args:
        target: The stack.
    """
    how = f"millrace deploy {deployable.get_name(target)} --env {target.environment.name} --create"
    return process.NoStackError(
        f"stack {target.stack}",
        f"does not exist in this backend ({describe_backend()})",
        fix=f"create it with `{how}`, or log in to the backend that has it",
    )


def describe_backend() -> str:
    """Return where Pulumi keeps the states of stacks, for messages."""
    return os.environ.get("PULUMI_BACKEND_URL") or "the one that `pulumi login` chose"


def _paused(target: Target) -> list[str]:
    """Return the paused triggers, sorted; the program reads them, too."""
    found = pauses.read_pause(target, strict=False)
    return sorted(found.only) if found else []


# -- differences -------------------------------------------------------------------------------------------------------


def _age(plan: Plan, max_age: timedelta) -> Iterator[str]:
    age = datetime.now(UTC) - plan.part.created
    if age > max_age:
        yield (
            f"age: made {format_time(plan.part.created)}, {_span(age)} ago; expected at most {_span(max_age)} "
            "(--max-age)"
        )


def _differences(then: Facts, now: Facts) -> Iterator[str]:
    for name, one, other in (("account", then.account, now.account), ("region", then.region, now.region)):
        if one != other:
            yield f"{name}: made in {one}, this is {other}"
    if found := _changed(then.files, now.files):
        commits = f"commit {then.commit[:10]}"
        commits += " with other changes" if then.commit == now.commit else f" then, {now.commit[:10]} now"
        yield f"code: {commits}; {_listed(found, 'file')}"
    if found := _changed(then.resources, now.resources):
        shown = {name.rpartition("::")[2]: what for name, what in found.items()}
        yield f"state: somebody deployed or changed it since; {_listed(shown, 'resource')}"
    if then.approved_package != now.approved_package:
        models = [_model(facts.approved_package) for facts in (then, now)]
        yield f"approved model: {models[0]} then, {models[1]} now"
    if then.paused != now.paused:
        words = [", ".join(facts.paused) or "nothing" for facts in (then, now)]
        yield f"paused: {words[0]} then, {words[1]} now"


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return what happened to each name that differs: changed, missing or new."""
    found = {name: "changed" if name in now else "missing" for name in then if now.get(name) != then[name]}
    return found | {name: "new" for name in now if name not in then}


def _listed(changed: Mapping[str, str], what: str) -> str:
    named = [f"{name} is {how}" if how != "changed" else f"{name} changed" for name, how in changed.items()]
    more = [f"{len(named) - _NAMED} more"] if len(named) > _NAMED else []
    return f"{len(named)} {what}{'s' if len(named) > 1 else ''}: {', '.join([*named[:_NAMED], *more])}"


def _model(arn: str | None) -> str:
    return f"version {parse_version(arn)}" if arn else "none"


def _format_command(target: Deployable, file: Path) -> str:
    return f"`millrace diff {deployable.get_name(target)} --env {target.environment.name} --save-plan {file}`"


def _span(span: timedelta) -> str:
    if span >= timedelta(days=2):
        return f"{span / timedelta(days=1):.0f} days"
    hours = span / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours >= 2 else f"{span / timedelta(minutes=1):.0f} minutes"


# -- the file ----------------------------------------------------------------------------------------------------------


def _parsed(file: Path, target: Deployable) -> Plan:
    again = _format_command(target, file)
    try:
        document = json.loads(file.read_text())
    except OSError as error:
        raise CliError(f"plan {file}", f"cannot be read: {error.strerror}", expected=f"a file of {again}") from error
    except ValueError as error:
        raise CliError(
            f"plan {file}", f"is not JSON, perhaps cut off: {error}", fix=f"make a new one: {again}"
        ) from error
    part = document.get(_PART) if isinstance(document, dict) else None
    if not isinstance(part, dict):
        raise CliError(
            f"plan {file}",
            f"has no part {_PART!r}, which names its stack",
            expected=f"a file of {again}; `pulumi preview --save-plan` writes none",
        )
    if part.get("format") != _FORMAT:
        raise CliError(
            f"plan {file}",
            f"is of format {part.get('format')!r}",
            expected=f"{_FORMAT}",
            fix=f"make a new one: {again}",
        )
    if part.get("digest") != _digest(document):
        raise CliError(
            f"plan {file}",
            f"was edited: its digest is {_digest(document)[:16]}",
            expected=f"{str(part.get('digest'))[:16]}",
            fix=f"make a new one: {again}",
        )
    return Plan(file, document, Part.load(json.dumps(part), f"plan {file}"))


def _write(file: Path, document: Mapping[str, Any]) -> None:
    """Write the file atomically and readable only by its owner, because it reveals what a stack is made of."""
    try:
        write_atomically(file, json.dumps(document, indent=1), private=True)
    except OSError as error:
        raise CliError(f"plan {file}", f"cannot be written: {error.strerror}") from error


def _digest(document: Mapping[str, Any]) -> str:
    """Return the digest of the document without its own digest."""
    part = {name: value for name, value in document[_PART].items() if name != "digest"}
    return _hash({**document, _PART: part})


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
