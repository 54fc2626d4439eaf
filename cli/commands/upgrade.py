"""`millrace upgrade`: rewrite declarations and stacks' configurations to the current names.

It reads files and never runs them, so that it can also fix what the current version refuses.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.console import output
from cli.console.errors import CliError
from cli.stack import connection
from millrace.config_files import find_config_files, parse_file_name
from millrace.files import write_atomically

if TYPE_CHECKING:
    from cli.upgrading import Finding
    from millrace.deprecations import Table

_STACKS = connection.REPOSITORY / "stacks"


@dataclass
class _File:
    """A file and its upgrade."""

    path: Path
    before: bytes
    after: bytes
    findings: list[Finding]
    #: The line, where it is known, and the message of what kept the file from being read or written.
    error: tuple[int | None, str] | None = None

    @property
    def name(self) -> str:
        return self.path.relative_to(connection.REPOSITORY).as_posix()

    @property
    def is_changed(self) -> bool:
        return self.before != self.after

    @property
    def place(self) -> str:
        """The file, and the line where known, of the error."""
        line = self.error[0] if self.error else None
        return self.name if line is None else f"{self.name}:{line}"


@click.command()
@click.argument("use_cases", metavar="[USE_CASE]...", nargs=-1)
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 when something is outdated.")
@click.option("--diff", "as_diff", is_flag=True, help="Change nothing; print what would be changed.")
@output.json_option
def upgrade(use_cases: tuple[str, ...], check: bool, as_diff: bool, as_json: bool) -> int:
    """Rewrite declarations whose fields were renamed or retired.

    Of the use cases that are named, or of all: the Python under `stacks/<use case>` and the stacks'
    configurations. Formatting and comments stay. What a person must decide is reported and left unchanged, with exit
    code 1.
    """
    from millrace import deprecations

    if as_diff and as_json:
        raise click.UsageError("--diff and --json contradict each other; give one of them")
    table = deprecations.get_table()
    files = [_upgrade(path, table) for path in _paths(use_cases)]
    writes = not check and not as_diff
    if writes:
        for file in files:
            _write(file)
    if as_json:
        output.write_json(_document(files, table, writes))
    else:
        _print_report(files, table, writes, as_diff)
    by_hand = any(finding.by_hand for file in files for finding in file.findings)
    failed = any(file.error for file in files)
    return int(failed or by_hand or (check and any(file.is_changed for file in files)))


# -- which files -------------------------------------------------------------------------------------------------------


def _paths(use_cases: Iterable[str]) -> list[Path]:
    packages = {
        folder.name.replace("_", "-"): folder
        for folder in sorted(_STACKS.iterdir())
        if folder.is_dir() and not folder.name.startswith((".", "_"))
    }
    named = list(dict.fromkeys(use_cases))
    for use_case in named:
        if use_case not in packages:
            raise CliError(
                f"use case {use_case!r}",
                f"has no package {_STACKS / use_case.replace('-', '_')}",
                fix=f"choose one of: {', '.join(packages) or 'none'}",
            )
    modules = [path for name in named or packages for path in _modules(packages[name])]
    stacks = list(find_config_files(_STACKS).values())
    return modules + [path for path in stacks if not named or _find_use_case(path, packages) in named]


def _modules(package: Path) -> Iterator[Path]:
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inside):
            yield path


def _find_use_case(path: Path, packages: Iterable[str]) -> str | None:
    """Return the use case of a stack's file: the stack's name without the environment's."""
    from cli.upgrading import UnreadableSourceError, stack_file

    stack = parse_file_name(path.name) or path.name
    # A file that cannot be read is reported when it is upgraded.
    with contextlib.suppress(UnreadableSourceError, OSError):
        if environment := stack_file.read_environment_name(path.read_bytes()):
            return stack.removesuffix(f"-{environment}")
    return max((name for name in packages if stack.startswith(f"{name}-")), key=len, default=None)


# -- what becomes of them ----------------------------------------------------------------------------------------------


