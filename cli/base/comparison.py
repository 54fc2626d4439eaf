"""Comparison of two revisions of a stack on this machine: without credentials, and without the real stack.

Pulumi first deploys the base to a throwaway cloud that creates nothing, which leaves a state as if the base were
deployed. Pulumi then previews the head against that state, so that the engine and the provider report what would be
updated and what replaced. It serves pull requests from forks, whose workflows hold no secret.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.base import stack_file
from cli.base.throwaway_cloud import run_throwaway_cloud
from cli.console.errors import CliError
from cli.console.progress import Progress, Stage
from cli.pulumi import previews, process, updates
from cli.stack import connection
from cli.stack.checkout import Checkout
from cli.stack.deployable import Deployable, Platform
from cli.stack.target import STACKS
from engine import bootstrap
from millrace.config_files import make_file_name

_SHORT = 10
#: How often a scratch folder is deleted until it stays so, and the seconds between.
_ATTEMPTS, _PAUSE = 50, 0.1


@dataclass(frozen=True)
class _Run:
    """One comparison: its stack, the folder of whichever revision is at work, and Pulumi's environment variables."""

    target: Deployable
    tree: Path
    environment: dict[str, str]


def compare_revisions(
    target: Deployable, base_revision: str, progress: Progress, head_revision: str | None = None
) -> dict[str, Any]:
    """Return what the head changes in the base, as the document of `pulumi preview --json`.

    The document has one more part, `compared`: `base` and `head`, each with `revision` (as requested, or `working
    tree`) and `commit` (None for the working tree), and `base.found`, False where the base has no such stack.

    Args:
        target: The stack.
        base_revision: The revision to compare with, e.g. `origin/main`; the commit where the head branched off it is
            used.
        progress: Shows the stages; it should write to standard error.
        head_revision: The revision of the head; None for the working tree.

    Raises:
        CliError: A revision is not found, or a program fails; with its diagnostics.
    """
    checkout = Checkout.find(connection.REPOSITORY)
    with _make_scratch_folder() as folder:
        with progress.stage("engine") as stage:
            found = bootstrap.ensure_cli(stage.print_line)
            stage.result = f"Pulumi {found.origin} in {found.folder}"
        with run_throwaway_cloud(folder / "cloud") as environment:
            # Both revisions are written to the same path, one after the other, so that no path differs between them.
            run = _Run(target, folder / "tree", environment)
            with progress.stage("base") as stage:
                base = _base(run, checkout, base_revision, head_revision, stage)
            with progress.stage("head") as stage:
                document, head = _head(run, checkout, head_revision, stage)
    return {**document, "compared": {"base": base, "head": head}}


@contextmanager
def _make_scratch_folder() -> Iterator[Path]:
    """Make a folder that is deleted at the end, also what an interrupted program wrote into it while it was deleted."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-diff-")).resolve()
    try:
        yield folder
    finally:
        for _ in range(_ATTEMPTS):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(_PAUSE)


def _base(run: _Run, checkout: Checkout, revision: str, head: str | None, stage: Stage) -> dict[str, Any]:
    """Deploy the base to the throwaway cloud and return the base's part of `compared`."""
    tip = checkout.resolve_commit(revision)
    commit = checkout.find_fork_point(tip, checkout.resolve_commit(head or "HEAD"))
    what = f"{revision} ({commit[:_SHORT]})"
    if commit != tip:
        what = f"{commit[:_SHORT]}, the merge base with {revision}"
    stage.note(f"checking out {what}")
    program = _write_revision(run, checkout, commit, stage)
    missing = _missing(run.target, program)
    if missing:
        stage.result = f"{what} has no {missing}: everything is new"
    else:
        try:
            _select(run, program)
            done = updates.run_up(run.target.stack, [], stage.note, program, run.environment)
        except CliError as error:
            raise CliError(
                f"the program of the base, {what},",
                "fails with the packages that are installed here, so it cannot be compared with",
                fix=f"choose another base with --base:\n{_reason(error)}",
            ) from error
        stage.result = f"{what}, {sum(done.changes.values())} resources"
    return {"revision": revision, "commit": commit, "found": not missing}


def _head(run: _Run, checkout: Checkout, revision: str | None, stage: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
    """Preview the head against the base's state; return the preview and the head's part of `compared`."""
    commit = checkout.resolve_commit(revision) if revision else None
    what = f"{revision} ({commit[:_SHORT]})" if revision and commit else "working tree"
    if commit is None and (changed := checkout.count_changed_files()):
        what += f", {changed} file{'s' if changed > 1 else ''} not committed"
    stage.note(f"checking out {what}")
    program = _write_revision(run, checkout, commit, stage)
    if missing := _missing(run.target, program):
        raise CliError(f"the head, {what},", f"has no {missing}", expected=f"the program of stack {run.target.stack}")
    try:
        _select(run, program)
        stage.note("running the program")
        document = previews.run_preview(run.target.stack, [], program, run.environment)
    except CliError as error:
        raise CliError(f"the program of the head, {what},", f"cannot be previewed:\n{_reason(error)}") from error
    stage.result = what
    return document, {"revision": revision or "working tree", "commit": commit}


def _write_revision(run: _Run, checkout: Checkout, commit: str | None, stage: Stage) -> Path:
    """Replace the previous revision's files by this one's; return its program's folder, ready to run."""
    if run.tree.exists():
        shutil.rmtree(run.tree)
    program = checkout.write(commit, run.tree, stage.print_line)
    venv = program / ".venv"
    if program.is_dir() and not venv.exists():
        venv.symlink_to(Path(sys.prefix))
    path = program / _get_stack_file(run.target)
    if path.is_file():
        stack_file.remove_owner_settings(path)
    return program


def _get_stack_file(target: Deployable) -> Path:
    return Path(STACKS.name) / make_file_name(target.stack)


def _missing(target: Deployable, program: Path) -> str | None:
    """Return the first file that a revision lacks to have the stack; None when it has all."""
    needed = [Path("Pulumi.yaml"), Path("__main__.py"), _get_stack_file(target)]
    if not isinstance(target, Platform):
        needed.append(Path(STACKS.name) / target.use_case.package / "__init__.py")
    return next((each.as_posix() for each in needed if not (program / each).is_file()), None)


def _select(run: _Run, program: Path) -> None:
    lines: list[str] = []
    arguments = ["stack", "select", "--create", run.target.stack]
    code, errors = process.run_pulumi(arguments, lines.append, program, run.environment)
    if code != 0:
        raise CliError(f"`pulumi {' '.join(arguments)}`", f"failed:\n{errors.strip()}")


def _reason(error: CliError) -> str:
    """Return Pulumi's message without its first line, a command on a throwaway stack that the user does not have."""
    return str(error).partition("\n")[2] or str(error)