def _upgrade(path: Path, table: Table) -> _File:
    from cli.upgrading import UnreadableSourceError, python, stack_file

    before = b""
    try:
        before = path.read_bytes()
        if path.suffix == ".yaml":
            found = stack_file.upgrade_stack_file(before, table)
        else:
            module = ".".join(path.relative_to(connection.REPOSITORY).with_suffix("").parts)
            found = python.upgrade_module(before, module.removesuffix(".__init__"), table)
    except UnreadableSourceError as error:
        return _File(path, before, before, [], (error.line, f"{error.message}; correct it there"))
    except OSError as error:
        return _File(path, before, before, [], (None, f"cannot be read: {error.strerror}; fix that and run this again"))
    return _File(path, before, found.content, found.findings)


def _write(file: _File) -> None:
    """Replace the file as a whole, or leave it as it is."""
    if not file.is_changed:
        return
    try:
        write_atomically(file.path, file.after)
    except OSError as error:
        file.error = (None, f"cannot be written: {error.strerror}; fix that and run this again")
        file.after, file.findings = file.before, []


# -- output ------------------------------------------------------------------------------------------------------------


def _document(files: list[_File], table: Table, written: bool) -> dict[str, Any]:
    return {
        "version": table.version,
        "written": written,
        "files": [file.name for file in files if file.is_changed],
        "changes": [_entry(file, each) for file in files for each in file.findings if not each.by_hand],
        "by_hand": [_entry(file, each) for file in files for each in file.findings if each.by_hand],
        "errors": [
            {"file": file.name, "line": file.error[0], "message": file.error[1]} for file in files if file.error
        ],
    }


def _entry(file: _File, finding: Finding) -> dict[str, Any]:
    return {
        "file": file.name,
        "line": finding.line,
        "part": finding.part,
        "old": finding.old,
        "new": finding.new,
        "text": finding.text,
    }


def _print_report(files: list[_File], table: Table, writes: bool, as_diff: bool) -> None:
    changes = 0
    for file in files:
        if as_diff and file.is_changed:
            _print_diff(file)
        for finding in file.findings:
            if finding.by_hand or not as_diff:
                mark, colour = (output.FAILED, "red") if finding.by_hand else (output.DONE, "green")
                _line(
                    mark if writes or finding.by_hand else output.NOTE, colour, f"{file.name}:{finding.line}", finding
                )
            changes += not finding.by_hand
    for file in files:
        if file.error:
            click.secho(f"{output.FAILED} ", fg="red", nl=False, err=True)
            click.echo(f"{file.place}: {file.error[1]}", err=True)
    # A diff is for programs, such as `git apply`.
    _summary(files, table, changes, writes, err=as_diff)


def _line(mark: str, colour: str, place: str, finding: Finding) -> None:
    click.secho(f"{mark} ", fg=colour, nl=False, err=finding.by_hand)
    click.echo(f"{place}: {finding.text}", err=finding.by_hand)


def _summary(files: list[_File], table: Table, changes: int, writes: bool, err: bool) -> None:
    changed = sum(file.is_changed for file in files)
    left = sum(finding.by_hand for file in files for finding in file.findings) + sum(bool(file.error) for file in files)
    if changes:
        would = "" if writes else " to make: run `millrace upgrade`"
        click.echo(f"{_count(changes, 'change')} in {_count(changed, 'file')}{would}", err=err)
    elif not left:
        click.echo(f"nothing to upgrade: {_count(len(files), 'file')} checked, millrace {table.version}", err=err)
    if left:
        click.echo(f"{_count(left, 'place')} left to change by hand, marked {output.FAILED}", err=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print_diff(file: _File) -> None:
    before, after = (
        content.decode(errors="replace").splitlines(keepends=True) for content in (file.before, file.after)
    )
    for line in difflib.unified_diff(before, after, f"a/{file.name}", f"b/{file.name}"):
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[0])
        click.secho(line, fg=colour, nl=not line.endswith("\n"))
